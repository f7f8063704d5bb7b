// Make a stream of this browser's camera and microphone.

import { CommandError } from "../commands.js";
import { el, setAttribute, setText } from "../dom.js";
import { Field, Form, NAME } from "../form.js";
import * as format from "../format.js";
import { addressOf } from "../router.js";
import { WhipSession } from "../whip.js";

const SIZES = [["1280x720", "1280 × 720"], ["1920x1080", "1920 × 1080"], ["640x360", "640 × 360"]];
const NO_DEVICE = [["", "none"]];
const WHY_NOT = {
  NotAllowedError: "The browser was not allowed to use the camera or the microphone; allow it beside the address.",
  NotFoundError: "This browser has no such camera or microphone.",
  NotReadableError: "Another program uses the camera.",
};

export class PublishPage {
  #mesh;
  #preview = el("video", { muted: true, autoplay: true, playsinline: true, "aria-label": "Preview" });
  #hint = el("p", { text: "Your picture appears here" });
  #state = el("span", { class: "chip", "data-tone": "off", text: "not sending" });
  #facts = el("span", { class: "quiet" });
  #link = el("a", { class: "button", hidden: true, text: "Open the stream" });
  #stop = el("button", { type: "button", class: "button danger", text: "Stop", hidden: true });
  #camera = new Field("camera", "Camera", { options: [["default", "default camera"], ...NO_DEVICE] });
  #microphone = new Field("microphone", "Microphone", { options: [["default", "default microphone"], ...NO_DEVICE] });
  #size = new Field("size", "Size", { options: SIZES });
  #stream = new Field("stream", "Name of the stream", { value: "webcam", ...NAME });
  #form;
  #media = null;
  #session = null;
  #before = null;

  constructor(mesh) {
    this.#mesh = mesh;
    this.#preview.muted = true; // the attribute alone does not mute an element made by script
    this.#form = new Form([this.#stream, this.#camera, this.#microphone, this.#size], "Start sending", (values) => this.#start(values), { label: "Publish" });
    this.#stop.addEventListener("click", () => this.close());
    const intro = "The camera and the microphone of this browser become a stream like any other: watched, recorded, sent on.";
    this.element = el(
      "div",
      { class: "columns" },
      el(
        "div",
        { class: "card" },
        el("div", { class: "preview" }, this.#preview, this.#hint),
        el("div", { class: "line sending", role: "status" }, this.#state, this.#facts),
        el("div", { class: "actions" }, this.#stop, this.#link),
      ),
      el("div", { class: "card" }, el("h2", { text: "Publish", tabindex: "-1" }), el("p", { class: "quiet", text: intro }), this.#form.element),
    );
  }

  enter() {
    this.element.querySelector("h2").focus();
    if (!navigator.mediaDevices) {
      this.#form.show("Browsers give cameras to secure pages only: open the console over https, or at localhost.");
      return;
    }
    this.#listDevices();
  }

  // Sending goes on while other pages of the console are looked at.
  leave() {}

  update() {
    const stream = this.#mesh.streams.find(({ name }) => name === this.#stream.value);
    if (this.#session && stream) setAttribute(this.#link, "href", addressOf("stream", stream.name));
    this.#link.hidden = !(this.#session && stream);
  }

  tick() {
    this.update();
    this.#session?.stats().then((report) => this.#measure(report)).catch(() => {}); // closed meanwhile
  }

  /** End sending. */
  close() {
    this.#session?.close();
    this.#session = null;
    for (const track of this.#media?.getTracks() ?? []) track.stop();
    this.#media = null;
    this.#preview.srcObject = null;
    this.#before = null;
    setText(this.#facts, "");
    this.#show("not sending", "off");
    this.update();
  }

  async #start({ stream, camera, microphone, size }) {
    this.close();
    const [width, height] = size.split("x").map(Number);
    const device = (id) => (id === "default" ? {} : { deviceId: { exact: id } });
    if (!camera && !microphone) throw new CommandError(400, "camera: choose a camera or a microphone");
    try {
      this.#media = await navigator.mediaDevices.getUserMedia({
        video: camera ? { ...device(camera), width: { ideal: width }, height: { ideal: height } } : false,
        audio: microphone ? device(microphone) : false,
      });
    } catch (error) {
      throw new CommandError(0, WHY_NOT[error.name] ?? `the camera cannot be used: ${error.message}`);
    }
    this.#preview.srcObject = this.#media;
    this.#listDevices(); // their names are known only now
    this.#show("connecting", "busy");
    const session = new WhipSession(stream ?? "", (state, gone) => this.#peerState(session, state, gone));
    this.#session = session;
    try {
      await session.open(this.#media);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #peerState(session, state, gone) {
    if (session !== this.#session) return;
    if (state === "connected") this.#show("sending", "good");
    if (!gone) return;
    this.close();
    this.#form.show("The gateway ended the session, or cannot be reached any more. Start again.");
  }

  #show(text, tone) {
    setText(this.#state, text);
    setAttribute(this.#state, "data-tone", tone);
    this.#stop.hidden = this.#session === null && this.#media === null;
    this.#hint.hidden = this.#media !== null;
  }

  async #listDevices() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    for (const [kind, field, usual] of [["videoinput", this.#camera, "default camera"], ["audioinput", this.#microphone, "default microphone"]]) {
      const named = devices.filter((device) => device.kind === kind && device.label && device.deviceId !== "default");
      field.setOptions([["default", usual], ...named.map(({ deviceId, label }) => [deviceId, label]), ...NO_DEVICE]);
    }
  }

  #measure(report) {
    for (const one of report.values()) {
      if (one.type !== "outbound-rtp" || one.kind !== "video") continue;
      const before = this.#before;
      this.#before = one;
      if (!before || one.timestamp <= before.timestamp) return;
      const rate = ((one.bytesSent - before.bytesSent) * 8000) / (one.timestamp - before.timestamp);
      const size = one.frameWidth ? `${one.frameWidth}×${one.frameHeight}` : "";
      setText(this.#facts, [size, format.rate(one.framesPerSecond ?? 0), format.bitrate(rate)].filter(Boolean).join(" · "));
    }
  }
}
