// The inputs of a mix as a list, and a form for one more: a stream of the mesh, or an address.

import { CommandError } from "../commands.js";
import { el } from "../dom.js";
import { Field, Form } from "../form.js";
import { InputRow } from "./input_row.js";
import { MESH } from "./model.js";

const MOST = 16; // of one mix

export class Inputs {
  #list = el("ul", { class: "rows", "aria-label": "Inputs" });
  #rows = new Map(); // name -> InputRow
  #stream = new Field("stream", "Stream", { options: [["", "an address:"]] });
  #address = new Field("source", "Address", { inputmode: "url", placeholder: "https://host/clip.mp4", help: "A camera, a video or a still picture: rtsp://, https://, file://." });
  #form;
  #more;
  #handlers;

  /** `handlers`: as of InputRow, and onAdd(source). */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#form = new Form([this.#stream, this.#address], "Add the input", () => this.#add(), { label: "Add an input" });
    this.#more = el("details", { class: "settings", "data-needs": "control" }, el("summary", { text: "Add an input" }), this.#form.element);
    this.#stream.control.addEventListener("change", () => this.#showAddress());
    this.element = el("section", { class: "card", "aria-label": "Inputs" }, el("h2", { text: "Inputs" }), this.#list, this.#more);
  }

  /** Show `inputs`; `streams` are names of those that can be added. */
  update(inputs, streams, { chosen, free, editable }) {
    for (const [name, row] of this.#rows) {
      if (inputs.some((input) => input.input === name)) continue;
      row.element.remove();
      this.#rows.delete(name);
    }
    inputs.forEach((input, index) => {
      const row = this.#rows.get(input.input) ?? new InputRow(input.input, this.#handlers);
      this.#rows.set(input.input, row);
      row.update(input, { chosen: chosen === input.input, free, place: index + 1, count: inputs.length, editable });
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
    this.#more.hidden = !editable || inputs.length >= MOST;
    this.#stream.setOptions([...streams, ["", "an address:"]]);
    this.#showAddress();
  }

  focus(name) {
    this.#rows.get(name)?.focus();
  }

  #showAddress() {
    this.#address.element.hidden = this.#stream.value !== "";
  }

  #add() {
    const source = this.#stream.value ? `${MESH}${this.#stream.value}` : this.#address.value;
    if (!source) throw new CommandError(400, "source: choose a stream, or write an address");
    this.#handlers.onAdd(source);
    this.#address.value = "";
  }
}
