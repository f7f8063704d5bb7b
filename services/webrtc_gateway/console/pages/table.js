// A table that keeps its rows while their cells change, so that a button does not vanish under the pointer.

import { el, setText } from "../dom.js";

export class Table {
  #body = el("tbody");
  #none;
  #scroll;
  #note = el("p", { class: "form-error", role: "status", hidden: true });
  #columns;
  #rows = new Map();

  constructor(title, columns, none) {
    this.#columns = columns;
    const heads = columns.map((text) => (text ? el("th", { scope: "col", text }) : el("td")));
    this.#scroll = el("div", { class: "table-scroll" }, el("table", { "aria-label": title }, el("thead", {}, el("tr", {}, ...heads)), this.#body));
    this.#none = el("p", { class: "none", text: none, "data-usual": none });
    this.element = el("section", { class: "card", "aria-label": title }, el("h2", { text: title }), this.#note, this.#none, this.#scroll);
    this.show([]);
  }

  /** `rows`: { key, cells, off } with texts or elements as cells. */
  show(rows) {
    setText(this.#none, this.#none.dataset.usual);
    this.#none.hidden = rows.length > 0;
    this.#scroll.hidden = rows.length === 0;
    const keys = new Set(rows.map(({ key }) => key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    rows.forEach(({ key, cells, off }, index) => {
      let row = this.#rows.get(key);
      if (!row) {
        row = el("tr", { "data-key": key }, ...this.#columns.map((label) => el("td", { "data-label": label })));
        this.#rows.set(key, row);
      }
      row.classList.toggle("off", Boolean(off));
      cells.forEach((cell, column) => fill(row.children[column], cell));
      if (this.#body.children[index] !== row) this.#body.insertBefore(row, this.#body.children[index] ?? null);
    });
  }

  /** Say something besides the rows; empty: nothing. */
  note(text) {
    setText(this.#note, text);
    this.#note.hidden = !text;
  }

  /** Say why there is nothing to show. */
  fail(text) {
    this.show([]);
    setText(this.#none, text);
  }
}

function fill(place, cell) {
  if (typeof cell === "string") return place.childElementCount === 0 ? setText(place, cell) : place.replaceChildren(cell);
  const before = place.firstElementChild;
  // Buttons have listeners that know their row; a row keeps the one it was made with.
  if (before && (before.tagName === "BUTTON" || before.isEqualNode(cell))) return undefined;
  return place.replaceChildren(cell);
}
