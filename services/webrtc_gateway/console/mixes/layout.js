// How a mix is laid out: the kind of layout, its canvas, and how one layout becomes the next.

import { el, setAttribute, setText } from "../dom.js";
import { LiveField } from "./controls.js";
import { LAYOUTS, SIZES } from "./model.js";

const FADES = [["", "at once"], ["200ms", "fade, 0.2 s"], ["500ms", "fade, 0.5 s"], ["1s", "fade, 1 s"], ["2s", "fade, 2 s"]];
const RATES = [10, 15, 24, 25, 30, 50, 60];

export class LayoutCard {
  #kinds;
  #focus;
  #gap;
  #size;
  #rate;
  #colour;
  #fade;
  #hint = el("p", { class: "quiet" });

  /** `handlers`: onLayout(layout), onSize(size), onSet(field, value). */
  constructor({ onLayout, onSize, onSet }) {
    const set = (field) => (value) => onSet(field, value);
    this.#kinds = el("div", { class: "kinds", role: "group", "aria-label": "Layout" }, ...LAYOUTS.map(([layout, text]) => (
      el("button", { type: "button", class: "kind", "data-layout": layout, text, on: { click: () => onLayout(layout) } })
    )));
    this.#focus = new LiveField("focus", "The large one", set("focus"), { options: [] });
    this.#gap = new LiveField("gap", "Gap, pixels", set("gap"), { type: "number", min: 0, max: 256, step: 1 });
    this.#size = new LiveField("size", "Size", onSize, { options: SIZES });
    this.#rate = new LiveField("fps", "Pictures a second", (value) => onSet("fps", Number(value)), { options: RATES.map(String) });
    this.#colour = new LiveField("background", "Canvas", set("background"), { type: "color" });
    this.#fade = new LiveField("fade", "Changes", (value) => onSet("fade", value === "at once" ? null : value), { options: FADES.map(([value, text]) => [value || "at once", text]) });
    const fields = [this.#focus, this.#gap, this.#size, this.#rate, this.#colour, this.#fade];
    this.element = el("section", { class: "card", "aria-label": "Layout", "data-needs": "control" }, el("h2", { text: "Layout" }), this.#kinds, this.#hint, el("div", { class: "mix-fields" }, ...fields.map(({ element }) => element)));
  }

  update(spec) {
    for (const button of this.#kinds.children) setAttribute(button, "aria-pressed", button.dataset.layout === spec.layout);
    const one = ["focus", "picture-in-picture"].includes(spec.layout);
    setText(this.#hint, spec.layout === "free" ? "Drag the boxes over the picture, or their corner for the size (Shift keeps the shape). Arrow keys move the one that is chosen, with Shift they change its size. All of it snaps to 8 pixels." : "Inputs find their places by themselves. Free lets you move them from where they are.");
    this.#focus.element.hidden = !one;
    this.#gap.element.hidden = spec.layout === "free";
    this.#focus.setOptions(spec.inputs.map(({ input }) => input));
    this.#focus.show(spec.focus ?? spec.inputs[0]?.input ?? "");
    this.#gap.show(spec.gap);
    this.#size.setOptions(SIZES.includes(spec.size) ? named(SIZES) : named([...SIZES, spec.size]));
    this.#size.show(spec.size);
    const rate = String(Number(spec.fps.toFixed(3)));
    this.#rate.setOptions(RATES.map(String).includes(rate) ? RATES.map(String) : [...RATES.map(String), rate]);
    this.#rate.show(rate);
    this.#colour.show(spec.background.toLowerCase());
    const known = FADES.some(([value]) => value === (spec.fade ?? ""));
    if (!known) this.#fade.setOptions([...FADES.map(([value, text]) => [value || "at once", text]), [spec.fade, `fade, ${spec.fade}`]]);
    this.#fade.show(spec.fade ?? "at once");
  }
}

function named(sizes) {
  return sizes.map((size) => [size, size.replace("x", "×")]);
}
