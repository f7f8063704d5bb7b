// The wall: which tiles there are, which of them play, and which one is big.

import { setAttribute } from "./dom.js";
import { Tile } from "./tile.js";

const TICK_MS = 250; // meters stay readable, a stall is seen in time
const HIDDEN_HOLD_MS = 30000; // a glance at another tab does not end the sessions
const NEARLY_VISIBLE = "160px"; // join just before a tile scrolls in
const BEHIND_HOLD_MS = 5000; // tiles behind the big view

export class Tiles {
  #tiles = new Map();
  #visible = new Set();
  #big = null;
  #observer;

  /** `around` are the page's other parts, made inert while one stream is big. */
  constructor(grid, around, clock) {
    this.grid = grid;
    this.around = around;
    this.clock = clock;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: NEARLY_VISIBLE });
    setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.#visibility());
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** What each picture is doing, by stream: a Map of reports. */
  get reports() {
    return new Map([...this.#tiles].map(([name, tile]) => [name, tile.player.report]));
  }

  /** Show these streams, in this order. */
  update(streams) {
    const names = new Set(streams.map(({ name }) => name));
    for (const [name, tile] of this.#tiles) if (!names.has(name)) this.#remove(name, tile);
    streams.forEach((stream, index) => {
      const tile = this.#tiles.get(stream.name) ?? this.#add(stream.name);
      tile.update(stream);
      // Moving a video in the document pauses it, so only those out of place move.
      if (this.grid.children[index] !== tile.element) this.grid.insertBefore(tile.element, this.grid.children[index] ?? null);
    });
    setAttribute(this.grid, "data-count", Math.min(streams.length, 10));
  }

  suspect() {
    for (const tile of this.#tiles.values()) tile.player.suspect();
  }

  poke() {
    for (const tile of this.#tiles.values()) tile.player.poke();
  }

  /** End all sessions at the server: the page goes away. */
  close() {
    for (const tile of this.#tiles.values()) tile.player.want(false);
  }

  /** The page came back from the browser's history. */
  resume() {
    this.#play();
  }

  #add(name) {
    const tile = new Tile(name, this.clock, { onOpen: (opened) => this.#enlarge(opened), onClose: () => this.#enlarge(null) });
    this.#tiles.set(name, tile);
    this.#observer.observe(tile.element);
    return tile;
  }

  #remove(name, tile) {
    if (this.#big === tile) this.#enlarge(null);
    this.#observer.unobserve(tile.element);
    this.#visible.delete(name);
    this.#tiles.delete(name);
    tile.close();
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(target.dataset.stream);
      else this.#visible.delete(target.dataset.stream);
    }
    this.#play();
  }

  #play() {
    for (const [name, tile] of this.#tiles) {
      if (document.hidden) tile.want(tile.audible, HIDDEN_HOLD_MS); // someone may be listening
      else if (this.#big) tile.want(tile === this.#big, BEHIND_HOLD_MS);
      else tile.want(this.#visible.has(name));
    }
  }

  #visibility() {
    this.#play();
    if (!document.hidden) this.poke();
  }

  #enlarge(tile) {
    const before = this.#big;
    if (before === tile) return;
    this.#big = tile;
    for (const part of this.around) part.inert = tile !== null;
    for (const other of this.#tiles.values()) other.element.inert = tile !== null && other !== tile;
    document.body.classList.toggle("has-big", tile !== null);
    before?.setBig(false);
    tile?.setBig(true);
    this.#play();
  }

  #step(by) {
    const order = [...this.grid.children].map((element) => this.#tiles.get(element.dataset.stream));
    this.#enlarge(order.at((order.indexOf(this.#big) + by) % order.length));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tile = this.#big ?? this.#tiles.get(document.activeElement?.closest(".tile")?.dataset.stream);
    if (event.key === "m" && tile) tile.toggleSound();
    else if (this.#big && event.key === "Escape") this.#enlarge(null);
    else if (this.#big && event.key === "ArrowRight") this.#step(1);
    else if (this.#big && event.key === "ArrowLeft") this.#step(-1);
    else return;
    event.preventDefault();
  }

  #tick() {
    for (const tile of this.#tiles.values()) tile.tick();
  }
}
