// The latest events, newest first: in a drawer, and those of one stream on its page.

import { el, setAttribute, setText } from "./dom.js";
import { clockTime } from "./format.js";

const EVENTS_KEPT = 50;

export class Events {
  #list = el("ol", { class: "event-list", role: "log", "aria-live": "off", tabindex: "0", "aria-label": "Latest events" });
  #none = el("p", { class: "none", text: "Nothing has happened since this page was opened." });
  #drawer;
  #toggle;
  #badge;
  #unread = 0;
  #kept = []; // newest first
  #listeners = new Set();

  constructor(drawer, toggle, badge) {
    this.#drawer = drawer;
    this.#toggle = toggle;
    this.#badge = badge;
    drawer.append(
      el("header", { class: "events-head" }, el("h2", { text: "Events" }), el("p", { text: `newest first, the last ${EVENTS_KEPT}` })),
      this.#none,
      this.#list,
    );
    toggle.addEventListener("click", () => this.#show(drawer.hidden));
    drawer.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#show(false);
      toggle.focus();
    });
  }

  /** Add an Event. */
  add(event) {
    this.#kept.unshift(event);
    if (this.#kept.length > EVENTS_KEPT) this.#kept.pop();
    this.#list.prepend(eventLine(event));
    for (const listener of this.#listeners) listener(event);
    while (this.#list.childElementCount > EVENTS_KEPT) this.#list.lastElementChild.remove();
    this.#none.hidden = true;
    if (this.#drawer.hidden) this.#setUnread(Math.min(EVENTS_KEPT, this.#unread + 1));
  }

  /** The kept events of a stream and of its renditions and outputs. */
  of(stream) {
    return this.#kept.filter((event) => isOf(event, stream));
  }

  /** Call `listener(event)` at each event; returns what ends that. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #show(shown) {
    this.#drawer.hidden = !shown;
    setAttribute(this.#toggle, "aria-expanded", shown);
    document.body.classList.toggle("has-events", shown);
    if (shown) this.#setUnread(0);
  }

  #setUnread(count) {
    this.#unread = count;
    this.#badge.hidden = count === 0;
    setText(this.#badge, String(count));
    setAttribute(this.#toggle, "aria-label", count ? `Events, ${count} new` : "Events");
  }
}

/** Whether an event is about a stream, or about a rendition or an output of it. */
export function isOf(event, stream) {
  return event.id === stream || String(event.id).startsWith(`${stream}--`);
}

/** One event as a list item. */
export function eventLine(event) {
  const error = event.error?.message ?? "";
  return el(
    "li",
    { class: "event", "data-tone": event.error ? "bad" : null },
    el("time", { text: clockTime(event.at_ns) }),
    el("span", { class: "event-what", text: `${event.service} ${event.id}` }),
    el("span", { class: "event-state", text: event.state || event.event }),
    ...(error ? [el("span", { class: "event-error", text: error })] : []),
  );
}
