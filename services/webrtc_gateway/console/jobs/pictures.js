// The pictures of a completed job: small ones side by side, one of them in full, its file.

import { call, CommandError } from "../commands.js";
import { openDialog } from "../dialog.js";
import { el, icon, setAttribute, setText } from "../dom.js";
import { toast } from "../toasts.js";
import { SERVICE, titleOf } from "./model.js";

const SHOWN = 24; // and so many more each time
const SMALL_PX = 320; // sharp on a screen of twice the density

export class Pictures {
  #list = el("ul", { class: "job-pictures", "aria-label": "Pictures" });
  #more = el("button", { type: "button", class: "button small", hidden: true });
  #sum = el("span", { class: "quiet" });
  #job = null;
  #frames = [];
  #rest = false; // the mesh has more than are here
  #shown = 0;

  constructor() {
    this.#more.addEventListener("click", () => this.#showMore());
    const head = el("div", { class: "card-head" }, el("h3", { text: "Pictures" }), this.#sum);
    this.element = el("section", { class: "card", "aria-label": "Pictures", hidden: true }, head, this.#list, this.#more);
  }

  clear() {
    this.#job = null;
    this.#frames = [];
    this.#shown = 0;
    this.#list.replaceChildren();
    this.element.hidden = true;
  }

  /** Show the reply of a poll. */
  show({ job, frames, more }) {
    if (this.#job?.id === job.id && this.#job.ended_ns === job.ended_ns) return;
    this.clear();
    this.#job = job;
    this.#frames = frames;
    this.#rest = more ?? false;
    this.element.hidden = false;
    setText(this.#sum, frames.length ? sizeOf(frames[0]) : "None of the moments is in the video.");
    this.#append();
  }

  async #showMore() {
    if (this.#shown + SHOWN > this.#frames.length && this.#rest) {
      const job = this.#job;
      try {
        const reply = await call(`${SERVICE}.poll`, { job: job.id, first: this.#frames.length });
        if (job !== this.#job) return;
        this.#frames = [...this.#frames, ...reply.frames];
        this.#rest = reply.more ?? false;
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        return void toast(error.message, "bad");
      }
    }
    const first = this.#shown;
    this.#append();
    this.#list.children[first]?.querySelector("button").focus(); // the keyboard goes on with the new ones
  }

  #append() {
    const next = this.#frames.slice(this.#shown, this.#shown + SHOWN);
    this.#list.append(...next.map((frame, number) => this.#item(frame, this.#shown + number)));
    this.#shown += next.length;
    const left = this.#job.done - this.#shown;
    this.#more.hidden = left <= 0;
    setText(this.#more, `Show ${Math.min(SHOWN, left)} more of ${left}`);
  }

  // Its number in the list is less than its index where a picture before it could not be decoded.
  #item(frame, number) {
    const when = timeOf(frame);
    const image = el("img", { src: addressOf(this.#job, frame, SMALL_PX), alt: "", loading: "lazy", decoding: "async", width: frame.width, height: frame.height });
    const open = el("button", { type: "button", class: "job-picture", "aria-label": `Picture ${frame.index}, at ${when}` }, image, el("span", { text: when }));
    image.addEventListener("error", () => {
      image.replaceWith(el("span", { class: "gone", text: "not there any more" }));
      setAttribute(open, "aria-label", `Picture ${frame.index}, at ${when}, not there any more`);
    });
    open.addEventListener("click", () => this.#open(number));
    return el("li", {}, open);
  }

  // One picture in full; the arrow keys go to its neighbours.
  #open(at) {
    const job = this.#job;
    const image = el("img", { class: "snapshot" });
    const failure = el("p", { class: "form-error", role: "alert", hidden: true });
    const facts = el("p", { class: "quiet picture-facts", role: "status" });
    const save = el("a", { class: "button primary" }, icon("download"), "Download");
    const step = (by, text, drawing) => el("button", { type: "button", class: "button square", "aria-label": text, title: text, on: { click: () => go(by) } }, icon(drawing));
    const back = step(-1, "The one before (←)", "back");
    const next = step(1, "The next one (→)", "forward");
    image.addEventListener("load", () => (failure.hidden = true));
    image.addEventListener("error", async () => {
      setText(failure, await whyNot(image.src));
      failure.hidden = false;
    });
    const go = (by) => {
      at = Math.min(this.#frames.length - 1, Math.max(0, at + by));
      const frame = this.#frames[at];
      setAttribute(image, "src", addressOf(job, frame));
      setAttribute(image, "alt", `The picture at ${timeOf(frame)}`);
      const name = frame.path.split("/").at(-1);
      setAttribute(save, "href", addressOf(job, frame));
      setAttribute(save, "download", name);
      const asked = Math.abs(frame.timestamp_s - frame.pts_s) > 0.0005 ? `asked for ${frame.timestamp_s.toFixed(3)} s, shown since ${frame.pts_s.toFixed(3)} s` : `${frame.pts_s.toFixed(3)} s`;
      setText(facts, [`${at + 1} of ${job.done}`, asked, sizeOf(frame), frame.path].join(" · "));
      setText(dialog.querySelector("h2"), `${titleOf(job)}, ${timeOf(frame)}`);
      back.disabled = at === 0;
      next.disabled = at === this.#frames.length - 1;
    };
    const dialog = openDialog(titleOf(job), [image, failure], [facts, back, next, save], { wide: true });
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      go(event.key === "ArrowLeft" ? -1 : 1);
    });
    go(0);
  }
}

function addressOf(job, { index }, width = 0) {
  const query = width ? `?max_width=${width}` : "";
  return new URL(`pictures/${encodeURIComponent(job.id)}/${index}${query}`, document.baseURI).href;
}

function timeOf({ timestamp_s: seconds }) {
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes}:${(seconds % 60).toFixed(2).padStart(5, "0")}` : `${seconds.toFixed(2)} s`;
}

function sizeOf({ width, height }) {
  return `${width}×${height}`;
}

// An image does not tell what the gateway answered.
async function whyNot(url) {
  try {
    const response = await fetch(url);
    if (!response.ok) return (await response.json()).message;
  } catch {
    return "The gateway cannot be reached.";
  }
  return "This browser cannot show it; download it instead.";
}
