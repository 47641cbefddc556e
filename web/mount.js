// The page of one mount, as a page of its own or in somebody's iframe.

import { CastdEvents, CastdPlayer, withTitles } from "./castd-player.js";
import { showArt } from "./cards.js";
import { Meter } from "./meter.js";
import { Timeline } from "./timeline.js";
import { clock, count, formatOf, nameOf, siteOf, streamUrl } from "./text.js";
import { $, PLAYER_STATES, copy, pageData, setText, setUpMediaSession, setUpVolume, showMediaSession } from "./ui.js";

const TICK_MS = 250; // how late a title may change
const RECENT = 10;
const KNOWN = 50; // titles, for the timeline; the server tells no more
const WINDOW_MS = 60_000; // between two times that the server is asked how far back one may go
const SKIP_SECONDS = 10;
const SOUNDING = new Set(["live", "fallback", "silence"]);
const GONE = "What was on when you stopped is not kept any more: this is live";
const OFF_AIR = "Off air. This page starts by itself when the stream is back.";
const STAND_INS = {
  fallback: "something else stands in until the source is back",
  silence: "silence until the source is back",
};

const { mount: name, now, links, group } = pageData();
const player = new CastdPlayer($("player"));
const meter = new Meter($("meter"), player.audio);
const timeline = new Timeline($("timeline"));
const streamAddress = location.origin + links.stream;

let events = follow(name);
let chosen = name; // the mount of the group that is played
let before = "";
let notice = "";

if (now) events.mounts.set(name, withTitles(now));

function follow(mount) {
  const made = new CastdEvents(`/api/v1/mounts/${encodeURIComponent(mount.slice(1))}/events`, () => player.wanted);
  made.addEventListener("change", ({ detail }) => {
    if (detail === "mount" && made === events) {
      askForTitles();
      timeline.ask(chosen).then(show);
    }
    show();
  });
  return made;
}

async function askForTitles() {
  try {
    const response = await fetch(`/api/v1/mounts/${encodeURIComponent(chosen.slice(1))}/titles?limit=${KNOWN}`);
    const mount = events.mounts.get(chosen);
    if (!response.ok || !mount) return;
    events.addTitles(mount, (await response.json()).titles);
    show();
  } catch {
    // the next event asks again
  }
}

function show() {
  const mount = events.mounts.get(chosen);
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
  return [playing, notice, STAND_INS[state]].filter(Boolean).join(" · ");
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
  player.play(player.url || streamAddress, place);
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
  if (group.length < 2) return;
  const select = $("quality");
  for (const mount of [...group].sort((a, b) => (b.bitrate ?? 0) - (a.bitrate ?? 0))) {
    select.append(new Option(formatOf(mount) || mount.mount, mount.mount, false, mount.mount === name));
  }
  $("quality-label").hidden = false;
  select.addEventListener("change", () => {
    const mount = group.find((each) => each.mount === select.value);
    const wanted = player.wanted;
    events.close();
    chosen = mount.mount;
    player.place = null; // each mount has media times of its own
    timeline.ask(chosen);
    events = follow(chosen);
    events.mounts.set(chosen, withTitles(mount));
    if (wanted) player.play(streamUrl(mount));
    else player.url = streamUrl(mount);
    show();
  });
}

$("toggle").addEventListener("click", () => (player.wanted ? player.stop() : goOn()));
$("to-live").addEventListener("click", () => playFrom(null));
$("from-start").addEventListener("click", () => {
  playFrom(events.titleAt(events.mounts.get(chosen), placeHeard()).media_seconds);
});
timeline.addEventListener("move", show);
timeline.addEventListener("go", ({ detail }) => goTo(detail));
player.addEventListener("change", show);
player.audio.addEventListener("playing", () => meter.start());
setInterval(() => (player.wanted || timeline.usable) && show(), TICK_MS);
setInterval(() => document.hidden || !timeline.kept || timeline.ask(chosen), WINDOW_MS);
document.addEventListener("visibilitychange", () => document.hidden || !timeline.kept || timeline.ask(chosen));

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
