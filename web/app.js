// The public page: asks the server what is on air, shows it, and joins the cards to the player.

import { Cards, setText } from "./cards.js";
import { Player } from "./player.js";
import { count, duration, nameOf, streamUrl, titleOf } from "./text.js";

const POLL_MS = 3000;
const POLL_HIDDEN_MS = 30000;
const POLL_HIDDEN_PLAYING_MS = 10000; // the lock screen and the tab still show the title
const POLL_BACKOFF_MAX_MS = 30000;
const FETCH_TIMEOUT_MS = 8000;
const COPIED_MS = 2000;
const PLAYER_STATES = {
  stopped: "Stopped",
  connecting: "Connecting…",
  playing: "Playing",
  reconnecting: "Reconnecting…",
  blocked: "Press play to go on",
};

const $ = (id) => document.getElementById(id);
const audio = $("player");
const player = new Player(audio);
const cards = new Cards($("mounts"), $("card"));
let mounts = new Map(); // mount name -> its entry in the latest status
let current = null; // the entry the player was last asked for, as last seen

// --- what is on air ---

let pollTimer = 0;
let polling = false;
let failures = 0;

async function poll() {
  if (polling) return;
  polling = true;
  clearTimeout(pollTimer);
  const status = await ask();
  polling = false;
  failures = status ? 0 : failures + 1;
  pollTimer = setTimeout(poll, pollDelay());
  document.body.classList.toggle("offline", failures > 0);
  setText($("connection"), failures ? "Server not reached, reconnecting…" : "");
  if (status) show(status);
}

// The status document, or null when there is none to be had.
async function ask() {
  try {
    const response = await fetch("/api/v1/status", { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

function pollDelay() {
  if (failures) return Math.min(POLL_MS * 2 ** (failures - 1), POLL_BACKOFF_MAX_MS) * (0.75 + Math.random() / 2);
  if (!document.hidden) return POLL_MS;
  return player.wanted ? POLL_HIDDEN_PLAYING_MS : POLL_HIDDEN_MS;
}

const SOUNDING = new Set(["live", "fallback"]);

function show({ server, listeners, mounts: list }) {
  const before = mounts.get(player.mount)?.state;
  mounts = new Map(list.map((mount) => [mount.mount, mount]));
  cards.show(list);
  $("empty").hidden = list.length > 0;
  setText($("summary"), list.length ? `${count(list.length, "stream")} · ${count(listeners, "listener")}` : "");
  const facts = [server.software, server.location, server.admin_contact, `up ${duration(server.uptime_seconds)}`];
  setText($("server"), facts.filter(Boolean).join(" · "));

  current = mounts.get(player.mount) ?? current;
  if (!SOUNDING.has(before) && SOUNDING.has(mounts.get(player.mount)?.state)) player.hurry();
  showPlayer();
}

// --- what is being played ---

function toggle(mount) {
  if (player.wanted && player.mount === mount.mount) return player.stop();
  current = mount;
  player.play(mount.mount, streamUrl(mount));
}

function showPlayer() {
  cards.mark(player.wanted ? player.mount : null, player.state);
  if (!current) return;
  const name = nameOf(current);
  const title = titleOf(current) || name;
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
  showMediaSession(name);
}

function showMediaSession(name) {
  if (!("mediaSession" in navigator)) return;
  navigator.mediaSession.playbackState = player.wanted ? "playing" : "paused";
  const { text, title, artist } = current.title ?? {};
  const wanted = { title: title || text || name, artist: artist || name, album: name };
  const shown = navigator.mediaSession.metadata;
  if (shown?.title === wanted.title && shown.artist === wanted.artist && shown.album === name) return;
  navigator.mediaSession.metadata = new MediaMetadata(wanted);
}

function setUpMediaSession() {
  const actions = { play: () => player.resume(), pause: () => player.stop(), stop: () => player.stop() };
  for (const [action, handler] of Object.entries(actions)) {
    try {
      navigator.mediaSession?.setActionHandler(action, handler);
    } catch {
      // an action this browser does not know
    }
  }
}

// --- volume ---

function setUpVolume() {
  const slider = $("volume");
  try {
    const kept = Number.parseFloat(localStorage.getItem("volume"));
    if (kept >= 0 && kept <= 1) slider.value = kept;
  } catch {
    // storage is switched off
  }
  slider.addEventListener("input", () => {
    audio.volume = slider.valueAsNumber;
    try {
      localStorage.setItem("volume", slider.value);
    } catch {
      // not remembered then
    }
  });
  // iOS leaves the volume to the device's own keys: what is set does not stay.
  audio.volume = 0.5;
  setTimeout(() => {
    $("volume-label").hidden = audio.volume !== 0.5;
    audio.volume = slider.valueAsNumber;
  });
}

// --- copying ---

async function copy(button, text) {
  const label = (button.dataset.label ??= button.textContent);
  const outcome = (await toClipboard(text)) ? "Copied" : "Could not copy";
  setText(button, outcome);
  setText($("copied"), outcome);
  setTimeout(() => {
    setText(button, label);
    setText($("copied"), "");
  }, COPIED_MS);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard outside https and localhost: the old way, through a selection.
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.className = "sr-only";
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}

// --- all together ---

$("mounts").addEventListener("click", ({ target }) => {
  const mount = mounts.get(target.closest("article")?.dataset.mount);
  if (!mount) return;
  if (target.closest(".play")) toggle(mount);
  if (target.closest(".copy")) copy(target, streamUrl(mount));
});
$("bar-toggle").addEventListener("click", () => toggle(current));
$("copy-push").addEventListener("click", ({ target }) => copy(target, $("push").textContent));
player.addEventListener("change", showPlayer);
document.addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("online", () => {
  poll();
  player.hurry();
});

if (location.protocol === "http:") {
  setText($("push"), $("push").textContent.replace("HOST:PORT", `${location.hostname}:${location.port || 80}`));
}
setUpVolume();
setUpMediaSession();
poll();
