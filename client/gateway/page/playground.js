// SPDX-License-Identifier: Apache-2.0
// From the form to tokens: one call at a time.

import { streamChunks } from "./api.js";
import { isChat, readForm } from "./form.js";
import { askForKey } from "./key.js";
import { addTokens, element, hideTip, resetCounts } from "./tokens.js";

const $ = (id) => document.getElementById(id);
const prompt = $("prompt");
const output = $("output");
const HINT = "Each token will wear the colour of its depth: how often it went through the shared block before the next one was chosen.";

let model = null;
let running = null; // the AbortController of the call
let messages = []; // of the conversation

export function setModel(served) {
  model = served;
  $("send").disabled = false;
}

// ---- What is shown beside the tokens ----

export function showProblem(title, text) {
  $("problem").replaceChildren(...(title ? [element("strong", "", title), element("span", "", text)] : []));
}

function showError(error) {
  if (error.status === 401) askForKey("The server asks who calls.");
  const titles = { 401: "A key is needed", 403: "This key may not", 429: "The queue is full", 503: "No server takes calls now" };
  const when = error.retryAfter === null || error.retryAfter === undefined
    ? "" : ` Come again in ${error.retryAfter} s.`;
  showProblem(titles[error.status] ?? "That did not work", error.message.replace(/[^.]$/, "$&.") + when);
}

function addTurn(role) {
  const turn = element("div", "turn");
  if (role) turn.append(element("span", "role", role));
  output.append(turn);
  return turn;
}

function clearOutput() {
  hideTip();
  resetCounts();
  output.replaceChildren(element("p", "hint", HINT));
}

function clear() {
  running?.abort();
  messages = [];
  clearOutput();
  showProblem();
  $("summary").textContent = "";
  prompt.focus();
}

function setRunning(controller) {
  running = controller;
  $("stop-button").disabled = controller === null;
  $("output").setAttribute("aria-busy", controller !== null);
}

// ---- One call ----

// Where the tokens go, and the rest of the request.
function begin() {
  const text = prompt.value;
  const request = readForm(model);
  if (!isChat()) {
    output.replaceChildren();
    resetCounts();
    const turn = addTurn();
    turn.append(element("span", "prompt", text));
    return { path: "v1/completions", turn, request: { ...request, prompt: text } };
  }
  if (messages.length === 0) {
    output.replaceChildren();
    resetCounts();
  }
  messages.push({ role: "user", content: text });
  addTurn("user").append(element("span", "prompt", text));
  prompt.value = "";
  return { path: "v1/chat/completions", turn: addTurn("assistant"), request: { ...request, messages: [...messages] } };
}

class Progress {
  began = performance.now();
  first = null;
  last = null;
  tokens = 0;
  reason = null;
  text = "";

  take(chunk, turn) {
    const choice = chunk.choices[0];
    if (chunk.usage) this.usage = chunk.usage;
    if (!choice) return;
    const tokens = choice.recurve.tokens;
    if (tokens.length > 0) {
      this.last = performance.now();
      this.first ??= this.last;
    }
    this.tokens += tokens.length;
    this.reason = choice.finish_reason ?? this.reason;
    this.text += choice.text ?? choice.delta.content ?? "";
    addTokens(turn, tokens);
  }

  summary(seed, ending) {
    const parts = [`${this.tokens} tokens`];
    if (this.last > this.first) {
      parts.push(`${((1000 * (this.tokens - 1)) / (this.last - this.first)).toFixed(0)} tokens/s`);
    }
    if (this.first !== null) parts.push(`first after ${(this.first - this.began).toFixed(0)} ms`);
    const cached = this.usage?.prompt_tokens_details.cached_tokens;
    if (cached) parts.push(`${cached} of ${this.usage.prompt_tokens} prompt tokens cached`);
    return [...parts, `seed ${seed}`, ending].join(" · ");
  }
}

async function generate() {
  if (running || model === null) return;
  showProblem();
  hideTip();
  const { path, turn, request } = begin();
  const progress = new Progress();
  const controller = new AbortController();
  setRunning(controller);
  $("summary").textContent = "Running";
  let ending;
  try {
    for await (const chunk of streamChunks(path, request, controller.signal)) progress.take(chunk, turn);
    ending = progress.reason === "length" ? "ended by the limit" : "ended by itself";
  } catch (error) {
    ending = controller.signal.aborted ? "stopped" : "failed";
    if (!controller.signal.aborted) showError(error);
  }
  setRunning(null);
  if (request.messages) keepTurn(request.messages, progress.text);
  if (turn.isConnected) $("summary").textContent = progress.summary(request.seed, ending);
}

// A message without an answer goes back to where it can be sent again.
function keepTurn(asked, answer) {
  if (messages.length !== asked.length) return; // they were cleared
  if (answer !== "") {
    messages.push({ role: "assistant", content: answer });
    return;
  }
  prompt.value ||= messages.pop().content;
  output.lastElementChild.remove();
  output.lastElementChild.remove();
}

export function watchPlayground() {
  clearOutput();
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  $("stop-button").addEventListener("click", () => running?.abort());
  $("clear").addEventListener("click", clear);
  $("mode").addEventListener("change", () => {
    $("prompt-label").textContent = isChat() ? "Message" : "Prompt";
    clear();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("key").open) $("form").requestSubmit();
    if (event.key === "Escape" && !$("key").open) {
      hideTip();
      running?.abort();
    }
  });
}
