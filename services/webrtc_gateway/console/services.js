// The footer: which services are up, on which node, and their metrics.

import { el, safeLink, setText } from "./dom.js";

export const SERVICES = ["capture", "hw-encode", "publisher", "webrtc-gateway", "frame-extractor", "cloud-mix-proxy", "io-signal"];

export class Services {
  #list;
  #version;
  #shown = "";

  constructor(list, version) {
    this.#list = list;
    this.#version = version;
  }

  /** Show the presences of a MeshStatus. */
  update(presences) {
    // Of what is refreshed every few seconds nothing is shown here.
    const shown = JSON.stringify(presences.map(({ service, node, version, metrics_url }) => [service, node, version, metrics_url]));
    if (shown === this.#shown) return;
    this.#shown = shown;
    const extra = presences.map(({ service }) => service).filter((name) => !SERVICES.includes(name));
    const names = [...SERVICES, ...new Set(extra)];
    this.#list.replaceChildren(...names.map((name) => item(name, presences.filter(({ service }) => service === name))));
    const versions = [...new Set(presences.map(({ version }) => version).filter(Boolean))].sort();
    setText(this.#version, versions.length ? `framemesh ${versions.join(", ")}` : "framemesh");
  }
}

function item(name, presences) {
  const up = presences.length > 0;
  const nodes = presences.map(({ node }) => node).join(", ");
  const title = up ? `${name} is up on ${nodes}` : `${name} is not running`;
  const label = presences.length > 1 ? `${name} ×${presences.length}` : name;
  const link = safeLink(presences[0]?.metrics_url);
  const text = link
    ? el("a", { href: link, target: "_blank", rel: "noopener noreferrer", text: label, "aria-label": `${name}, up: metrics` })
    : el("span", { text: label });
  const said = link ? [] : [el("span", { class: "unseen", text: up ? ", up" : ", not running" })];
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  return el("li", { class: "service", "data-service": name, "data-up": String(up), title }, dot, text, ...said);
}
