// What is said of a mix, and where its parts are: pure functions, no DOM.

export const SERVICE = "cloud-mix-proxy";
export const MESH = "mesh://";
export const SNAP_PX = 8; // of the canvas: fine enough to the eye, coarse enough that edges meet
const LEAST_PX = 16; // a smaller box could not be taken hold of again
const LEAST_SHARE = 0.95; // of the pictures a second; fewer are seen to jerk
const OF_TASK = /^mix-[0-9a-f]{16}$/; // those of CloudMix tasks
const UNKNOWN_SIZE = [1920, 1080];

export const LAYOUTS = [["grid", "Grid"], ["picture-in-picture", "Picture in picture"], ["focus", "Focus"], ["free", "Free"]];
export const SIZES = ["1920x1080", "1280x720", "3840x2160", "640x360", "1080x1920", "720x1280", "1080x1080"];

// State -> [text, tone], as of streams.
const STATES = {
  starting: ["Starting", "busy"],
  running: ["Live", "good"],
  failed: ["Failed", "bad"],
  ended: ["Ended", "off"],
  pending: ["Waiting for the mixer", "off"],
};
const INPUT_STATES = {
  waiting: ["waiting", "busy"],
  live: ["live", "good"],
  lost: ["lost", "warn"],
  ended: ["ended", "off"],
  still: ["still picture", "good"],
  unknown: ["new", "off"],
  off: ["off", "off"], // with its mix
};
const OVER = new Set(["ended", "failed"]);
// What the mesh leaves out of a spec where it is as usual.
const USUAL = {
  layout: "grid",
  focus: null,
  gap: 0,
  size: "1920x1080",
  fps: 30,
  background: "#000000",
  logos: [],
  texts: [],
  fade: null,
  sound: true,
};
const USUAL_INPUT = {
  box: null,
  layer: 1,
  fit: "contain",
  opacity: 1,
  radius: 0,
  border: 0,
  border_colour: "#ffffff",
  gain_db: 0,
  muted: false,
  on_loss: "hold",
};
const USUAL_LOGO = { opacity: 1 };
const USUAL_TEXT = { size: 32, colour: "#ffffff", background: null, opacity: 1, timezone: "UTC" };

/** Every mix of a MeshStatus as the pages show it, by name. */
export function mixesOf(status) {
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  return (status?.mixes ?? []).map(mixOf).sort(byName);
}

function mixOf({ spec, actual, revision }) {
  const full = fullSpec(spec);
  const [stateText, tone] = STATES[actual?.state ?? "pending"] ?? [actual.state, "off"];
  return {
    name: spec.mix,
    spec: full,
    revision,
    actual: actual ?? null,
    state: actual?.state ?? "pending",
    stateText,
    tone,
    task: OF_TASK.test(spec.mix) ? spec.mix.slice(4) : "",
    inputs: full.inputs.map((input) => inputOf(input, actual)),
    // The picture is that of an earlier revision: the error says why.
    behind: Boolean(actual?.applied_revision && actual.error && actual.applied_revision < revision),
    error: actual?.error ?? null,
    over: OVER.has(actual?.state), // it makes no pictures
  };
}

function inputOf(input, actual) {
  const seen = actual?.inputs?.find((one) => one.input === input.input);
  const still = seen && !seen.stream;
  const state = OVER.has(actual?.state) ? "off" : seen ? (still && seen.state === "live" ? "still" : seen.state) : "unknown";
  const [stateText, tone] = INPUT_STATES[state] ?? [state, "off"];
  return { ...input, state, stateText, tone, stream: seen?.stream ?? "", seenBox: seen?.box ?? null, error: seen?.error ?? null };
}

/** A spec with all that is left out where it is as usual. */
export function fullSpec(spec) {
  return {
    ...USUAL,
    ...spec,
    inputs: (spec.inputs ?? []).map((input) => ({ ...USUAL_INPUT, ...input })),
    logos: (spec.logos ?? []).map((logo) => ({ ...USUAL_LOGO, ...logo })),
    texts: (spec.texts ?? []).map((text) => ({ ...USUAL_TEXT, ...text })),
  };
}

/** [width, height] of `1920x1080`. */
export function sizeOf(text) {
  const [width, height] = String(text).split("x").map(Number);
  return width > 0 && height > 0 ? [width, height] : UNKNOWN_SIZE;
}

/** `1920×1080 · 30 fps · grid` */
export function shapeOf({ size, fps, layout }) {
  const [, title] = LAYOUTS.find(([name]) => name === layout) ?? [layout, layout];
  return [size.replace("x", "×"), `${Number(fps.toFixed(2))} fps`, title.toLowerCase()].join(" · ");
}

/** Whether a mix that runs makes fewer pictures than it was asked for. */
export function isSlow({ state, spec, actual }) {
  return state === "running" && actual.fps > 0 && actual.fps < spec.fps * LEAST_SHARE;
}

/** `29.9 fps · 0 late · 1 restart`; empty before the mixer has told. */
export function figuresOf({ actual }) {
  if (!actual) return "";
  const { fps = 0, late = 0, restarts = 0 } = actual;
  return [`${fps.toFixed(1)} fps`, `${late} late`, `${restarts} ${restarts === 1 ? "restart" : "restarts"}`].join(" · ");
}

/** Where an input is: as the spec says in layout `free`, else as the mixer does; null while nobody knows. */
export function boxOf(spec, input) {
  return spec.layout === "free" ? input.box : (input.seenBox ?? null);
}

/** The box moved by so many pixels of the canvas, on the grid; a part of it stays on the canvas. */
export function moved(box, dx, dy, [width, height]) {
  return {
    ...box,
    x: within(snapEdges(box.x + dx, box.width, width), LEAST_PX - box.width, width - LEAST_PX),
    y: within(snapEdges(box.y + dy, box.height, height), LEAST_PX - box.height, height - LEAST_PX),
  };
}

/** The box with another lower right corner; `shape`: width to height, which is kept. */
export function sized(box, dx, dy, [width, height], shape = null) {
  const wide = Math.max(LEAST_PX, snapTo(box.x + box.width + dx, width) - box.x);
  const high = shape ? Math.max(LEAST_PX, snapTo(wide / shape, height)) : Math.max(LEAST_PX, snapTo(box.y + box.height + dy, height) - box.y);
  return { ...box, width: wide, height: high };
}

// The canvas' edge counts too, where it is beside the grid.
function snapTo(value, edge) {
  return Math.abs(value - edge) < SNAP_PX / 2 ? edge : Math.round(value / SNAP_PX) * SNAP_PX;
}

function snapEdges(at, length, edge) {
  return Math.abs(at + length - edge) < SNAP_PX / 2 ? edge - length : Math.round(at / SNAP_PX) * SNAP_PX;
}

function within(value, least, most) {
  return Math.min(most, Math.max(least, value));
}

/** Give every input a box of its own where it is now, so that it can be moved. */
export function setFree(spec, seenBoxes) {
  const [width, height] = sizeOf(spec.size);
  spec.inputs.forEach((input, index) => {
    input.box = seenBoxes.get(input.input) ?? input.box ?? placeFor(index, width, height);
  });
  spec.layout = "free";
}

/** A place for one more: half as wide as the canvas, each a little further down. */
export function placeFor(index, width, height) {
  const step = (index % 6) * 4 * SNAP_PX;
  const even = (value) => Math.max(LEAST_PX, Math.round(value / SNAP_PX) * SNAP_PX);
  return { x: step, y: step, width: even(width / 2), height: even(height / 2) };
}

/** Another size of the canvas; what has a place keeps it in proportion. */
export function setSize(spec, size) {
  const [before, after] = [sizeOf(spec.size), sizeOf(size)];
  const [by_x, by_y] = [after[0] / before[0], after[1] / before[1]];
  const scale = (box) => ({
    x: Math.round(box.x * by_x),
    y: Math.round(box.y * by_y),
    width: Math.max(LEAST_PX, Math.round(box.width * by_x)),
    height: Math.max(LEAST_PX, Math.round(box.height * by_y)),
  });
  for (const one of [...spec.inputs, ...spec.logos]) if (one.box) one.box = scale(one.box);
  for (const text of spec.texts) Object.assign(text, { x: Math.round(text.x * by_x), y: Math.round(text.y * by_y) });
  spec.size = size;
}

/** Bring an input one step to the front (1) or to the back (-1): layers become 1, 2, 3 and so on. */
export function restack(spec, name, by) {
  const order = drawnOrder(spec.inputs);
  const at = order.findIndex((input) => input.input === name);
  const to = within(at + by, 0, order.length - 1);
  order.splice(to, 0, ...order.splice(at, 1));
  order.forEach((input, index) => (input.layer = index + 1));
}

/** Let an input change places with the one before (-1) or behind (1). */
export function reorder(spec, name, by) {
  const at = spec.inputs.findIndex(({ input }) => input === name);
  const to = within(at + by, 0, spec.inputs.length - 1);
  spec.inputs.splice(to, 0, ...spec.inputs.splice(at, 1));
}

/** Inputs as they are drawn: of equal layers the later one is on top. */
export function drawnOrder(inputs) {
  return [...inputs].sort((a, b) => a.layer - b.layer); // a stable sort
}

/** A name for an input of this source that no other has. */
export function inputName(source, taken) {
  const last = source.replace(/[?#].*$/s, "").replace(/\/+$/, "").split("/").at(-1).replace(/\.[a-z0-9]+$/i, "");
  const plain = last.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 24).replace(/-+$/, "") || "input";
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? plain : `${plain}-${number}`;
    if (!taken.includes(name)) return name;
  }
}
