// One output, input or rule of the list; an output with its buttons. Kept while it changes.

import { el, setAttribute, setText } from "../dom.js";
import { pulseOf, stateOf } from "./model.js";

export class Row {
  #chip = el("span", { class: "chip" });
  #name = el("span", { class: "row-name" });
  #facts = el("span", { class: "row-facts" });
  #place = el("span", { class: "row-place" });
  #error = el("span", { class: "row-error" });
  #buttons = [];
  #factsOf;
  #entry;

  /** `give(verb, request, button)` gives a command to an output; null: it is none. */
  constructor(entry, factsOf, give = null) {
    const name = nameOf(entry.spec);
    this.#factsOf = factsOf;
    if (give) {
      const button = (text, verb, request) => {
        const made = el("button", { type: "button", class: "button small", text, "data-needs": "control", "data-verb": verb, "aria-label": `${text} ${name}` });
        made.addEventListener("click", () => give(verb, { signal: name, ...request() }, made));
        return made;
      };
      this.#buttons = [button("On", "on", () => ({})), button("Off", "off", () => ({})), button("Pulse", "pulse", () => ({ keep: pulseOf(this.#entry) }))];
    }
    setText(this.#name, name);
    this.element = el("li", { class: "row", "data-name": name }, this.#name, el("span", { class: "row-actions" }, this.#chip, ...this.#buttons), this.#facts, this.#place, this.#error);
    this.update(entry);
  }

  update(entry) {
    this.#entry = entry;
    const [text, tone] = stateOf(entry);
    setText(this.#chip, text);
    setAttribute(this.#chip, "data-tone", tone);
    setAttribute(this.element, "data-state", entry.actual?.state ?? "unowned");
    setText(this.#place, entry.spec.address ?? "");
    this.#place.hidden = !entry.spec.address;
    setText(this.#error, entry.actual?.error?.message ?? "");
    this.#error.hidden = !entry.actual?.error;
    this.tick();
  }

  /** Show how long. */
  tick() {
    setText(this.#facts, this.#factsOf(this.#entry, Date.now()));
  }
}

/** What a spec of any of the three kinds calls itself. */
export function nameOf({ signal, input, rule }) {
  return signal ?? input ?? rule;
}
