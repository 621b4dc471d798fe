// SPDX-License-Identifier: Apache-2.0
// The live view: looks at the servers once a second, as long as somebody sees it.

import { getJson } from "./api.js";
import { Bars, Chart, WIDTH } from "./charts.js";
import { age, duration, figuresOf, quantile, short } from "./figures.js";
import { askForKey } from "./key.js";
import { element } from "./tokens.js";

const EVERY = 1000; // ms

const root = document.getElementById("figures");
const state = document.getElementById("engine-state");
const numbers = element("div", "numbers");
const charts = {
  rows: new Chart("Rows per step by recursion", short),
  speed: new Chart("Tokens per second", short),
  kv: new Bars("KV cache by recursion"),
  first: new Chart("First token", duration),
  between: new Chart("Between tokens", duration),
  queue: new Chart("Requests", short),
  wait: new Chart("Queue time", duration),
};

let before = new Map();
let history = [];
let timer = null;
let askedForKey = false;
let onModel = () => {};

function build() {
  const pair = (...two) => {
    const made = element("div", "pair");
    made.append(...two.map((chart) => chart.root));
    return made;
  };
  root.replaceChildren(numbers, charts.rows.root, charts.speed.root, charts.kv.root,
    pair(charts.first, charts.between), pair(charts.queue, charts.wait));
}

function drawNumbers(now) {
  const one = (value, name, more) => {
    const made = element("div");
    made.append(element("span", "", name), element("b", "", value), element("small", "", more));
    return made;
  };
  numbers.replaceChildren(
    one(short(now.generated), "tokens/s", `${short(now.prompt)} of prompts`),
    one(now.depth === null ? "–" : now.depth.toFixed(2), "mean depth", `of ${now.rows.length}`),
    one(`${now.running}`, "running", `of ${now.slots} slots`),
    one(`${now.waiting}`, "waiting", `${short(now.waitingTokens)} tokens`));
}

// Entries beside each other, as recursions keep ever fewer; pages as a whole.
function drawKv(now) {
  const used = now.pages - now.free - now.cached;
  const most = Math.max(1, ...now.groups.map((group) => group.entries));
  charts.kv.draw(`${used} of ${now.pages} pages${now.cached > 0 ? `, ${now.cached} cached` : ""}`,
    now.groups.map(({ name, entries, pages }) => {
      const depth = /^\d+$/.test(name) ? Number(name) : undefined;
      return { name: depth ? `recursion ${name}` : name, share: entries / most, depth,
        text: `${short(entries)} in ${short(pages)} pages` };
    }));
}

const latest = (values) => values.findLast((value) => value !== null) ?? null;

function drawLatency(chart, name) {
  const at = (share) => history.map((one) => quantile(one[name], share));
  const [p50, p99] = [at(0.5), at(0.99)];
  chart.draw([{ values: p50, key: `median ${duration(latest(p50))}` },
    { values: p99, second: true, key: `p99 ${duration(latest(p99))}` }]);
}

function draw() {
  const now = history.at(-1);
  drawNumbers(now);
  charts.rows.draw(now.rows.map((rows, i) => ({
    values: history.map((one) => one.rows[i] ?? 0), depth: i + 1, key: `recursion ${i + 1}: ${short(rows)}` })));
  charts.speed.draw([
    { values: history.map((one) => one.generated), key: `generated ${short(now.generated)}` },
    { values: history.map((one) => one.prompt), second: true, key: `prompts ${short(now.prompt)}` }]);
  drawKv(now);
  drawLatency(charts.first, "ttft");
  drawLatency(charts.between, "itl");
  charts.queue.draw([
    { values: history.map((one) => one.running), key: `running ${now.running}` },
    { values: history.map((one) => one.waiting), second: true, key: `waiting ${now.waiting}` }]);
  drawLatency(charts.wait, "queue");
}

// A change alone is worth saying.
function say(text) {
  if (state.textContent !== text) state.textContent = text;
}

function take(view) {
  onModel(view.model);
  const now = new Map(view.servers.filter((one) => one.load).map((one) => [one.name, one.load]));
  const figures = figuresOf(before, now);
  before = now;
  askedForKey = false;
  const all = view.servers.length;
  const servers = all === 1 ? "" : `${now.size} of ${all} servers, `;
  if (figures === null) return say("Waiting for a second look");
  say(`${servers}${figures.draining ? "draining" : "live"}`);
  state.title = `up ${age(figures.uptime)}`;
  history = [...history, figures].slice(-WIDTH);
  draw();
}

async function look() {
  timer = null;
  try {
    take(await getJson("engine"));
  } catch (error) {
    say(error.status === 401 ? "Needs a key" : "No figures now");
    if (error.status === 401 && !askedForKey) {
      askedForKey = true;
      askForKey("The server asks who calls.");
    }
  }
  schedule(EVERY);
}

function schedule(wait) {
  clearTimeout(timer);
  timer = document.hidden ? null : setTimeout(look, wait);
}

// `hears` is told what is served, again and again.
export function watchEngine(hears) {
  onModel = hears;
  build();
  document.addEventListener("visibilitychange", () => schedule(0));
  look();
}

export function lookAgain() {
  schedule(0);
}
