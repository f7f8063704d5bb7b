// The side panel of the big view: everything known about one stream, every error in full.

import { el } from "./dom.js";
import * as format from "./format.js";
import { pictureOf } from "./model.js";

export class Details {
  #facts = el("dl", { class: "facts" });
  #errors = el("ul", { class: "errors", "aria-label": "Errors" });
  #shown = "";
  #shown_errors = "";

  constructor() {
    this.element = el("div", { class: "details" }, this.#errors, this.#facts, keys());
  }

  update(stream) {
    const shown = JSON.stringify(stream);
    if (shown === this.#shown) return; // leave a text selection alone
    this.#shown = shown;
    const facts = [
      ["Source", stream.source],
      ["State", stream.since_ns ? `${stream.stateText}, for ${format.since(stream.since_ns, Date.now())}` : stream.stateText],
      ["Picture", pictureOf(stream) || "–"],
      ["Sound", soundOf(stream.audio)],
      ["Node", stream.node || "–"],
      ["Restarts", String(stream.restarts)],
    ];
    for (const rendition of stream.renditions) facts.push([`Rendition ${rendition.name}`, ...renditionLines(rendition)]);
    for (const output of stream.outputs) facts.push([`Output ${output.name}`, ...outputLines(output)]);
    this.#facts.replaceChildren(...facts.flatMap(([term, ...lines]) => [
      el("dt", { text: term }),
      ...lines.map((text) => el("dd", { text })),
    ]));
  }

  setErrors(errors) {
    const shown = JSON.stringify(errors);
    if (shown === this.#shown_errors) return;
    this.#shown_errors = shown;
    this.#errors.replaceChildren(...errors.map(({ who, code, message }) => el(
      "li",
      {},
      el("strong", { text: code ? `${who} · ${code}` : who }),
      el("span", { text: message }),
    )));
  }
}

function keys() {
  const hints = [["Esc", "back"], ["← →", "other streams"], ["M", "sound"]];
  return el("p", { class: "keys" }, ...hints.flatMap(([key, what]) => [el("kbd", { text: key }), ` ${what} `]));
}

function soundOf(audio) {
  if (!audio) return "none";
  const rate = audio.sample_rate ? `${audio.sample_rate / 1000} kHz` : "";
  const channels = audio.channels ? `${audio.channels} ch` : "";
  return [audio.codec, rate, channels].filter(Boolean).join(" · ") || "yes";
}

function renditionLines({ state, encoder, where, bitrate, reason }) {
  const rate = bitrate ? format.bitrate(bitrate) : "";
  return [[state, encoder, where, rate].filter(Boolean).join(" · "), reason].filter(Boolean);
}

function outputLines({ state, to, file, bytes, retries }) {
  const counts = [state, bytes ? format.bytes(bytes) : "", retries ? `${retries} retries` : ""];
  return [counts.filter(Boolean).join(" · "), to, file].filter(Boolean);
}
