// What a picture measured over the last two minutes, once a second.

export const KEPT_SECONDS = 120;
const EVERY_MS = 1000;

export class Series {
  #last_ms = -EVERY_MS;

  constructor() {
    this.fps = [];
    this.bitrate = [];
    this.latency = [];
  }

  /** Note a player's report, if a second has passed; null where there was no picture. */
  sample(report, now_ms) {
    if (now_ms - this.#last_ms < EVERY_MS) return;
    this.#last_ms = now_ms;
    const playing = report.state === "playing";
    push(this.fps, playing ? report.fps : null);
    push(this.bitrate, playing ? report.bitrate : null);
    push(this.latency, playing ? report.latencyMs : null);
  }
}

function push(values, value) {
  values.push(value);
  if (values.length > KEPT_SECONDS) values.shift();
}
