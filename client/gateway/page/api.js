// SPDX-License-Identifier: Apache-2.0
// Calls of this gateway, and of nothing else.

import { authorization } from "./key.js";

// What the gateway says in place of an answer.
export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter; // seconds; null: it does not say
  }
}

async function errorOf(response) {
  let message = `The gateway answers ${response.status}.`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // Something between the page and the gateway has answered.
  }
  const seconds = Number(response.headers.get("Retry-After") ?? NaN);
  return new ApiError(response.status, message, Number.isFinite(seconds) ? seconds : null);
}

async function ask(path, options) {
  const response = await fetch(path, {
    ...options,
    headers: { ...options.headers, ...authorization() },
    credentials: "same-origin",
    redirect: "error",
  });
  if (!response.ok) throw await errorOf(response);
  return response;
}

export async function getJson(path) {
  return (await ask(path, { cache: "no-store" })).json();
}

// The chunks of a stream, each as soon as it is here. `signal` ends the call, at the server too.
export async function* streamChunks(path, body, signal) {
  const response = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(200, chunk.error.message, null);
      yield chunk;
    }
  }
  throw new ApiError(200, "The stream broke before its end.", null);
}
