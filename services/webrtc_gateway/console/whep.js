// One WHEP session (draft-ietf-wish-whep): offer, answer, media, goodbye.

import { iceServers } from "./iceservers.js";

const ANSWER_DEADLINE_MS = 6000; // an encoder that starts on demand needs a second or two
const ECHO_LIFE_MS = 2000; // the gateway believes echoes of the last seconds only
const ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
const WANTED_EXTENSIONS = new Set([ABS_CAPTURE_TIME, PLAYOUT_DELAY]);
const GONE_STATES = new Set(["disconnected", "failed", "closed"]);
// The server's goodbye closes the DTLS transport at once; Chromium's connectionState says so some 6 s later.
const GONE_TRANSPORT_STATES = new Set(["failed", "closed"]);

/** The server said no, or nothing; `code` is the HTTP status, 0 when there was no answer. */
export class WhepError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class WhepSession {
  #url;
  #handlers;
  #peer = null;
  #echoes = null;
  #resource = null;
  #servers = [];
  #abort = new AbortController();
  #closed = false;

  /** `handlers`: onStream(MediaStream) once media is negotiated, onLost(reason) when the peer goes away. */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
    this.postedAt = null;
    this.transcoded = ""; // why the server sends another rendition than was asked for
  }

  /** The receiver of the picture, null before `open`. */
  get videoReceiver() {
    return this.#peer?.getReceivers().find((receiver) => receiver.track.kind === "video") ?? null;
  }

  get answered() {
    return this.#resource !== null;
  }

  /** Negotiate. Throws WhepError; a session is used once. */
  async open() {
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#peer = peer;
    // An echo that is late is of no use; one that is lost is not missed.
    this.#echoes = peer.createDataChannel("latency", { ordered: false, maxPacketLifeTime: ECHO_LIFE_MS });
    const media = new MediaStream();
    for (const kind of ["video", "audio"]) {
      const transceiver = peer.addTransceiver(kind, { direction: "recvonly" });
      negotiateExtensions(transceiver);
      // The network here is a wire: no reserve against jitter, show what has come.
      if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
    }
    peer.addEventListener("track", ({ track }) => {
      media.addTrack(track);
      if (track.kind === "video" && !this.#closed) {
        track.addEventListener("ended", () => this.#lost("the track ended"));
        this.#handlers.onStream(media);
      }
    });
    peer.addEventListener("connectionstatechange", () => {
      if (GONE_STATES.has(peer.connectionState)) this.#lost(`connection ${peer.connectionState}`);
    });
    const offer = await peer.createOffer();
    // The server is ICE-lite and learns our address from the first check: no candidates, no waiting for them.
    const answer = await this.#post(offer.sdp);
    if (this.#closed) return;
    // The browser begins to look for ways with its own description, so it must know the servers by then.
    if (this.#servers.length) peer.setConfiguration({ ...peer.getConfiguration(), iceServers: this.#servers });
    await peer.setLocalDescription(offer);
    if (this.#closed) return;
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    this.#watchTransport();
  }

  /** Tell the server what the page has shown; false when it cannot be told now. */
  tell(echo) {
    if (this.#closed || this.#echoes?.readyState !== "open") return false;
    this.#echoes.send(JSON.stringify(echo));
    return true;
  }

  /** End the session here and, without waiting for it, at the server. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    this.#peer?.close();
    this.#delete();
  }

  /** Inbound statistics of picture and connection, as one RTCStatsReport. */
  stats() {
    return this.#closed || !this.#peer ? Promise.resolve(new Map()) : this.#peer.getStats();
  }

  async #post(sdp) {
    this.postedAt = performance.now();
    const deadline = setTimeout(() => this.#abort.abort(), ANSWER_DEADLINE_MS);
    let response;
    let body;
    try {
      response = await fetch(this.#url, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: sdp,
        signal: this.#abort.signal,
      });
      body = await response.text();
    } catch (error) {
      throw new WhepError(0, error.name === "AbortError" ? "the gateway did not answer in time" : "the gateway cannot be reached");
    } finally {
      clearTimeout(deadline);
    }
    if (response.status !== 201) throw new WhepError(response.status, refusal(response.status, body));
    const location = response.headers.get("Location");
    this.#resource = location ? new URL(location, response.url) : "";
    this.#servers = iceServers(response.headers.get("Link"));
    this.transcoded = substitution(response.headers.get("X-Framemesh-Rendition"));
    if (this.#closed) this.#delete(); // closed while the answer was under way
    return body;
  }

  // Picture and sound are bundled: there is one transport.
  #watchTransport() {
    const transport = this.videoReceiver?.transport;
    const check = () => {
      if (transport?.state === "closed") this.#resource = ""; // the server's goodbye: it has no session left to end
      if (GONE_TRANSPORT_STATES.has(transport?.state)) this.#lost(`transport ${transport.state}`);
    };
    transport?.addEventListener("statechange", check);
    check();
  }

  #delete() {
    if (!this.#resource) return;
    // keepalive: also when the page is going away. A server that is gone has no session left to end.
    fetch(this.#resource, { method: "DELETE", keepalive: true }).catch(() => {});
    this.#resource = "";
  }

  #lost(reason) {
    if (!this.#closed) this.#handlers.onLost(reason);
  }
}

// `main; instead-of=source; reason="it has B-frames"`; `main` alone is what was asked for.
function substitution(header) {
  const [, asked, why] = /; instead-of=([^;]+); reason="([^"]*)"/.exec(header ?? "") ?? [];
  return asked ? `transcoded: ${why.replace(/^it /, `the ${asked} `).replace(/^its /, `the ${asked}'s `)}` : "";
}

function refusal(status, body) {
  try {
    const { message } = JSON.parse(body);
    if (typeof message === "string" && message) return message;
  } catch {
    // not JSON: a proxy's page; its status says enough
  }
  return `the gateway answered ${status}`;
}

function negotiateExtensions(transceiver) {
  if (!transceiver.setHeaderExtensionsToNegotiate) return; // Firefox, Safari: the defaults have to do
  const extensions = transceiver.getHeaderExtensionsToNegotiate();
  for (const extension of extensions) if (WANTED_EXTENSIONS.has(extension.uri)) extension.direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}
