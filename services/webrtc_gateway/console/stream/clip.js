// Cut one file out of what was recorded and what is in memory: from when to when, and what came of it.

import { call, CommandError } from "../commands.js";
import { openDialog } from "../dialog.js";
import { el, icon } from "../dom.js";
import { Field, Form } from "../form.js";
import * as format from "../format.js";

const LENGTHS_S = [10, 30, 60, 300];
const PROPOSED_S = 10;

/** `onMade()` when there is a clip, `play(file)` to show it; times are CLOCK_REALTIME in nanoseconds. */
export function clipDialog(stream, node, { start_ns, end_ns, onMade, play }) {
  const from = new Field("start", "From", { type: "datetime-local", step: "1", required: true });
  const to = new Field("end", "To", { type: "datetime-local", step: "1", required: true });
  const lengths = el("div", { class: "kinds", role: "group", "aria-label": "Length" }, ...LENGTHS_S.map((seconds) => {
    const text = seconds < 60 ? `last ${seconds} s` : `last ${seconds / 60} min`;
    return el("button", { type: "button", class: "kind", text, on: { click: () => propose(seconds) } });
  }));
  const result = el("div", { class: "made", role: "status", hidden: true });
  const propose = (seconds) => set(Date.now() - seconds * 1000, Date.now());
  const set = (start_ms, end_ms) => {
    from.value = localText(start_ms);
    to.value = localText(Math.max(end_ms, start_ms + 1000));
  };
  if (start_ns) set(start_ns / 1e6, end_ns / 1e6);
  else propose(PROPOSED_S);
  const form = new Form([from, to], "Cut", async () => {
    result.hidden = true;
    const start = new Date(from.value);
    const end = new Date(to.value);
    if (Number.isNaN(start.getTime())) throw new CommandError(400, "start: say from when");
    if (Number.isNaN(end.getTime())) throw new CommandError(400, "end: say until when");
    const clip = await call("publisher.clip", { stream, start: start.toISOString(), end: end.toISOString() }, node);
    tell(clip);
    onMade();
  }, { label: "Clip", layout: [lengths, el("div", { class: "pair" }, from.element, to.element)] });

  function tell(clip) {
    result.hidden = false;
    if (clip.state !== "finished") {
      result.replaceChildren("The end is still to come: the clip appears among the recordings by itself.");
      return;
    }
    const seconds = (clip.end_ns - clip.start_ns) / 1e9;
    const gaps = clip.gaps_ns > 0 ? `; nothing was kept of ${format.duration(clip.gaps_ns / 1e9)} in it` : "";
    const button = el("button", { type: "button", class: "button small" }, icon("play"), "Play");
    button.addEventListener("click", () => play({ ...clip, format: "mp4", codec: "" }));
    const text = el("span", { text: `${format.duration(seconds)}, ${format.bytes(clip.size_bytes)}${gaps}` });
    result.replaceChildren(el("strong", { text: "The clip is there" }), text, button);
  }

  const note = el("p", { class: "quiet", text: "Nothing is encoded again: it begins at the key picture at or before its start." });
  const dialog = openDialog(`Clip of ${stream}`, [note, form.element, result]);
  dialog.classList.add("clip");
  return dialog;
}

// What a datetime-local control takes: this browser's time, to the second.
function localText(at_ms) {
  const at = new Date(at_ms);
  return new Date(at_ms - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
