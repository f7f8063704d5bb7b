// Logos and texts over the inputs of a mix.

import { el, setText } from "../dom.js";
import { Field, Form } from "../form.js";
import { CommandError } from "../commands.js";
import { BoxFields, iconButton, LiveField, percent } from "./controls.js";

const MOST = 8; // of each
const CLOCK = "{now:%H:%M:%S}";
const AT_PX = 32; // where a new one is
const LOGO_SHARE = 0.2; // of the canvas' width

export class Overlays {
  #list = el("ul", { class: "rows", "aria-label": "Logos and texts" });
  #rows = new Map(); // key -> LogoRow or TextRow
  #none = el("p", { class: "none", text: "None yet." });
  #handlers;
  #buttons;
  #logo = new Field("logo", "Logo", { inputmode: "url", placeholder: "https://host/logo.png", help: "A URL or file:// that ends in .png, .jpg or .webp; what is transparent stays so." });

  /** `handlers`: onChoose(key), onChange(edit of the spec). Keys are `logo:0`, `text:0`, which no input can be called. */
  constructor(handlers) {
    this.#handlers = handlers;
    const add = (text, make) => el("button", { type: "button", class: "button small", text, on: { click: make } });
    this.#buttons = el("div", { class: "links" }, add("Add a text", () => this.#addText("Text")), add("Add a clock", () => this.#addText(CLOCK)));
    const form = new Form([this.#logo], "Add the logo", () => this.#addLogo(), { label: "Add a logo" });
    const more = el("details", { class: "settings", "data-needs": "control" }, el("summary", { text: "Add a logo" }), form.element);
    this.element = el("section", { class: "card", "aria-label": "Logos and texts", "data-needs": "control" }, el("h2", { text: "Logos and texts" }), this.#none, this.#list, this.#buttons, more);
  }

  update(spec, chosen) {
    const parts = [...spec.logos.map((logo, index) => [`logo:${index}`, logo]), ...spec.texts.map((text, index) => [`text:${index}`, text])];
    for (const [key, row] of this.#rows) {
      if (parts.some(([one]) => one === key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    parts.forEach(([key, part], index) => {
      const row = this.#rows.get(key) ?? new OverlayRow(key, this.#handlers);
      this.#rows.set(key, row);
      row.update(part, chosen === key);
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
    this.#none.hidden = parts.length > 0;
    for (const button of this.#buttons.children) button.disabled = spec.texts.length >= MOST;
  }

  #addText(text) {
    const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    this.#handlers.onChange((spec) => {
      const [height] = spec.size.split("x").slice(1).map(Number);
      const size = Math.max(12, Math.round(height / 20));
      spec.texts.push({ text, x: AT_PX, y: AT_PX + spec.texts.length * (size + 16), size, colour: "#ffffff", background: "#000000", opacity: 1, timezone });
      this.#handlers.onChoose(`text:${spec.texts.length - 1}`);
    });
  }

  #addLogo() {
    const source = this.#logo.value;
    if (!source) throw new CommandError(400, "logo: write where it is");
    this.#handlers.onChange((spec) => {
      const width = Math.max(16, Math.round((Number(spec.size.split("x")[0]) * LOGO_SHARE) / 8) * 8);
      const height = Math.max(8, Math.round(width / 16) * 8);
      spec.logos.push({ source, box: { x: AT_PX, y: AT_PX, width, height }, opacity: 1 });
      this.#handlers.onChoose(`logo:${spec.logos.length - 1}`);
    });
    this.#logo.value = "";
  }
}

// One logo or one text. Its key is its place in the list, so what it shows may become another's.
class OverlayRow {
  #open = el("button", { type: "button", class: "mix-input-name" });
  #settings;
  #fields;
  #box = null;

  constructor(key, { onChoose, onChange }) {
    const [kind, place] = key.split(":");
    const list = `${kind}s`;
    const of = `${kind} ${Number(place) + 1}`;
    const change = (edit) => onChange((spec) => edit(spec[list][place]));
    const live = (field, label, options) => [field, new LiveField(field, label, (value) => change((part) => (part[field] = value)), { of, ...options })];
    const number = { type: "number", step: 1, min: -16384, max: 16384 };
    const opacity = live("opacity", "Opacity", { type: "range", min: 0, max: 1, step: 0.05, said: percent });
    this.#fields = Object.fromEntries(kind === "logo"
      ? [live("source", "Address", { late: true, inputmode: "url" }), opacity]
      : [
          live("text", "Text", { maxlength: 512, help: `${CLOCK} is the time of the picture.` }),
          live("timezone", "Time zone", { late: true, maxlength: 64 }),
          live("size", "Height, pixels", { type: "number", min: 6, max: 1024, step: 1 }),
          live("colour", "Colour", { type: "color" }),
          live("background", "Ground", { type: "color" }),
          opacity,
          live("x", "Left", number),
          live("y", "Top", number),
        ]);
    const filled = new LiveField("filled", "Ground behind it", (value) => change((part) => (part.background = value ? "#000000" : null)), { of, type: "checkbox" });
    if (kind === "text") this.#fields.filled = filled;
    if (kind === "logo") this.#box = new BoxFields(of, (box) => change((part) => (part.box = box)));
    this.#open.addEventListener("click", () => onChoose(key));
    const remove = iconButton("close", `Take ${of} away`, () => {
      onChange((spec) => spec[list].splice(place, 1));
      onChoose(null);
    });
    this.#settings = el("div", { class: "mix-settings" }, ...(this.#box ? [this.#box.element] : []), el("div", { class: "pair" }, ...Object.values(this.#fields).map(({ element }) => element)));
    this.element = el("li", { class: "row mix-input", "data-overlay": key }, this.#open, el("span", { class: "row-actions" }, remove), this.#settings);
  }

  update(part, chosen) {
    setText(this.#open, part.text ?? part.source.split("/").at(-1));
    this.#open.setAttribute("aria-expanded", String(chosen));
    this.element.toggleAttribute("data-chosen", chosen);
    this.#settings.hidden = !chosen;
    if (!chosen) return;
    this.#box?.show(part.box);
    for (const [name, field] of Object.entries(this.#fields)) field.show(name === "filled" ? part.background !== null : part[name]);
    if (this.#fields.background) this.#fields.background.element.hidden = part.background === null;
  }
}
