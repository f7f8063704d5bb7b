// Small graphs of one series, the newest value at the right: with its figures, or the line alone.

import { el, setAttribute, setText, svg } from "./dom.js";
import { KEPT_SECONDS } from "./series.js";

const HEIGHT = 40;
const HEADROOM = 1.15; // the highest value does not touch the edge

/** The line alone; `kept` values fill its width. */
export class Line {
  #line = svg("path", { class: "graph-line" });
  #area = svg("path", { class: "graph-area" });
  #kept;
  #shown = "";

  constructor(kept = KEPT_SECONDS, extra = "") {
    this.#kept = kept;
    this.element = svg("svg", { class: `graph-drawing ${extra}`.trim(), viewBox: `0 0 ${kept - 1} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.element.append(this.#area, this.#line);
  }

  /** Draw the values, oldest first; null breaks the line. `said` is for who does not see it. */
  update(values, said) {
    setAttribute(this.element, "aria-label", said);
    const top = Math.max(...known(values)) * HEADROOM || 1;
    const left = this.#kept - values.length;
    const runs = runsOf(values.map((value, index) => (value === null ? null : [left + index, HEIGHT - (value / top) * (HEIGHT - 2)])));
    const shown = JSON.stringify(runs);
    if (shown === this.#shown) return;
    this.#shown = shown;
    setAttribute(this.#line, "d", runs.map(lineOf).join(""));
    setAttribute(this.#area, "d", runs.map((run) => `${lineOf(run)}L${run.at(-1)[0]} ${HEIGHT}L${run[0][0]} ${HEIGHT}Z`).join(""));
  }
}

export class Sparkline {
  #value = el("p", { class: "graph-value", text: "–" });
  #range = el("p", { class: "graph-range" });
  #line = new Line();
  #title;
  #format;
  #summary;

  /** `summary(values)` gives the line below, of the values that are known. */
  constructor(title, format, summary) {
    this.#title = title;
    this.#format = format;
    this.#summary = summary;
    this.element = el("div", { class: "graph" }, el("h3", { text: title }), this.#value, this.#line.element, this.#range);
    this.update([]);
  }

  update(values) {
    const there = known(values);
    setText(this.#value, this.#format(values.at(-1) ?? null));
    setText(this.#range, there.length ? this.#summary(there, this.#format) : "no picture yet");
    this.#line.update(values, `${this.#title}, last two minutes: ${this.#range.textContent}`);
  }
}

/** Summaries for `Sparkline`. */
export const least = (values, format) => `least ${format(Math.min(...values))}`;
export const most = (values, format) => `most ${format(Math.max(...values))}`;
export const quantiles = (values, format) => {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return `p50 ${format(at(0.5))} · p95 ${format(at(0.95))}`;
};

function known(values) {
  return values.filter((value) => value !== null && Number.isFinite(value));
}

function runsOf(points) {
  const runs = [];
  let open = false;
  for (const point of points) {
    if (point === null) {
      open = false;
    } else if (open) {
      runs.at(-1).push(point);
    } else {
      runs.push([point]);
      open = true;
    }
  }
  return runs;
}

function lineOf(run) {
  return run.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y.toFixed(1)}`).join("");
}
