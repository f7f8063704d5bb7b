// A small graph of one series: the newest value in figures, the last two minutes as a line.

import { el, setAttribute, setText, svg } from "./dom.js";
import { KEPT_SECONDS } from "./series.js";

const HEIGHT = 40;
const HEADROOM = 1.15; // the highest value does not touch the edge

export class Sparkline {
  #value = el("p", { class: "graph-value", text: "–" });
  #range = el("p", { class: "graph-range" });
  #line = svg("path", { class: "graph-line" });
  #area = svg("path", { class: "graph-area" });
  #drawing;
  #title;
  #format;
  #worst;
  #shown = "";

  /** `worst`: `least` or `most`, whichever of the two minutes is the bad one. */
  constructor(title, format, worst) {
    this.#title = title;
    this.#format = format;
    this.#worst = worst;
    this.#drawing = svg("svg", { class: "graph-drawing", viewBox: `0 0 ${KEPT_SECONDS - 1} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.#drawing.append(this.#area, this.#line);
    this.element = el("div", { class: "graph" }, el("h3", { text: title }), this.#value, this.#drawing, this.#range);
    this.update([]);
  }

  /** Draw the values, oldest first; null breaks the line. */
  update(values) {
    const known = values.filter((value) => value !== null && Number.isFinite(value));
    const highest = Math.max(...known);
    const worst = this.#worst === "least" ? Math.min(...known) : highest;
    setText(this.#value, this.#format(values.at(-1) ?? null));
    setText(this.#range, known.length ? `${this.#worst} ${this.#format(worst)}` : "no picture yet");
    const said = `${this.#title}, last two minutes: ${this.#range.textContent}`;
    setAttribute(this.#drawing, "aria-label", said);
    const top = highest * HEADROOM || 1;
    const left = KEPT_SECONDS - values.length;
    const runs = runsOf(values.map((value, index) => (value === null ? null : [left + index, HEIGHT - (value / top) * (HEIGHT - 2)])));
    const shown = JSON.stringify(runs);
    if (shown === this.#shown) return;
    this.#shown = shown;
    setAttribute(this.#line, "d", runs.map(lineOf).join(""));
    setAttribute(this.#area, "d", runs.map((run) => `${lineOf(run)}L${run.at(-1)[0]} ${HEIGHT}L${run[0][0]} ${HEIGHT}Z`).join(""));
  }
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
