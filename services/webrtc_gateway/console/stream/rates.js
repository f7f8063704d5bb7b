// What the encoders of one stream make: pictures and bits per second of each rendition, over the last two minutes.

import { call, CommandError } from "../commands.js";

const EVERY_MS = 2000;
export const KEPT_RATES = 60; // two minutes
const APPLICATION = "application"; // makes it elsewhere: nobody counts here
const MOST_ASKED = 8; // renditions at a time: the door admits 20 commands in a second

export class Rates {
  #name;
  #before = new Map(); // rendition -> reply
  #asked_at_ms = -Infinity;
  #asking = false;

  constructor(name) {
    this.#name = name;
    this.series = new Map(); // rendition -> { fps, bitrate, bitrates }
  }

  /** Forget what is old: the page was not looked at meanwhile. */
  reset() {
    this.#before.clear();
    this.series.clear();
    this.#asked_at_ms = -Infinity;
  }

  /** Ask for these renditions when it is time; true when there is something new. */
  async ask(renditions) {
    if (this.#asking || performance.now() - this.#asked_at_ms < EVERY_MS || document.hidden) return false;
    this.#asking = true;
    this.#asked_at_ms = performance.now();
    const names = renditions.filter(({ state, encoder }) => state === "running" && encoder !== APPLICATION).map(({ name }) => name).slice(0, MOST_ASKED);
    try {
      const answers = await Promise.allSettled(names.map((name) => call("hw-encode.stats", {}, `${this.#name}--${name}`)));
      for (const { reason } of answers) if (reason && !(reason instanceof CommandError)) throw reason;
      names.forEach((name, index) => this.#note(name, answers[index].value));
      for (const name of this.series.keys()) if (!names.includes(name)) this.#forget(name);
      return true;
    } finally {
      this.#asking = false;
    }
  }

  /** The camera's own packets, as capture measures them. */
  source(name, stats) {
    if (stats) this.#push(name, stats.fps, stats.bitrate);
  }

  #note(name, reply) {
    const before = this.#before.get(name);
    if (!reply?.running) return this.#forget(name); // it has ended, or is an application's
    this.#before.set(name, reply);
    const seconds = before && before.run === reply.run ? (reply.at_ns - before.at_ns) / 1e9 : 0;
    if (seconds > 0) this.#push(name, (reply.pictures - before.pictures) / seconds, ((reply.bytes - before.bytes) * 8) / seconds);
  }

  #push(name, fps, bitrate) {
    const series = this.series.get(name) ?? { fps: null, bitrate: null, bitrates: [] };
    series.fps = fps;
    series.bitrate = bitrate;
    series.bitrates.push(bitrate);
    if (series.bitrates.length > KEPT_RATES) series.bitrates.shift();
    this.series.set(name, series);
  }

  #forget(name) {
    if (name === "source") return;
    this.#before.delete(name);
    this.series.delete(name);
  }
}
