// The page of one stream: what is under and beside its picture. The picture itself is the tile's.

import { call, CommandError } from "../commands.js";
import { el, setAttribute } from "../dom.js";
import * as format from "../format.js";
import { eventLine, isOf } from "../events.js";
import { least, most, quantiles, Sparkline } from "../sparkline.js";
import { Actions } from "./actions.js";
import { Facts } from "./facts.js";
import { Outputs } from "./outputs.js";
import { Recordings } from "./recordings.js";
import { Rates } from "./rates.js";
import { Renditions } from "./renditions.js";

const STATS_EVERY_MS = 2000; // capture measures over 2 s
const LEVEL_EVERY_MS = 500; // of a stream that is listened to: its meter shall move
const EVENTS_SHOWN = 12;

export class StreamPage {
  #name;
  #mesh;
  #facts = new Facts();
  #graphs = [
    ["fps", new Sparkline("Pictures", format.rate, least)],
    ["bitrate", new Sparkline("Bitrate", format.bitrate, most)],
    ["latency", new Sparkline("Latency", format.milliseconds, quantiles)],
  ];
  #rates;
  #renditions;
  #outputs;
  #onStats;
  #recordings;
  #events = el("ol", { class: "event-list", tabindex: "0", "aria-label": "Latest events of the stream" });
  #stream = null;
  #stats = null;
  #stats_at_ms = -Infinity;
  #asking = false;
  #unlisten = null;

  /** `onStats(stats)` is told what capture measures. */
  constructor(name, player, mesh, onStats) {
    this.#name = name;
    this.#mesh = mesh;
    this.#onStats = onStats;
    this.#rates = new Rates(name);
    this.#renditions = new Renditions(name, player, this.#rates);
    this.#outputs = new Outputs(name);
    this.#recordings = new Recordings(name, mesh);
    this.actions = new Actions(name, mesh.clock, () => this.#recordings.clip());
    const graphs = el("section", { class: "card graphs", "aria-label": "Measurements" }, ...this.#graphs.map(([, graph]) => graph.element));
    const events = el("section", { class: "card", "aria-label": "Events" }, el("h3", { text: "Events" }), this.#events);
    this.elements = [
      el("div", { class: "below" }, this.actions.element, graphs, this.#recordings.element),
      el("div", { class: "side" }, this.#facts.element, this.#renditions.element, this.#outputs.element, events),
    ];
  }

  enter(stream) {
    this.#stats_at_ms = -Infinity;
    this.#rates.reset();
    if (stream) this.update(stream);
    this.#unlisten = this.#mesh.events.listen((event) => (event === null || isOf(event, this.#name)) && this.#event(event));
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
    if (!this.#stream || document.hidden) return;
    const every_ms = this.#stream.spec.voice ? LEVEL_EVERY_MS : STATS_EVERY_MS;
    if (performance.now() - this.#stats_at_ms >= every_ms && !this.#asking) this.#askStats();
    this.#rates.ask(this.#stream.renditions).then((asked) => asked && this.#showRates());
  }

  #showRates() {
    if (this.#stream?.carriesSource) this.#rates.source("source", this.#stats);
    this.#renditions.showRates();
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
    this.#onStats(this.#stats);
    if (this.#stream) this.#facts.update(this.#stream, this.#stats);
  }

  #event(event) {
    this.#showEvents();
    if (event?.service === "publisher") this.#recordings.loadSoon();
  }

  #showEvents() {
    const events = this.#mesh.events.of(this.#name).slice(0, EVENTS_SHOWN);
    setAttribute(this.#events, "data-none", events.length ? null : "");
    const none = el("li", { class: "none", text: "Nothing has happened yet." });
    this.#events.replaceChildren(...(events.length ? events.map(eventLine) : [none]));
  }
}
