// The wall: which tiles there are, which of them play, and which one is open as a page.

import { setAttribute } from "./dom.js";
import { go } from "./router.js";
import { Tile } from "./tile.js";
import { VoicePoll } from "./voice.js";

const TICK_MS = 250; // meters stay readable, a stall is seen in time
const HIDDEN_HOLD_MS = 30000; // a glance at another tab does not end the sessions
const NEARLY_VISIBLE = "160px"; // join just before a tile scrolls in
const BEHIND_HOLD_MS = 5000; // tiles behind a stream's page
const SAME_ROW_PX = 4; // tops that differ by less are of one row

export class Tiles {
  #tiles = new Map();
  #visible = new Set();
  #big = null;
  #reachable = null; // the tile in the order of Tab
  #observer;
  #voices = new VoicePoll();

  constructor(grid, mesh) {
    this.grid = grid;
    this.mesh = mesh;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: NEARLY_VISIBLE });
    setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.#visibility());
    mesh.events.listen((event) => this.#event(event));
    grid.addEventListener("keydown", (event) => this.#key(event));
    grid.addEventListener("focusin", (event) => this.#focused(event));
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
    if (!this.#tiles.has(this.#reachable?.name)) this.#reach(this.#order[0] ?? null);
  }

  /** Make this stream's tile its page; null: show the wall. */
  open(name) {
    const tile = this.#tiles.get(name) ?? null;
    const before = this.#big;
    if (before === tile) return;
    this.#big = tile;
    document.body.classList.toggle("has-big", tile !== null);
    before?.setBig(false);
    tile?.setBig(true);
    this.#reach(tile ?? before);
    this.#play();
  }

  /** The keys of the wall and of a stream's page. */
  addShortcuts(shortcuts) {
    const page = (run) => () => (this.#big ? run(this.#big) : false);
    shortcuts.add("m", "sound", () => {
      const tile = this.#big ?? this.#tiles.get(document.activeElement?.closest(".tile")?.dataset.stream);
      return tile ? tile.toggleSound() : false;
    });
    shortcuts.add("f", "full screen", page((tile) => tile.toggleFull()));
    shortcuts.add("s", "snapshot", page((tile) => tile.page.actions.snapshot()));
    shortcuts.add("p", "the picture of a moment", page((tile) => tile.page.actions.moment()));
    shortcuts.add("r", "start or stop recording", page((tile) => tile.page.actions.record()));
    shortcuts.add("c", "cut a clip", page((tile) => tile.page.actions.clip()));
    shortcuts.add("k", "key frame", page((tile) => tile.page.actions.keyFrame()));
    shortcuts.add("Escape", "", page(() => document.fullscreenElement ? false : go("wall")));
    shortcuts.add("ArrowRight", "", page(() => this.#step(1)));
    shortcuts.add("ArrowLeft", "", page(() => this.#step(-1)));
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
    const tile = new Tile(name, this.mesh);
    this.#tiles.set(name, tile);
    this.#observer.observe(tile.element);
    return tile;
  }

  #remove(name, tile) {
    if (this.#big === tile) this.open(null);
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

  get #order() {
    return [...this.grid.children].map((element) => this.#tiles.get(element.dataset.stream));
  }

  #step(by) {
    const order = this.#order;
    if (order.length < 2) return false;
    go("stream", order.at((order.indexOf(this.#big) + by) % order.length).name);
    return true;
  }

  #reach(tile) {
    this.#reachable = tile;
    for (const other of this.#tiles.values()) other.setReachable(other === tile);
  }

  #focused(event) {
    const tile = this.#tiles.get(event.target.closest(".tile")?.dataset.stream);
    if (tile && tile !== this.#reachable) this.#reach(tile);
  }

  // Arrow keys move over the wall as it is seen: by rows and columns, whatever their number.
  #key(event) {
    if (this.#big || !event.target.matches(".open")) return;
    const order = this.#order;
    const at = order.indexOf(this.#reachable);
    const top = (tile) => tile.element.getBoundingClientRect().top;
    const first = top(order[0]);
    const wrapped = order.findIndex((tile) => top(tile) - first > SAME_ROW_PX);
    const columns = wrapped === -1 ? order.length : wrapped;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -at, End: order.length - 1 - at };
    if (!(event.key in steps)) return;
    event.preventDefault();
    order[at + steps[event.key]]?.focus();
  }

  // Told at once, and so sooner than asked for.
  #event(event) {
    if (event?.event === "voice-started" || event?.event === "voice-ended") this.#tiles.get(event.id)?.voice.speaking(event.event === "voice-started");
  }

  #tick() {
    for (const tile of this.#tiles.values()) tile.tick();
    if (document.hidden || this.#big) return; // a stream's page asks for its own
    this.#voices.tick([...this.#tiles.values()].filter((tile) => tile.listens && this.#visible.has(tile.name)));
  }
}
