// SPDX-License-Identifier: Apache-2.0
// The key that servers may ask for. It stays in this tab's session.

const NAME = "recurve-key";
const dialog = document.getElementById("key");
const input = document.getElementById("key-input");
const why = document.getElementById("key-why");
let whenGiven = () => {};

export function authorization() {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// Asks for a key; `reason` says why. Escape and Cancel leave all as it was.
export function askForKey(reason) {
  if (dialog.open) return;
  why.textContent = reason;
  input.value = "";
  dialog.showModal();
}

// `given` hears of each new key.
export function watchKey(given) {
  whenGiven = given;
  document.getElementById("key-open").addEventListener("click", () => {
    askForKey(sessionStorage.getItem(NAME)
      ? "There is a key in this tab. An empty one takes it out."
      : "Servers may ask who calls.");
  });
  document.getElementById("key-cancel").addEventListener("click", () => dialog.close());
  document.getElementById("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (key) sessionStorage.setItem(NAME, key);
    else sessionStorage.removeItem(NAME);
    input.value = "";
    dialog.close();
    whenGiven();
  });
}
