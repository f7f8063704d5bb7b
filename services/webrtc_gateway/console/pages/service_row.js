// One running service as a row: where it is, and what it costs.

import { el, safeLink } from "../dom.js";
import * as format from "../format.js";

export const SERVICE_COLUMNS = ["Service", "Node", "State", "CPU", "Memory", "Up for", "Restarts", "Version", "Links"];
const BUSY_PERCENT = 90; // of one core: an event loop that has no more is late with everything

/** The cells of a Presence, in the order of the columns. */
export function serviceCells(presence) {
  const { service, node, version, pid, started_ns, rss_bytes, restarts } = presence;
  return [
    el("span", { text: service, title: pid ? `process ${pid}` : null }),
    node,
    chip("up", "good"),
    cpu(presence),
    rss_bytes ? format.bytes(rss_bytes) : "–",
    started_ns ? format.since(started_ns, Date.now()) : "–",
    String(restarts ?? 0),
    version,
    links(presence),
  ];
}

export function chip(text, tone) {
  return el("span", { class: "chip", "data-tone": tone, text });
}

function cpu({ process_cpu_percent: percent, rss_bytes }) {
  if (!rss_bytes) return "–"; // not told: an older service, or not for this token
  const filled = el("i");
  filled.style.transform = `scaleX(${Math.min(1, percent / 100).toFixed(2)})`;
  const bar = el("span", { class: "bar", "aria-hidden": "true", "data-tone": percent > BUSY_PERCENT ? "warn" : null }, filled);
  return el("span", { class: "load", title: "Of one core, with its child processes" }, bar, `${percent.toFixed(percent < 10 ? 1 : 0)} %`);
}

function links({ service, node, metrics_url, http_url, rtsp_url }) {
  const found = [["metrics", metrics_url], ["http", http_url]].filter(([, url]) => safeLink(url));
  const cell = el("span", { class: "links" }, ...found.map(([text, url]) => el("a", { href: safeLink(url), target: "_blank", rel: "noopener noreferrer", text, "aria-label": `${text} of ${service} on ${node}` })));
  if (rtsp_url) cell.append(el("code", { text: rtsp_url }));
  return cell;
}
