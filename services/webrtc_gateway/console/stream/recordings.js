// The recorded files of a stream: list, play in the page, download.

import { call, CommandError } from "../commands.js";
import { openDialog } from "../dialog.js";
import { el, icon, setText } from "../dom.js";
import * as format from "../format.js";
import { fetchRecording } from "./recorded_file.js";
import { toast } from "../toasts.js";

const SHOWN = 20;
const SOON_MS = 400; // a file that was just closed has its index then
const AGAIN_MS = 5000; // while one is being written

export class Recordings {
  #name;
  #mesh;
  #list = el("ul", { class: "rows recordings", "aria-label": "Recordings" });
  #timer = null;
  #inside = false;

  constructor(name, mesh) {
    this.#name = name;
    this.#mesh = mesh;
    this.element = el("section", { class: "card", "aria-label": "Recordings" }, el("h3", { text: "Recordings" }), this.#list);
  }

  loadSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), SOON_MS);
  }

  leave() {
    this.#inside = false;
    clearTimeout(this.#timer);
  }

  async load() {
    this.#inside = true;
    clearTimeout(this.#timer);
    const nodes = (this.#mesh.status?.services ?? []).filter(({ service }) => service === "publisher").map(({ node }) => node);
    if (nodes.length === 0) return this.#none("No publisher is running, so nothing can be recorded.");
    const lists = await Promise.allSettled(nodes.map((node) => call("publisher.recordings", { stream: this.#name, limit: SHOWN }, node)));
    const failed = lists.find(({ status }) => status === "rejected")?.reason;
    if (failed && !(failed instanceof CommandError)) throw failed;
    const files = lists.flatMap(({ value }) => (value?.files ?? []).map((file) => ({ ...file, node: value.node })));
    files.sort((a, b) => b.start_ns - a.start_ns);
    if (files.length) this.#list.replaceChildren(...files.slice(0, SHOWN).map((file) => this.#row(file)));
    else this.#none(failed ? failed.message : "None yet. Record starts one; an output to a file makes them for ever.");
    if (this.#inside && files.some(({ writing }) => writing)) this.#timer = setTimeout(() => this.load(), AGAIN_MS);
  }

  #none(text) {
    this.#list.replaceChildren(el("li", { class: "none", text }));
  }

  #row(file) {
    const seconds = (file.end_ns - file.start_ns) / 1e9;
    const facts = [format.duration(seconds), format.bytes(file.size_bytes), file.width ? `${file.width}×${file.height}` : "", file.codec];
    const when = format.dateTime(file.start_ns);
    const act = (name, text, run) => {
      const button = el("button", { type: "button", class: "button small", "aria-label": `${text} recording of ${when}` }, icon(name), el("span", { text }));
      button.addEventListener("click", () => this.#fetch(file, button, text, run));
      return button;
    };
    const actions = el("span", { class: "row-actions" }, act("play", "Play", play), act("download", "Download", save));
    return el(
      "li",
      { class: "row recording", "data-file": file.file },
      el("time", { class: "row-name", text: when, title: file.file }),
      ...(file.writing ? [el("span", { class: "chip", "data-tone": "bad", text: "recording" })] : []),
      actions,
      el("span", { class: "row-facts", text: facts.filter(Boolean).join(" · ") }),
    );
  }

  async #fetch(file, button, text, run) {
    const label = button.querySelector("span");
    button.disabled = true;
    try {
      run(file, await fetchRecording(file, (part) => setText(label, `${Math.round(part * 100)} %`)));
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
    } finally {
      setText(label, text);
      button.disabled = false;
    }
  }
}

function play(file, blob) {
  const url = URL.createObjectURL(blob);
  const video = el("video", { class: "recorded", controls: true, autoplay: true, playsinline: true, src: url });
  const failure = el("p", { class: "form-error", role: "alert", hidden: true });
  video.addEventListener("error", () => {
    setText(failure, `This browser cannot play ${file.format} with ${file.codec || "this codec"}; download it instead.`);
    failure.hidden = false;
  });
  const dialog = openDialog(format.dateTime(file.start_ns), [video, failure], [], { wide: true });
  dialog.addEventListener("close", () => URL.revokeObjectURL(url));
}

function save(file, blob) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: file.file.split("/").at(-1) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), SOON_MS);
}
