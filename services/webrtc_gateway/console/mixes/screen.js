// A mix's live picture with its boxes over it. It plays while it is wanted and seen.

import { el } from "../dom.js";
import { Player } from "../player.js";
import { sizeOf } from "./model.js";

const TICK_MS = 250; // a stall is seen in time
const HIDDEN_HOLD_MS = 30000; // a glance at another tab does not end the sessions
const NEARLY_VISIBLE = "160px"; // join just before it scrolls in
const PICTURE_TEXT = { waiting: "Waiting for the picture", connecting: "Connecting", reconnecting: "Reconnecting" };

const open = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    for (const screen of open) if (screen.element === target) screen.seen(isIntersecting);
  }
}, { rootMargin: NEARLY_VISIBLE });

// All sessions end at the server when the page goes away.
window.addEventListener("pagehide", () => open.forEach((screen) => screen.player.want(false)));
window.addEventListener("pageshow", (event) => event.persisted && open.forEach((screen) => screen.show()));
let hold = null; // of a hidden page
document.addEventListener("visibilitychange", () => {
  clearTimeout(hold);
  if (document.hidden) hold = setTimeout(() => open.forEach((screen) => screen.player.want(false)), HIDDEN_HOLD_MS);
  else open.forEach((screen) => screen.show());
});

/** The gateway has just been heard of, or (false) not any more. */
export function tellScreens(isThere) {
  for (const { player } of open) {
    if (isThere) player.poke();
    else player.suspect();
  }
}

export class Screen {
  #stage = el("div", { class: "stage" });
  #placeholder = el("p", { class: "placeholder" });
  #timer = null;
  #seen = false; // it is not scrolled away
  #off = ""; // why there is no picture

  /** `over` is what lies over the picture. */
  constructor(name, clock, over) {
    this.player = new Player(name, this.#stage, clock);
    this.element = el("div", { class: "mix-screen", "data-picture": "idle" }, this.#stage, this.#placeholder, over);
  }

  /** Play while it is seen. */
  start() {
    open.add(this);
    observer.observe(this.element);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  stop() {
    open.delete(this);
    observer.unobserve(this.element);
    clearInterval(this.#timer);
    this.#timer = null;
    this.player.want(false);
  }

  seen(isSeen) {
    this.#seen = isSeen;
    this.player.want(isSeen);
    this.#tick();
  }

  /** The page is there again. */
  show() {
    this.player.want(this.#seen);
    this.player.poke();
  }

  /** Another state: the size of the canvas, its stream (null: there is none yet) and why there may be no picture. */
  update(spec, stream, off) {
    const [width, height] = sizeOf(spec.size);
    this.element.style.setProperty("--shape", String(width / height));
    this.#off = off;
    this.player.expect(Boolean(stream?.watchable), spec.fps);
    this.#showPicture();
  }

  #tick() {
    this.player.tick();
    this.#showPicture();
  }

  #showPicture() {
    const { state, firstPictureAt, error } = this.player.report;
    this.element.dataset.picture = state;
    const text = this.#off || (firstPictureAt === null ? (error?.message ?? PICTURE_TEXT[state] ?? "") : "");
    if (this.#placeholder.textContent !== text) this.#placeholder.textContent = text;
    this.#placeholder.hidden = !text;
  }
}
