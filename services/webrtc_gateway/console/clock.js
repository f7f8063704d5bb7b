// The server's wall clock as seen from this page: the sample with the shortest round trip is the truest.

const SAMPLES_KEPT = 12; // about a minute of pings: follows drift, forgets a lucky sample of long ago

export class ServerClock {
  #samples = [];

  /** Note one ping: sent and received in performance.now() milliseconds, the server's wall clock in between. */
  add(sent_ms, received_ms, server_ms) {
    const rtt_ms = received_ms - sent_ms;
    if (!(rtt_ms >= 0) || !Number.isFinite(server_ms)) return;
    this.#samples.push({ rtt_ms, offset_ms: server_ms - (sent_ms + received_ms) / 2 });
    if (this.#samples.length > SAMPLES_KEPT) this.#samples.shift();
  }

  /** Forget everything: another server may have another clock. */
  reset() {
    this.#samples = [];
  }

  get #best() {
    return this.#samples.reduce((best, sample) => (best && best.rtt_ms <= sample.rtt_ms ? best : sample), null);
  }

  /** Shortest round trip in milliseconds, or null before the first answer. */
  get rttMs() {
    return this.#best?.rtt_ms ?? null;
  }

  /** Server wall clock (ms since 1970) at a performance.now() time; this machine's own clock until a ping is back. */
  wallAt(performance_ms) {
    return performance_ms + (this.#best?.offset_ms ?? performance.timeOrigin);
  }
}
