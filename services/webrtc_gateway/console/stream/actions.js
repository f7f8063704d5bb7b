// What can be done to a stream: a picture of it, a recording, a key frame, a restart, an end.

import { call, CommandError, picture } from "../commands.js";
import { confirmed, openDialog } from "../dialog.js";
import { el, icon, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { recordingOf } from "../model.js";
import { remember } from "../removed.js";
import { go } from "../router.js";
import { toast } from "../toasts.js";
import { momentDialog } from "./moment.js";

export class Actions {
  #name;
  #clock;
  #clip;
  #stream = null;
  #busy = new Set();
  #buttons;
  #recordText;

  /** `clip()` asks from when to when. */
  constructor(name, clock, clip) {
    this.#name = name;
    this.#clock = clock;
    this.#clip = clip;
    const button = (key, text, title, run) => el(
      "button",
      { type: "button", class: "button", title, "data-action": key, on: { click: run } },
      icon(key),
      el("span", { text }),
    );
    this.#buttons = {
      snapshot: button("snapshot", "Snapshot", "The newest picture (S)", () => this.snapshot()),
      moment: button("moment", "Moment", "The picture of a moment that has passed (P)", () => this.moment()),
      record: button("record", "Record", "Record to a file (R)", () => this.record()),
      cut: button("cut", "Clip", "Cut a file out of the last seconds (C)", () => this.clip()),
      keyframe: button("keyframe", "Key frame", "Have the encoders make a key frame (K)", () => this.keyFrame()),
      restart: button("restart", "Restart", "Open the source again", () => this.restart()),
      remove: button("remove", "Remove", "End this stream", () => this.remove()),
    };
    this.#recordText = this.#buttons.record.querySelector("span");
    this.element = el("div", { class: "actions", role: "group", "aria-label": "Actions" }, ...Object.values(this.#buttons));
  }

  update(stream) {
    this.#stream = stream;
    const recording = recordingOf(stream) !== null;
    const { record, keyframe } = this.#buttons;
    setAttribute(record, "data-recording", recording ? "" : null);
    setAttribute(record, "aria-pressed", recording);
    const drawn = recording ? "stop" : "record";
    if (record.dataset.drawn !== drawn) record.querySelector("svg").replaceWith(icon(drawn));
    record.dataset.drawn = drawn;
    keyframe.disabled = this.#busy.has("keyframe") || !(stream.carriesSource || stream.renditions.some(({ state }) => state === "running"));
    this.tick();
  }

  /** Show the running time. */
  tick() {
    const recording = this.#stream && recordingOf(this.#stream);
    if (!recording) return setText(this.#recordText, "Record");
    const now_ms = this.#clock.wallAt(performance.now());
    const seconds = recording.started_ns ? (now_ms - recording.started_ns / 1e6) / 1000 : 0;
    setText(this.#recordText, `Stop · ${format.duration(seconds)}`);
  }

  clip() {
    this.#clip();
  }

  snapshot() {
    return this.#once("snapshot", async () => {
      const blob = await picture(this.#name);
      const bitmap = await createImageBitmap(blob);
      const shown = el("canvas", { class: "snapshot", width: bitmap.width, height: bitmap.height, role: "img", "aria-label": `Snapshot of ${this.#name}` });
      shown.getContext("2d").drawImage(bitmap, 0, 0);
      const url = URL.createObjectURL(blob);
      const type = blob.type.split("/")[1]?.replace("jpeg", "jpg") || "jpg";
      const taken = format.dateTime(this.#clock.wallAt(performance.now()) * 1e6).replace(/[: ]/g, "-");
      const save = el("a", { class: "button primary", href: url, download: `${this.#name}-${taken}.${type}` }, icon("download"), "Download");
      const facts = el("p", { class: "quiet", text: `${bitmap.width}×${bitmap.height} · ${format.bytes(blob.size)}` });
      bitmap.close();
      const dialog = openDialog(`Snapshot of ${this.#name}`, [shown], [facts, save], { wide: true });
      dialog.addEventListener("close", () => URL.revokeObjectURL(url));
    });
  }

  moment() {
    if (this.#stream && !document.querySelector("dialog[open]")) momentDialog(this.#stream, this.#clock);
  }

  record() {
    return this.#once("record", async () => {
      const recording = recordingOf(this.#stream) !== null;
      const reply = await call(`publisher.${recording ? "stop" : "start"}-recording`, { stream: this.#name });
      if (recording) toast(`Recorded ${format.duration(reply.duration_s ?? 0)}, ${format.bytes(reply.file_size ?? 0)}`);
      else toast(`Recording ${this.#name}`);
    });
  }

  keyFrame() {
    return this.#once("keyframe", async () => {
      const running = this.#stream.renditions.filter(({ state }) => state === "running");
      if (running.length === 0) await call("capture.keyframe", { reason: "console" }, this.#name); // the sender's own
      await Promise.all(running.map(({ name }) => call("hw-encode.keyframe", { reason: "console" }, `${this.#name}--${name}`)));
      toast(`Key frame asked of ${running.map(({ name }) => name).join(", ") || "the source"}`);
    });
  }

  restart() {
    return this.#once("restart", async () => {
      await call("capture.restart", {}, this.#name);
      toast(`${this.#name} is being opened again`);
    });
  }

  async remove() {
    const text = `The picture of ${this.#name} ends for everyone who watches, records or sends it. Recorded files stay.`;
    if (!(await confirmed(`Remove ${this.#name}?`, text, "Remove"))) return;
    await this.#once("remove", async () => {
      remember(this.#stream.spec);
      await call("capture.stop", { stream: this.#name });
      toast(`${this.#name} is removed`);
      go("wall");
    });
  }

  async #once(key, run) {
    if (this.#busy.has(key) || !this.#stream) return;
    this.#busy.add(key);
    this.#buttons[key].disabled = true;
    try {
      await run();
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
    } finally {
      this.#busy.delete(key);
      this.#buttons[key].disabled = false;
      this.update(this.#stream);
    }
  }
}
