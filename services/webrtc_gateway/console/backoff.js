// Delays between attempts: at once, then 100 ms doubling to 2 s. A killed gateway is back in about a second,
// so the early steps are short; the last one keeps an idle page from hammering a host that is down.

const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 2000;

export class Backoff {
  #next_ms = 0;

  /** Milliseconds to wait before the next attempt. */
  next() {
    const delay_ms = this.#next_ms;
    this.#next_ms = Math.min(LAST_DELAY_MS, delay_ms === 0 ? FIRST_DELAY_MS : delay_ms * 2);
    return delay_ms;
  }

  reset() {
    this.#next_ms = 0;
  }
}
