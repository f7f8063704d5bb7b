// A stream that the address names and the mesh does not have, or the token is not for.

import { call, CommandError } from "../commands.js";
import { el, setText } from "../dom.js";
import { removedStream } from "../removed.js";
import { addressOf } from "../router.js";
import { learnRights } from "../signin.js";
import { toast } from "../toasts.js";

export class MissingPage {
  #title = el("h2", { tabindex: "-1" });
  #text = el("p");
  #again = el("button", { type: "button", class: "button primary stop" });
  name = "";

  constructor() {
    this.#again.addEventListener("click", () => this.#start());
    this.element = el(
      "div",
      { class: "empty" },
      this.#title,
      this.#text,
      el(
        "p",
        { class: "links" },
        this.#again,
        el("a", { class: "button", href: addressOf("add"), "data-needs": "control", text: "Add a stream" }),
        el("a", { class: "button", href: addressOf("wall"), text: "All streams" }),
      ),
    );
  }

  enter() {
    setText(this.#title, `There is no stream ${this.name}`);
    setText(this.#text, "It may have been removed, or its name is written differently. When it is started, its picture appears here by itself.");
    setText(this.#again, `Start ${this.name} again`);
    this.#again.hidden = removedStream(this.name) === null;
    this.#again.disabled = false;
    this.#title.focus();
    this.#tellRights();
  }

  leave() {}

  update() {}

  tick() {}

  async #tellRights() {
    const { name } = this;
    const rights = await learnRights();
    if (name !== this.name || !rights?.tokens || rights.streams.some((pattern) => covers(pattern, name))) return;
    setText(this.#title, `Your token is not for ${name}`);
    setText(this.#text, `It is for ${rights.streams.join(", ")}. Ask whoever runs this mesh for one with scope view:${name}, then sign in with it on the system page.`);
  }

  async #start() {
    this.#again.disabled = true;
    try {
      await call("capture.start", removedStream(this.name));
      toast(`${this.name} is started again`);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
      this.#again.disabled = false;
    }
  }
}

function covers(pattern, stream) {
  return pattern.endsWith("*") ? stream.startsWith(pattern.slice(0, -1)) : stream === pattern;
}
