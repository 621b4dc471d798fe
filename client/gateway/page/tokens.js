// SPDX-License-Identifier: Apache-2.0
// Tokens in the colours of their depths, what is told of each, and the legend that counts them.

const $ = (id) => document.getElementById(id);
const output = $("output");
const tip = $("tip");

let deepest = 1;
let counts = []; // tokens by depth, from 1 on
let current = null;
const facts = new WeakMap(); // of a token's element: the token, and its number

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// An element in the colour of a depth.
export function inDepth(made, depth) {
  made.classList.add("depth");
  made.style.setProperty("--depth", depth);
  return made;
}

// ---- The legend ----

export function setDeepest(recursions) {
  if (recursions === deepest && counts.length > 0) return;
  deepest = recursions;
  document.body.style.setProperty("--deepest", deepest);
  resetCounts();
}

export function resetCounts() {
  counts = Array(deepest).fill(0);
  drawLegend();
}

function drawLegend() {
  const all = counts.reduce((sum, count) => sum + count, 0);
  $("legend").replaceChildren(...counts.map((count, i) => {
    const item = element("li");
    const share = all > 0 ? `${count} · ${Math.round((100 * count) / all)} %` : i === 0 ? "recursion" : "recursions";
    item.append(inDepth(element("span", "token", i + 1), i + 1), element("span", "", share));
    return item;
  }));
  const mean = counts.reduce((sum, count, i) => sum + count * (i + 1), 0) / all;
  $("mean").textContent = all > 0 ? `mean depth ${mean.toFixed(2)}` : "";
}

// ---- Tokens ----

// Space in front of a word stays unmarked, or it would be louder than the words.
function tokenElement({ text, depth }) {
  const made = inDepth(element("span", "token"), depth);
  made.dataset.depth = depth;
  const word = text.trimStart();
  const ink = element("span", word ? "ink" : "ink blank", word || text);
  ink.dataset.depth = depth;
  made.append(text.slice(0, text.length - (word || text).length), ink);
  return made;
}

export function addTokens(place, tokens) {
  const stays = output.scrollHeight - output.scrollTop - output.clientHeight > 60; // somebody reads further up
  for (const token of tokens) {
    const made = tokenElement(token);
    facts.set(made, token);
    place.append(made);
    counts[token.depth - 1] += 1;
  }
  if (!stays) output.scrollTop = output.scrollHeight;
  drawLegend();
}

function describe({ text, depth, logprob, id }) {
  const lines = [`depth ${depth} of ${deepest}`];
  if (logprob !== undefined) {
    const percent = 100 * Math.exp(logprob);
    lines.push(`log probability ${logprob.toFixed(2)}, ${percent < 1 ? "below 1" : percent.toFixed(0)} %`);
  }
  lines.push(`token ${id}`);
  return { shown: JSON.stringify(text), lines };
}

function showTip(token) {
  const { shown, lines } = describe(facts.get(token));
  tip.replaceChildren(element("code", "", shown), ...lines.map((line) => element("span", "", line)));
  tip.hidden = false;
  const at = token.lastChild.getClientRects()[0] ?? token.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8));
  const below = at.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.setProperty("left", `${left}px`);
  tip.style.setProperty("top", `${below ? at.bottom + 8 : at.top - tip.offsetHeight - 8}px`);
}

export function hideTip() {
  tip.hidden = true;
  current?.classList.remove("current");
  current = null;
}

// With the keyboard, which also has it said.
function moveTo(token) {
  hideTip();
  current = token;
  current.classList.add("current");
  current.scrollIntoView({ block: "nearest" });
  showTip(current);
  const { shown, lines } = describe(facts.get(current));
  $("token-said").textContent = [shown, ...lines].join(", ");
}

function onKey(event) {
  const all = [...output.querySelectorAll(".token")];
  const at = all.indexOf(current);
  const to = { ArrowRight: at + 1, ArrowLeft: at < 0 ? all.length - 1 : at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined || all[to] === undefined) return;
  event.preventDefault();
  moveTo(all[to]);
}

export function watchTokens() {
  output.addEventListener("keydown", onKey);
  output.addEventListener("blur", hideTip);
  output.addEventListener("scroll", () => { if (current === null) tip.hidden = true; });
  output.addEventListener("pointerover", (event) => {
    const token = event.target.closest(".token");
    if (token) showTip(token);
  });
  output.addEventListener("pointerout", () => { if (current === null) tip.hidden = true; });
  $("digits").addEventListener("change", (event) => {
    $("playground").classList.toggle("digits", event.target.checked);
  });
}
