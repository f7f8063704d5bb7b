// What was stopped from this page: it can be started again as it was, for as long as the page is open.

import { CommandError } from "../commands.js";
import { el } from "../dom.js";
import { toast } from "../toasts.js";

const MOST = 8; // rows; who stops more knows their names

export class Stopped {
  #kind;
  #start;
  #changed;
  #specs = new Map();
  #gone = new Set(); // those that are not in the mesh any more

  /** `start(spec)` asks for it again; `changed()` when its rows are others. */
  constructor(kind, start, changed) {
    this.#kind = kind;
    this.#start = start;
    this.#changed = changed;
  }

  get names() {
    return [...this.#gone];
  }

  add(name, spec) {
    // Of a password only the place where it is kept is known here, and that goes with what used it.
    if (Object.keys(spec).some((key) => key.endsWith("_secret") && spec[key])) return;
    this.#specs.set(name, spec);
    if (this.#specs.size > MOST) this.forget([this.#specs.keys().next().value]);
  }

  /** `there`: those that exist are no longer stopped. */
  forget(there) {
    for (const name of there) if (this.#gone.has(name) || !this.#specs.has(name)) this.#drop(name);
    for (const name of this.#specs.keys()) if (!there.includes(name)) this.#gone.add(name);
  }

  rows() {
    return this.names.map((name) => {
      const start = el("button", { type: "button", class: "button small stop", text: "Start", "aria-label": `Start ${this.#kind} ${name} again` });
      start.addEventListener("click", () => this.#again(name, start));
      return el(
        "li",
        { class: "row off", [`data-stopped-${this.#kind}`]: name },
        el("span", { class: "row-name", text: name }),
        el("span", { class: "chip", "data-tone": "off", text: "stopped" }),
        start,
      );
    });
  }

  #drop(name) {
    this.#specs.delete(name);
    this.#gone.delete(name);
  }

  async #again(name, button) {
    button.disabled = true;
    try {
      await this.#start(this.#specs.get(name));
      toast(`${this.#kind === "output" ? "Output" : "Rendition"} ${name} is started again`);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
      button.disabled = false;
    }
    this.#changed();
  }
}
