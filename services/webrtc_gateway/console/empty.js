// What an empty mesh shows: the commands that fill it.

import { el, icon, setText } from "./dom.js";
import { addressOf } from "./router.js";

const COPIED_FOR_MS = 1600; // long enough to read "copied"
const COMMANDS = [
  ["A camera", `framemesh call capture.start '{"stream":"cam0","source":"rtsp://user:password@camera/stream"}'`],
  ["No camera at hand? A test pattern", `framemesh call capture.start '{"stream":"demo","source":"test://?size=1280x720&fps=30"}'`],
];

/** Fill `section` with the first steps. */
export function teach(section) {
  section.append(
    el("h2", { text: "No streams yet" }),
    el("p", { text: "Add one here, or from any shell that reaches the mesh. Its picture appears by itself." }),
    el("p", { class: "links" }, el("a", { class: "button primary", href: addressOf("add"), text: "Add a stream" })),
    ...COMMANDS.map(([title, command]) => commandBox(title, command)),
    el(
      "p",
      { class: "hint" },
      "Many at once: list them in ",
      el("code", { text: "mesh.yaml" }),
      " and run ",
      el("code", { text: "framemesh apply mesh.yaml" }),
      ".",
    ),
  );
}

/** A command to copy, with what it is for. */
export function commandBox(title, command) {
  return el(
    "div",
    { class: "command" },
    el("h3", { text: title }),
    el("div", { class: "command-box" }, el("code", { text: command, tabindex: "0", "aria-label": "Command" }), copyButton(command)),
  );
}

function copyButton(command) {
  const label = el("span", { text: "Copy", "aria-live": "polite" });
  const copy = async () => {
    setText(label, (await toClipboard(command)) ? "Copied" : "Select and copy by hand");
    setTimeout(() => setText(label, "Copy"), COPIED_FOR_MS);
  };
  return el("button", { type: "button", class: "button copy", on: { click: copy } }, icon("copy"), label);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // plain HTTP on another host, or refused: browsers allow it only in a secure context
  }
}
