// Streams that were removed from this page: their own page can start them again as they were.

const removed = new Map();

/** Keep what is needed to start a stream again; not with a password, which goes with it. */
export function remember(spec) {
  if (!spec.source_secret) removed.set(spec.stream, spec);
}

/** What a removed stream was, or null. */
export function removedStream(name) {
  return removed.get(name) ?? null;
}
