// A recorded file, fetched in parts over the bus: its publisher may be on another host.

import { call, CommandError } from "../commands.js";

const PART_BYTES = 4 << 20; // the largest that publisher.fetch gives
const MOST_BYTES = 1 << 30; // a browser keeps it in memory or on its disk; more belongs in another tool
const TYPES = { mp4: "video/mp4", mkv: "video/x-matroska", ts: "video/mp2t" };

/** The file as a Blob; `onProgress(part)` from 0 to 1. Throws CommandError. */
export async function fetchRecording({ file, node, format, size_bytes }, onProgress) {
  if (size_bytes > MOST_BYTES) throw new CommandError(0, `${file} is larger than ${MOST_BYTES >> 30} GiB; get it with: framemesh fetch`);
  const parts = [];
  let offset = 0;
  // What is there now: a file that is being written grows while it is read.
  let end = Math.max(1, size_bytes);
  while (offset < end) {
    const part = await call("publisher.fetch", { file, offset, size: Math.min(PART_BYTES, end - offset) }, node);
    const bytes = Uint8Array.from(atob(part.data), (character) => character.charCodeAt(0));
    if (bytes.length === 0) break;
    parts.push(bytes);
    offset += bytes.length;
    end = Math.min(end, part.size_bytes);
    onProgress(Math.min(1, offset / end));
  }
  return new Blob(parts, { type: TYPES[format] ?? "application/octet-stream" });
}
