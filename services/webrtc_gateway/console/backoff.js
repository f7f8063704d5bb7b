// Delays between attempts: at once, then every 150 ms for two seconds (a killed gateway is back in about one, and
// doubling from the start overslept it by up to 0.8 s), then doubling to 2 s, so that an idle page does not
// hammer a host that is down.

const EARLY_DELAY_MS = 150;
const EARLY_ATTEMPTS = 13;
const LAST_DELAY_MS = 2000;

export class Backoff {
  #attempts = 0;

  /** Milliseconds to wait before the next attempt. */
  next() {
    const attempt = this.#attempts++;
    if (attempt === 0) return 0;
    if (attempt <= EARLY_ATTEMPTS) return EARLY_DELAY_MS;
    return Math.min(LAST_DELAY_MS, EARLY_DELAY_MS * 2 ** (attempt - EARLY_ATTEMPTS));
  }

  reset() {
    this.#attempts = 0;
  }
}
