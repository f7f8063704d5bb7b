// The latest events, newest first: in a drawer, and those of one stream on its page. What happened before the page was
// open comes with the feed; an event that comes twice is one.

import { el, setAttribute, setText } from "./dom.js";
import { clockTime, dateTime } from "./format.js";
import { addressOf } from "./router.js";

const EVENTS_SHOWN = 50;
const EVENTS_KEPT = 2000; // what the gateway has of many streams, and what comes
const PROGRESS = "job-progress";
const DAY_MS = 86400_000;

export class Events {
  #list = el("ol", { class: "event-list", role: "log", "aria-live": "off", tabindex: "0", "aria-label": "Latest events" });
  #none = el("p", { class: "none", text: "Nothing has happened yet." });
  #drawer;
  #toggle;
  #badge;
  #unread = 0;
  #kept = []; // newest first
  #known = new Set();
  #listeners = new Set();

  constructor(drawer, toggle, badge) {
    this.#drawer = drawer;
    this.#toggle = toggle;
    this.#badge = badge;
    drawer.append(
      el("header", { class: "events-head" }, el("h2", { text: "Events" }), el("p", { text: `newest first, the last ${EVENTS_SHOWN}` })),
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

  /** Add an Event that happens now. */
  add(event) {
    if (event.event === PROGRESS) {
      for (const listener of this.#listeners) listener(event); // for who shows its job; twice a second is no news
      return;
    }
    if (!this.#keep(event)) return;
    if (this.#kept[0] === event) this.#list.prepend(eventLine(event));
    else this.#listAnew();
    while (this.#list.childElementCount > EVENTS_SHOWN) this.#list.lastElementChild.remove();
    this.#none.hidden = true;
    if (this.#drawer.hidden) this.#setUnread(Math.min(EVENTS_SHOWN, this.#unread + 1));
    for (const listener of this.#listeners) listener(event);
  }

  /** Add what happened before: at the start, and when the gateway is back. */
  addHistory(events) {
    const before = this.#kept.length > 0;
    const fresh = events.filter((event) => event.event !== PROGRESS && this.#keep(event));
    if (fresh.length === 0) return;
    this.#listAnew();
    this.#none.hidden = true;
    // What was missed while the gateway was away is news; what was before the page is not.
    if (before && this.#drawer.hidden) this.#setUnread(Math.min(EVENTS_SHOWN, this.#unread + fresh.length));
    for (const listener of this.#listeners) listener(null);
  }

  /** The kept events of a stream and of its renditions and outputs. */
  of(stream) {
    return this.#kept.filter((event) => isOf(event, stream));
  }

  /** The kept events that `fits` is true of, newest first. */
  where(fits) {
    return this.#kept.filter(fits);
  }

  /** Call `listener(event)` at each event, `listener(null)` when many came at once; returns what ends that. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #keep(event) {
    const identity = [event.service, event.id, event.event, event.node, event.at_ns, event.state].join(" ");
    if (this.#known.has(identity)) return false;
    this.#known.add(identity);
    const at = this.#kept.findIndex((other) => other.at_ns <= event.at_ns);
    this.#kept.splice(at === -1 ? this.#kept.length : at, 0, event);
    if (this.#kept.length > EVENTS_KEPT) this.#kept.pop();
    if (this.#known.size > 2 * EVENTS_KEPT) this.#known.delete(this.#known.values().next().value);
    return true;
  }

  #listAnew() {
    this.#list.replaceChildren(...this.#kept.slice(0, EVENTS_SHOWN).map(eventLine));
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

function isOfJob(event) {
  return String(event.event).startsWith("job-");
}

/** One event as a list item. */
export function eventLine(event) {
  const error = event.error?.message ?? "";
  const old = Date.now() - event.at_ns / 1e6 > DAY_MS;
  return el(
    "li",
    { class: "event", "data-tone": event.error ? "bad" : null },
    el("time", { text: old ? dateTime(event.at_ns).slice(0, 10) : clockTime(event.at_ns), title: dateTime(event.at_ns) }),
    el("span", { class: "event-what" }, `${event.service} `, isOfJob(event) ? el("a", { href: addressOf("jobs", event.id), text: event.id }) : event.id),
    el("span", { class: "event-state", text: event.state || event.event }),
    ...(error ? [el("span", { class: "event-error", text: error })] : []),
  );
}
