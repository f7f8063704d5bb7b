// From the state of the mesh to what a tile says: pure functions, no DOM.

const SOURCE_RENDITION = "source";
const RECORDING_OUTPUT = "recording"; // of recordings by hand

// State -> [text, tone]; tones are good, busy, warn, bad, off.
const STREAM_STATES = {
  live: ["Live", "good"],
  connecting: ["Connecting", "busy"],
  reconnecting: ["Reconnecting", "warn"],
  stalled: ["No frames", "warn"],
  frozen: ["Frozen", "warn"],
  failed: ["Failed", "bad"],
  off: ["Off", "off"],
  away: ["Not heard of", "bad"],
  pending: ["Waiting for capture", "off"],
};
const OUTPUT_TONES = { running: "good", waiting: "off", connecting: "busy", retrying: "warn", failed: "bad", finished: "off", away: "bad" };
const LOST = new Set(["stalled", "reconnecting", "failed"]);
const RENDITION_TONES = { running: "good", starting: "busy", idle: "off", failed: "bad", away: "bad" };

/** Every stream of a MeshStatus as a tile shows it, by name. */
export function streamsOf(status) {
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  return (status.streams ?? []).map((entry) => streamOf(entry, status)).sort(byName);
}

function streamOf({ spec, actual, revision }, status) {
  const name = spec.stream;
  const state = actual?.state ?? "pending";
  const [usualText, tone] = STREAM_STATES[state] ?? [state, "off"];
  const stateText = actual?.waiting_for ? `Waiting for ${actual.waiting_for}` : usualText;
  const live = state === "live" || state === "frozen";
  // While the source is lost its viewers see a slate, or its last picture if there was one.
  const onLoss = spec.on_loss ?? "hold";
  const stoodIn = LOST.has(state) && (onLoss === "slate" || (onLoss === "hold" && actual.video && state !== "failed"));
  const renditions = (status.renditions ?? []).filter((entry) => entry.spec.stream === name).map(renditionOf);
  const outputs = (status.outputs ?? []).filter((entry) => entry.spec.stream === name).map(outputOf);
  const errors = [];
  if (actual?.error) errors.push({ who: "capture", ...actual.error });
  for (const { name: who, error } of renditions) if (error) errors.push({ who: `rendition ${who}`, ...error });
  for (const { name: who, error } of outputs) if (error) errors.push({ who: `output ${who}`, ...error });
  return {
    name,
    spec,
    revision,
    state,
    stateText,
    tone,
    live,
    watchable: Boolean(live || stoodIn),
    source: actual?.source || spec.source,
    node: actual?.node ?? spec.node ?? "",
    video: actual?.video ?? null,
    audio: actual?.audio ?? null,
    since_ns: actual?.since_ns ?? 0,
    restarts: actual?.restarts ?? 0,
    carriesSource: (actual?.source_tracks ?? []).length > 0,
    sourceTracks: actual?.source_tracks ?? [],
    renditions,
    outputs,
    errors,
  };
}

function renditionOf({ spec, actual, revision }) {
  const running = actual?.state === "running";
  const fellBack = running && !actual.hardware && (spec.encoder ?? "prefer-hw") !== "software";
  return {
    name: spec.rendition ?? "main",
    spec,
    asked: revision > 0, // else it is there on demand, and ends by itself
    codec: actual?.video?.codec || spec.codec || "h264",
    size: actual?.video?.width ? `${actual.video.width}×${actual.video.height}` : (spec.size ?? "").replace("x", "×"),
    state: actual?.state ?? "waiting",
    tone: RENDITION_TONES[actual?.state] ?? "off",
    encoder: actual?.encoder || "",
    where: running ? (actual.hardware ? "hardware" : "software") : "",
    fellBack,
    reason: actual?.encoder_reason ?? "",
    bitrate: actual?.bitrate ?? 0,
    error: actual?.error ?? null,
  };
}

function outputOf({ spec, actual }) {
  return {
    name: spec.output,
    spec,
    rendition: actual?.rendition || spec.rendition || "main",
    finishing: Boolean(spec.finish),
    started_ns: actual?.started_ns ?? 0,
    duration_ns: actual?.duration_ns ?? 0,
    state: actual?.state ?? "waiting",
    tone: OUTPUT_TONES[actual?.state] ?? "off",
    to: actual?.to || spec.to,
    file: actual?.file ?? "",
    bytes: actual?.bytes_written ?? 0,
    retries: actual?.retries ?? 0,
    error: actual?.error ?? null,
  };
}

/** One line on how a stream is encoded: text, tone and, when there is one, the reason. */
export function encodingOf(stream) {
  const rendition = stream.renditions.find(({ state }) => state === "running") ?? stream.renditions[0];
  if (rendition?.where) {
    const text = [rendition.encoder || "encoder", rendition.where].join(" · ");
    return { text, tone: rendition.fellBack ? "warn" : "good", reason: rendition.reason };
  }
  if (rendition && rendition.state !== "idle") {
    return { text: `encoder ${rendition.state}`, tone: rendition.tone, reason: rendition.reason };
  }
  if (!stream.live) return { text: "", tone: "off", reason: "" };
  if (stream.carriesSource) return { text: `${SOURCE_RENDITION} packets, not transcoded`, tone: "off", reason: "" };
  return { text: "encodes on demand", tone: "off", reason: "" };
}

/** `1280×720 · 30 fps · h264`, as far as it is known. */
export function pictureOf({ video }) {
  if (!video?.width) return "";
  const fps = video.fps ? `${Number(video.fps.toFixed(2))} fps` : "";
  return [`${video.width}×${video.height}`, fps, video.codec].filter(Boolean).join(" · ");
}

/** The output that records a stream by hand, while it does; else null. */
export function recordingOf({ outputs }) {
  const output = outputs.find(({ name }) => name === RECORDING_OUTPUT);
  return output && !output.finishing && !["finished", "failed"].includes(output.state) ? output : null;
}
