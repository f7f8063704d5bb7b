// One mix of the list: its live picture with the places of its inputs, how they are, and what it does.

import { el, setAttribute, setText } from "../dom.js";
import { addressOf } from "../router.js";
import { Boxes } from "./boxes.js";
import { deleteMix } from "./deleting.js";
import { boxOf, drawnOrder, figuresOf, isSlow, shapeOf, sizeOf } from "./model.js";
import { Screen } from "./screen.js";

export class MixCard {
  #name;
  #boxes = new Boxes();
  #screen;
  #heading = el("a", { class: "mix-name" });
  #chip = el("span", { class: "chip" });
  #shape = el("span", { class: "quiet" });
  #figures = el("span", { class: "mix-figures" });
  #inputs = el("ul", { class: "mix-input-chips", "aria-label": "Inputs" });
  #task = el("p", { class: "quiet", hidden: true });
  #error = el("p", { class: "form-error", hidden: true });
  #delete = el("button", { type: "button", class: "button small", text: "Delete", "data-needs": "control" });
  #open;
  #watch;
  #shown = "";

  constructor(name, clock, onDeleted) {
    this.#name = name;
    this.#screen = new Screen(name, clock, this.#boxes.element);
    setText(this.#heading, name);
    setAttribute(this.#heading, "href", addressOf("mixes", name));
    setAttribute(this.#delete, "aria-label", `Delete ${name}`);
    this.#delete.addEventListener("click", async () => {
      if (await deleteMix(name, this.#delete)) onDeleted();
    });
    this.#open = el("a", { class: "button small", href: addressOf("mixes", name) });
    this.#watch = el("a", { class: "button small", href: addressOf("stream", name), text: "Watch", "aria-label": `Watch ${name} as a stream` });
    this.element = el(
      "li",
      { class: "mix-card", "data-mix": name },
      this.#screen.element,
      el(
        "div",
        { class: "mix-said" },
        el("div", { class: "line" }, el("h3", {}, this.#heading), this.#chip, el("span", { class: "mix-shape" }, this.#shape)),
        this.#inputs,
        this.#figures,
        this.#task,
        this.#error,
        el("div", { class: "links" }, this.#open, this.#watch, this.#delete),
      ),
    );
  }

  start() {
    this.#screen.start();
  }

  stop() {
    this.#screen.stop();
  }

  update(mix, stream, editable) {
    setText(this.#chip, mix.stateText);
    setAttribute(this.#chip, "data-tone", mix.tone);
    setText(this.#shape, shapeOf(mix.spec));
    setText(this.#figures, figuresOf(mix));
    setAttribute(this.#figures, "data-tone", isSlow(mix) ? "warn" : null);
    setText(this.#task, mix.task ? `Made by CloudMix task ${mix.task}, which alone changes and ends it.` : "");
    this.#task.hidden = !mix.task;
    setText(this.#error, mix.error?.message ?? "");
    this.#error.hidden = !mix.error;
    this.#error.classList.toggle("note", mix.state === "ended");
    this.#watch.hidden = mix.over;
    this.#delete.hidden = !editable || Boolean(mix.task);
    const edits = editable && !mix.task;
    setText(this.#open, edits ? "Edit" : "Look");
    setAttribute(this.#open, "aria-label", `${edits ? "Edit" : "Look at"} ${this.#name}`);
    this.#showInputs(mix);
    this.#screen.update(mix.spec, stream, mix.over || mix.state === "starting" ? mix.stateText : "");
    const parts = drawnOrder(mix.inputs).map((input) => ({ key: input.input, label: input.input, kind: "input", tone: input.tone, box: boxOf(mix.spec, input) }));
    this.#boxes.show(parts.filter(({ box }) => box), sizeOf(mix.spec.size));
  }

  #showInputs({ inputs }) {
    const said = inputs.map(({ input, stateText, tone, muted, error }) => [input, stateText, tone, muted, error?.message ?? ""]);
    const shown = JSON.stringify(said);
    if (shown === this.#shown) return; // leave a text selection alone
    this.#shown = shown;
    this.#inputs.replaceChildren(...said.map(([input, stateText, tone, muted, error]) => el(
      "li",
      {},
      el("span", { class: "chip", "data-tone": tone }, `${input} · ${stateText}${muted ? " · muted" : ""}`),
      ...(error ? [el("span", { class: "row-error", text: error })] : []),
    )));
  }
}
