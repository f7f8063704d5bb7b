// One job: how far it is, what its video is, what went wrong, and its pictures.

import { call, CommandError } from "../commands.js";
import { el, icon, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { addressOf } from "../router.js";
import { cancelJob } from "./list.js";
import { afterEvent, countOf, isUnderWay, SERVICE, shareOf, stateOf, titleOf, tookOf } from "./model.js";
import { Pictures } from "./pictures.js";

const ASK_EVERY_MS = 5000; // an event that was lost is made up for by then

export class JobPage {
  name = "";
  #mesh;
  #title = el("h2", { tabindex: "-1" });
  #chip = el("span", { class: "chip" });
  #cancel = el("button", { type: "button", class: "button", text: "Cancel", "data-needs": "control" });
  #progress = el("progress", { class: "job-progress", max: "1", "aria-label": "Progress" });
  #said = el("p", { class: "quiet", role: "status" });
  #failure = el("p", { class: "form-error", hidden: true });
  #facts = el("dl", { class: "facts job-facts" });
  #pictures = new Pictures();
  #job = null;
  #unlisten = null;
  #gone = false; // there is no such job
  #asked_at_ms = -Infinity;

  constructor(mesh) {
    this.#mesh = mesh;
    this.#cancel.addEventListener("click", async () => {
      if (await cancelJob(this.#job, this.#cancel)) this.#load();
      if (document.activeElement === document.body) this.#title.focus(); // the button is gone
    });
    const back = el("a", { class: "button square back-to-jobs", href: addressOf("jobs"), "aria-label": "Back to all jobs", title: "All jobs" }, icon("back"));
    this.element = el(
      "div",
      { class: "stack" },
      el("section", { class: "card", "aria-label": "Job" }, el("div", { class: "job-head" }, back, this.#title, this.#chip, this.#cancel), this.#progress, this.#said, this.#failure, this.#facts),
      this.#pictures.element,
    );
  }

  enter() {
    this.#job = null;
    this.#gone = false;
    this.#pictures.clear();
    this.#facts.replaceChildren();
    this.#failure.hidden = this.#progress.hidden = this.#cancel.hidden = this.#chip.hidden = true;
    setText(this.#title, "Job");
    setText(this.#said, "Looking …");
    this.#unlisten = this.#mesh.events.listen((event) => this.#event(event));
    this.#title.focus();
    this.#load();
  }

  leave() {
    this.#unlisten?.();
    this.#unlisten = null;
    this.#pictures.clear();
  }

  update() {}

  tick() {
    if (this.#job ? !isUnderWay(this.#job) : this.#gone) return;
    if (this.#job) this.#show();
    if (performance.now() - this.#asked_at_ms >= ASK_EVERY_MS && !document.hidden) this.#load();
  }

  #event(event) {
    if (event === null) return void this.#load();
    if (event.service !== SERVICE || event.id !== this.name || !this.#job) return;
    this.#job = afterEvent(this.#job, event);
    this.#show();
    if (event.event !== "job-progress") this.#load();
  }

  async #load() {
    const { name } = this;
    this.#asked_at_ms = performance.now();
    try {
      const reply = await call(`${SERVICE}.poll`, { job: name });
      if (name !== this.name || !this.#unlisten) return; // another page is shown by now
      this.#job = reply.job;
      this.#show();
      if (reply.job.state === "completed") this.#pictures.show(reply);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (name === this.name && this.#unlisten) this.#fail(error);
    }
  }

  #fail(error) {
    if (this.#job && error.code !== 404) return; // what is shown is the last that was known; it is asked again
    this.#gone = error.code === 404;
    setText(this.#title, this.#gone ? "There is no such job" : "The job cannot be shown");
    setText(this.#said, "");
    setText(this.#failure, error.plain);
    this.#failure.hidden = false;
  }

  #show() {
    const job = this.#job;
    const [text, tone] = stateOf(job);
    const share = shareOf(job);
    setText(this.#title, titleOf(job));
    setText(this.#chip, text);
    setAttribute(this.#chip, "data-tone", tone);
    this.#chip.hidden = false;
    this.#cancel.hidden = !isUnderWay(job);
    this.#progress.hidden = job.state !== "running";
    setAttribute(this.#progress, "value", share === null ? null : share.toFixed(3));
    setText(this.#said, job.state === "pending" ? "It waits for a worker." : countOf(job));
    setText(this.#failure, job.message ?? "");
    this.#failure.hidden = !job.message;
    this.#failure.classList.toggle("note", job.state !== "failed");
    this.#showFacts(job);
  }

  #showFacts(job) {
    const { facts } = job;
    const shape = facts ? [format.duration(facts.duration_s), `${facts.width}×${facts.height}`, facts.codec, facts.note] : [];
    const worker = [job.worker, (job.attempt ?? 0) > 1 ? `attempt ${job.attempt}` : ""].filter(Boolean).join(", ");
    const rows = [
      ["Video", job.video],
      ["Format", shape.filter(Boolean).join(" · ")],
      ["Pictures", job.to],
      ["Submitted", format.dateTime(job.submitted_ns)],
      ["Took", tookOf(job, Date.now())],
      ["Worker", worker],
      ["Owner", job.owner],
      ["Job", job.id],
    ].filter(([, said]) => said);
    const shown = JSON.stringify(rows);
    if (shown === this.#facts.dataset.shown) return; // leave a text selection alone
    this.#facts.dataset.shown = shown;
    this.#facts.replaceChildren(...rows.map(([term, said]) => el("div", {}, el("dt", { text: term }), el("dd", { text: said }))));
  }
}
