// One stream on the wall: its picture, what the picture measures, and the label under it.

import { el, icon, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { encodingOf, pictureOf, recordingOf } from "./model.js";
import { Player } from "./player.js";
import { addressOf } from "./router.js";
import { Series } from "./series.js";
import { StreamPage } from "./stream/page.js";
import { VoiceMeter } from "./voice.js";

const HOLD_MS = 1500; // scrolling past a tile, or a glance at another one, does not end its session
const HICCUP_FAILURES = 3; // fewer failed attempts than this are over before anyone could read about them
const PICTURE_TEXT = { connecting: "connecting", reconnecting: "reconnecting" };
const NOTE_TEXT = { capture: "capture to screen", timecode: "time code to screen", buffer: "in the jitter buffer" };
const METERS = [
  ["fps", "Frames shown per second"],
  ["latency", "Latency"],
  ["size", "Picture size on arrival"],
  ["bitrate", "Bitrate received"],
  ["lost", "Packets lost"],
  ["join", "From asking to the first picture"],
];

export class Tile {
  #stream = null;
  #series = new Series();
  #page = null;
  #mesh;
  #meters = new Map();
  #hold = null;
  #shown_outputs = "";
  #parts;
  voice = new VoiceMeter();

  constructor(name, mesh) {
    this.name = name;
    this.#mesh = mesh;
    const parts = {
      stage: el("div", { class: "stage" }),
      placeholder: el("p", { class: "placeholder" }),
      picture: el("p", { class: "picture-chip", hidden: true }, el("span", { class: "spinner", "aria-hidden": "true" })),
      pictureText: el("span"),
      meters: el("dl", { class: "meters" }),
      heading: el("h2", { class: "name", text: name, tabindex: "-1" }),
      chip: el("span", { class: "chip" }),
      recording: el("span", { class: "chip rec", "data-tone": "bad", text: "REC", title: "Being recorded", hidden: true }),
      format: el("span", { class: "format" }),
      source: el("span", { class: "source" }),
      encoding: el("span", { class: "encoding" }),
      outputs: el("ul", { class: "outputs", "aria-label": `Outputs of ${name}` }),
      error: el("p", { class: "error", hidden: true }),
      open: el("a", { class: "open", href: addressOf("stream", name), "aria-label": `Open ${name}`, tabindex: "-1" }),
      sound: el("button", { type: "button", class: "round sound", on: { click: () => this.toggleSound() } }),
      full: el("button", { type: "button", class: "round full", "aria-label": "Full screen", title: "Full screen (F)", on: { click: () => this.toggleFull() } }, icon("fullscreen")),
      back: el("a", { class: "button square back", href: addressOf("wall"), "aria-label": "Back to all streams", title: "Back (Esc)" }, icon("back")),
    };
    for (const [key, title] of METERS) {
      const value = el("dd");
      this.#meters.set(key, value);
      parts.meters.append(el("div", { title, "data-meter": key }, el("dt", { class: "unseen", text: title }), value));
    }
    parts.picture.append(parts.pictureText);
    this.#parts = parts;
    this.element = el(
      "li",
      { class: "tile", "data-stream": name, "data-state": "pending", "data-picture": "idle" },
      (parts.screen = el("div", { class: "screen" }, parts.stage, parts.placeholder, parts.open, parts.picture, parts.meters, parts.full, parts.sound)),
      el(
        "div",
        { class: "label" },
        el("div", { class: "line" }, parts.back, parts.heading, parts.chip, parts.recording, this.voice.element, parts.format),
        el("div", { class: "line quiet" }, parts.source, parts.encoding),
        parts.outputs,
        parts.error,
      ),
    );
    this.player = new Player(name, parts.stage, mesh.clock);
    this.setSound(false);
  }

  /** Show another state of the stream. */
  update(stream) {
    this.#stream = stream;
    const { chip, source, outputs, sound } = this.#parts;
    setAttribute(this.element, "data-state", stream.state);
    setText(chip, stream.stateText);
    setAttribute(chip, "data-tone", stream.tone);
    setText(this.#parts.format, pictureOf(stream));
    setText(source, stream.source);
    setAttribute(source, "title", stream.source);
    const shown = JSON.stringify(stream.outputs);
    if (shown !== this.#shown_outputs) outputs.replaceChildren(...stream.outputs.map(outputChip));
    this.#shown_outputs = shown;
    outputs.hidden = stream.outputs.length === 0;
    sound.hidden = !stream.audio;
    this.player.expect(stream.watchable, stream.video?.fps);
    this.#parts.recording.hidden = recordingOf(stream) === null;
    if (this.big) this.#page.update(stream);
    this.#showPicture();
  }

  /** Whether capture listens for voices in its sound. */
  get listens() {
    return Boolean(this.#stream?.live && this.#stream.spec.voice);
  }

  /** Whether the picture should run; stopping waits a moment. */
  want(wanted, hold_ms = HOLD_MS) {
    if (wanted) {
      clearTimeout(this.#hold);
      this.#hold = null;
      this.player.want(true);
    } else if (this.#hold === null) {
      this.#hold = setTimeout(() => this.player.want(false), hold_ms);
    }
  }

  get audible() {
    return !this.player.report.muted;
  }

  toggleSound() {
    if (this.#stream?.audio) this.setSound(!this.audible);
  }

  setSound(audible) {
    this.player.setMuted(!audible);
    const { sound } = this.#parts;
    sound.replaceChildren(icon(audible ? "soundOn" : "soundOff"));
    setAttribute(sound, "aria-pressed", audible);
    setAttribute(sound, "aria-label", `Sound of ${this.name}`);
    setAttribute(sound, "title", audible ? "Mute" : "Unmute");
  }

  get big() {
    return this.element.classList.contains("big");
  }

  /** The stream's page, while it is open. */
  get page() {
    return this.big ? this.#page : null;
  }

  /** Become the stream's page, or a tile again. */
  setBig(big) {
    if (big && !this.#page) {
      this.#page = new StreamPage(this.name, this.player, this.#mesh, (stats) => this.voice.show(stats));
      this.element.append(...this.#page.elements);
    }
    this.element.classList.toggle("big", big);
    this.#parts.open.hidden = big;
    if (big) this.#page.enter(this.#stream);
    else this.#page.leave();
    (big ? this.#parts.heading : this.#parts.open).focus({ preventScroll: true });
  }

  /** Of the tiles, one is in the order of Tab; arrow keys choose which. */
  setReachable(reachable) {
    const { open, sound } = this.#parts;
    for (const control of [open, sound]) control.tabIndex = reachable || this.big ? 0 : -1;
  }

  focus() {
    this.#parts.open.focus();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#parts.screen.requestFullscreen?.().catch(() => {}); // refused where pages may not: an embedding page
  }

  /** Watch the picture and write down what it measures. */
  tick() {
    this.player.tick();
    this.#series.sample(this.player.report, performance.now());
    this.voice.tick();
    if (this.big) this.#page.tick(this.#series);
    this.#showPicture();
  }

  close() {
    clearTimeout(this.#hold);
    if (this.big) this.#page.leave();
    this.player.close();
    this.element.remove();
  }

  #showPicture() {
    const { report } = this.player;
    const { picture, pictureText, placeholder, meters } = this.#parts;
    const had = report.firstPictureAt !== null;
    setAttribute(this.element, "data-picture", report.state);
    setAttribute(this.element, "data-had-picture", had ? "" : null);
    picture.hidden = !(report.state in PICTURE_TEXT);
    setText(pictureText, PICTURE_TEXT[report.state] ?? "");
    placeholder.hidden = had;
    setText(placeholder, had || this.#stream?.live ? "" : (this.#stream?.stateText ?? ""));
    meters.hidden = !had;
    this.#showMeters(report);
    this.#showEncoding(report);
    this.#showError(report);
  }

  #showEncoding({ transcoded }) {
    if (!this.#stream) return;
    const { encoding } = this.#parts;
    const said = encodingOf(this.#stream);
    setText(encoding, [said.text, transcoded].filter(Boolean).join(" · "));
    setAttribute(encoding, "data-tone", said.tone);
    setAttribute(encoding, "title", [transcoded, said.reason].filter(Boolean).join("\n") || null);
  }

  #showMeters(report) {
    const lost = report.packetsLost;
    const values = {
      fps: `${report.fps.toFixed(1)} fps`,
      latency: (report.latencySource === "buffer" ? "buffer " : "") + format.milliseconds(report.latencyMs),
      size: report.width ? `${report.width}×${report.height}` : "–",
      bitrate: format.bitrate(report.bitrate),
      lost: `${lost} lost`,
      join: `join ${format.milliseconds(report.joinMs)}`,
    };
    for (const [key, text] of Object.entries(values)) setText(this.#meters.get(key), text);
    const note = NOTE_TEXT[report.latencySource];
    setAttribute(this.#meters.get("latency"), "title", note ? `Latency, ${note}` : null);
    setAttribute(this.#meters.get("lost"), "data-tone", lost > 0 ? "warn" : null);
  }

  #showError(report) {
    const errors = [...(this.#stream?.errors ?? [])];
    const explained = errors.some(({ who }) => who === "capture"); // no picture, and that is why
    if (report.error && report.failures >= HICCUP_FAILURES && !explained) errors.push({ who: "picture", ...report.error });
    const { error } = this.#parts;
    const lines = errors.map(({ who, message }) => `${who}: ${message}`);
    error.hidden = lines.length === 0;
    setText(error, lines.length > 1 ? `${lines[0]} (+${lines.length - 1} more)` : (lines[0] ?? ""));
    setAttribute(error, "title", lines.join("\n") || null);
    if (this.big) this.#page.setErrors(errors);
  }
}

function outputChip(output) {
  const title = [output.to, output.file, output.error?.message].filter(Boolean).join("\n");
  const state = el("span", { class: "output-state", text: output.state });
  return el("li", { class: "output", "data-tone": output.tone, "data-state": output.state, title }, output.name, state);
}
