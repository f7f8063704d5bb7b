// The page's keys: one table that works and that `?` shows. Single letters can be switched off (WCAG 2.1.4).

import { openDialog } from "./dialog.js";
import { el } from "./dom.js";

const KEY = "framemesh.shortcuts"; // "off", or nothing
const MOVES = [["↑ ↓ ← →", "move over the wall"], ["Enter", "open the stream"], ["Esc", "back to the wall"]];

export class Shortcuts {
  #entries = [];

  constructor() {
    document.addEventListener("keydown", (event) => this.#key(event));
    this.add("?", "this list", () => this.show());
  }

  /** `run()` returns false when the key means nothing here. */
  add(key, what, run) {
    this.#entries.push({ key, what, run });
  }

  show() {
    if (document.querySelector("dialog[open]")) return;
    const rows = [...MOVES, ...this.#entries.filter(({ what }) => what).map(({ key, what }) => [key, what])];
    const list = el("dl", { class: "keys" }, ...rows.flatMap(([key, what]) => [el("dt", {}, el("kbd", { text: key })), el("dd", { text: what })]));
    const box = el("input", { type: "checkbox", class: "check", id: "shortcuts-on", on: { change: () => this.#enable(box.checked) } });
    box.checked = enabled();
    const line = el("div", { class: "check-line" }, box, el("label", { for: "shortcuts-on", text: "Single letters are shortcuts" }));
    openDialog("Keyboard", [list, line]);
  }

  #enable(on) {
    try {
      if (on) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, "off");
    } catch {
      // storage is refused in some private windows: the letters stay on
    }
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.repeat) return;
    if (event.target.closest?.("input, select, textarea") || document.querySelector("dialog[open]")) return;
    if (event.key.length === 1 && event.key !== "?" && !enabled()) return;
    const entry = this.#entries.find(({ key }) => key === event.key);
    if (entry && entry.run() !== false) event.preventDefault();
  }
}

function enabled() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}
