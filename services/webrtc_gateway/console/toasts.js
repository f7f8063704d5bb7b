// Short messages at the edge of the page: what was done, or why not. A screen reader says them.

import { el } from "./dom.js";

const SHOWN_MS = 6000; // long enough to read two lines
const SHOWN_AT_ONCE = 3;

/** Say `text`; tone `bad` for an error. */
export function toast(text, tone = "good") {
  const box = document.getElementById("toasts");
  const item = el("p", { class: "toast", "data-tone": tone, text });
  box.append(item);
  while (box.childElementCount > SHOWN_AT_ONCE) box.firstElementChild.remove();
  setTimeout(() => item.remove(), SHOWN_MS);
}
