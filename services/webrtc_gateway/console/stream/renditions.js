// The encodings of a stream: which there are, what they make, which one is shown, start and stop.

import { call, CommandError } from "../commands.js";
import { el, setText } from "../dom.js";
import { Field, Form, NAME } from "../form.js";
import * as format from "../format.js";
import { Line } from "../sparkline.js";
import { toast } from "../toasts.js";
import { KEPT_RATES } from "./rates.js";
import { Stopped } from "./stopped.js";

const SOURCE = "source";
const CODECS = ["h264", "hevc", "vp8", "vp9", "av1"];
const POLICIES = [["prefer-hw", "hardware, else software"], ["require-hw", "hardware only"], ["software", "software only"]];

export class Renditions {
  #name;
  #rates;
  #list = el("ul", { class: "rows", "aria-label": "Renditions" });
  #watch;
  #shown = "";
  #graphs = new Map(); // rendition -> { line, text }
  #stopped;

  constructor(name, player, rates) {
    this.#name = name;
    this.#rates = rates;
    this.#stopped = new Stopped("rendition", (spec) => call("hw-encode.start", spec), () => (this.#shown = ""));
    this.#watch = new Field("watch", "Shown here", { options: [["", "chosen by the gateway"]] });
    const asked = new URLSearchParams(location.search).get("rendition");
    if (asked) this.#watch.setOptions([["", "chosen by the gateway"], asked]);
    this.#watch.value = asked ?? "";
    this.#watch.control.addEventListener("change", () => player.watch(this.#watch.value));
    this.element = el(
      "section",
      { class: "card", "aria-label": "Renditions" },
      el("h3", { text: "Renditions" }),
      this.#list,
      this.#watch.element,
      el("details", { class: "more" }, el("summary", { text: "Add a rendition" }), this.#form()),
    );
  }

  update(stream) {
    this.#stopped.forget(stream.renditions.map(({ name }) => name));
    const shown = JSON.stringify([stream.renditions, stream.sourceTracks, stream.video, this.#stopped.names]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const source = stream.carriesSource ? [this.#sourceRow(stream)] : [];
    const rows = [...source, ...stream.renditions.map((rendition) => this.#row(rendition)), ...this.#stopped.rows()];
    const none = el("li", { class: "none", text: "None yet: main is made when somebody watches." });
    this.#list.replaceChildren(...(rows.length ? rows : [none]));
    const names = [...(stream.carriesSource ? [SOURCE] : []), ...stream.renditions.map(({ name }) => name)];
    const chosen = this.#watch.value;
    const all = [...new Set([...names, ...(chosen ? [chosen] : [])])];
    this.#watch.setOptions([["", "chosen by the gateway"], ...all]);
    this.showRates();
  }

  /** Draw what was measured last. */
  showRates() {
    for (const [name, { line, text }] of this.#graphs) {
      const series = this.#rates.series.get(name);
      line.element.parentElement.hidden = !series;
      if (!series) continue;
      const said = `${format.rate(series.fps)} · ${format.bitrate(series.bitrate)}`;
      setText(text, said);
      line.update(series.bitrates, `Bitrate of ${name}, last two minutes; now ${said}`);
    }
  }

  #graph(name) {
    const made = this.#graphs.get(name) ?? { line: new Line(KEPT_RATES, "small"), text: el("span", { class: "rate" }) };
    this.#graphs.set(name, made);
    return el("div", { class: "row-graph" }, made.text, made.line.element);
  }

  #row(rendition) {
    const { name, asked, codec, size, state, tone, encoder, where, bitrate, reason, error, spec } = rendition;
    const target = bitrate ? `${format.bitrate(bitrate)} asked` : "";
    const facts = [codec, size, target, [encoder, where].filter(Boolean).join(" ")];
    const stop = el("button", { type: "button", class: "button small stop", text: "Stop", "aria-label": `Stop rendition ${name}` });
    stop.addEventListener("click", () => this.#stop(name, spec, stop));
    return el(
      "li",
      { class: "row", "data-rendition": name, title: reason || null },
      el("span", { class: "row-name", text: name }),
      el("span", { class: "chip", "data-tone": tone, text: state }),
      asked ? stop : el("span", { class: "quiet", text: "on demand" }),
      el("span", { class: "row-facts", text: facts.filter(Boolean).join(" · ") }),
      this.#graph(name),
      ...(error ? [el("span", { class: "row-error", text: error.message })] : []),
    );
  }

  #sourceRow({ video, sourceTracks }) {
    const facts = [video?.codec, video?.width ? `${video.width}×${video.height}` : "", sourceTracks.join(", ")];
    return el(
      "li",
      { class: "row", "data-rendition": SOURCE, title: "The source's own packets, not encoded again" },
      el("span", { class: "row-name", text: SOURCE }),
      el("span", { class: "chip", text: "as it comes" }),
      el("span", { class: "row-facts", text: facts.filter(Boolean).join(" · ") }),
      this.#graph(SOURCE),
    );
  }

  async #stop(rendition, spec, button) {
    button.disabled = true;
    try {
      this.#stopped.add(rendition, spec);
      await call("hw-encode.stop", { stream: this.#name, rendition });
      toast(`Rendition ${rendition} is stopped`);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#stopped.forget([rendition]);
      toast(error.message, "bad");
      button.disabled = false;
    }
  }

  #form() {
    const fields = [
      new Field("rendition", "Name", { value: "main", ...NAME }),
      new Field("codec", "Codec", { options: CODECS }),
      new Field("size", "Size", { placeholder: "as the source", help: "For example 1280x720." }),
      new Field("bitrate", "Bitrate", { placeholder: "4M", help: "For example 2M or 800k." }),
      new Field("encoder", "Encoder", { options: POLICIES }),
      new Field("always", "Encode even while nobody watches", { type: "checkbox" }),
    ];
    const form = new Form(fields, "Start", async (values) => {
      const reply = await call("hw-encode.start", { stream: this.#name, ...values });
      toast(reply.code === 202 ? `Rendition ${values.rendition} is asked for` : `Rendition ${values.rendition} is there`);
    }, { label: "Add a rendition" });
    return form.element;
  }
}
