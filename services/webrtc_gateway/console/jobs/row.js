// One job of the list: what it is of, how far it is, and what went wrong. Kept while its job changes.

import { el, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { addressOf } from "../router.js";
import { countOf, isUnderWay, shareOf, stateOf, titleOf, tookOf } from "./model.js";

export class JobRow {
  #name = el("a", { class: "row-name job-name" });
  #chip = el("span", { class: "chip" });
  #cancel = el("button", { type: "button", class: "button small", text: "Cancel", "data-needs": "control" });
  #progress = el("progress", { class: "job-progress", max: "1" });
  #facts = el("span", { class: "row-facts" });
  #place = el("span", { class: "row-place" });
  #error = el("span", { class: "row-error" });
  #job;

  /** `cancel(job, button)` asks and cancels. */
  constructor(job, cancel) {
    this.#cancel.addEventListener("click", () => cancel(this.#job, this.#cancel));
    const parts = [this.#name, el("span", { class: "row-actions" }, this.#chip, this.#cancel)];
    this.element = el("li", { class: "row job", "data-job": job.id }, ...parts, this.#progress, this.#facts, this.#place, this.#error);
    setAttribute(this.#name, "href", addressOf("jobs", job.id));
    this.update(job);
  }

  get state() {
    return this.#job.state;
  }

  update(job) {
    this.#job = job;
    const title = titleOf(job);
    const [text, tone] = stateOf(job);
    setAttribute(this.element, "data-state", job.state);
    setText(this.#name, title);
    setAttribute(this.#name, "title", job.video);
    setText(this.#chip, text);
    setAttribute(this.#chip, "data-tone", tone);
    this.#cancel.hidden = !isUnderWay(job);
    setAttribute(this.#cancel, "aria-label", `Cancel the job of ${title}`);
    this.#showProgress(title);
    setText(this.#place, job.to);
    setText(this.#error, job.message ?? "");
    this.#error.hidden = !job.message;
    this.#error.classList.toggle("note", job.state !== "failed");
    this.tick();
  }

  /** Show how long ago, and how long it takes. */
  tick() {
    const job = this.#job;
    const now_ms = Date.now();
    const again = (job.attempt ?? 0) > 1 ? `attempt ${job.attempt}` : "";
    const owner = job.owner && job.owner !== "mesh" ? `for ${job.owner}` : "";
    const facts = [countOf(job), tookOf(job, now_ms), `${format.since(job.submitted_ns, now_ms)} ago`, owner, again];
    setText(this.#facts, facts.filter(Boolean).join(" · "));
    setAttribute(this.#facts, "title", format.dateTime(job.submitted_ns));
  }

  #showProgress(title) {
    const share = shareOf(this.#job);
    this.#progress.hidden = this.#job.state !== "running";
    setAttribute(this.#progress, "aria-label", `Progress of ${title}`);
    // Without a value the bar says that something goes on, and no more.
    setAttribute(this.#progress, "value", share === null ? null : share.toFixed(3));
  }
}
