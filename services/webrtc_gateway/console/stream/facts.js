// What is known about one stream, and every error in full.

import { el } from "../dom.js";
import * as format from "../format.js";
import { pictureOf } from "../model.js";
import { addressOf } from "../router.js";

export class Facts {
  #facts = el("dl", { class: "facts" });
  #errors = el("ul", { class: "errors", "aria-label": "Errors" });
  #shown = "";
  #shown_errors = "";

  constructor() {
    this.element = el("section", { class: "card", "aria-label": "About" }, this.#errors, this.#facts);
  }

  /** Show a stream, and what its capture measures (null while that is not known). */
  update(stream, stats) {
    const dropped = Object.entries(stats?.dropped ?? {}).filter(([, count]) => count > 0);
    const facts = [
      ["Source", stream.source],
      ...(stream.spec.made_for ? [["Mix", stream.spec.made_for, addressOf("mixes", stream.spec.made_for)]] : []),
      ["State", stream.since_ns ? `${stream.stateText}, for ${format.since(stream.since_ns, Date.now())}` : stream.stateText],
      ["Picture", pictureOf(stream) || "–"],
      ["Sound", soundOf(stream.audio)],
      ["Sends", stats ? `${format.rate(stats.fps)} · ${format.bitrate(stats.bitrate)}` : "–"],
      ["Left out", dropped.length ? dropped.map(([reason, count]) => `${count} ${reason}`).join(" · ") : "nothing"],
      ["Restarts", String(stream.restarts)],
      ["Node", stream.node || "–"],
    ];
    const shown = JSON.stringify(facts);
    if (shown === this.#shown) return; // leave a text selection alone
    this.#shown = shown;
    this.#facts.replaceChildren(...facts.map(([term, text, href]) => (
      el("div", {}, el("dt", { text: term }), href ? el("dd", {}, el("a", { href, text })) : el("dd", { text }))
    )));
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

function soundOf(audio) {
  if (!audio) return "none";
  const rate = audio.sample_rate ? `${audio.sample_rate / 1000} kHz` : "";
  const channels = audio.channels ? `${audio.channels} ch` : "";
  return [audio.codec, rate, channels].filter(Boolean).join(" · ") || "yes";
}
