// The console: the event socket feeds the wall, the pages, the footer and the drawer.

import { ServerClock } from "./clock.js";
import { el, icon, setAttribute, setText } from "./dom.js";
import { teach } from "./empty.js";
import { Events } from "./events.js";
import { Feed } from "./feed.js";
import { JobPage } from "./jobs/job.js";
import { JobsPage } from "./jobs/page.js";
import { MixPage } from "./mixes/mix.js";
import { MixesPage } from "./mixes/page.js";
import { tellScreens } from "./mixes/screen.js";
import { streamsOf } from "./model.js";
import { AddPage } from "./pages/add.js";
import { MissingPage } from "./pages/missing.js";
import { PublishPage } from "./pages/publish.js";
import { SystemPage } from "./pages/system.js";
import { addressOf, currentRoute, go } from "./router.js";
import { Services } from "./services.js";
import { Shortcuts } from "./shortcuts.js";
import { SignalsPage } from "./signals/page.js";
import { askToken, learnRights, staySignedIn } from "./signin.js";
import { Tiles } from "./tiles.js";

const CLOCK_SHOWN_EVERY_MS = 1000;
const LOST_AFTER_MS = 1500; // a gateway that restarts is back before anyone should read a banner
const PAGES = [
  ["wall", "Streams", "grid"],
  ["add", "Add", "add"],
  ["publish", "Publish", "publish"],
  ["mixes", "Mixes", "mixes"],
  ["jobs", "Jobs", "jobs"],
  ["signals", "Signals", "signals"],
  ["system", "System", "system"],
];
const OF_ONE = { jobs: "job", mixes: "mix" }; // the pages of one of the list
const TITLES = Object.fromEntries(PAGES.map(([page, title]) => [page, title]));

const part = (id) => document.getElementById(id);
const clock = new ServerClock();
const services = new Services(part("services"), part("version"));
const events = new Events(part("events"), part("events-toggle"), part("events-badge"));
const mesh = { status: null, streams: [], clock, events, feedState: "connecting" }; // what pages read
const tiles = new Tiles(part("grid"), mesh);
const pages = { add: new AddPage(mesh), publish: new PublishPage(mesh), mixes: new MixesPage(mesh), mix: new MixPage(mesh), jobs: new JobsPage(mesh), job: new JobPage(mesh), signals: new SignalsPage(mesh), system: new SystemPage(mesh), missing: new MissingPage(mesh) };
const shortcuts = new Shortcuts();
let shown = null; // the page besides the wall
let lost = null; // the timer of the banner
teach(part("empty"));

function showStatus(status) {
  mesh.status = status;
  mesh.streams = streamsOf(status);
  tiles.update(mesh.streams);
  services.update(status.services ?? []);
  part("banner").hidden = !status.error;
  setText(part("banner"), status.error?.message ?? "");
  setText(part("summary"), summary(mesh.streams));
  showRoute();
  shown?.update();
}

function summary(streams) {
  if (streams.length === 0) return "";
  const live = streams.filter((stream) => stream.live).length;
  const troubled = streams.filter((stream) => stream.errors.length > 0 || stream.tone === "bad").length;
  const counts = [`${streams.length} ${streams.length === 1 ? "stream" : "streams"}`, `${live} live`];
  if (troubled) counts.push(`${troubled} with errors`);
  return counts.join(" · ");
}

// The wall is there all the time: a stream's page is its tile, grown, so its picture never stops.
function showRoute() {
  const { page, name } = currentRoute();
  const found = page === "stream" && mesh.streams.some((stream) => stream.name === name);
  const missing = page === "stream" && !found && mesh.status !== null;
  const wall = page === "wall" || (page === "stream" && !missing);
  tiles.open(found ? name : null);
  part("grid").hidden = !wall || mesh.streams.length === 0;
  part("empty").hidden = page !== "wall" || mesh.status === null || mesh.streams.length > 0;
  showPage(wall ? null : pages[missing ? "missing" : (name && OF_ONE[page]) || page], name);
  document.body.dataset.page = page;
  document.title = page === "wall" ? "framemesh" : `${name || TITLES[page]} – framemesh`;
  for (const link of part("nav").children) setAttribute(link, "aria-current", link.dataset.page === page ? "page" : null);
}

function showPage(page, name) {
  part("page").hidden = page === null;
  if (page === shown && page?.name === name) return;
  shown?.leave();
  shown = page;
  if (page === null) return part("page").replaceChildren();
  page.name = name;
  part("page").replaceChildren(page.element);
  page.enter();
}

function showFeed(state) {
  document.body.dataset.feed = state;
  mesh.feedState = state;
  const rtt_ms = clock.rttMs;
  const known = state === "connected" && rtt_ms !== null;
  setText(part("feed-text"), known ? `connected · ${rtt_ms < 10 ? rtt_ms.toFixed(1) : Math.round(rtt_ms)} ms` : state);
  if (state === "reconnecting") lost ??= setTimeout(() => (part("lost").hidden = false), LOST_AFTER_MS);
  else {
    clearTimeout(lost);
    lost = null;
    part("lost").hidden = true;
  }
}

function showTheme() {
  const dark = window.framemeshTheme.current === "dark";
  part("theme-toggle").replaceChildren(icon(dark ? "sun" : "moon"));
  setAttribute(part("theme-toggle"), "aria-label", dark ? "Light colours" : "Dark colours");
  setAttribute(part("theme-toggle"), "title", dark ? "Light colours (T)" : "Dark colours (T)");
}

const feed = new Feed(new URL("api/events", document.baseURI.replace(/^http/, "ws")), clock, {
  onOpen() {
    showFeed("connected");
    tiles.poke();
    tellScreens(true);
    learnRights(); // they may have changed while the gateway was away
  },
  onDrop() {
    showFeed("reconnecting");
    tiles.suspect();
    tellScreens(false);
  },
  // A browser does not tell why: the door may want a token, or be closed.
  onRefused: () => document.querySelector("dialog.signin") || learnRights(),
  onStatus: showStatus,
  onEvent: (event) => events.add(event),
  onHistory: (before) => events.addHistory(before),
});

part("lost").append(el("span", { class: "spinner", "aria-hidden": "true" }), "The gateway does not answer. What you see is the last known state; trying again.");
part("nav").append(...PAGES.map(([page, title, drawing]) => el(
  "a",
  { href: addressOf(page), "data-page": page },
  icon(drawing),
  el("span", { text: title }),
)));
part("skip").addEventListener("click", () => part("main").focus());
part("help-toggle").addEventListener("click", () => shortcuts.show());
part("theme-toggle").addEventListener("click", () => window.framemeshTheme.toggle());
document.addEventListener("themechange", showTheme);
PAGES.forEach(([page, title], index) => shortcuts.add(String(index + 1), `page ${title}`, () => go(page)));
shortcuts.add("e", "events", () => part("events-toggle").click());
shortcuts.add("t", "dark or light", () => window.framemeshTheme.toggle());
tiles.addShortcuts(shortcuts);

document.addEventListener("framemesh:signin", () => learnRights());

showTheme();
services.update([]);
showRoute();
feed.start();
staySignedIn();
setInterval(() => {
  showFeed(document.body.dataset.feed);
  shown?.tick();
}, CLOCK_SHOWN_EVERY_MS);
window.addEventListener("hashchange", () => {
  showRoute();
  scrollTo(0, 0);
});
document.addEventListener("visibilitychange", () => document.hidden || feed.poke());
window.addEventListener("online", () => feed.poke());
window.addEventListener("pagehide", () => {
  tiles.close();
  pages.publish.close();
});
window.addEventListener("pageshow", (event) => event.persisted && tiles.resume());

window.framemesh = {
  get tiles() {
    return tiles.reports;
  },
  clock,
};
