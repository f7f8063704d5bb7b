// Rows of one kind, in the order of their names; rows stay while they change.

import { el } from "../dom.js";
import { nameOf, Row } from "./row.js";

export class List {
  #rows = new Map();
  #list;
  #none;
  #factsOf;
  #give;

  constructor(title, none, factsOf, give = null) {
    this.#factsOf = factsOf;
    this.#give = give;
    this.#none = el("p", { class: "none", text: none });
    this.#list = el("ul", { class: "rows", "aria-label": title });
    this.element = el("div", { class: "signal-kind" }, el("h3", { text: title }), this.#none, this.#list);
  }

  show(entries) {
    this.#none.hidden = entries.length > 0;
    this.#list.hidden = entries.length === 0;
    const names = new Set(entries.map(({ spec }) => nameOf(spec)));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.element.remove();
      this.#rows.delete(name);
    }
    entries.forEach((entry, index) => {
      const name = nameOf(entry.spec);
      const row = this.#rows.get(name) ?? new Row(entry, this.#factsOf, this.#give);
      this.#rows.set(name, row);
      row.update(entry);
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
  }

  tick() {
    for (const row of this.#rows.values()) row.tick();
  }
}
