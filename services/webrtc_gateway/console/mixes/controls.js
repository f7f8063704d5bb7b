// Controls that change a mix while they are used: they show what is, and leave alone what is being written.

import { el, icon, setAttribute, setText } from "../dom.js";
import { Field } from "../form.js";

const WRITTEN = new Set(["text", "number"]);

/** Whoever looks and may not change: the mesh judges every command all the same. */
export function mayMix() {
  // Mixes are of many streams: with a token for some of them they can be looked at.
  return document.body.hasAttribute("data-may-control") && document.body.hasAttribute("data-sees-all");
}

/** A field whose every valid value is told: `onValue(value)`. Options as of Field; `of` is what it belongs to. */
export class LiveField {
  #field;
  #read;
  #text = null; // of a slider: its value as it is said

  constructor(name, label, onValue, { of = "", late = false, said = null, ...options } = {}) {
    this.#field = new Field(name, label, options);
    this.element = this.#field.element;
    const { control } = this.#field;
    const type = options.type ?? "text";
    this.#read = type === "checkbox" ? () => control.checked : ["number", "range"].includes(type) ? () => (control.value === "" ? null : Number(control.value)) : () => control.value.trim();
    if (of) setAttribute(control, "aria-label", `${label} of ${of}`);
    if (said) {
      this.#text = { said, node: el("output", { class: "slider-said", for: control.id }) };
      this.element.querySelector("label").append(this.#text.node);
    }
    control.addEventListener(late ? "change" : "input", () => {
      if (!control.checkValidity()) return this.#field.setError(control.validationMessage);
      const value = this.#read();
      this.#say(value);
      if (value !== null && value !== "") onValue(value);
    });
  }

  get control() {
    return this.#field.control;
  }

  show(value) {
    this.#say(value);
    const { control } = this.#field;
    if (document.activeElement === control && WRITTEN.has(control.type)) return;
    if (this.#read() !== value) this.#field.value = value ?? "";
  }

  setOptions(options) {
    this.#field.setOptions(options);
  }

  #say(value) {
    if (this.#text) setText(this.#text.node, this.#text.said(value));
  }
}

/** Four numbers of a box. `onBox(box)`. */
export class BoxFields {
  #fields;
  #box = null;

  constructor(of, onBox) {
    const sides = [["x", "Left", -16384], ["y", "Top", -16384], ["width", "Width", 2], ["height", "Height", 2]];
    this.#fields = sides.map(([side, label, min]) => [side, new LiveField(side, label, (value) => onBox({ ...this.#box, [side]: value }), { of, type: "number", min, max: 16384, step: 1 })]);
    this.element = el("div", { class: "mix-four" }, ...this.#fields.map(([, { element }]) => element));
  }

  show(box) {
    this.#box = box;
    this.element.hidden = !box;
    for (const [side, field] of this.#fields) if (box) field.show(box[side]);
  }
}

/** A small button with a drawing and a name. */
export function iconButton(drawing, name, onClick, more = {}) {
  return el("button", { type: "button", class: "button small square", "aria-label": name, title: name, on: { click: onClick }, ...more }, icon(drawing));
}

export const percent = (share) => `${Math.round(share * 100)} %`;
export const decibels = (gain) => `${gain > 0 ? "+" : ""}${Number(gain)} dB`;
