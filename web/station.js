// The station's page: what is on air, and one player for all of it. The mounts of a group are one programme, with a choice.

import { CastdEvents, CastdPlayer, withTitles } from "./castd-player.js";
import { Cards } from "./cards.js";
import { keep, kept } from "./choices.js";
import { count, duration, nameOf, streamUrl } from "./text.js";
import { $, PLAYER_STATES, copy, pageData, setText, setUpMediaSession, setUpVolume, showMediaSession } from "./ui.js";

const SOUNDING = new Set(["live", "fallback", "silence"]);
const TICK_MS = 250; // how late a title may change

const player = new CastdPlayer($("player"));
const cards = new Cards($("mounts"), $("card"));
const { server, mounts, groups } = pageData();
let current = null; // the mount the player was last asked for, as last seen
let before = ""; // its state then

const events = new CastdEvents("/api/v1/events", () => player.wanted);
events.mounts = new Map(mounts.map((mount) => [mount.mount, withTitles(mount)]));

const urlOf = (mount) => new URL(streamUrl(mount)).href;
const played = () => [...events.mounts.values()].find((mount) => urlOf(mount) === player.url);

// What there is to hear, as cards want it: { name, mounts, first, page, stream }.
function programmes() {
  const found = new Map();
  for (const mount of events.mounts.values()) {
    const name = mount.group ?? mount.mount;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(mount);
  }
  const list = [...found].map(([name, members]) => programme(name, members));
  return list.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}

function programme(name, members) {
  const [only] = members;
  if (!only.group) return { name, mounts: members, first: only, page: only.links.page, stream: streamUrl(only) };
  const order = groups[name] ?? [];
  members.sort((a, b) => order.indexOf(a.mount) - order.indexOf(b.mount));
  const first = members.find(({ mount }) => mount === kept(name)) ?? members[0];
  const [page, path] = [encodeURIComponent(name.slice(1)), name.split("/").map(encodeURIComponent).join("/")];
  return { name, mounts: members, first, page: `/p/${page}`, stream: location.origin + path };
}

function show() {
  const list = programmes();
  const listeners = [...events.mounts.values()].reduce((sum, mount) => sum + mount.listeners, 0);
  cards.show(list, titleOf);
  $("empty").hidden = list.length > 0;
  setText($("summary"), list.length ? `${count(list.length, "stream")} · ${count(listeners, "listener")}` : "");
  document.body.classList.toggle("offline", !events.connected);
  setText($("connection"), events.connected ? "" : "Server not reached, reconnecting…");
  showPlayer();
}

function titleOf(mount) {
  return events.titleAt(mount, urlOf(mount) === player.url ? player.heard : null);
}

function showPlayer() {
  current = played() ?? current;
  cards.mark(player.wanted && current ? (current.group ?? current.mount) : null, player.state);
  if (!current) return;
  if (!SOUNDING.has(before) && SOUNDING.has(current.state)) player.hurry();
  before = current.state;
  const name = nameOf(current);
  const heard = titleOf(current);
  const title = heard?.text || name;
  const sourceLost = player.state === "reconnecting" && current.state === "waiting";
  const state = sourceLost ? "Waiting for the source…" : PLAYER_STATES[player.state];
  $("bar").hidden = false;
  $("bar").dataset.player = player.state;
  $("bar-toggle").setAttribute("aria-pressed", player.wanted);
  $("bar-toggle").setAttribute("aria-label", `Play ${name}`);
  setText($("bar-title"), title);
  $("bar-title").title = title;
  setText($("bar-state"), title === name ? state : `${state} · ${name}`);
  setText($("announce"), player.state === "playing" ? `Now playing: ${title}` : player.wanted ? state : "");
  document.title = player.wanted ? `${title} · castd` : "castd";
  showMediaSession(player, name, heard);
}

const programmeOf = (target) => programmes().find(({ name }) => name === target.closest("article")?.dataset.mount);
const plays = ({ mounts }) => player.wanted && mounts.some((mount) => urlOf(mount) === player.url);

$("mounts").addEventListener("click", ({ target }) => {
  const programme = programmeOf(target);
  if (!programme) return;
  if (target.closest(".play")) plays(programme) ? player.stop() : player.play(streamUrl(programme.first));
  if (target.closest(".copy")) copy(target, programme.stream);
});
$("mounts").addEventListener("change", ({ target }) => {
  const programme = programmeOf(target);
  keep(programme.name, target.value);
  if (plays(programme)) player.play(streamUrl(events.mounts.get(target.value)));
  show();
});
$("bar-toggle").addEventListener("click", () => player.toggle());
$("copy-push").addEventListener("click", ({ target }) => copy(target, $("push").textContent));
player.addEventListener("change", show);
events.addEventListener("change", show);
setInterval(() => player.wanted && show(), TICK_MS);

if (location.protocol === "http:") {
  setText($("push"), $("push").textContent.replace("HOST:PORT", `${location.hostname}:${location.port || 80}`));
}
const up = `up ${duration((Date.now() - new Date(server.started)) / 1000)}`;
setText($("server"), [server.software, server.location, server.admin_contact, up].filter(Boolean).join(" · "));
$("mounts").replaceChildren();
setUpVolume(player.audio);
setUpMediaSession({ play: () => player.resume(), pause: () => player.stop(), stop: () => player.stop() });
show();
