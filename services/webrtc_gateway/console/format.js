// Numbers and times as people read them.

/** `2.1 Mbit/s` */
export function bitrate(bits_per_second) {
  if (bits_per_second === null || bits_per_second === undefined) return "–";
  if (bits_per_second >= 1e6) return `${(bits_per_second / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bits_per_second / 1e3)} kbit/s`;
}

/** `14 ms`, `1.2 s` */
export function milliseconds(value_ms) {
  if (value_ms === null || value_ms === undefined) return "–";
  return value_ms >= 1000 ? `${(value_ms / 1000).toFixed(1)} s` : `${Math.round(value_ms)} ms`;
}

/** `3.4 MB` */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = count > 0 ? Math.min(units.length - 1, Math.floor(Math.log10(count) / 3)) : 0;
  return `${(count / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

/** `2 h 5 min` since a CLOCK_REALTIME in nanoseconds. */
export function since(then_ns, now_ms) {
  const seconds = Math.max(0, Math.round(now_ms / 1000 - then_ns / 1e9));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`;
}

/** `14:03:27.120` in local time. */
export function clockTime(at_ns) {
  const at = new Date(at_ns / 1e6);
  if (Number.isNaN(at.getTime())) return "–";
  return `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** `2026-11-21 14:03:27` in local time. */
export function dateTime(at_ns) {
  const at = new Date(at_ns / 1e6);
  if (Number.isNaN(at.getTime())) return "–";
  return at.toLocaleString("sv-SE"); // year first, as in file names
}

/** `0:07`, `1:02:07` */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, index) => (index ? String(part).padStart(2, "0") : String(part))).join(":");
}

/** `29.9 fps` */
export function rate(fps) {
  return fps === null || fps === undefined ? "–" : `${fps.toFixed(1)} fps`;
}
