// The picture of a moment that has passed: out of memory a moment ago, out of recordings as far back as they go.

import { CommandError, pictureAt } from "../commands.js";
import { openDialog } from "../dialog.js";
import { el, icon, setAttribute, setText } from "../dom.js";
import { Field } from "../form.js";
import * as format from "../format.js";

const USUAL_S = 15; // of packets in memory, where nothing else was asked for
const MOST_S = 600; // a slider is no calendar
const PROPOSED_S = 2; // what made somebody press the button has just happened
const SETTLE_MS = 150; // while the slider is drawn nothing is asked for
const ANY_FPS = 25;
const UNITS_S = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
const ORIGINS = {
  live: "live",
  ring: "from the pictures in memory",
  packets: "from the packets in memory",
  recording: "from a recording",
};

/** `clock` is the gateway's. */
export function momentDialog(stream, clock) {
  const { name } = stream;
  const window_s = windowOf(stream);
  const step_s = 1 / (stream.video?.fps || ANY_FPS); // an arrow key is a picture
  const slider = el("input", { type: "range", class: "moment-slider", min: -window_s, max: 0, step: step_s.toFixed(6), value: -PROPOSED_S, "aria-label": "Moment" });
  const said = el("output", { class: "moment-said" });
  const end = new Field("end", "Back from", { type: "datetime-local", step: "1", help: "An earlier time finds what was recorded." });
  const now = el("button", { type: "button", class: "button small", text: "Now" });
  const shown = el("canvas", { class: "snapshot", role: "img", "aria-label": `${name} at the moment`, width: 16, height: 9 });
  const failure = el("p", { class: "form-error", role: "alert", hidden: true });
  const facts = el("p", { class: "quiet moment-facts", role: "status", text: "Looking …" });
  const save = el("a", { class: "button primary", "aria-disabled": "true" }, icon("download"), "Download");
  let end_ms = 0;
  let timer = null;
  let asked = 0; // the last question; answers to others come too late
  let url = null;

  const at_ms = () => end_ms + Number(slider.value) * 1000;
  const endAt = (ms) => {
    end_ms = ms;
    end.value = localText(ms);
    tell();
  };
  const tell = () => {
    const before_s = -Number(slider.value);
    const clockText = format.clockTime(at_ms() * 1e6);
    setText(said, `${before_s.toFixed(2)} s before ${format.dateTime(end_ms * 1e6).slice(11)}: ${clockText}`);
    setAttribute(slider, "aria-valuetext", `${before_s.toFixed(2)} seconds before, ${clockText}`);
    clearTimeout(timer);
    timer = setTimeout(look, SETTLE_MS);
  };
  const look = async () => {
    const mine = (asked += 1);
    const wanted_ms = at_ms();
    setAttribute(shown, "data-old", "");
    try {
      const found = await pictureAt(name, new Date(wanted_ms).toISOString());
      const bitmap = await createImageBitmap(found.blob);
      if (mine === asked && dialog.open) show(bitmap, found); // another one may have come while this was unpacked
      bitmap.close();
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (mine !== asked) return;
      setText(failure, error.message);
      failure.hidden = false;
      setText(facts, "");
      setAttribute(save, "href", null);
      setAttribute(save, "aria-disabled", "true");
    }
  };
  const show = (bitmap, { blob, captured_ns, off_ns, origin, sequence }) => {
    [shown.width, shown.height] = [bitmap.width, bitmap.height];
    shown.getContext("2d").drawImage(bitmap, 0, 0);
    setAttribute(shown, "data-old", null);
    failure.hidden = true;
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(blob);
    setAttribute(save, "href", url);
    setAttribute(save, "aria-disabled", null);
    setAttribute(save, "download", `${name}-${new Date(captured_ns / 1e6).toISOString().replace(/[:.]/g, "-")}.jpg`);
    setText(facts, [
      `captured ${format.clockTime(captured_ns)}`,
      `${offText(off_ns)} the moment`,
      ORIGINS[origin] ?? origin,
      `picture ${sequence}`,
      `${bitmap.width}×${bitmap.height}`,
    ].join(" · "));
  };

  slider.addEventListener("input", tell);
  now.addEventListener("click", () => endAt(clock.wallAt(performance.now())));
  end.control.addEventListener("change", () => {
    const given_ms = new Date(end.control.value).getTime();
    if (Number.isFinite(given_ms)) endAt(given_ms);
  });
  const line = el("div", { class: "moment-line" }, el("span", { class: "quiet", text: `−${window_s} s` }), slider, el("span", { class: "quiet", text: "0 s" }));
  const place = el("div", { class: "moment-end" }, end.element, now);
  const dialog = openDialog(`A moment of ${name}`, [shown, failure, line, said, place], [facts, save], { wide: true });
  dialog.classList.add("moment");
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    if (url) URL.revokeObjectURL(url);
  });
  endAt(clock.wallAt(performance.now()));
  slider.focus();
  return dialog;
}

/** How many seconds back something of a stream is in memory, as far as it was asked for. */
function windowOf({ spec, renditions }) {
  const asked = [spec.history, ...renditions.map((rendition) => rendition.spec.history)].map(secondsOf);
  return Math.min(MOST_S, Math.max(USUAL_S, ...asked));
}

function secondsOf(text) {
  const [, number, unit] = /^([0-9.]+)(ms|s|m|h|d)$/.exec(text ?? "") ?? [];
  return number ? Math.floor(Number(number) * UNITS_S[unit]) : 0;
}

function offText(off_ns) {
  const ms = off_ns / 1e6;
  if (Math.abs(ms) < 0.05) return "at";
  return `${Math.abs(ms).toFixed(1)} ms ${ms < 0 ? "before" : "after"}`;
}

// What a datetime-local control takes: this browser's time, to the second.
function localText(at_ms) {
  const at = new Date(at_ms);
  return new Date(at_ms - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
