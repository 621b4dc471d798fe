// SPDX-License-Identifier: Apache-2.0
// What the form asks for, as a request in OpenAI's form with Recurve's own part.

const $ = (id) => document.getElementById(id);

// One name here and in the request.
const NUMBERS = ["max_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed"];
const DEPTH_NUMBERS = ["max_recursions", "router_threshold", "adaptive_min"];

function option(value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  return element;
}

// Which knobs there are depends on the model.
export function fitForm(model) {
  const deepest = model.num_recursions;
  const counts = Array.from({ length: deepest }, (_, i) => i + 1);
  $("max_recursions").replaceChildren(
    option("", `${deepest}, all`),
    ...counts.slice(0, -1).reverse().map((n) => option(n, n)));
  $("adaptive_min").replaceChildren(option("", "not lowered"), ...counts.map((n) => option(n, n)));
  $("router_threshold").placeholder = model.router_threshold.toFixed(2);
  $("recursion").hidden = deepest < 2;
  $("router_threshold-label").hidden = model.router !== "expert_choice";
  const canCap = model.router !== "none" || ["cycle", "middle_cycle"].includes(model.sharing);
  $("max_recursions-label").hidden = $("adaptive_min-label").hidden = !canCap;
  $("mode").hidden = model.chat_templates.length === 0;
}

export function isChat() {
  return !$("mode").hidden && document.querySelector("input[name=mode]:checked").value === "chat";
}

const filled = (names) => Object.fromEntries(
  names.filter((name) => $(name).value !== "" && !$(name).closest("[hidden]"))
    .map((name) => [name, Number($(name).value)]));

function stops() {
  const escapes = { n: "\n", t: "\t", r: "\r", "\\": "\\" };
  return $("stop").value.split("\n").filter((line) => line !== "")
    .map((line) => line.replace(/\\([ntr\\])/g, (_, letter) => escapes[letter]));
}

// Without prompt or messages. A seed that is not given is drawn here, so that it can be told.
export function readForm(model) {
  const request = { model: model.model_name, ...filled(NUMBERS), stream: true };
  request.seed ??= Math.floor(Math.random() * 2 ** 32);
  request.stream_options = { include_usage: true };
  if (stops().length > 0) request.stop = stops();
  request.recurve = { depths: true, ...filled(DEPTH_NUMBERS) };
  request.logprobs = isChat() ? true : 0;
  return request;
}
