// A stream that the address names and the mesh does not have.

import { el, setText } from "../dom.js";
import { addressOf } from "../router.js";

export class MissingPage {
  #title = el("h2", { tabindex: "-1" });
  name = "";

  constructor() {
    this.element = el(
      "div",
      { class: "empty" },
      this.#title,
      el("p", { text: "It may have been removed, or its name is written differently. When it is started, its picture appears here by itself." }),
      el(
        "p",
        { class: "links" },
        el("a", { class: "button primary", href: addressOf("add"), text: "Add a stream" }),
        el("a", { class: "button", href: addressOf("wall"), text: "All streams" }),
      ),
    );
  }

  enter() {
    setText(this.#title, `There is no stream ${this.name}`);
    this.#title.focus();
  }

  leave() {}

  update() {}

  tick() {}
}
