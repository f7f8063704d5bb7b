// The console: the event socket feeds the wall, the footer and the drawer.

import { ServerClock } from "./clock.js";
import { setText } from "./dom.js";
import { teach } from "./empty.js";
import { Events } from "./events.js";
import { Feed } from "./feed.js";
import { streamsOf } from "./model.js";
import { Services } from "./services.js";
import { Tiles } from "./tiles.js";

const CLOCK_SHOWN_EVERY_MS = 1000;

const part = (id) => document.getElementById(id);
const clock = new ServerClock();
const tiles = new Tiles(part("grid"), [part("top"), part("foot"), part("events"), part("banner")], clock);
const services = new Services(part("services"), part("version"));
const events = new Events(part("events"), part("events-toggle"), part("events-badge"));
teach(part("empty"));

function showStatus(status) {
  const streams = streamsOf(status);
  tiles.update(streams);
  services.update(status.services ?? []);
  part("empty").hidden = streams.length > 0;
  part("grid").hidden = streams.length === 0;
  part("banner").hidden = !status.error;
  setText(part("banner"), status.error?.message ?? "");
  setText(part("summary"), summary(streams));
}

function summary(streams) {
  if (streams.length === 0) return "";
  const live = streams.filter((stream) => stream.live).length;
  const troubled = streams.filter((stream) => stream.errors.length > 0 || stream.tone === "bad").length;
  const counts = [`${streams.length} ${streams.length === 1 ? "stream" : "streams"}`, `${live} live`];
  if (troubled) counts.push(`${troubled} with errors`);
  return counts.join(" · ");
}

function showFeed(state) {
  document.body.dataset.feed = state;
  const rtt_ms = clock.rttMs;
  const known = state === "connected" && rtt_ms !== null;
  setText(part("feed-text"), known ? `connected · ${rtt_ms < 10 ? rtt_ms.toFixed(1) : Math.round(rtt_ms)} ms` : state);
}

const feed = new Feed(new URL("api/events", document.baseURI.replace(/^http/, "ws")), clock, {
  onOpen() {
    showFeed("connected");
    tiles.poke();
  },
  onDrop() {
    showFeed("reconnecting");
    tiles.suspect();
  },
  onStatus: showStatus,
  onEvent: (event) => events.add(event),
});

services.update([]);
feed.start();
setInterval(() => showFeed(document.body.dataset.feed), CLOCK_SHOWN_EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || feed.poke());
window.addEventListener("online", () => feed.poke());
window.addEventListener("pagehide", () => tiles.close());
window.addEventListener("pageshow", (event) => event.persisted && tiles.resume());

window.framemesh = {
  get tiles() {
    return tiles.reports;
  },
  clock,
};
