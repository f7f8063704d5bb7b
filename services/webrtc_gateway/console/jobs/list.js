// The jobs that take pictures out of videos: the newest first, as they change, all of them or those of one state.
// The newest ones are asked for again and again, and with them a page of the older ones that are shown, in turn.

import { call, CommandError } from "../commands.js";
import { confirmed } from "../dialog.js";
import { el, setAttribute, setText } from "../dom.js";
import { toast } from "../toasts.js";
import { afterEvent, SERVICE, titleOf } from "./model.js";
import { JobRow } from "./row.js";

const SHOWN = 50; // and so many more each time
const GONE = 404; // the job to list before: jobs are forgotten after three days
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
  #turn = 0; // of the older ones: where the page begins that is asked for next
  #asked_at_ms = -Infinity;
  #asking = null; // what comes next waits for it
  #due = null; // a refresh that waits, and is enough for all that changed before it begins
  #timer = null;

  /** `empty` is what is shown where there is no job at all. */
  constructor(empty) {
    this.#empty = empty;
    this.#empty.hidden = true;
    this.#filters = el("div", { class: "kinds", role: "group", "aria-label": "Jobs that are" }, ...STATES.map(([state, text]) => (
      el("button", { type: "button", class: "kind", "data-state": state || "all", text, on: { click: () => this.#choose(state) } })
    )));
    this.#more.addEventListener("click", () => this.#showOlder());
    this.element = el("div", { class: "stack" }, this.#filters, this.#none, this.#empty, this.#list, this.#more);
    this.#press();
  }

  /** Ask anew. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#asked_at_ms = performance.now();
    this.#due ??= this.#after((state) => this.#newest(state));
    return this.#due;
  }

  #showOlder() {
    return this.#after(async (state) => {
      const known = [...this.#jobs.values()];
      const { jobs, more } = await ask(state, SHOWN, known.at(-1)?.id);
      return { jobs: [...known, ...jobs], more };
    });
  }

  // Have `find` tell the jobs that are to be shown, after who asks already: none shows what was before another.
  #after(find) {
    const before = this.#asking;
    this.#asking = (async () => {
      await before;
      this.#due = null; // what changes from now on is to be asked for again
      const state = this.#state;
      try {
        const { jobs, more } = await find(state);
        if (state === this.#state) this.#show(jobs, more ?? false);
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        if (state === this.#state) this.#fail(error);
      }
    })();
    return this.#asking;
  }

  async #newest(state) {
    const { jobs, more } = await ask(state, SHOWN);
    // Without one that is known there may be others between them and the older ones.
    const joined = more && jobs.some(({ id }) => this.#jobs.has(id));
    return joined ? this.#withOlder(jobs, state) : { jobs, more };
  }

  // The newest ones, and behind them those that are known, some of them as they are now.
  async #withOlder(newest, state) {
    const older = [...this.#jobs.values()].filter((job) => isOlder(job, newest.at(-1)) && (!state || job.state === state));
    const at = this.#turn < older.length ? this.#turn : 0;
    const asked = older.slice(at, at + SHOWN);
    const rest = older.slice(at + SHOWN);
    this.#turn = at + SHOWN;
    if (!asked.length) return { jobs: newest, more: true };
    try {
      const { jobs, more } = await ask(state, asked.length, (older[at - 1] ?? newest.at(-1)).id);
      const behind = more ? rest.filter((job) => isOlder(job, jobs.at(-1))) : [];
      return { jobs: [...newest, ...older.slice(0, at), ...jobs, ...behind], more: behind.length ? !this.#more.hidden : more };
    } catch (error) {
      if (error.code !== GONE) throw error;
      return { jobs: newest, more: true };
    }
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
    this.#jobs.clear();
    this.#turn = 0;
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

function ask(state, limit, before) {
  return call(`${SERVICE}.list`, { limit, ...(state ? { state } : {}), ...(before ? { before } : {}) });
}

function isOlder(job, { submitted_ns, id }) {
  return job.submitted_ns < submitted_ns || (job.submitted_ns === submitted_ns && job.id < id);
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
