// What lies on the canvas of a mix as boxes that can be taken hold of: inputs, logos and texts.

import { boxOf, drawnOrder } from "./model.js";

const LETTER_SHARE = 0.45; // width of a letter to the height of its line, about; the mixer knows better
const LINE_SHARE = 4 / 3;
const PADDING_SHARE = 0.25; // where there is a ground
const CLOCK_LETTERS = 8; // 12:34:56

/** The parts, the hindmost first. */
export function partsOf(spec, inputs, editable) {
  const free = editable && spec.layout === "free";
  const shown = drawnOrder(inputs).map((input) => ({ key: input.input, label: input.input, kind: "input", tone: input.tone, box: boxOf(spec, input), movable: free, sizable: true }));
  if (!editable) return shown.filter(({ box }) => box);
  const logos = spec.logos.map((logo, index) => ({ key: `logo:${index}`, label: `logo ${index + 1}`, kind: "logo", tone: null, box: logo.box, movable: true, sizable: true }));
  const texts = spec.texts.map((text, index) => ({ key: `text:${index}`, label: `text ${index + 1}`, kind: "text", tone: null, box: textBox(text), movable: true, sizable: false }));
  return [...shown.filter(({ box }) => box), ...logos, ...texts];
}

/** Put a part where its box is. */
export function placePart(spec, key, box) {
  const [, list, index] = /^(logo|text):(\d+)$/.exec(key) ?? [];
  if (list === "text") Object.assign(spec.texts[index], { x: box.x, y: box.y });
  else if (list === "logo") spec.logos[index].box = box;
  else spec.inputs.find(({ input }) => input === key).box = box;
}

function textBox({ text, x, y, size, background }) {
  const letters = text.replace(/\{now:[^}]*\}/g, "0".repeat(CLOCK_LETTERS)).length;
  const padding = background ? 2 * size * PADDING_SHARE : 0;
  return { x, y, width: Math.max(size, Math.round(letters * size * LETTER_SHARE + padding)), height: Math.round(size * LINE_SHARE + padding) };
}
