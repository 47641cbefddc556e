// The page of one mount, as a page of its own or in somebody's iframe.

import { CastdEvents, CastdPlayer, withTitles } from "./castd-player.js";
import { showArt } from "./cards.js";
import { Meter } from "./meter.js";
import { clock, count, formatOf, nameOf, siteOf, streamUrl } from "./text.js";
import { $, PLAYER_STATES, copy, pageData, setText, setUpMediaSession, setUpVolume, showMediaSession } from "./ui.js";

const TICK_MS = 250; // how late a title may change
const RECENT = 10;
const SOUNDING = new Set(["live", "fallback", "silence"]);
const OFF_AIR = "Off air. This page starts by itself when the stream is back.";
const STAND_INS = {
  fallback: "something else stands in until the source is back",
  silence: "silence until the source is back",
};

const { mount: name, now, links, group } = pageData();
const player = new CastdPlayer($("player"));
const meter = new Meter($("meter"), player.audio);
const streamAddress = location.origin + links.stream;

let events = follow(name);
let chosen = name; // the mount of the group that is played
let before = "";

if (now) events.mounts.set(name, withTitles(now));

function follow(mount) {
  const made = new CastdEvents(`/api/v1/mounts/${encodeURIComponent(mount.slice(1))}/events`, () => player.wanted);
  made.addEventListener("change", ({ detail }) => {
    if (detail === "mount" && made === events) askForTitles();
    show();
  });
  return made;
}

async function askForTitles() {
  try {
    const response = await fetch(`/api/v1/mounts/${encodeURIComponent(chosen.slice(1))}/titles`);
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
  const heard = mount ? events.titleAt(mount, player.heard) : null;
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
  showRecent(mount, heard);
  showMediaSession(player, called, heard);
}

function stateOf(state) {
  if (state === "off") return OFF_AIR;
  if (!events.connected) return "Server not reached, reconnecting…";
  if (player.state === "reconnecting" && state === "waiting") return "Waiting for the source…";
  return [player.state === "stopped" ? "" : PLAYER_STATES[player.state], STAND_INS[state]].filter(Boolean).join(" · ");
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
      row.append(document.createElement("time"), document.createElement("span"));
      row.lastElementChild.dir = "auto";
      rows.append(row);
    }
    const [time, text] = rows.children[index].children;
    time.dateTime = title.since;
    setText(time, clock(title.since));
    setText(text, title.text);
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
    events = follow(chosen);
    events.mounts.set(chosen, withTitles(mount));
    if (wanted) player.play(streamUrl(mount));
    else player.url = streamUrl(mount);
    show();
  });
}

$("toggle").addEventListener("click", () => player.toggle(player.url || streamAddress));
player.addEventListener("change", show);
player.audio.addEventListener("playing", () => meter.start());
setInterval(() => player.wanted && show(), TICK_MS);

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
setUpMediaSession(player);
show();
