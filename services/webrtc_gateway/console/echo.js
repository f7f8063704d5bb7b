// Tells the gateway when pictures were on screen, so that it knows the latency and the join time of every session.

import { capturedAt } from "./capturetime.js";
import { TimecodeReader } from "./timecode.js";

const EVERY_MS = 500; // a histogram needs no more, and reading pixels back costs half a millisecond
const WITHOUT_CODE_MS = 10000; // ask a picture that bears no time code this seldom
const MISSES = 4; // a picture in transition can be unreadable once

export class Echo {
  #session;
  #video;
  #clock;
  #join_ms;
  #last_ms = -Infinity;
  #read_ms = -Infinity;
  #misses = 0;
  #timecode = new TimecodeReader();

  /** `join_ms` is from the POST to the first picture; it is told once, with the first echo. */
  constructor(session, video, clock, join_ms) {
    this.#session = session;
    this.#video = video;
    this.#clock = clock;
    this.#join_ms = join_ms;
  }

  /** Note a presented picture; `metadata` is requestVideoFrameCallback's. */
  frame(metadata) {
    const shown_ms = performance.now();
    if (shown_ms - this.#last_ms < EVERY_MS) return;
    this.#last_ms = shown_ms;
    const echo = this.#join_ms === null ? {} : { join_ms: this.#join_ms };
    // Before the first answer to a ping the server's clock is not known.
    if (this.#clock.rttMs !== null) Object.assign(echo, this.#measured(shown_ms, metadata));
    if (Object.keys(echo).length && this.#session.tell(echo)) this.#join_ms = null;
  }

  // The burnt code is the truth; what travels beside the picture does as well where there is none.
  #measured(shown_ms, metadata) {
    const presented_ms = this.#clock.wallAt(shown_ms);
    const code_ms = this.#code(shown_ms, presented_ms);
    if (code_ms !== null) return { presented_ms, captured_ms: code_ms, source: "timecode" };
    const captured_ms = capturedAt(this.#session.videoReceiver, metadata.rtpTimestamp);
    return captured_ms === null ? {} : { presented_ms, captured_ms, source: "capture" };
  }

  #code(shown_ms, near_ms) {
    if (this.#misses >= MISSES && shown_ms - this.#read_ms < WITHOUT_CODE_MS) return null;
    this.#read_ms = shown_ms;
    const code_ms = this.#timecode.read(this.#video, near_ms);
    this.#misses = code_ms === null ? this.#misses + 1 : 0;
    return code_ms;
  }
}
