// The jobs that take pictures out of videos: the newest first, as they change, all of them or those of one state.

import { call, CommandError } from "../commands.js";
import { confirmed } from "../dialog.js";
import { el, setAttribute, setText } from "../dom.js";
import { toast } from "../toasts.js";
import { afterEvent, SERVICE, titleOf } from "./model.js";
import { JobRow } from "./row.js";

const SHOWN = 50; // and so many more each time
const MOST_SHOWN = 1000; // what frame-extractor.list tells at once
const SOON_MS = 300; // changes that come together are asked for once
const ASK_EVERY_MS = 5000; // an event that was lost is made up for by then
const STATES = [["", "All"], ["running", "Running"], ["pending", "Waiting"], ["completed", "Done"], ["failed", "Failed"], ["canceled", "Canceled"]];

export class JobList {
  #list = el("ul", { class: "rows jobs", "aria-label": "Jobs" });
  #none = el("p", { class: "none", role: "status", hidden: true });
  #empty;
  #more = el("button", { type: "button", class: "button small", text: "Show older ones", hidden: true });
  #filters;
  #rows = new Map(); // id -> JobRow
  #jobs = new Map(); // id -> Job, the newest first
  #state = "";
  #limit = SHOWN;
  #asked_at_ms = -Infinity;
  #asking = false;
  #again = false;
  #timer = null;

  /** `empty` is what is shown where there is no job at all. */
  constructor(empty) {
    this.#empty = empty;
    this.#empty.hidden = true;
    this.#filters = el("div", { class: "kinds", role: "group", "aria-label": "Jobs that are" }, ...STATES.map(([state, text]) => (
      el("button", { type: "button", class: "kind", "data-state": state || "all", text, on: { click: () => this.#choose(state) } })
    )));
    this.#more.addEventListener("click", () => {
      this.#limit = Math.min(MOST_SHOWN, this.#limit + SHOWN);
      this.refresh();
    });
    this.element = el("div", { class: "stack" }, this.#filters, this.#none, this.#empty, this.#list, this.#more);
    this.#press();
  }

  /** Ask anew. */
  async refresh() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#asking) return void (this.#again = true);
    this.#asking = true;
    this.#asked_at_ms = performance.now();
    const asked = { limit: this.#limit, ...(this.#state ? { state: this.#state } : {}) };
    const { state } = asked;
    try {
      const { jobs, more } = await call(`${SERVICE}.list`, asked);
      if ((state ?? "") === this.#state) this.#show(jobs, more ?? false);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#fail(error);
    } finally {
      this.#asking = false;
    }
    if (this.#again) this.refreshSoon();
    this.#again = false;
  }

  refreshSoon() {
    this.#timer ??= setTimeout(() => this.refresh(), SOON_MS);
  }

  leave() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** An event of the mesh, or null: many came at once. */
  event(event) {
    if (event !== null && event.service !== SERVICE) return;
    const job = event && this.#jobs.get(event.id);
    if (job) {
      const now = afterEvent(job, event);
      this.#jobs.set(job.id, now);
      this.#rows.get(job.id)?.update(now);
    }
    if (event === null || (String(event.event).startsWith("job-") && event.event !== "job-progress")) this.refreshSoon();
  }

  /** Called once a second while the page is open. */
  tick() {
    for (const row of this.#rows.values()) row.tick();
    if (performance.now() - this.#asked_at_ms >= ASK_EVERY_MS && !document.hidden) this.refresh();
  }

  #choose(state) {
    this.#state = state;
    this.#limit = SHOWN;
    this.#press();
    this.refresh();
  }

  #press() {
    for (const button of this.#filters.children) setAttribute(button, "aria-pressed", button.dataset.state === (this.#state || "all"));
  }

  #show(jobs, more) {
    const [, said] = STATES.find(([state]) => state === this.#state);
    this.#more.hidden = !more;
    this.#empty.hidden = jobs.length > 0 || Boolean(this.#state);
    this.#none.hidden = jobs.length > 0 || !this.#state;
    this.#filters.hidden = jobs.length === 0 && !this.#state;
    setText(this.#none, `No job is ${said.toLowerCase()}.`);
    this.#jobs = new Map(jobs.map((job) => [job.id, job]));
    for (const [id, row] of this.#rows) {
      if (this.#jobs.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    jobs.forEach((job, index) => {
      const row = this.#rows.get(job.id) ?? new JobRow(job, (one, button) => this.#cancel(one, button));
      this.#rows.set(job.id, row);
      row.update(job);
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
  }

  #fail(error) {
    this.#show([], false);
    this.#empty.hidden = true;
    this.#none.hidden = false;
    setText(this.#none, error.message);
  }

  async #cancel(job, button) {
    if (await cancelJob(job, button)) this.refresh();
    // The button goes with its job; the keyboard goes on where it was.
    if (document.activeElement === document.body) this.#rows.get(job.id)?.element.querySelector("a").focus();
  }
}

/** Ask, and cancel; whether it was. */
export async function cancelJob(job, button) {
  const text = "It ends. Pictures that are written stay where they are.";
  if (!(await confirmed(`Cancel the job of ${titleOf(job)}?`, text, "Cancel the job"))) return false;
  button.disabled = true;
  try {
    await call(`${SERVICE}.cancel`, { job: job.id });
    toast("The job is canceled");
    return true;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    toast(error.message, "bad");
    return false;
  } finally {
    button.disabled = false;
  }
}
