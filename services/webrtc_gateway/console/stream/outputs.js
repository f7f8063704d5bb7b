// Where a stream goes: files, servers, other protocols; start and stop.

import { call, CommandError } from "../commands.js";
import { el } from "../dom.js";
import { Field, Form, NAME } from "../form.js";
import * as format from "../format.js";
import { toast } from "../toasts.js";
import { Stopped } from "./stopped.js";

const FORMATS = [["", "by the address"], "mp4", "ts", "mkv", "hls", "flv", "rtsp", "srt", "udp", "whip"];
const RECORDING_OUTPUT = "recording"; // has a button of its own
const EXAMPLES = [
  "file://{stream}/{start:%Y%m%d-%H%M%S}.mp4",
  "rtmp://server/app/key",
  "rtsp://server/path",
  "srt://server:9000",
  "https://server/whip/name",
];

export class Outputs {
  #name;
  #list = el("ul", { class: "rows", "aria-label": "Outputs" });
  #rendition = new Field("rendition", "Rendition", { options: ["main"] });
  #shown = "";
  #stopped;

  constructor(name) {
    this.#name = name;
    this.#stopped = new Stopped("output", (spec) => call("publisher.start", spec), () => (this.#shown = ""));
    this.element = el(
      "section",
      { class: "card", "aria-label": "Outputs" },
      el("h3", { text: "Outputs" }),
      this.#list,
      el("details", { class: "more" }, el("summary", { text: "Add an output" }), this.#form()),
    );
  }

  update(stream) {
    const names = ["main", ...stream.renditions.map(({ name }) => name), ...(stream.carriesSource ? ["source"] : [])];
    this.#rendition.setOptions([...new Set(names)]);
    this.#stopped.forget(stream.outputs.map(({ name }) => name));
    const shown = JSON.stringify([stream.outputs, this.#stopped.names]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const none = el("li", { class: "none", text: "None: nothing is sent or written." });
    const rows = [...stream.outputs.map((output) => this.#row(output)), ...this.#stopped.rows()];
    this.#list.replaceChildren(...(rows.length ? rows : [none]));
  }

  #row({ name, rendition, state, tone, to, file, bytes, retries, duration_ns, error, spec }) {
    const long = duration_ns ? format.duration(duration_ns / 1e9) : "";
    const facts = [rendition, bytes ? format.bytes(bytes) : "", long, retries ? `${retries} retries` : ""].filter(Boolean);
    const stop = el("button", { type: "button", class: "button small stop", text: "Stop", "aria-label": `Stop output ${name}` });
    stop.addEventListener("click", () => this.#stop(name, spec, stop));
    return el(
      "li",
      { class: "row", "data-output": name },
      el("span", { class: "row-name", text: name }),
      el("span", { class: "chip", "data-tone": tone, text: state }),
      stop,
      el("span", { class: "row-facts", text: facts.join(" · ") }),
      el("span", { class: "row-place", text: file || to }),
      ...(error ? [el("span", { class: "row-error", text: error.message })] : []),
    );
  }

  async #stop(output, spec, button) {
    button.disabled = true;
    try {
      if (output !== RECORDING_OUTPUT) this.#stopped.add(output, spec);
      await call("publisher.stop", { stream: this.#name, output });
      toast(`Output ${output} is stopped`);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#stopped.forget([output]);
      toast(error.message, "bad");
      button.disabled = false;
    }
  }

  #form() {
    const fields = [
      new Field("output", "Name", { value: "live", ...NAME }),
      new Field("to", "To", { list: EXAMPLES, placeholder: "rtmp://server/app/key", help: "file, rtmp, rtsp, srt, udp, or http(s) for WHIP. Keys and passwords are kept apart and shown nowhere." }),
      this.#rendition,
      new Field("format", "Format", { options: FORMATS }),
    ];
    const form = new Form(fields, "Start", async (values) => {
      await call("publisher.start", { stream: this.#name, ...values });
      toast(`Output ${values.output} is there`);
    }, { label: "Add an output" });
    return form.element;
  }
}
