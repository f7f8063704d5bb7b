// What is said of outputs, inputs and rules: pure functions, no DOM.

import * as format from "../format.js";

export const SERVICE = "io-signal";
const TOLD = new Set(["changed", "refused", "sent", "fired", "loop", "off-mode"]); // what people did, or rules
const NS_PER_MS = 1e6;

// State -> [text, tone], as of streams.
const STATES = { starting: ["Starting", "busy"], on: ["On", "good"], off: ["Off", "off"], active: ["Active", "good"], failed: ["Failed", "bad"] };
const UNOWNED = ["No owner", "warn"];
const DISABLED = ["Disabled", "off"];

/** [text, tone] of the state of an entry of any of the three kinds. */
export function stateOf({ spec, actual }) {
  if (spec.enabled === false) return DISABLED;
  return actual ? (STATES[actual.state] ?? [actual.state, "off"]) : UNOWNED;
}

/** Who did it and why: `by anna (lamp test)`. */
export function reasonOf({ by = "", why = "" }) {
  return [by && `by ${by}`, why && `(${why})`].filter(Boolean).join(" ");
}

/** What is to be known of an output besides its state. */
export function factsOfSignal({ spec, actual }, now_ms) {
  const since = actual?.since_ns ? `for ${format.since(actual.since_ns, now_ms)}` : "";
  const changes = actual?.changes ? `${actual.changes} ${actual.changes === 1 ? "change" : "changes"}` : "";
  const waiting = actual?.waiting ? `${actual.waiting} waiting` : "";
  return [spec.mode, spec.type ?? "", since, reasonOf(actual ?? {}), changes, waiting].filter(Boolean).join(" · ");
}

/** What is to be known of an input. */
export function factsOfInput({ spec, actual }, now_ms) {
  const value = actual?.value ?? null;
  const shown = value === null ? "" : `now ${typeof value === "boolean" ? (value ? "on" : "off") : value}`;
  const events = actual?.events ? `${actual.events} ${actual.events === 1 ? "event" : "events"}` : "no events yet";
  const last = actual?.changed_ns ? `the last ${format.since(actual.changed_ns, now_ms)} ago` : "";
  const of = spec.stream ? `pictures of ${spec.stream}` : "";
  return [spec.mode, shown, events, last, of].filter(Boolean).join(" · ");
}

/** What is to be known of a rule. */
export function factsOfRule({ spec, actual }, now_ms) {
  const times = actual?.fired === 1 ? "once," : `${actual?.fired} times, the last`;
  const fired = actual?.fired ? `acted ${times} ${format.since(actual.fired_ns, now_ms)} ago` : "has not acted";
  const left_out = Object.entries(actual?.left_out ?? {}).map(([reason, count]) => `${count} ${reason}`);
  return [`when ${spec.when}`, fired, left_out.length ? `left out: ${left_out.join(", ")}` : ""].filter(Boolean).join(" · ");
}

/** How long a pulse lasts where the output is not set up with a time: long enough to be seen. */
export function pulseOf({ spec }) {
  return spec.keep ?? "200ms";
}

/** Whether an event is one for the list of changes. */
export function isChange({ service, event }) {
  return service === SERVICE && TOLD.has(event);
}

/** One change in words: `on for 200 ms by anna (lamp test)`. */
export function wordsOf({ event, detail = {} }) {
  if (event === "fired") return `acted on ${detail.of}: ${(detail.done ?? []).map(({ command }) => command).join(", ")}`;
  if (event === "loop") return `left out ${detail.of}: ${(detail.cause ?? []).join(" → ")}`;
  const reason = reasonOf(detail);
  if (event === "off-mode") return `off-mode ${detail.active ? "begun" : "ended"} ${reason}`.trim();
  if (event === "sent") return `sent a text ${reason}`.trim();
  if (detail.cause === "keep") return "off, its time was over";
  const what = event === "refused" ? `${detail.on ? "on" : "off"} refused` : detail.on ? "on" : "off";
  const keep = event === "changed" && detail.keep_ms ? `for ${detail.keep_ms} ms` : "";
  return [what, keep, reason].filter(Boolean).join(" ");
}

/** Whether off-mode is active, as far as events tell: newest first. */
export function isOffMode(events) {
  return events.find(({ service, event }) => service === SERVICE && event === "off-mode")?.detail?.active ?? false;
}

/** An output after an event `changed` of it; other events change nothing. */
export function afterEvent(entry, { event, at_ns, error, detail = {} }) {
  if (event !== "changed" || !entry.actual) return entry;
  const until_ns = detail.on && detail.keep_ms ? detail.edge_ns + detail.keep_ms * NS_PER_MS : 0;
  const state = detail.on ? "on" : "off";
  const since_ns = state === entry.actual.state ? entry.actual.since_ns : (detail.edge_ns ?? at_ns);
  return { ...entry, actual: { ...entry.actual, state, since_ns, until_ns, by: detail.by ?? "", why: detail.why ?? "", error: error ?? null } };
}
