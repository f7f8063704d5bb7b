// Submit a job: which video, which of its pictures, and where they go.

import { call, CommandError } from "../commands.js";
import { el } from "../dom.js";
import { Field, Form } from "../form.js";
import { toast } from "../toasts.js";
import { SERVICE } from "./model.js";

// [mode, text of the choice, its field, label, help]; the values are those of the command's `sampling`.
const MODES = [
  ["middle", "so many a second", "fps", "Pictures a second", "1 when it is left out. 0.1 is one every ten seconds."],
  ["uniform", "so many in all", "count", "Pictures in all", "Evenly spread; the first and the last picture are among them."],
  ["interval", "one every so many seconds", "interval_s", "Seconds from one to the next", "From the start on."],
  ["frames", "every so-many-th picture", "interval_frames", "Every …-th picture", "100 takes the 1st, the 101st and so on."],
  ["timestamps", "at these moments", "timestamps_s", "Seconds", "With commas: 1.5, 3, 10.25"],
];
const WHOLE = { type: "number", min: 1, step: 1 };
const SECONDS = { type: "number", min: 0, step: "any" };
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

export class SubmitForm {
  #video = new Field("video", "Video", {
    required: true,
    inputmode: "url",
    placeholder: "clip.mp4",
    help: "A file below the mesh's media folder or the folder it was started in; or https://, s3://bucket/key, tos://bucket/key.",
  });
  #mode = new Field("mode", "Which pictures", { options: MODES.map(([mode, text]) => [mode, text]) });
  #values = MODES.map(([mode, , name, label, help]) => new Field(name, label, { help, ...shapeOf(mode) }));
  #to = new Field("to", "Where they go", {
    required: true,
    inputmode: "url",
    placeholder: "file://clip/{index:05d}.{autoext}",
    help: "file:// is below the mesh's pictures folder; also s3:// and tos://. {index} is the picture's number, {autoext} jpg, png or webp.",
  });
  #more = [
    new Field("format", "Format", { options: ["jpg", "png", "webp"] }),
    new Field("quality", "Quality, 1 to 100", { ...WHOLE, max: 100, placeholder: "85", help: "Of jpg and webp." }),
    new Field("short_side", "Shorter edge in pixels", { ...WHOLE, placeholder: "as the video" }),
    new Field("start_s", "Nothing before, in seconds", { ...SECONDS, placeholder: "0" }),
    new Field("end_s", "Nothing behind, in seconds", { ...SECONDS, placeholder: "the end" }),
    new Field("max_frames", "Pictures at most", { ...WHOLE, placeholder: "all" }),
  ];
  #form;
  #onSubmitted;
  #chosen = false; // the place was written by hand

  /** `onSubmitted(id)` is told of the job. */
  constructor(onSubmitted) {
    this.#onSubmitted = onSubmitted;
    const fields = [this.#video, this.#mode, ...this.#values, this.#to, ...this.#more];
    const layout = [
      ...[this.#video, this.#mode, ...this.#values, this.#to].map(({ element }) => element),
      el("details", { class: "settings" }, el("summary", { text: "Format, size and part of the video" }), ...this.#more.map(({ element }) => element)),
    ];
    this.#form = new Form(fields, "Take the pictures", () => this.#submit(fields), { layout, label: "New job" });
    this.element = this.#form.element;
    this.#video.control.addEventListener("input", () => this.#propose());
    this.#to.control.addEventListener("input", () => (this.#chosen = this.#to.value !== ""));
    this.#mode.control.addEventListener("change", () => this.#showMode());
    this.#showMode();
  }

  focus() {
    this.#video.control.focus();
  }

  #showMode() {
    this.#values.forEach((field, index) => (field.element.hidden = MODES[index][0] !== this.#mode.value));
  }

  // A folder of the video's name, until another place is given.
  #propose() {
    if (this.#chosen) return;
    const stem = this.#video.value.replace(/[?#].*$/s, "").split("/").at(-1).replace(/\.[^.]*$/, "");
    const plain = stem.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "");
    this.#to.value = plain ? `file://${encodeURIComponent(plain)}/{index:05d}.{autoext}` : "";
  }

  async #submit(fields) {
    const unread = fields.find(({ control }) => control.validity.badInput);
    if (unread) throw new CommandError(400, `${unread.name}: write a number`);
    if (!this.#video.value) throw new CommandError(400, "video: say which one");
    if (!this.#to.value) throw new CommandError(400, "to: say where the pictures go");
    const { job, again } = await call(`${SERVICE}.submit`, {
      video: urlOf(this.#video.value),
      to: this.#to.value,
      sampling: this.#sampling(),
      pictures: given(this.#more.slice(0, 3), (name) => name !== "format"),
    });
    toast(again ? "That job is there already" : "The job is in the queue");
    this.#form.element.reset();
    this.#chosen = false;
    this.#showMode();
    this.#onSubmitted(job);
  }

  #sampling() {
    const mode = this.#mode.value;
    const field = this.#values[MODES.findIndex(([one]) => one === mode)];
    const sampling = { mode, ...given(this.#more.slice(3)) };
    if (mode !== "timestamps") return { ...sampling, ...given([field]) };
    const moments = field.value.split(",").map((text) => text.trim()).filter(Boolean).map(Number);
    if (moments.some((moment) => !Number.isFinite(moment))) throw new CommandError(400, "timestamps_s: write seconds with commas: 1.5, 3, 10.25");
    return { ...sampling, timestamps_s: moments };
  }
}

function shapeOf(mode) {
  if (mode === "timestamps") return { placeholder: "1.5, 3, 10.25", inputmode: "decimal" };
  return mode === "middle" ? { ...SECONDS, placeholder: "1" } : mode === "interval" ? SECONDS : WHOLE;
}

// A field that is empty is not sent, so that it gets its default.
function given(fields, isNumber = () => true) {
  const filled = fields.filter(({ value }) => value !== "");
  return Object.fromEntries(filled.map(({ name, value }) => [name, isNumber(name) ? Number(value) : value]));
}

// What has no scheme is a file: whole from the root, or below the first folder that videos may lie in.
function urlOf(text) {
  if (SCHEME.test(text)) return text;
  return `file://${text.replace(/^\.\//, "").split("/").map(encodeURIComponent).join("/")}`;
}
