// The mesh as a whole: its services and what they cost, its bus, who watches and how well, and what was left out.

import { call, CommandError } from "../commands.js";
import { confirmed } from "../dialog.js";
import { el } from "../dom.js";
import * as format from "../format.js";
import { SERVICES } from "../services.js";
import { learnRights, signOut } from "../signin.js";
import { toast } from "../toasts.js";
import { chip, serviceCells, SERVICE_COLUMNS } from "./service_row.js";
import { Table } from "./table.js";

const ASK_EVERY_MS = 2000;
const DROPS_EVERY_MS = 10000; // one command for each stream: the door admits 20 in a second
const DROPS_OF_STREAMS = 40;
const WATCHING = new Set(["connected", "playing", "receiving"]);

export class SystemPage {
  #mesh;
  #services = new Table("Services", SERVICE_COLUMNS, "No service is running.");
  #sessions = new Table("Sessions", ["Client", "Stream", "Rendition", "State", "Rate", "Latency", "Join", "Round trip", "Lost", "For", ""], "Nobody is watching.");
  #drops = new Table("Left out", ["Where", "Reason", "How many"], "Nothing was left out.");
  #bus = el("dl", { class: "facts bus" });
  #signedIn = el("p", { class: "signed-in", hidden: true });
  #asked_at_ms = -Infinity;
  #drops_at_ms = -Infinity;
  #asking = false;
  #before = new Map(); // session -> [performance ms, bytes], for rates
  #dropped = []; // of streams: [where, reason, count]

  constructor(mesh) {
    this.#mesh = mesh;
    this.element = el(
      "div",
      { class: "stack" },
      el("h2", { class: "unseen", text: "System", tabindex: "-1" }),
      el("section", { class: "card", "aria-label": "Bus" }, el("h2", { text: "Bus" }), this.#bus, this.#signedIn),
      ...[this.#services, this.#sessions, this.#drops].map(({ element }) => element),
    );
  }

  enter() {
    this.#asked_at_ms = this.#drops_at_ms = -Infinity;
    this.element.querySelector("h2").focus();
    this.update();
    this.tick();
    this.#tellRights();
  }

  async #tellRights() {
    const rights = await learnRights();
    this.#signedIn.hidden = !rights?.tokens;
    if (!rights?.tokens) return;
    const leave = el("button", { type: "button", class: "button small", text: "Sign out", on: { click: signOut } });
    this.#signedIn.replaceChildren(`Signed in as ${rights.name}: ${rights.actions.join(", ")} of ${rights.streams.join(", ")}`, leave);
  }

  leave() {}

  update() {
    this.#showBus();
    const presences = this.#mesh.status?.services ?? [];
    const absent = SERVICES.filter((name) => !presences.some(({ service }) => service === name));
    const sorted = [...presences].sort((a, b) => a.service.localeCompare(b.service) || a.node.localeCompare(b.node));
    this.#services.show([
      ...sorted.map((presence) => ({ key: `${presence.service} ${presence.node}`, cells: serviceCells(presence) })),
      ...absent.map((name) => ({ key: name, off: true, cells: [name, "–", chip("not running", "off"), ...SERVICE_COLUMNS.slice(3).map(() => "")] })),
    ]);
    this.#showDrops(presences);
  }

  #showBus() {
    const connected = this.#mesh.feedState === "connected";
    const rtt_ms = this.#mesh.clock.rttMs;
    const facts = [
      ["Gateway", connected ? "connected" : this.#mesh.feedState],
      ["Round trip", connected && rtt_ms !== null ? `${rtt_ms.toFixed(1)} ms` : "–"],
      ["Bus", this.#mesh.status?.error?.message ?? (this.#mesh.status ? "answers" : "–")],
      ["Streams", String(this.#mesh.streams.length)],
    ];
    const shown = JSON.stringify(facts);
    if (this.#bus.dataset.shown !== shown) {
      this.#bus.dataset.shown = shown;
      this.#bus.replaceChildren(...facts.map(([term, text]) => el("div", {}, el("dt", { text: term }), el("dd", { text }))));
    }
  }

  /** Called once a second while the page is open. */
  tick() {
    this.update();
    if (performance.now() - this.#asked_at_ms < ASK_EVERY_MS || this.#asking || document.hidden) return;
    this.#asked_at_ms = performance.now();
    this.#ask();
  }

  async #ask() {
    this.#asking = true;
    try {
      await Promise.all([this.#askSessions(), this.#askDrops()]);
    } finally {
      this.#asking = false;
    }
  }

  async #askSessions() {
    try {
      const { sessions, unanswered } = await call("webrtc-gateway.sessions");
      const now_ms = performance.now();
      const nodes = new Set(sessions.map(({ node }) => node));
      const rows = sessions.map((session) => ({ key: session.session, cells: this.#sessionCells(session, now_ms, nodes.size > 1) }));
      this.#before = new Map(sessions.map(({ session, bytes_sent }) => [session, [now_ms, bytes_sent]]));
      this.#sessions.show(rows);
      const silent = unanswered?.length ? `The gateway of ${unanswered.join(", ")} does not answer: who watches there is not listed.` : "";
      this.#sessions.note(silent);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#sessions.fail(error.message);
    }
  }

  #sessionCells(info, now_ms, many) {
    const [then_ms, bytes] = this.#before.get(info.session) ?? [now_ms, 0];
    const measured = now_ms > then_ms ? ((info.bytes_sent - bytes) * 8000) / (now_ms - then_ms) : null;
    const kick = el("button", { type: "button", class: "button small kick", text: "Kick", "aria-label": `Kick the viewer of ${info.stream}` });
    kick.addEventListener("click", () => this.#kick(info, kick));
    const client = [info.kind, info.client, info.address, many ? info.node : ""].filter(Boolean).join(" · ") || "viewer";
    return [
      el("span", { text: client, title: `${info.session}, ${format.bytes(info.bytes_sent)} sent` }),
      info.stream,
      renditionOf(info),
      chip(info.state, WATCHING.has(info.state) ? "good" : "busy"),
      format.bitrate(info.bitrate || measured),
      format.milliseconds(info.latency_ms),
      format.milliseconds(info.picture_ms ?? info.join_ms),
      format.milliseconds(info.rtt_ms),
      `${((info.fraction_lost ?? 0) * 100).toFixed(1)} %`,
      info.connected_ns ? format.since(info.connected_ns, Date.now()) : "–",
      kick,
    ];
  }

  async #kick(info, button) {
    const text = `Its picture of ${info.stream} ends. A page that watches may come back by itself.`;
    if (!(await confirmed("Kick this viewer?", text, "Kick"))) return;
    button.disabled = true;
    try {
      await call("webrtc-gateway.kick", { session: info.session, reason: "kicked from the console" });
      toast("The session is ended");
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
      button.disabled = false;
    }
    this.#asked_at_ms = -Infinity;
  }

  async #askDrops() {
    if (performance.now() - this.#drops_at_ms < DROPS_EVERY_MS) return;
    this.#drops_at_ms = performance.now();
    const names = this.#mesh.streams.filter(({ live }) => live).map(({ name }) => name).slice(0, DROPS_OF_STREAMS);
    const answers = await Promise.allSettled(names.map((name) => call("capture.stats", {}, name)));
    this.#dropped = answers.flatMap(({ value }) => Object.entries(value?.dropped ?? {}).map(([reason, count]) => [value.stream, reason, count]));
    this.update();
  }

  #showDrops(presences) {
    const services = presences.flatMap(({ service, node, dropped }) => Object.entries(dropped ?? {}).map(([reason, count]) => [`${service} on ${node}`, reason, count]));
    const rows = [...this.#dropped, ...services].filter(([, , count]) => count > 0).sort((a, b) => b[2] - a[2]);
    this.#drops.show(rows.map(([where, reason, count]) => ({ key: `${where} ${reason}`, cells: [where, reason.replaceAll("_", " "), String(count)] })));
  }
}

function renditionOf({ rendition, instead_of, thin, keys_only }) {
  const why = [instead_of ? `instead of ${instead_of}` : "", thin ? `thin line: ${thin}` : "", keys_only ? "key pictures only" : ""];
  return [rendition, ...why.filter(Boolean)].join(" · ");
}
