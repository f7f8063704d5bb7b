// The recorded files of a stream: list, play in the page, download, cut, delete.

import { call, CommandError } from "../commands.js";
import { confirmed, openDialog } from "../dialog.js";
import { el, icon, setText } from "../dom.js";
import * as format from "../format.js";
import { toast } from "../toasts.js";
import { clipDialog } from "./clip.js";

const SHOWN = 10; // and so many more each time
const MOST_SHOWN = 1000; // what publisher.recordings tells at once
const SOON_MS = 400; // a file that was just closed has its index then
const AGAIN_MS = 5000; // while one is being written

export class Recordings {
  #name;
  #mesh;
  #list = el("ul", { class: "rows recordings", "aria-label": "Recordings" });
  #more = el("button", { type: "button", class: "button small", text: "Show older ones", hidden: true });
  #sum = el("span", { class: "quiet" });
  #limit = SHOWN;
  #timer = null;
  #inside = false;
  #shown = "";

  constructor(name, mesh) {
    this.#name = name;
    this.#mesh = mesh;
    this.#more.addEventListener("click", () => {
      this.#limit = Math.min(MOST_SHOWN, this.#limit + SHOWN);
      this.#refresh();
    });
    const head = el("div", { class: "card-head" }, el("h3", { text: "Recordings" }), this.#sum);
    this.element = el("section", { class: "card", "aria-label": "Recordings" }, head, this.#list, this.#more);
  }

  loadSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refresh(), SOON_MS);
  }

  leave() {
    this.#inside = false;
    clearTimeout(this.#timer);
  }

  load() {
    this.#inside = true;
    return this.#refresh();
  }

  async #refresh() {
    if (!this.#inside) return; // a dialog may outlive its page
    clearTimeout(this.#timer);
    const nodes = publishers(this.#mesh);
    if (nodes.length === 0) return this.#none("No publisher is running, so nothing can be recorded.");
    const asked = { stream: this.#name, limit: this.#limit };
    const lists = await Promise.allSettled(nodes.map((node) => call("publisher.recordings", asked, node)));
    const failed = lists.find(({ status }) => status === "rejected")?.reason;
    if (failed && !(failed instanceof CommandError)) throw failed;
    const files = lists.flatMap(({ value }) => (value?.files ?? []).map((file) => ({ ...file, node: value.node })));
    files.sort((a, b) => b.start_ns - a.start_ns);
    const more = files.length > this.#limit || lists.some(({ value }) => value?.more);
    if (files.length) this.#show(files.slice(0, this.#limit), more);
    else this.#none(failed ? failed.message : "None yet. Record starts one; an output to a file makes them for ever.");
    if (this.#inside && files.some(({ writing }) => writing)) this.#timer = setTimeout(() => this.#refresh(), AGAIN_MS);
  }

  #none(text) {
    this.#shown = "";
    this.#more.hidden = true;
    setText(this.#sum, "");
    this.#list.replaceChildren(el("li", { class: "none", text }));
  }

  #show(files, more) {
    this.#more.hidden = !more;
    const bytes = files.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
    setText(this.#sum, `${files.length}${more ? " newest" : ""} · ${format.bytes(bytes)}`);
    const shown = JSON.stringify(files);
    if (shown === this.#shown) return; // leave the focus where it is
    this.#shown = shown;
    const focused = this.#list.contains(document.activeElement) ? this.#list.querySelector(":focus")?.getAttribute("aria-label") : null;
    this.#list.replaceChildren(...files.map((file) => this.#row(file)));
    if (focused) this.#list.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(file) {
    const seconds = (file.end_ns - file.start_ns) / 1e9;
    const size = file.width ? `${file.width}×${file.height}` : "";
    const of = file.output === "recording" ? "" : file.output;
    const facts = [format.duration(seconds), format.bytes(file.size_bytes), size, file.codec, of];
    const when = format.dateTime(file.start_ns);
    const named = (text) => ({ "aria-label": `${text} recording of ${when}`, title: text });
    const act = (name, text, run, extra = "") => {
      const button = el("button", { type: "button", class: `button small square ${extra}`, ...named(text) }, icon(name));
      button.addEventListener("click", () => run(button));
      return button;
    };
    const play = el("button", { type: "button", class: "button small", ...named("Play"), on: { click: () => openPlayer(file) } }, icon("play"), el("span", { text: "Play" }));
    const download = el("a", { class: "button small square", href: addressOf(file), download: file.file.split("/").at(-1), ...named("Download") }, icon("download"));
    return el(
      "li",
      { class: "row recording", "data-file": file.file },
      el("time", { class: "row-name", text: when, title: `${file.file} on ${file.node}` }),
      ...(file.writing ? [el("span", { class: "chip", "data-tone": "bad", text: "recording" })] : []),
      el(
        "span",
        { class: "row-actions" },
        play,
        download,
        act("cut", "Clip", () => this.clip(file.start_ns, file.end_ns), "stop"),
        ...(file.writing ? [] : [act("remove", "Delete", (button) => this.#delete(file, when, button), "stop")]),
      ),
      el("span", { class: "row-facts", text: facts.filter(Boolean).join(" · ") }),
    );
  }

  /** Ask from when to when, and cut a clip; without times the last seconds are proposed. */
  clip(start_ns = null, end_ns = null) {
    const stream = this.#mesh.streams.find(({ name }) => name === this.#name);
    const nodes = publishers(this.#mesh);
    if (nodes.length === 0) return toast("No publisher is running, so nothing can be cut.", "bad");
    // What is in memory is at the stream's own node.
    const node = nodes.includes(stream?.node) ? stream.node : nodes[0];
    return clipDialog(this.#name, node, { start_ns, end_ns, onMade: () => this.loadSoon(), play: openPlayer });
  }

  async #delete(file, when, button) {
    const text = `${file.file} (${format.bytes(file.size_bytes)}) is taken off the disk of ${file.node}. There is no way back.`;
    if (!(await confirmed(`Delete the recording of ${when}?`, text, "Delete"))) return;
    const at = [...this.#list.children].indexOf(button.closest("li"));
    button.disabled = true;
    try {
      const { size_bytes } = await call("publisher.delete-recording", { stream: this.#name, file: file.file }, file.node);
      toast(`Deleted, ${format.bytes(size_bytes)} are free again`);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
      button.disabled = false;
    }
    await this.#refresh();
    if (document.activeElement !== document.body) return;
    const rows = this.#list.querySelectorAll(".recording"); // the keyboard goes on where it was
    rows[Math.min(at, rows.length - 1)]?.querySelector("button").focus();
  }
}

/** Where the gateway serves a recorded file. */
export function addressOf({ stream, node, file }) {
  const path = ["recordings", stream, node].map(encodeURIComponent);
  // One word: a name that begins with a slash is a whole path.
  return new URL([...path, encodeURIComponent(file)].join("/"), document.baseURI).href;
}

function publishers({ status }) {
  return (status?.services ?? []).filter(({ service }) => service === "publisher").map(({ node }) => node);
}

function openPlayer(file) {
  const video = el("video", { class: "recorded", controls: true, autoplay: true, playsinline: true, src: addressOf(file) });
  const failure = el("p", { class: "form-error", role: "alert", hidden: true });
  video.addEventListener("error", async () => {
    setText(failure, await whyNot(file));
    failure.hidden = false;
  });
  const seconds = (file.end_ns - file.start_ns) / 1e9;
  const facts = el("p", { class: "quiet", text: [file.file, format.duration(seconds), format.bytes(file.size_bytes)].join(" · ") });
  const download = el("a", { class: "button", href: addressOf(file), download: file.file.split("/").at(-1) }, icon("download"), "Download");
  const dialog = openDialog(format.dateTime(file.start_ns), [video, failure], [facts, download], { wide: true });
  dialog.addEventListener("close", () => {
    video.removeAttribute("src"); // ends its connection
    video.load();
  });
}

// A media element does not tell what the gateway answered.
async function whyNot({ format: kind, codec, ...file }) {
  try {
    const response = await fetch(addressOf(file), { headers: { Range: "bytes=0-0" } });
    if (!response.ok) return (await response.json()).message;
  } catch {
    return "The gateway cannot be reached.";
  }
  return `This browser cannot play ${kind} with ${codec || "this codec"}; download it instead.`;
}
