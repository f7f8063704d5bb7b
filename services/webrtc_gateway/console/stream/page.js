// The page of one stream: what is under and beside its picture. The picture itself is the tile's.

import { call, CommandError } from "../commands.js";
import { el, setAttribute } from "../dom.js";
import * as format from "../format.js";
import { eventLine, isOf } from "../events.js";
import { Sparkline } from "../sparkline.js";
import { Actions } from "./actions.js";
import { Facts } from "./facts.js";
import { Outputs } from "./outputs.js";
import { Recordings } from "./recordings.js";
import { Renditions } from "./renditions.js";

const STATS_EVERY_MS = 2000; // capture measures over 2 s
const EVENTS_SHOWN = 12;

export class StreamPage {
  #name;
  #mesh;
  #facts = new Facts();
  #graphs = [
    ["fps", new Sparkline("Pictures", format.rate, "least")],
    ["bitrate", new Sparkline("Bitrate", format.bitrate, "most")],
    ["latency", new Sparkline("Latency", format.milliseconds, "most")],
  ];
  #renditions;
  #outputs;
  #recordings;
  #events = el("ol", { class: "event-list", tabindex: "0", "aria-label": "Latest events of the stream" });
  #stream = null;
  #stats = null;
  #stats_at_ms = -Infinity;
  #asking = false;
  #unlisten = null;

  constructor(name, player, mesh) {
    this.#name = name;
    this.#mesh = mesh;
    this.actions = new Actions(name, mesh.clock);
    this.#renditions = new Renditions(name, player);
    this.#outputs = new Outputs(name);
    this.#recordings = new Recordings(name, mesh);
    const graphs = el("section", { class: "card graphs", "aria-label": "Measurements" }, ...this.#graphs.map(([, graph]) => graph.element));
    const events = el("section", { class: "card", "aria-label": "Events" }, el("h3", { text: "Events" }), this.#events);
    this.elements = [
      el("div", { class: "below" }, this.actions.element, graphs, this.#recordings.element),
      el("div", { class: "side" }, this.#facts.element, this.#renditions.element, this.#outputs.element, events),
    ];
  }

  enter(stream) {
    this.#stats_at_ms = -Infinity;
    if (stream) this.update(stream);
    this.#unlisten = this.#mesh.events.listen((event) => isOf(event, this.#name) && this.#event(event));
    this.#showEvents();
    this.#recordings.load();
  }

  leave() {
    this.#unlisten?.();
    this.#unlisten = null;
    this.#recordings.leave();
  }

  update(stream) {
    this.#stream = stream;
    this.#facts.update(stream, this.#stats);
    this.#renditions.update(stream);
    this.#outputs.update(stream);
    this.actions.update(stream);
  }

  setErrors(errors) {
    this.#facts.setErrors(errors);
  }

  /** Called a few times a second with the picture's Series. */
  tick(series) {
    for (const [key, graph] of this.#graphs) graph.update(series[key]);
    this.actions.tick();
    if (performance.now() - this.#stats_at_ms >= STATS_EVERY_MS && !this.#asking && !document.hidden) this.#askStats();
  }

  async #askStats() {
    this.#asking = true;
    this.#stats_at_ms = performance.now();
    try {
      this.#stats = await call("capture.stats", {}, this.#name);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#stats = null; // its capture is away; the stream's state says so
    } finally {
      this.#asking = false;
    }
    if (this.#stream) this.#facts.update(this.#stream, this.#stats);
  }

  #event(event) {
    this.#showEvents();
    if (event.service === "publisher") this.#recordings.loadSoon();
  }

  #showEvents() {
    const events = this.#mesh.events.of(this.#name).slice(0, EVENTS_SHOWN);
    setAttribute(this.#events, "data-none", events.length ? null : "");
    const none = el("li", { class: "none", text: "Nothing has happened since this page was opened." });
    this.#events.replaceChildren(...(events.length ? events.map(eventLine) : [none]));
  }
}
