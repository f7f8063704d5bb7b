// One input of a mix: its state, its sound, and, when it is chosen, how its picture is shown.

import { el, icon, setAttribute, setText } from "../dom.js";
import { BoxFields, decibels, iconButton, LiveField, percent } from "./controls.js";

const FITS = [["contain", "all of it"], ["cover", "fill the box, cut"], ["fill", "stretch"]];
const LOSSES = [["hold", "its last picture"], ["slate", "a slate"], ["hide", "what lies beneath"]];
const CROPS = [["left", "Left"], ["top", "Top"], ["right", "Right"], ["bottom", "Bottom"]];

export class InputRow {
  #name;
  #chip = el("span", { class: "chip" });
  #open = el("button", { type: "button", class: "mix-input-name" });
  #mute;
  #remove;
  #place = el("span", { class: "row-place" });
  #error = el("span", { class: "row-error" });
  #settings;
  #fields;
  #box;
  #crops;
  #layer = el("span", { class: "quiet" });
  #order = el("span", { class: "quiet" });
  #order_line;

  /** `handlers`: onChoose(name), onChange(name, edit of the input), onLayer(name, by), onOrder(name, by), onRemove(name). */
  constructor(name, handlers) {
    this.#name = name;
    const change = (edit) => handlers.onChange(name, edit);
    const set = (field) => (value) => change((input) => (input[field] = value));
    const live = (field, label, options) => [field, new LiveField(field, label, set(field), { of: name, ...options })];
    setText(this.#open, name);
    this.#open.addEventListener("click", () => handlers.onChoose(name));
    this.#mute = iconButton("soundOn", `Mute ${name}`, () => change((input) => (input.muted = !input.muted)), { "data-needs": "control", "data-action": "mute" });
    this.#remove = iconButton("close", `Take ${name} out`, () => handlers.onRemove(name), { "data-needs": "control", "data-action": "take-out" });
    this.#fields = Object.fromEntries([
      live("gain_db", "Gain", { type: "range", min: -60, max: 20, step: 1, said: decibels }),
      live("opacity", "Opacity", { type: "range", min: 0, max: 1, step: 0.05, said: percent }),
      live("fit", "Fit", { options: FITS }),
      live("on_loss", "When it is lost", { options: LOSSES }),
      live("radius", "Corners, pixels", { type: "number", min: 0, max: 8192, step: 1 }),
      live("border", "Border, pixels", { type: "number", min: 0, max: 512, step: 1 }),
      live("border_colour", "Border's colour", { type: "color" }),
    ]);
    this.#crops = CROPS.map(([side, label]) => [side, new LiveField(`crop_${side}`, label, (value) => change((input) => (input.crop = { ...input.crop, [side]: value / 100 })), { of: `the crop of ${name}`, type: "number", min: 0, max: 99, step: 1 })]);
    this.#box = new BoxFields(name, (box) => change((input) => (input.box = box)));
    this.#settings = this.#layOut(handlers);
    this.element = el(
      "li",
      { class: "row mix-input", "data-input": name },
      this.#open,
      el("span", { class: "row-actions" }, this.#chip, this.#mute, this.#remove),
      this.#place,
      this.#error,
      this.#settings,
    );
  }

  #layOut({ onLayer, onOrder }) {
    const { gain_db, opacity, fit, on_loss, radius, border, border_colour } = this.#fields;
    const step = (drawing, name, run) => iconButton(drawing, `${this.#name}: ${name}`, run);
    const line = (text, said, ...steps) => el("div", { class: "mix-layer" }, el("span", {}, `${text} `, said), ...steps);
    this.#order_line = line("Place", this.#order, step("back", "one place before", () => onOrder(this.#name, -1)), step("forward", "one place behind", () => onOrder(this.#name, 1)));
    return el(
      "div",
      { class: "mix-settings", "data-needs": "control" },
      this.#order_line,
      line("Layer", this.#layer, step("up", "to the front", () => onLayer(this.#name, 1)), step("down", "to the back", () => onLayer(this.#name, -1))),
      this.#box.element,
      el("div", { class: "pair" }, gain_db.element, opacity.element, fit.element, on_loss.element),
      el(
        "details",
        { class: "settings" },
        el("summary", { text: "Crop, corners and border" }),
        el("p", { class: "quiet", text: "Cut off each edge, in percent:" }),
        el("div", { class: "mix-four" }, ...this.#crops.map(([, { element }]) => element)),
        el("div", { class: "pair" }, radius.element, border.element, border_colour.element),
      ),
    );
  }

  focus() {
    this.#open.focus();
  }

  /** Show the input as it is asked for, with what the mixer sees of it. */
  update(input, { chosen, free, place, count, editable }) {
    setText(this.#chip, input.stateText);
    setAttribute(this.#chip, "data-tone", input.tone);
    setAttribute(this.#open, "aria-expanded", editable ? chosen : null);
    this.#open.disabled = !editable;
    this.element.toggleAttribute("data-chosen", chosen && editable);
    this.#mute.hidden = this.#remove.hidden = !editable;
    this.#remove.disabled = count === 1; // a mix has one input at least
    this.#showMute(input.muted);
    setText(this.#place, input.muted && !editable ? `${input.source} · muted` : input.source);
    setText(this.#error, input.error?.message ?? "");
    this.#error.hidden = !input.error;
    this.#settings.hidden = !chosen || !editable;
    if (this.#settings.hidden) return;
    setText(this.#layer, String(input.layer));
    setText(this.#order, `${place} of ${count}`);
    this.#order_line.hidden = free || count === 1; // where it is free, its box says where it is
    this.#box.show(free ? input.box : null);
    for (const [name, field] of Object.entries(this.#fields)) field.show(input[name]);
    for (const [side, field] of this.#crops) field.show(Math.round((input.crop?.[side] ?? 0) * 100));
  }

  #showMute(muted) {
    if (this.#mute.dataset.muted === String(muted)) return;
    this.#mute.dataset.muted = String(muted);
    this.#mute.replaceChildren(icon(muted ? "soundOff" : "soundOn"));
    setAttribute(this.#mute, "aria-pressed", muted);
    setAttribute(this.#mute, "title", muted ? `Let ${this.#name} be heard` : `Mute ${this.#name}`);
  }
}
