// Make a mix: its name, which streams, and how they are laid out.

import { call, CommandError } from "../commands.js";
import { el } from "../dom.js";
import { Field, Form, NAME } from "../form.js";
import { addressOf } from "../router.js";
import { toast } from "../toasts.js";
import { inputName, LAYOUTS, MESH, placeFor, SERVICE, SIZES, sizeOf } from "./model.js";

const CONFLICT = 409; // it was there before
const OFFERED = LAYOUTS.map(([value, text]) => [value, text]);

export class CreateForm {
  #name = new Field("mix", "Name", { required: true, ...NAME, placeholder: "wall", help: `${NAME.help} The stream that it makes is called so too.` });
  #streams = el("div", { class: "mix-choice" });
  #none = el("p", { class: "none", text: "No stream runs yet; an address will do." });
  #address = new Field("inputs", "And an address", { inputmode: "url", placeholder: "https://host/clip.mp4", help: "What a stream can be made of, or a .png, .jpg or .webp. It comes and goes with the mix." });
  #layout = new Field("layout", "Layout", { options: OFFERED });
  #size = new Field("size", "Size", { options: SIZES.map((size) => [size, size.replace("x", "×")]) });
  #form;
  #made = el("p", { class: "made", hidden: true });
  #names = [];
  #taken = [];
  #onMade;

  /** `onMade(name)` is told of the mix. */
  constructor(onMade) {
    this.#onMade = onMade;
    const fields = [this.#name, this.#address, this.#layout, this.#size];
    const choice = el("fieldset", { class: "mix-streams" }, el("legend", { text: "Streams" }), this.#none, this.#streams);
    const layout = [this.#name.element, choice, this.#address.element, el("div", { class: "pair" }, this.#layout.element, this.#size.element)];
    this.#form = new Form(fields, "Make the mix", () => this.#create(), { layout, label: "New mix" });
    this.element = el("div", { class: "stack" }, this.#form.element, this.#made);
  }

  /** `names` of streams that can be mixed; `taken` is what the mix cannot be called. */
  update(names, taken) {
    this.#taken = taken;
    if (JSON.stringify(names) === JSON.stringify(this.#names)) return;
    this.#names = names;
    const checked = this.#chosen;
    this.#none.hidden = names.length > 0;
    this.#streams.replaceChildren(...names.map((name) => {
      const id = `mix-of-${name}`;
      const box = el("input", { type: "checkbox", class: "check", id, value: name });
      box.checked = checked.includes(name);
      return el("div", { class: "check-line" }, box, el("label", { for: id, text: name }));
    }));
  }

  leave() {
    this.#made.hidden = true;
  }

  get #chosen() {
    return [...this.#streams.querySelectorAll("input:checked")].map(({ value }) => value);
  }

  async #create() {
    this.#made.hidden = true;
    const mix = this.#name.value;
    if (!mix) throw new CommandError(400, "mix: give it a name");
    if (this.#taken.includes(mix)) throw new CommandError(409, `mix: ${mix} is there already; choose another name`);
    const inputs = this.#inputs();
    if (!inputs.length) throw new CommandError(400, "inputs: choose a stream, or write an address");
    try {
      await call(`${SERVICE}.create`, { mix, inputs, layout: this.#layout.value, size: this.#size.value });
    } catch (error) {
      // What was asked for is kept, and tried again: a source may come later.
      if (error instanceof CommandError && error.code !== CONFLICT && (await exists(mix))) this.#tellMade(mix);
      throw error;
    }
    toast(`${mix} is there`);
    this.#form.element.reset();
    this.#onMade(mix);
  }

  #inputs() {
    const sources = [...this.#chosen.map((name) => `${MESH}${name}`), this.#address.value].filter(Boolean);
    const names = [];
    return sources.map((source, index) => {
      const input = inputName(source, names);
      names.push(input);
      const box = this.#layout.value === "free" ? placeFor(index, ...sizeOf(this.#size.value)) : null;
      return { input, source, layer: index + 1, ...(box ? { box } : {}) };
    });
  }

  #tellMade(mix) {
    this.#made.replaceChildren("The mix has been made all the same, and is tried again. ", el("a", { href: addressOf("mixes", mix), text: `Open ${mix}` }), " to correct or delete it.");
    this.#made.hidden = false;
  }
}

async function exists(mix) {
  try {
    await call(`${SERVICE}.get`, { mix });
    return true;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}
