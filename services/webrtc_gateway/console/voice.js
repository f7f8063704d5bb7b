// How loud a stream's sound is and whether somebody speaks, where capture listens for it (`voice`).

import { call, CommandError } from "./commands.js";
import { el, setAttribute, setText } from "./dom.js";

const QUIETEST_DBFS = -60; // what is below is silence to the eye
const ASK_EVERY_MS = 250; // one stream after the other: a fifth of the commands that the door admits
const FORGOTTEN_MS = 5000; // older than this says nothing

/** The meter of one stream. */
export class VoiceMeter {
  #bar = el("span", { class: "voice-bar" });
  #text = el("span", { class: "unseen" });
  #shown_at_ms = -Infinity;

  constructor() {
    this.element = el("span", { class: "voice", hidden: true }, el("span", { class: "voice-track", "aria-hidden": "true" }, this.#bar), this.#text);
  }

  /** Show what capture measured; null: it does not listen. */
  show(stats) {
    const level = stats?.level_dbfs ?? null;
    this.element.hidden = level === null;
    if (level === null) return;
    this.#shown_at_ms = performance.now();
    const part = Math.max(0, Math.min(1, 1 - level / QUIETEST_DBFS));
    this.#bar.style.transform = `scaleX(${part.toFixed(3)})`;
    this.speaking(stats.speaking);
    setAttribute(this.element, "title", `Sound ${Math.round(level)} dBFS${stats.speaking ? ", somebody speaks" : ""}`);
  }

  /** An event told of it sooner. */
  speaking(speaking) {
    setAttribute(this.element, "data-speaking", speaking ? "" : null);
    setText(this.#text, speaking ? "somebody speaks" : "nobody speaks");
  }

  tick() {
    if (performance.now() - this.#shown_at_ms > FORGOTTEN_MS) this.element.hidden = true;
  }
}

/** Asks for the levels of the tiles that are seen, one at a time. */
export class VoicePoll {
  #asked_at_ms = -Infinity;
  #asking = false;
  #turn = 0;

  /** `tiles`: those that are seen and have a stream with `voice`. */
  async tick(tiles) {
    if (tiles.length === 0 || this.#asking || performance.now() - this.#asked_at_ms < ASK_EVERY_MS) return;
    this.#asking = true;
    this.#asked_at_ms = performance.now();
    this.#turn = (this.#turn + 1) % tiles.length;
    const tile = tiles[this.#turn];
    try {
      tile.voice.show(await call("capture.stats", {}, tile.name));
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      tile.voice.show(null); // its capture is away
    } finally {
      this.#asking = false;
    }
  }
}
