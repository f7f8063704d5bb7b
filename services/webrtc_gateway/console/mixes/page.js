// Mixes: all of them with their pictures, and a form for another one.

import { el } from "../dom.js";
import { commandBox } from "../empty.js";
import { go } from "../router.js";
import { MixCard } from "./card.js";
import { mayMix } from "./controls.js";
import { CreateForm } from "./create.js";
import { mixesOf } from "./model.js";

export class MixesPage {
  #mesh;
  #list = el("ul", { class: "mix-cards", "aria-label": "Mixes" });
  #cards = new Map(); // name -> MixCard
  #lesson = el("div", { class: "lesson", hidden: true });
  #taught = "";
  #title = el("h2", { text: "Mixes", tabindex: "-1" });
  #form = new CreateForm((mix) => go("mixes", mix));
  #entered = false;

  constructor(mesh) {
    this.#mesh = mesh;
    const intro = "Pictures and sound of several streams as one stream, which is watched, recorded and mixed again like any other.";
    this.element = el(
      "div",
      { class: "columns mixes" },
      el("section", { class: "card", "aria-label": "Mixes" }, this.#title, this.#lesson, this.#list),
      el("section", { class: "card", "aria-label": "New mix", "data-needs": "control" }, el("h2", { text: "New mix" }), el("p", { class: "quiet", text: intro }), this.#form.element),
    );
  }

  enter() {
    this.#entered = true;
    this.update();
    for (const card of this.#cards.values()) card.start();
    this.#title.focus();
  }

  leave() {
    this.#entered = false;
    for (const card of this.#cards.values()) card.stop();
    this.#form.leave();
  }

  tick() {}

  update() {
    const mixes = mixesOf(this.#mesh.status);
    const names = new Set(mixes.map(({ name }) => name));
    for (const [name, card] of this.#cards) if (!names.has(name)) this.#remove(name, card);
    mixes.forEach((mix, index) => {
      const card = this.#cards.get(mix.name) ?? this.#add(mix.name);
      card.update(mix, this.#mesh.streams.find(({ name }) => name === mix.name) ?? null, mayMix());
      // Moving a video in the document pauses it, so only those out of place move.
      if (this.#list.children[index] !== card.element) this.#list.insertBefore(card.element, this.#list.children[index] ?? null);
    });
    const streams = mixable(this.#mesh.streams);
    this.#form.update(streams, [...this.#mesh.streams, ...mixes].map(({ name }) => name));
    this.#lesson.hidden = mixes.length > 0 || this.#mesh.status === null;
    if (!this.#lesson.hidden) this.#teach(streams);
  }

  #add(name) {
    const card = new MixCard(name, this.#mesh.clock, () => this.#title.focus());
    this.#cards.set(name, card);
    if (this.#entered) card.start();
    return card;
  }

  #remove(name, card) {
    card.stop();
    card.element.remove();
    this.#cards.delete(name);
  }

  // With the names of streams that are there, so that what is copied works.
  #teach(streams) {
    const [one = "cam0", two = "cam1"] = streams;
    if (this.#taught === `${one} ${two}`) return;
    this.#taught = `${one} ${two}`;
    this.#lesson.replaceChildren(
      el("p", { text: "There is none yet. A mix shows several streams in one picture: side by side, one in a corner of the other, or wherever you put them. Fill in the form, or use a shell:" }),
      commandBox("Two streams side by side", `framemesh mix create wall mesh://${one} mesh://${two} --layout grid`),
      commandBox("Then another layout, while it runs", `framemesh mix update wall --layout focus --focus ${two} --fade 500ms`),
    );
  }
}

/** Names of streams that can be put into a mix; not those that were made for one. */
export function mixable(streams) {
  return streams.filter(({ name, spec }) => !spec.made_for || spec.made_for === name).map(({ name }) => name);
}
