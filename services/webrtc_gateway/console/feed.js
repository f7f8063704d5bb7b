// The event socket: the state of the mesh, its events, and the server's clock. Reconnects for as long as the page lives.

import { Backoff } from "./backoff.js";

const EAGER_PINGS = 5; // a good clock estimate within half a second of joining
const EAGER_PING_EVERY_MS = 100;
const PING_EVERY_MS = 5000;
const SILENCE_MS = 12000; // two pings without an answer: the connection is dead, whatever TCP thinks
const OPEN_DEADLINE_MS = 3000;

export class Feed {
  #url;
  #clock;
  #handlers;
  #backoff = new Backoff();
  #socket = null;
  #timers = new Set();
  #pings = 0;

  /** `handlers`: onOpen(), onDrop(), onRefused() when it does not open, onStatus(status), onEvent(event),
   *  onHistory(events) of before. */
  constructor(url, clock, handlers) {
    this.#url = url;
    this.#clock = clock;
    this.#handlers = handlers;
  }

  start() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#pings = 0;
    const alive = () => {
      this.#clear(silence);
      silence = this.#after(SILENCE_MS, () => socket.close());
    };
    let silence = this.#after(OPEN_DEADLINE_MS, () => socket.close());
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.#backoff.reset();
      this.#backoff.next(); // a socket that opens and drops again waits one step
      this.#clock.reset();
      alive();
      this.#ping(socket);
      this.#handlers.onOpen();
    });
    socket.addEventListener("message", (message) => {
      alive();
      this.#receive(message.data);
    });
    socket.addEventListener("close", () => {
      for (const timer of this.#timers) clearTimeout(timer);
      this.#timers.clear();
      if (opened) this.#handlers.onDrop();
      else this.#handlers.onRefused();
      this.#after(this.#backoff.next(), () => this.start());
    });
  }

  /** Try again now, when something else has shown that the server is back. */
  poke() {
    if (this.#socket.readyState !== WebSocket.CLOSED) return;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.start();
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours: a proxy's page, say
    }
    if (message.type === "pong") this.#clock.add(message.t, performance.now(), message.server_ms);
    else if (message.type === "status") this.#handlers.onStatus(message.status ?? {});
    else if (message.type === "history") this.#handlers.onHistory(message.events ?? []);
    else if (message.type === "event" && message.event) this.#handlers.onEvent(message.event);
  }

  #ping(socket) {
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ type: "ping", t: performance.now() }));
    this.#pings += 1;
    this.#after(this.#pings < EAGER_PINGS ? EAGER_PING_EVERY_MS : PING_EVERY_MS, () => this.#ping(socket));
  }

  #after(delay_ms, then) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, delay_ms);
    this.#timers.add(timer);
    return timer;
  }

  #clear(timer) {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }
}
