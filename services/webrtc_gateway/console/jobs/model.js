// What is said of a job: pure functions, no DOM.

import * as format from "../format.js";

export const SERVICE = "frame-extractor";

// State -> [text, tone], as of streams.
const STATES = {
  pending: ["Waiting", "off"],
  running: ["Running", "busy"],
  completed: ["Done", "good"],
  failed: ["Failed", "bad"],
  canceled: ["Canceled", "off"],
};
const LEAST_NS = 50e6; // what ends sooner has not done anything
const UNDER_WAY = new Set(["pending", "running"]);

/** [text, tone] of a job's state. */
export function stateOf({ state }) {
  return STATES[state] ?? [state, "off"];
}

/** Whether a job waits or runs, so that it can be canceled. */
export function isUnderWay({ state }) {
  return UNDER_WAY.has(state);
}

/** The name of a job's video: the last part of its path, without a query. */
export function titleOf({ video }) {
  const path = String(video).replace(/[?#].*$/s, "").replace(/\/+$/, "");
  const last = path.split("/").at(-1) || path;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a percent sign of its own
  }
}

/** `12 of 100 pictures`; empty while nothing is known. */
export function countOf({ state, done = 0, expected = null }) {
  if (done === 0 && state !== "running" && state !== "completed") return "";
  const known = expected !== null && expected !== done;
  return `${known ? `${done} of ${expected}` : done} ${(known ? expected : done) === 1 ? "picture" : "pictures"}`;
}

/** How much of a running job is done, 0 to 1; null: nobody knows yet. */
export function shareOf({ done = 0, expected = null }) {
  return expected ? Math.min(1, done / expected) : null;
}

/** `3.2 s`: how long it took, or has taken until now; empty before it was begun. */
export function tookOf({ started_ns = 0, ended_ns = 0 }, now_ms) {
  if (!started_ns) return "";
  if (ended_ns && ended_ns < started_ns + LEAST_NS) return "";
  const seconds = Math.max(0, (ended_ns ? ended_ns / 1e6 : now_ms) - started_ns / 1e6) / 1000;
  return seconds < 60 ? `${seconds.toFixed(ended_ns ? 1 : 0)} s` : format.duration(seconds);
}

/** A job after an event of it: events tell all that changes but times and texts. */
export function afterEvent(job, { event, state, error, detail = {} }) {
  if (!String(event).startsWith("job-") || (!isUnderWay(job) && event === "job-progress")) return job;
  return {
    ...job,
    state: state || job.state,
    done: detail.done ?? job.done,
    expected: detail.expected ?? job.expected,
    attempt: detail.attempt ?? job.attempt,
    failure: detail.failure ?? job.failure,
    message: error?.message ?? job.message,
  };
}
