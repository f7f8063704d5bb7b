// Keeps one stream's picture on screen: joins, watches, rejoins. The last picture stays up until the next one is there.

import { Backoff } from "./backoff.js";
import { el } from "./dom.js";
import { Echo } from "./echo.js";
import { Meter } from "./meter.js";
import { Still } from "./still.js";
import { WhepError, WhepSession } from "./whep.js";

const STALL_MS = 2000; // no picture for this long while the stream is live: join again
const STALL_FRAMES = 3; // and, for slow streams, this many missing pictures
const FIRST_PICTURE_DEADLINE_MS = 3000; // after the answer; a camera may send key frames every two seconds only
const STEADY_MS = 2000; // a picture that lasted this long earns an immediate first retry
const SUSPECT_MS = 150; // the event socket broke: are pictures still coming?
const REFUSED_RETRY_MS = 10000; // a refusal that a retry will hardly change
const REFUSALS = new Set([400, 406, 409, 415]);

export class Player {
  #stream;
  #url;
  #stage;
  #clock;
  #front = null; // { session, video, meter }: what is on screen
  #next = null; // the same, on its way
  #timers = new Map();
  #backoff = new Backoff();
  #wanted = false;
  #live = false;
  #nominal_fps = 0;
  #muted = true;
  #playing_since = 0;
  #decoded_before = 0;
  #still = new Still();
  #suspicious = false; // the event socket is down

  /** `stage` is the element the picture goes into; `report` what the page shows and tests read. */
  constructor(stream, stage, clock) {
    // `?rendition=source` in the page's address shows the cameras' own packets.
    const rendition = new URLSearchParams(location.search).get("rendition");
    this.#stream = stream;
    this.watch(rendition ?? "");
    this.#stage = stage;
    this.#clock = clock;
    stage.append(this.#still.element);
    this.report = {
      state: "idle", // idle waiting connecting playing reconnecting
      fps: 0,
      latencyMs: null,
      latencySource: null,
      joinMs: null,
      framesDecoded: 0,
      framesPresented: 0,
      firstPictureAt: null,
      lastFrameAt: null,
      reconnects: 0,
      bitrate: null,
      packetsLost: 0,
      width: 0,
      height: 0,
      muted: true,
      transcoded: "", // why another rendition is shown than was asked for
      error: null,
      failures: 0, // in a row; the page mentions an error when it is no longer a hiccup
    };
  }

  /** Show this rendition from now on; empty: the one that the gateway chooses. */
  watch(rendition) {
    const path = [this.#stream, rendition].filter(Boolean).map(encodeURIComponent).join("/");
    const url = new URL(`whep/${path}`, document.baseURI);
    if (url.href === this.#url?.href) return;
    this.#url = url;
    this.#backoff.reset();
    if (this.#next) this.#fail(this.#next, new WhepError(0, "another rendition was chosen"));
    else if (this.#front) this.#rejoin();
  }

  /** The element that shows the picture now, null before the first. */
  get video() {
    return this.#front?.video ?? null;
  }

  /** Play (true) or hold the last picture and free the session (false). */
  want(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    if (wanted) {
      this.#backoff.reset();
      this.#connect();
    } else {
      this.#drop();
      this.#set("idle");
    }
  }

  /** What capture says: pictures are expected only from a live stream. */
  expect(live, nominal_fps) {
    this.#nominal_fps = nominal_fps || 0;
    if (live === this.#live) return;
    this.#live = live;
    if (this.#front) this.#front.meter.lastFrameAt = performance.now();
    if (live) this.poke();
  }

  setMuted(muted) {
    this.#muted = muted;
    this.report.muted = muted;
    if (this.#front) this.#front.video.muted = muted;
  }

  /** The server has just been heard of: do not sit out the delay. */
  poke() {
    if (this.#suspicious && this.report.state === "playing" && this.#quiet_ms() >= this.#patience_ms()) this.#rejoin();
    this.#suspicious = false;
    if (!this.#timers.has("retry") && this.report.state !== "waiting") return;
    this.#backoff.reset();
    this.#connect();
  }

  /** The event socket broke, so the gateway may be gone: rejoin unless pictures keep coming. */
  suspect() {
    if (this.#next?.session.answered) this.#fail(this.#next, new WhepError(0, "the gateway went away"));
    this.#suspicious = true;
    this.#after("suspect", this.#patience_ms(), () => this.tick());
  }

  /** Watch the picture; called a few times a second. */
  tick() {
    if (this.report.state !== "playing") return;
    const { meter, video } = this.#front;
    const now_ms = performance.now();
    meter.poll(now_ms).catch(() => {}); // a peer closed meanwhile has no statistics
    Object.assign(this.report, {
      fps: meter.fps,
      latencyMs: meter.latencyMs,
      latencySource: meter.latencySource,
      framesDecoded: this.#decoded_before + meter.framesDecoded,
      bitrate: meter.bitrate,
      packetsLost: meter.packetsLost,
      width: video.videoWidth,
      height: video.videoHeight,
    });
    // A hidden tab presents nothing; that is no fault of the stream's.
    if (document.hidden) meter.lastFrameAt = now_ms;
    else if (this.#live && this.#quiet_ms() >= this.#patience_ms()) this.#rejoin();
  }

  close() {
    this.want(false);
    this.#still.element.remove();
  }

  #connect() {
    this.#cancel("retry");
    if (!this.#wanted || this.#next) return;
    if (!this.#live || document.hidden) return this.#set("waiting");
    this.#set(this.report.firstPictureAt === null ? "connecting" : "reconnecting");
    const attempt = { session: null, video: null, meter: null, echo: null };
    attempt.session = new WhepSession(this.#url, {
      onStream: (media) => this.#attach(attempt, media),
      onLost: (reason) => this.#lost(attempt, reason),
    });
    this.#next = attempt;
    attempt.session.open().then(
      () => this.#awaitPicture(attempt),
      (error) => this.#fail(attempt, error),
    );
  }

  #awaitPicture(attempt) {
    if (attempt !== this.#next) return; // it is there already, or given up
    this.#after("first picture", FIRST_PICTURE_DEADLINE_MS, () => {
      this.#fail(attempt, new WhepError(0, "connected, but no picture came"));
    });
  }

  #attach(attempt, media) {
    const video = el("video", { autoplay: true, playsinline: true, tabindex: "-1", "aria-hidden": "true" });
    video.muted = true; // until it is on screen: two sounds at once are worse than none
    video.srcObject = media;
    attempt.video = video;
    attempt.meter = new Meter(attempt.session, video, this.#clock);
    this.#stage.prepend(video); // behind the picture that is still shown
    video.play().catch(() => {}); // refused or interrupted: the deadline for the first picture tells
    const onFrame = (now_ms, metadata) => {
      if (attempt === this.#next) this.#show(attempt, now_ms);
      if (attempt !== this.#front) return;
      attempt.meter.frame(now_ms, metadata);
      attempt.echo.frame(metadata);
      this.report.lastFrameAt = now_ms;
      this.report.framesPresented += 1;
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  }

  #show(attempt, now_ms) {
    this.#cancel("first picture");
    if (this.#front) this.#retire();
    this.#still.hide();
    this.#front = attempt;
    this.#next = null;
    this.#suspicious = false; // a new session's picture: the gateway is there
    this.#playing_since = now_ms;
    attempt.video.muted = this.#muted;
    this.report.transcoded = attempt.session.transcoded;
    this.report.joinMs = now_ms - attempt.session.postedAt;
    attempt.echo = new Echo(attempt.session, attempt.video, this.#clock, this.report.joinMs);
    this.report.firstPictureAt ??= performance.timeOrigin + now_ms;
    this.report.error = null;
    this.report.failures = 0;
    this.#set("playing");
  }

  #lost(attempt, reason) {
    if (attempt === this.#next) this.#fail(attempt, new WhepError(0, reason));
    else if (attempt === this.#front && this.report.state === "playing") this.#rejoin();
  }

  #rejoin() {
    this.#cancel("suspect");
    this.report.reconnects += 1;
    Object.assign(this.report, { fps: 0, latencyMs: null, bitrate: null });
    if (performance.now() - this.#playing_since > STEADY_MS) this.#backoff.reset();
    this.#set("reconnecting");
    this.#retry(this.#backoff.next());
  }

  #fail(attempt, error) {
    if (attempt !== this.#next) return;
    this.#next = null;
    this.#cancel("first picture");
    attempt.session.close();
    attempt.video?.remove();
    // While the event socket is down too, the page already says so, once.
    this.report.error = this.#suspicious ? null : { code: error.code ?? 0, message: error.message };
    this.report.failures += 1;
    this.#retry(REFUSALS.has(error.code) ? REFUSED_RETRY_MS : this.#backoff.next());
  }

  #retry(delay_ms) {
    this.#after("retry", delay_ms, () => this.#connect());
  }

  #drop() {
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    if (this.#next) {
      this.#next.session.close();
      this.#next.video?.remove();
      this.#next = null;
    }
    if (this.#front) {
      this.#still.keep(this.#front.video);
      this.#retire();
    }
    Object.assign(this.report, { fps: 0, latencyMs: null, bitrate: null, error: null });
  }

  #retire() {
    this.#decoded_before += this.#front.meter.framesDecoded;
    this.#front.session.close();
    this.#front.video.remove();
    this.#front = null;
  }

  #quiet_ms() {
    return performance.now() - this.#front.meter.lastFrameAt;
  }

  // How long without a picture is too long: several pictures' time, and less when the gateway may be gone.
  #patience_ms() {
    const missing_ms = this.#nominal_fps > 0 ? (STALL_FRAMES * 1000) / this.#nominal_fps : 0;
    return Math.max(this.#suspicious ? SUSPECT_MS : STALL_MS, missing_ms);
  }

  #set(state) {
    this.report.state = state;
  }

  #after(name, delay_ms, then) {
    this.#cancel(name);
    this.#timers.set(name, setTimeout(() => {
      this.#timers.delete(name);
      then();
    }, delay_ms));
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
