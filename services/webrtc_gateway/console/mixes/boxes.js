// Boxes over the picture of a mix: where each part is. Those that can be moved are moved with the mouse, a finger or
// the arrow keys (Shift: their size), on a grid.

import { el, setAttribute, setText } from "../dom.js";
import { moved, SNAP_PX, sized } from "./model.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HOW_ID = "mix-box-how";

export class Boxes {
  #shown = new Map(); // key -> { node, label, part }
  #canvas = [1, 1];
  #selected = null;
  #drag = null; // { key, box, x, y, sizes }
  #handlers;
  #how = el("p", { id: HOW_ID, class: "unseen", text: "Arrow keys move it, with Shift they change its size." });

  /** `handlers`: onSelect(key), onPlace(key, box); null: boxes to look at. */
  constructor(handlers = null) {
    this.#handlers = handlers;
    this.element = el("div", { class: "mix-boxes", ...(handlers ? {} : { "aria-hidden": "true" }) });
    if (handlers) this.element.append(this.#how);
  }

  /** While a box is being dragged, what is shown is where the pointer is. */
  get dragging() {
    return this.#drag !== null;
  }

  /** Show `parts`, the hindmost first: { key, label, kind, tone, box, movable, sizable }. */
  show(parts, canvas, selected = null) {
    this.#canvas = canvas;
    this.#selected = selected;
    const keys = new Set(parts.map(({ key }) => key));
    for (const [key, { node }] of this.#shown) {
      if (keys.has(key)) continue;
      node.remove();
      this.#shown.delete(key);
    }
    parts.forEach((part, index) => {
      const shown = this.#shown.get(part.key) ?? this.#add(part);
      shown.part = part;
      this.#draw(shown, index + 1);
    });
  }

  focus(key) {
    this.#shown.get(key)?.node.focus();
  }

  #add({ key, kind }) {
    const label = el("span", { class: "mix-box-label" });
    const attributes = { class: "mix-box", "data-box": key, "data-kind": kind };
    const corner = el("span", { class: "mix-box-corner", "data-corner": true });
    const node = this.#handlers ? el("button", { type: "button", ...attributes }, label, corner) : el("div", attributes, label);
    const shown = { node, label, corner, part: null };
    if (this.#handlers) this.#listen(shown, key);
    this.#shown.set(key, shown);
    this.element.append(node);
    return shown;
  }

  #listen({ node }, key) {
    node.addEventListener("click", () => this.#handlers.onSelect(key));
    node.addEventListener("pointerdown", (event) => this.#take(event, key));
    node.addEventListener("pointermove", (event) => this.#pull(event, key));
    for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, () => this.#drop());
    node.addEventListener("keydown", (event) => this.#key(event, key));
  }

  #draw({ node, label, corner, part }, level) {
    const [width, height] = this.#canvas;
    const { box } = part;
    const selected = part.key === this.#selected;
    node.style.left = `${(100 * box.x) / width}%`;
    node.style.top = `${(100 * box.y) / height}%`;
    node.style.width = `${(100 * box.width) / width}%`;
    node.style.height = `${(100 * box.height) / height}%`;
    node.style.zIndex = String(selected ? this.#shown.size + 1 : level);
    // What passes the edge of the canvas is cut off, but for its name and the corner to take hold of.
    label.style.left = `${(100 * Math.max(0, -box.x)) / box.width}%`;
    label.style.top = `${(100 * Math.max(0, -box.y)) / box.height}%`;
    corner.style.right = `${(100 * Math.max(0, box.x + box.width - width)) / box.width}%`;
    corner.style.bottom = `${(100 * Math.max(0, box.y + box.height - height)) / box.height}%`;
    setText(label, part.label);
    setAttribute(node, "data-tone", part.tone);
    if (!this.#handlers) return;
    const place = `at ${box.x}, ${box.y}`;
    setAttribute(node, "aria-label", part.sizable ? `${part.label}: ${box.width} by ${box.height} ${place}` : `${part.label}: ${place}`);
    setAttribute(node, "aria-pressed", selected);
    setAttribute(node, "data-movable", part.movable ? "" : null);
    setAttribute(node, "data-sizable", part.movable && part.sizable ? "" : null);
    setAttribute(node, "aria-describedby", part.movable ? HOW_ID : null);
  }

  #take(event, key) {
    const { part, node } = this.#shown.get(key);
    if (event.button !== 0) return;
    if (event.pointerType === "touch" && key !== this.#selected) return; // it may be scrolling; a tap chooses it
    this.#handlers.onSelect(key);
    if (!part.movable) return;
    node.setPointerCapture(event.pointerId);
    this.#drag = { key, box: part.box, x: event.clientX, y: event.clientY, sizes: part.sizable && event.target.hasAttribute("data-corner") };
    node.focus({ preventScroll: true });
  }

  #pull(event, key) {
    if (this.#drag?.key !== key) return;
    const { box, x, y, sizes } = this.#drag;
    const seen = this.element.getBoundingClientRect();
    const scale = this.#canvas[0] / seen.width; // pixels of the canvas for one of the page
    const [dx, dy] = [(event.clientX - x) * scale, (event.clientY - y) * scale];
    this.#place(key, sizes ? sized(box, dx, dy, this.#canvas, event.shiftKey ? box.width / box.height : null) : moved(box, dx, dy, this.#canvas));
  }

  #drop() {
    this.#drag = null;
  }

  #key(event, key) {
    const { part } = this.#shown.get(key);
    if (!(event.key in STEPS) || !part.movable || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // the page has arrow keys of its own
    if (this.#selected !== key) this.#handlers.onSelect(key);
    const [dx, dy] = STEPS[event.key].map((step) => step * SNAP_PX);
    if (!event.shiftKey) this.#place(key, moved(part.box, dx, dy, this.#canvas));
    else if (part.sizable) this.#place(key, sized(part.box, dx, dy, this.#canvas));
  }

  #place(key, box) {
    const { part } = this.#shown.get(key);
    const same = ["x", "y", "width", "height"].every((side) => box[side] === part.box[side]);
    if (!same) this.#handlers.onPlace(key, box);
  }
}
