// One mix: its picture with the boxes that it is made of, and all that can be changed of it while it runs.

import { el, icon, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { addressOf, go } from "../router.js";
import { Boxes } from "./boxes.js";
import { mayMix } from "./controls.js";
import { deleteMix } from "./deleting.js";
import { Draft } from "./draft.js";
import { Inputs } from "./inputs.js";
import { LayoutCard } from "./layout.js";
import { figuresOf, inputName, isSlow, mixesOf, placeFor, reorder, restack, setFree, setSize, sizeOf } from "./model.js";
import { Overlays } from "./overlays.js";
import { mixable } from "./page.js";
import { partsOf, placePart } from "./parts.js";
import { Problem } from "./problem.js";
import { Screen } from "./screen.js";

export class MixPage {
  name = "";
  #mesh;
  #mix = null; // as the mesh has it
  #draft = null;
  #screen = null;
  #shown_editable = null;
  #chosen = null; // an input's name, `logo:0` or `text:0`
  #boxes = new Boxes({ onSelect: (key) => this.#choose(key), onPlace: (key, box) => this.#draft.change((spec) => placePart(spec, key, box)) });
  #title = el("h2", { tabindex: "-1" });
  #chip = el("span", { class: "chip" });
  #delete = el("button", { type: "button", class: "button danger", text: "Delete", "data-needs": "control" });
  #listen = el("button", { type: "button", class: "button", "data-needs": "control", on: { click: () => this.#hear(this.#screen.player.report.muted) } });
  #watch = el("a", { class: "button", text: "Watch" });
  #head;
  #note = el("p", { class: "made", hidden: true });
  #error = el("p", { class: "form-error", role: "alert", hidden: true });
  #problem = new Problem({ onMine: () => this.#draft.keepMine(), onTheirs: () => this.#draft.takeTheirs() });
  #place = el("div", { class: "mix-place" }); // of the picture
  #figures = el("p", { class: "mix-figures" });
  #said = el("p", { class: "quiet" });
  #layout = new LayoutCard({ onLayout: (layout) => this.#setLayout(layout), onSize: (size) => this.#draft.change((spec) => setSize(spec, size)), onSet: (field, value) => this.#draft.change((spec) => (spec[field] = value)) });
  #inputs = new Inputs({
    onChoose: (name) => this.#choose(this.#chosen === name ? null : name),
    onChange: (name, edit) => this.#draft.change((spec) => edit(spec.inputs.find(({ input }) => input === name))),
    onLayer: (name, by) => this.#draft.change((spec) => restack(spec, name, by)),
    onOrder: (name, by) => this.#draft.change((spec) => reorder(spec, name, by)),
    onRemove: (name) => this.#takeOut(name),
    onAdd: (source) => this.#add(source),
  });
  #overlays = new Overlays({ onChoose: (key) => this.#choose(this.#chosen === key ? null : key), onChange: (edit) => this.#draft.change(edit) });
  #body;

  constructor(mesh) {
    this.#mesh = mesh;
    const back = el("a", { class: "button square", href: addressOf("mixes"), "aria-label": "Back to all mixes", title: "All mixes" }, icon("back"));
    this.#delete.addEventListener("click", async () => {
      if (await deleteMix(this.name, this.#delete)) go("mixes");
    });
    this.#head = el("div", { class: "mix-head" }, back, this.#title, this.#chip, el("span", { class: "mix-head-end" }, this.#listen, this.#watch, this.#delete));
    this.#body = el(
      "div",
      { class: "mix-columns" },
      el("div", { class: "mix-main" }, el("section", { class: "card mix-picture", "aria-label": "Picture" }, this.#place, el("div", { class: "mix-under" }, this.#figures, this.#said), this.#error, this.#problem.element), this.#layout.element),
      el("div", { class: "stack" }, this.#inputs.element, this.#overlays.element),
    );
    this.element = el("div", { class: "stack mixes mix-page" }, this.#head, this.#note, this.#body);
  }

  enter() {
    this.#mix = null;
    this.#chosen = null;
    setText(this.#title, this.name);
    setAttribute(this.#watch, "href", addressOf("stream", this.name));
    this.#draft = new Draft(this.name, () => this.#show());
    this.#screen = new Screen(this.name, this.#mesh.clock, this.#boxes.element);
    this.#place.replaceChildren(this.#screen.element);
    this.#screen.start();
    this.#hear(false);
    this.update();
    this.#title.focus();
  }

  leave() {
    this.#draft.close();
    this.#screen.stop();
    this.#screen.player.close();
  }

  tick() {
    if (this.#shown_editable !== this.#editable) this.#show(); // the token's rights are known by now
    this.#showFigures();
  }

  update() {
    this.#mix = mixesOf(this.#mesh.status).find(({ name }) => name === this.name) ?? null;
    const entry = (this.#mesh.status?.mixes ?? []).find(({ spec }) => spec.mix === this.name);
    if (entry) this.#draft.follow(entry);
    this.#show();
  }

  get #editable() {
    return mayMix() && this.#mix !== null && !this.#mix.task;
  }

  // What is asked for here, with what the mesh sees of it.
  #showInputs() {
    const seen = new Map(this.#mix.inputs.map((input) => [input.input, input]));
    return this.#draft.spec.inputs.map((input) => ({ stateText: "new", tone: "off", seenBox: null, error: null, ...seen.get(input.input), ...input }));
  }

  #show() {
    const there = this.#mix !== null && this.#draft.spec !== null;
    this.#body.hidden = this.#listen.hidden = this.#delete.hidden = this.#watch.hidden = this.#chip.hidden = !there;
    if (!there) return this.#showMissing();
    const { spec, problem } = this.#draft;
    const editable = (this.#shown_editable = this.#editable);
    const inputs = this.#showInputs();
    setText(this.#chip, this.#mix.stateText);
    setAttribute(this.#chip, "data-tone", this.#mix.tone);
    this.#delete.hidden = !editable;
    this.#listen.hidden = !editable || !spec.sound || this.#mix.over;
    this.#watch.hidden = this.#mix.over;
    this.#showNotes();
    this.#problem.show(problem);
    this.#layout.element.hidden = this.#overlays.element.hidden = !editable;
    if (editable) {
      this.#layout.update(spec);
      this.#overlays.update(spec, this.#chosen);
    }
    const others = mixable(this.#mesh.streams).filter((name) => name !== this.name);
    this.#inputs.update(inputs, others, { chosen: this.#chosen, free: spec.layout === "free", editable });
    this.#screen.update(spec, this.#mesh.streams.find(({ name }) => name === this.name) ?? null, this.#mix.over ? this.#mix.stateText : "");
    this.#boxes.show(partsOf(spec, inputs, editable), sizeOf(spec.size), editable ? this.#chosen : null);
    this.#showFigures();
  }

  #showMissing() {
    const known = this.#mesh.status !== null;
    this.#note.hidden = !known;
    setText(this.#note, known ? `There is no mix ${this.name}. It may have been deleted, or its name is written differently.` : "");
  }

  #showNotes() {
    const { task, state, error, behind } = this.#mix;
    const again = state === "ended" && this.#editable ? "; the next change begins it anew" : "";
    const why = task
      ? `CloudMix task ${task} has made this mix, and it alone changes and ends it: what is changed here would be undone by its next update. Use UpdateCloudMixTask and DeleteCloudMixTask.`
      : mayMix() ? "" : "Your token lets you look. To change mixes it needs the right control for all streams.";
    this.#note.hidden = !why;
    setText(this.#note, why);
    setText(this.#error, error ? `${behind ? "What is seen is the layout before. " : ""}${error.message}${again}` : "");
    this.#error.hidden = !error;
    this.#error.classList.toggle("note", state === "ended");
  }

  #showFigures() {
    if (!this.#mix?.actual) return setText(this.#figures, "");
    const { started_ns = 0, node } = this.#mix.actual;
    const since = started_ns && !this.#mix.over ? `for ${format.since(started_ns, Date.now())}` : "";
    setText(this.#figures, [figuresOf(this.#mix), since, `on ${node}`].filter(Boolean).join(" · "));
    setAttribute(this.#figures, "data-tone", isSlow(this.#mix) ? "warn" : null);
    setText(this.#said, this.#draft?.busy ? "Sending …" : "");
  }

  // Gains and mutes are best set by ear.
  #hear(audible) {
    this.#screen.player.setMuted(!audible);
    this.#listen.replaceChildren(icon(audible ? "soundOn" : "soundOff"), "Listen");
    setAttribute(this.#listen, "aria-pressed", audible);
  }

  #choose(key) {
    this.#chosen = key;
    this.#show();
  }

  #setLayout(layout) {
    const seen = new Map(this.#showInputs().map(({ input, seenBox }) => [input, seenBox]));
    this.#draft.change((spec) => (layout === "free" ? spec.layout !== "free" && setFree(spec, seen) : (spec.layout = layout)));
  }

  #add(source) {
    this.#draft.change((spec) => {
      const input = inputName(source, spec.inputs.map((one) => one.input));
      const top = Math.max(0, ...spec.inputs.map(({ layer }) => layer));
      const usual = { opacity: 1, fit: "contain", gain_db: 0, muted: false, radius: 0, border: 0, border_colour: "#ffffff", on_loss: "hold" };
      spec.inputs.push({ ...usual, input, source, layer: top + 1, box: spec.layout === "free" ? placeFor(spec.inputs.length, ...sizeOf(spec.size)) : null });
      this.#chosen = input;
    });
  }

  #takeOut(name) {
    if (this.#chosen === name) this.#chosen = null;
    this.#draft.change((spec) => {
      spec.inputs = spec.inputs.filter(({ input }) => input !== name);
      if (spec.focus === name) spec.focus = null;
    });
    this.#inputs.focus(this.#draft.spec.inputs[0].input); // the button is gone
  }
}
