// The page of one mount, or of a group of mounts with one programme, as a page of its own or in somebody's iframe.

import { CastdEvents, withTitles } from "./castd-player.js";
import { showArt } from "./cards.js";
import { AUTO } from "./choices.js";
import { Listening } from "./listening.js";
import { Meter } from "./meter.js";
import { Timeline } from "./timeline.js";
import { autoOf, clock, count, formatOf, nameOf, qualityOf, siteOf, streamUrl } from "./text.js";
import { $, PLAYER_STATES, copy, pageData, setText, setUpMediaSession, setUpVolume, showMediaSession } from "./ui.js";

const TICK_MS = 250; // how late a title may change
const RECENT = 10;
const KNOWN = 50; // titles, for the timeline; the server tells no more
const WINDOW_MS = 60_000; // between two times that the server is asked how far back one may go
const SKIP_SECONDS = 10;
const SOUNDING = new Set(["live", "fallback", "silence"]);
const ANOTHER_MS = 5000; // between two times that the server is asked what else of a group is on the air
const MOVE_MS = 3000; // for what is known of another mount to come
const ALONE = { beyond: "so far back there is one quality", refused: "there is one quality now" };
const GONE = "What was on when you stopped is not kept any more: this is live";
const OFF_AIR = "Off air. This page starts by itself when the stream is back.";
const STAND_INS = {
  fallback: "something else stands in until the source is back",
  silence: "silence until the source is back",
};

const { mount: name, now, links, programme, group: choices, script } = pageData();
const group = choices?.mounts ?? []; // the mounts among which there is a choice
const meter = new Meter($("meter"), $("player"));
const timeline = new Timeline($("timeline"));
const streamAddress = location.origin + links.stream;
const streams = new Map(group.map((mount) => [mount.mount, streamUrl(mount)]));
if (!group.length) streams.set(name, streamAddress);

// What AdaptivePlayer has to know of the mount that is shown.
const adaptive = { group: choices?.name, url: choices?.links.hls, script };
const player = new Listening($("player"), streams, name, adaptive, {
  placeOf: (date) => timeline.placeOf(date),
  dateOf: (place) => timeline.dateOf(place),
  hear: (mount) => hear(mount || shown),
  get sounding() {
    return timeline.sounding;
  },
  get live() {
    return timeline.live;
  },
});

let shown = streams.has(player.choice) ? player.choice : name; // the mount of the group whose words and times these are
let moving = shown;
let events = follow(shown);
let before = "";
let notice = "";

for (const mount of now ? [now, ...group] : group) {
  if (mount.mount === shown) events.mounts.set(shown, withTitles(mount));
}

function follow(mount) {
  const made = new CastdEvents(`/api/v1/mounts/${encodeURIComponent(mount.slice(1))}/events`, () => player.wanted);
  made.addEventListener("change", ({ detail }) => {
    if (detail === "mount" && made === events) {
      askForTitles();
      askForWindow();
    }
    show();
  });
  return made;
}

async function askForWindow() {
  const window = await timeline.ask(shown);
  if (window?.mount === shown) timeline.use(window);
  show();
}

// Show another mount of the group, and count in its times; each has media times of its own.
async function hear(mount) {
  moving = mount;
  if (mount === shown) return askForWindow();
  const next = follow(mount);
  const told = new Promise((done) => next.addEventListener("change", done, { once: true }));
  const [window] = await Promise.all([
    timeline.ask(mount),
    Promise.race([told, new Promise((done) => setTimeout(done, MOVE_MS))]),
  ]);
  if (moving !== mount) return next.close();
  const date = timeline.dateOf(player.place);
  const behind = timeline.kept && player.place !== null ? timeline.live - player.place : null;
  timeline.use(window);
  events.close();
  [events, shown] = [next, mount];
  const known = group.find((each) => each.mount === mount);
  if (!events.mounts.has(mount) && known) events.mounts.set(mount, withTitles(known));
  if (player.place !== null) player.place = timeline.placeOf(date) ?? (behind === null ? null : timeline.live - behind);
  askForTitles();
  show();
}

// The mount that is shown is not on the air: another one of its group may be.
async function lookForAnother() {
  const response = await fetch(`/api/v1/groups/${encodeURIComponent(programme.slice(1))}`).catch(() => null);
  const { first, mounts } = response?.ok ? await response.json() : {};
  const another = mounts?.find(({ mount }) => mount === first);
  if (!another || events.mounts.has(shown)) return;
  streams.set(first, streamUrl(another));
  player.standIn(first);
  await hear(first);
  if (player.wanted && player.choice !== AUTO) player.play();
}

async function askForTitles() {
  try {
    const response = await fetch(`/api/v1/mounts/${encodeURIComponent(shown.slice(1))}/titles?limit=${KNOWN}`);
    const mount = events.mounts.get(shown);
    if (!response.ok || !mount) return;
    events.addTitles(mount, (await response.json()).titles);
    show();
  } catch {
    // the next event asks again
  }
}

function show() {
  const mount = events.mounts.get(shown);
  const state = mount?.state ?? "off";
  if (SOUNDING.has(state) && !SOUNDING.has(before)) player.hurry();
  before = state;
  timeline.sounding = SOUNDING.has(state);
  const place = placeHeard();
  const heard = mount ? events.titleAt(mount, place) : null;
  const called = mount ? nameOf(mount) : $("name").textContent;
  setText($("name"), called);
  setText($("title"), heard?.text ?? "");
  $("title").title = heard?.text ?? "";
  setText($("album"), heard?.album ?? "");
  showArt($("art"), heard?.art);
  setText($("state"), stateOf(state));
  setText($("facts"), mount ? [formatOf(mount), count(mount.listeners, "listener")].filter(Boolean).join(" · ") : "");
  setText($("description"), mount?.description || mount?.genre || "");
  const site = mount && siteOf(mount);
  $("site").hidden = !site;
  if (site) {
    $("site").firstElementChild.href = site.href;
    setText($("site").firstElementChild, site.host);
  }
  $("player-card").dataset.player = player.state;
  $("player-card").dataset.state = state;
  $("toggle").setAttribute("aria-pressed", player.wanted);
  $("toggle").setAttribute("aria-label", `Play ${called}`);
  setText($("announce"), player.state === "playing" && heard?.text ? `Now playing: ${heard.text}` : "");
  document.title = heard?.text ? `${heard.text} · ${called}` : called;
  showQuality();
  showTimeline(mount, heard, place);
  showRecent(mount, heard);
  showMediaSession(player, called, heard);
}

function stateOf(state) {
  if (state === "off") return OFF_AIR;
  if (!events.connected) return "Server not reached, reconnecting…";
  if (player.state === "reconnecting" && state === "waiting") return "Waiting for the source…";
  const stopped = timeline.usable && player.place !== null ? "Paused" : "";
  const playing = player.state === "stopped" ? stopped : PLAYER_STATES[player.state];
  return [playing, notice, ALONE[player.alone], STAND_INS[state]].filter(Boolean).join(" · ");
}

// The media time of what is heard, or of what was when it was paused; null for the live end while nothing is known.
function placeHeard() {
  return player.heard ?? (timeline.usable ? player.place : null);
}

function showTimeline(mount, heard, place) {
  const usable = Boolean(mount) && timeline.usable;
  if ($("player-card").hasAttribute("data-rewind") !== usable) {
    $("player-card").toggleAttribute("data-rewind", usable);
    setUpMediaSession({ seekbackward: usable ? skipBack : null, seekforward: usable ? skipForward : null });
  }
  timeline.show(mount?.titles ?? [], place, player.place === null);
  $("to-live").hidden = !usable || player.place === null;
  $("from-start").hidden = !usable || !heard?.text || !timeline.holds(heard.media_seconds);
}

// Play from a media time on, or from the live end.
function playFrom(place) {
  notice = "";
  player.play(place);
}

function goOn() {
  const gone = timeline.usable && player.place !== null && player.place < timeline.oldest;
  playFrom(timeline.usable && !gone ? player.place : null);
  notice = gone ? GONE : "";
  show();
}

// As any player does: who moves the slider while it is paused has to press play, too.
function goTo(place) {
  if (player.wanted) return playFrom(place);
  player.place = place;
  show();
}

const skipBack = ({ seekOffset }) => skip(-(seekOffset ?? SKIP_SECONDS));
const skipForward = ({ seekOffset }) => skip(seekOffset ?? SKIP_SECONDS);

function skip(seconds) {
  const place = placeHeard();
  if (place === null) return;
  goTo(timeline.holds(place + seconds) ? place + seconds : seconds < 0 ? timeline.oldest : null);
}

function showRecent(mount, heard) {
  const until = heard?.media_seconds ?? 0;
  const lines = (mount?.titles ?? []).filter((title) => title.text && title.media_seconds < until).reverse().slice(0, RECENT);
  $("recent").hidden = !lines.length;
  const rows = $("titles");
  while (rows.children.length > lines.length) rows.lastElementChild.remove();
  lines.forEach((title, index) => {
    if (!rows.children[index]) {
      const row = document.createElement("li");
      row.append(...["time", "span", "button"].map((name) => document.createElement(name)));
      row.children[1].dir = "auto";
      row.lastElementChild.className = "again";
      rows.append(row);
    }
    const [time, text, again] = rows.children[index].children;
    time.dateTime = title.since;
    setText(time, clock(title.since));
    setText(text, title.text);
    again.hidden = !timeline.holds(title.media_seconds);
    again.ariaLabel = `Play ${title.text} from the start`;
    again.onclick = () => playFrom(title.media_seconds);
  });
}

function setUpQuality() {
  if (!choices) return;
  const select = $("quality");
  if (adaptive.url) select.append(new Option("Auto", AUTO));
  for (const mount of group) select.append(new Option(qualityOf(mount), mount.mount));
  select.value = player.choice;
  $("quality-label").hidden = false;
  select.addEventListener("change", async () => {
    const { wanted } = player;
    const place = player.place === null ? null : placeHeard();
    await player.choose(select.value);
    player.place = place;
    if (select.value !== AUTO) await hear(select.value);
    if (select.value !== player.choice) return; // another choice meanwhile
    if (wanted) player.play(player.place);
    show();
  });
}

function showQuality() {
  const auto = $("quality").options[0];
  if (auto?.value !== AUTO) return;
  const heard = events.mounts.get(player.rendition) ?? group.find(({ mount }) => mount === player.rendition);
  setText(auto, autoOf(heard));
}

$("toggle").addEventListener("click", () => (player.wanted ? player.stop() : goOn()));
$("to-live").addEventListener("click", () => playFrom(null));
$("from-start").addEventListener("click", () => {
  playFrom(events.titleAt(events.mounts.get(shown), placeHeard()).media_seconds);
});
timeline.addEventListener("move", show);
timeline.addEventListener("go", ({ detail }) => goTo(detail));
player.addEventListener("change", show);
player.addEventListener("mount", ({ detail }) => {
  player.standIn(detail);
  hear(detail);
});
player.audio.addEventListener("playing", () => meter.start());
setInterval(() => (player.wanted || timeline.usable) && show(), TICK_MS);
setInterval(() => document.hidden || !(timeline.kept || player.rendition) || askForWindow(), WINDOW_MS);
if (programme) setInterval(() => document.hidden || events.mounts.has(shown) || lookForAnother(), ANOTHER_MS);
document.addEventListener("visibilitychange", () => document.hidden || !timeline.kept || askForWindow());

const page = location.origin + links.page;
$("direct").href = streamAddress;
setText($("direct"), streamAddress);
$("xspf").href = links.xspf;
$("share").addEventListener("toggle", () => ($("qr").src = links.qr), { once: true });
$("copy-page").addEventListener("click", ({ target }) => copy(target, page));
$("copy-stream").addEventListener("click", ({ target }) => copy(target, streamAddress));
$("copy-embed").addEventListener("click", ({ target }) => copy(target, $("embed-code").value));
setUpQuality();
setUpVolume(player.audio);
setUpMediaSession({
  play: () => player.wanted || goOn(),
  pause: () => player.stop(),
  stop: () => player.stop(),
});
show();
