// SPDX-License-Identifier: Apache-2.0
// What two looks at the servers tell of the time between them. Numbers alone, nothing drawn.

// Counts of 64 bits are strings in protobuf's JSON.
const number = (value) => Number(value ?? 0);
const growth = (before, now) => Math.max(0, number(now) - number(before));
const sum = (values) => values.reduce((total, value) => total + value, 0);

// Rows that took recursion i + 1: those that ran so many or more.
function rowsTaking(before, now) {
  const ran = (now.generated_rows_by_depth ?? []).map((_, i) =>
    growth(before.generated_rows_by_depth[i], now.generated_rows_by_depth[i])
    + growth(before.prompt_rows_by_depth[i], now.prompt_rows_by_depth[i]));
  return ran.map((_, i) => sum(ran.slice(i)));
}

function histogramGrowth(before, now) {
  const counts = now.counts.map((count, i) => growth(before.counts[i], count));
  return { bounds: now.bounds.map(number), counts };
}

function addHistograms(histograms) {
  const [first, ...rest] = histograms;
  if (!first) return { bounds: [], counts: [] };
  return { bounds: first.bounds, counts: first.counts.map((count, i) => count + sum(rest.map((h) => h.counts[i] ?? 0))) };
}

// In seconds, as if evenly spread in its bucket; null without observations.
export function quantile({ bounds, counts }, share) {
  const all = sum(counts);
  if (all === 0) return null;
  let below = 0;
  for (const [i, count] of counts.entries()) {
    if (below + count >= share * all && count > 0) {
      if (i >= bounds.length) return bounds.at(-1);
      const from = i === 0 ? 0 : bounds[i - 1];
      return from + (bounds[i] - from) * ((share * all - below) / count);
    }
    below += count;
  }
  return bounds.at(-1);
}

// Of one server; null if it began anew in between.
function difference(before, now) {
  const seconds = number(now.uptime_seconds) - number(before.uptime_seconds);
  if (seconds <= 0 || number(now.steps) < number(before.steps)) return null;
  return {
    seconds,
    steps: growth(before.steps, now.steps),
    prompt: growth(before.prompt_tokens, now.prompt_tokens) / seconds,
    generated: growth(before.generated_tokens, now.generated_tokens) / seconds,
    rows: rowsTaking(before, now),
    ttft: histogramGrowth(before.time_to_first_token, now.time_to_first_token),
    itl: histogramGrowth(before.inter_token_latency, now.inter_token_latency),
    queue: histogramGrowth(before.queue_time, now.queue_time),
  };
}

// What holds at this moment, of all servers together.
function standing(loads) {
  const total = (name) => sum(loads.map((load) => number(load[name])));
  const groups = loads[0].groups.map((group, i) => ({
    name: group.name,
    pages: sum(loads.map((load) => number(load.groups[i]?.pages))),
    entries: sum(loads.map((load) => number(load.groups[i]?.entries))),
  }));
  return {
    running: total("requests_running"),
    slots: total("slots"),
    waiting: total("requests_waiting"),
    waitingTokens: total("waiting_tokens"),
    pages: total("kv_pages"),
    free: total("kv_pages_free"),
    cached: total("kv_pages_cached"),
    uptime: Math.min(...loads.map((load) => number(load.uptime_seconds))),
    draining: loads.some((load) => load.draining),
    groups,
  };
}

// `before`, `now`: loads by servers' names. Null if no server was there both times.
export function figuresOf(before, now) {
  const parts = [...now].filter(([name]) => before.has(name))
    .map(([name, load]) => difference(before.get(name), load)).filter((part) => part !== null);
  if (parts.length === 0) return null;
  const steps = sum(parts.map((part) => part.steps));
  const rows = parts[0].rows.map((_, i) => sum(parts.map((part) => part.rows[i] ?? 0)));
  return {
    ...standing([...now.values()]),
    prompt: sum(parts.map((part) => part.prompt)),
    generated: sum(parts.map((part) => part.generated)),
    rows: rows.map((count) => (steps > 0 ? count / steps : 0)),
    depth: rows[0] > 0 ? sum(rows) / rows[0] : null,
    ttft: addHistograms(parts.map((part) => part.ttft)),
    itl: addHistograms(parts.map((part) => part.itl)),
    queue: addHistograms(parts.map((part) => part.queue)),
  };
}

// ---- Numbers as people read them ----

export function short(value) {
  if (value === null) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(value >= 100000 ? 0 : 1)} k`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

export function age(seconds) {
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(0)} h` : `${(seconds / 86400).toFixed(0)} days`;
}
