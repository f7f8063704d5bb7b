// What one playing picture measures: frames per second, latency, bitrate, losses.

import { capturedAt } from "./capturetime.js";
import { TimecodeReader } from "./timecode.js";

const FPS_WINDOW_MS = 1000;
const LATENCY_EVERY_MS = 100; // often enough for a median over a second, free next to decoding
const TIMECODE_EVERY_MS = 500; // reading pixels back costs, so seldom
const STATS_EVERY_MS = 1000;
const LATENCY_SAMPLES = 10;
const PLAUSIBLE_LATENCY_MS = 60000; // beyond this a clock is wrong, not the picture late

export class Meter {
  #session;
  #video;
  #clock;
  #times = []; // [performance ms, frames presented] over the last window
  #latencies = [];
  #last = { latency: 0, timecode: 0, stats: 0 };
  #previous = null;
  #timecode = new TimecodeReader();

  constructor(session, video, clock) {
    this.#session = session;
    this.#video = video;
    this.#clock = clock;
    this.framesPresented = 0;
    this.framesDecoded = 0;
    this.lastFrameAt = performance.now();
    this.latencyMs = null;
    this.latencySource = null; // "capture", "timecode" or "buffer"
    this.bitrate = null;
    this.packetsLost = 0;
  }

  /** Note a presented picture: arguments of requestVideoFrameCallback. */
  frame(now_ms, metadata) {
    const shown_ms = performance.now(); // expectedDisplayTime can lie before the arrival of the picture
    this.lastFrameAt = shown_ms;
    this.framesPresented = metadata.presentedFrames;
    this.#times.push([now_ms, metadata.presentedFrames]);
    while (now_ms - this.#times[0][0] > FPS_WINDOW_MS) this.#times.shift();
    if (now_ms - this.#last.latency < LATENCY_EVERY_MS) return;
    this.#last.latency = now_ms;
    if (this.#fromCaptureTime(shown_ms, metadata.rtpTimestamp)) return;
    if (now_ms - this.#last.timecode >= TIMECODE_EVERY_MS) {
      this.#last.timecode = now_ms;
      this.#fromTimecode(shown_ms);
    }
  }

  /** Pictures per second shown over the last second. */
  get fps() {
    const first = this.#times[0];
    const last = this.#times.at(-1);
    if (!first || first === last || performance.now() - last[0] > FPS_WINDOW_MS) return 0;
    return ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
  }

  /** Poll the statistics when they are due. */
  async poll(now_ms) {
    if (now_ms - this.#last.stats < STATS_EVERY_MS) return;
    this.#last.stats = now_ms;
    for (const report of (await this.#session.stats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") this.#inbound(report);
    }
  }

  #inbound(report) {
    const before = this.#previous;
    this.#previous = report;
    this.packetsLost = Math.max(0, report.packetsLost ?? 0);
    if (report.framesDecoded > this.framesDecoded) {
      this.framesDecoded = report.framesDecoded;
      this.lastFrameAt = performance.now(); // decoding goes on even where nothing is presented
    }
    if (!before) return;
    const elapsed_ms = report.timestamp - before.timestamp;
    if (elapsed_ms > 0) this.bitrate = ((report.bytesReceived - before.bytesReceived) * 8000) / elapsed_ms;
    const emitted = report.jitterBufferEmittedCount - before.jitterBufferEmittedCount;
    if (emitted > 0 && (this.latencySource ?? "buffer") === "buffer") {
      this.latencyMs = ((report.jitterBufferDelay - before.jitterBufferDelay) * 1000) / emitted;
      this.latencySource = "buffer";
    }
  }

  #fromCaptureTime(shown_ms, rtp_timestamp) {
    const captured_ms = capturedAt(this.#session.videoReceiver, rtp_timestamp);
    if (captured_ms === null) return false;
    return this.#note(this.#clock.wallAt(shown_ms) - captured_ms, "capture");
  }

  #fromTimecode(shown_ms) {
    const wall_ms = this.#clock.wallAt(shown_ms);
    const code_ms = this.#timecode.read(this.#video, wall_ms);
    if (code_ms !== null) this.#note(wall_ms - code_ms, "timecode");
    else if (this.latencySource !== "buffer") this.latencySource = null;
  }

  #note(latency_ms, source) {
    if (Math.abs(latency_ms) > PLAUSIBLE_LATENCY_MS) return false;
    if (this.latencySource !== source) this.#latencies = [];
    this.latencySource = source;
    this.#latencies.push(latency_ms);
    if (this.#latencies.length > LATENCY_SAMPLES) this.#latencies.shift();
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    this.latencyMs = Math.max(0, sorted[sorted.length >> 1]);
    return true;
  }
}
