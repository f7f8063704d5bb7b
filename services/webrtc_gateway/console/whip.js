// One WHIP session (RFC 9725): a camera and a microphone of this browser become a stream.

import { CommandError } from "./commands.js";
import { iceServers } from "./iceservers.js";

const ANSWER_DEADLINE_MS = 10000; // a stream that is not there yet is started first
const GONE_STATES = new Set(["failed", "closed", "disconnected"]);

export class WhipSession {
  #url;
  #onState;
  #peer = null;
  #resource = null;
  #servers = [];
  #closed = false;

  /** `onState(state)` gets the peer's connection states. */
  constructor(stream, onState) {
    this.#url = new URL(`whip/${encodeURIComponent(stream)}`, document.baseURI);
    this.#onState = onState;
  }

  /** Send these tracks. Throws CommandError; a session is used once. */
  async open(media) {
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#peer = peer;
    for (const track of media.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [media] });
    peer.addEventListener("connectionstatechange", () => {
      if (!this.#closed) this.#onState(peer.connectionState, GONE_STATES.has(peer.connectionState));
    });
    const offer = await peer.createOffer();
    const answer = await this.#post(offer.sdp);
    if (this.#closed) return;
    // The browser begins to look for ways with its own description, so it must know the servers by then.
    if (this.#servers.length) peer.setConfiguration({ ...peer.getConfiguration(), iceServers: this.#servers });
    await peer.setLocalDescription(offer);
    if (!this.#closed) await peer.setRemoteDescription({ type: "answer", sdp: answer });
  }

  /** End the session here and, without waiting for it, at the server. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#peer?.close();
    if (this.#resource) fetch(this.#resource, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  /** Outbound statistics, as one RTCStatsReport. */
  stats() {
    return this.#closed || !this.#peer ? Promise.resolve(new Map()) : this.#peer.getStats();
  }

  async #post(sdp) {
    let response;
    try {
      response = await fetch(this.#url, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: sdp,
        signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
      });
    } catch (error) {
      throw new CommandError(0, error.name === "TimeoutError" ? "the gateway did not answer in time" : "the gateway cannot be reached");
    }
    const body = await response.text();
    if (response.status !== 201) throw new CommandError(response.status, refusal(response.status, body));
    const location = response.headers.get("Location");
    this.#servers = iceServers(response.headers.get("Link"));
    this.#resource = location ? new URL(location, response.url) : null;
    return body;
  }
}

function refusal(status, body) {
  if (status === 404 || status === 405) return "this gateway takes no streams from browsers";
  try {
    const { message } = JSON.parse(body);
    if (typeof message === "string" && message) return message;
  } catch {
    // not JSON: a proxy's page; its status says enough
  }
  return `the gateway answered ${status}`;
}
