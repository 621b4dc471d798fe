// SPDX-License-Identifier: Apache-2.0
// Small charts: a title, lines or areas over the last minute, and what their colours mean.

import { element, inDepth } from "./tokens.js";

const SVG = "http://www.w3.org/2000/svg";
export const WIDTH = 60; // looks that a chart shows: the last minute
const HEIGHT = 100;

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The path of values, the newest at the right end; a gap where there is none.
function pathOf(values, most, isArea) {
  const begin = WIDTH - values.length;
  let path = "";
  let from = null; // where the piece that is drawn began
  const close = (to) => {
    if (isArea && from !== null) path += `L${to} ${HEIGHT}L${from} ${HEIGHT}Z`;
    from = null;
  };
  values.forEach((value, i) => {
    const x = begin + i + 1;
    if (value === null) return close(x - 1);
    const y = (HEIGHT - (HEIGHT * value) / most).toFixed(2);
    path += from === null ? `M${x} ${y}h0` : `L${x} ${y}`; // one value alone is a dot
    from ??= x;
  });
  close(WIDTH);
  return path;
}

// A number a little above, so that the scale does not change with each look.
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

// `series`: {values, at most WIDTH of them, depth or second, key}; those of depths are areas, the others lines. `format`: of numbers.
export class Chart {
  constructor(title, format) {
    this.title = title;
    this.format = format;
    this.root = element("div", "chart");
    this.most = element("span", "most");
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.keys = element("ul", "keys");
    const head = element("div", "head");
    head.append(element("h3", "", title), this.most);
    this.root.append(head, this.picture, this.keys);
  }

  draw(series) {
    const most = roundUp(Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0))));
    this.most.textContent = `up to ${this.format(most)}`;
    this.picture.replaceChildren(...series.map(({ values, depth, second }) => {
      const path = svg("path", { d: pathOf(values, most, depth !== undefined) });
      if (second) path.classList.add("second");
      if (depth !== undefined) {
        path.classList.add("area");
        inDepth(path, depth);
      }
      return path;
    }));
    this.keys.replaceChildren(...series.map(({ key, depth, second }) => {
      const item = element("li");
      const mark = element("i", second ? "line second" : "line");
      if (depth !== undefined) inDepth(mark, depth).classList.remove("line");
      item.append(mark, element("span", "", key));
      return item;
    }));
    this.picture.setAttribute("aria-label", `${this.title}: ${series.map((one) => one.key).join(", ")}`);
  }
}

// Bars beside each other. `rows`: {name, share of the longest bar, text, depth or none}.
export class Bars {
  constructor(title) {
    this.root = element("div", "chart");
    this.most = element("span", "most");
    this.bars = element("div", "bars");
    const head = element("div", "head");
    head.append(element("h3", "", title), this.most);
    this.root.append(head, this.bars);
  }

  draw(summary, rows) {
    this.most.textContent = summary;
    this.bars.replaceChildren(...rows.flatMap(({ name, share, text, depth }) => {
      const track = element("div", "track");
      const fill = element("div", "fill");
      if (depth) inDepth(fill, depth);
      fill.style.setProperty("width", `${(100 * share).toFixed(2)}%`);
      track.append(fill);
      return [element("span", "", name), track, element("span", "number", text)];
    }));
  }
}
