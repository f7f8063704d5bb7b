// What stands between a change made here and the mesh, with what can be done about it.

import { el, setText } from "../dom.js";

// Kind -> [text of the button that sends again, of the one that gives up]
const WAYS = {
  conflict: ["Keep mine", "Take theirs"],
  refused: ["Try again", "Put it back"],
};

export class Problem {
  #text = el("span");
  #mine = el("button", { type: "button", class: "button small" });
  #theirs = el("button", { type: "button", class: "button small" });

  constructor({ onMine, onTheirs }) {
    this.#mine.addEventListener("click", onMine);
    this.#theirs.addEventListener("click", onTheirs);
    this.element = el("div", { class: "form-error mix-problem", role: "alert", hidden: true }, this.#text, el("span", { class: "links" }, this.#mine, this.#theirs));
  }

  /** `problem`: of a Draft, or null. */
  show(problem) {
    this.element.hidden = problem === null;
    if (problem === null) return;
    const ways = WAYS[problem.kind] ?? ["", ""];
    setText(this.#text, problem.message);
    setText(this.#mine, ways[0]);
    setText(this.#theirs, ways[1]);
    this.#mine.hidden = this.#theirs.hidden = !ways[0];
  }
}
