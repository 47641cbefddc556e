// The station's page: what is on air, and one player for all of it.

import { CastdEvents, CastdPlayer, withTitles } from "./castd-player.js";
import { Cards } from "./cards.js";
import { count, duration, nameOf, streamUrl } from "./text.js";
import { $, PLAYER_STATES, copy, pageData, setText, setUpMediaSession, setUpVolume, showMediaSession } from "./ui.js";

const SOUNDING = new Set(["live", "fallback", "silence"]);
const TICK_MS = 250; // how late a title may change

const player = new CastdPlayer($("player"));
const cards = new Cards($("mounts"), $("card"));
const { server, mounts } = pageData();
let current = null; // the mount the player was last asked for, as last seen
let before = ""; // its state then

const events = new CastdEvents("/api/v1/events", () => player.wanted);
events.mounts = new Map(mounts.map((mount) => [mount.mount, withTitles(mount)]));

const urlOf = (mount) => new URL(streamUrl(mount)).href;
const played = () => [...events.mounts.values()].find((mount) => urlOf(mount) === player.url);

function show() {
  const list = [...events.mounts.values()].sort((a, b) => a.mount.localeCompare(b.mount, "en", { numeric: true }));
  const listeners = list.reduce((sum, mount) => sum + mount.listeners, 0);
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
  cards.mark(player.wanted ? current?.mount : null, player.state);
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

$("mounts").addEventListener("click", ({ target }) => {
  const mount = events.mounts.get(target.closest("article")?.dataset.mount);
  if (!mount) return;
  if (target.closest(".play")) player.toggle(streamUrl(mount));
  if (target.closest(".copy")) copy(target, streamUrl(mount));
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
