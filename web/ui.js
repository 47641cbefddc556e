// What both pages for listeners do: words into elements, copying, the volume, the lock screen.

export const $ = (id) => document.getElementById(id);

// Changed only where it differs, so that focus, selection and screen readers are left in peace. Titles, names and
// addresses come from strangers: textContent only.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What the server wrote into the page.
export const pageData = () => JSON.parse($("data").textContent);

export const PLAYER_STATES = {
  stopped: "Stopped",
  connecting: "Connecting…",
  playing: "Playing",
  reconnecting: "Reconnecting…",
  blocked: "Press play to go on",
};

const COPIED_MS = 2000;

export async function copy(button, text) {
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

export function setUpVolume(audio) {
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

export function setUpMediaSession(actions) {
  for (const [action, handler] of Object.entries(actions)) {
    try {
      navigator.mediaSession?.setActionHandler(action, handler);
    } catch {
      // an action this browser does not know
    }
  }
}

export function showMediaSession(player, name, title) {
  if (!("mediaSession" in navigator)) return;
  navigator.mediaSession.playbackState = player.wanted ? "playing" : "paused";
  const artwork = title?.art ? [{ src: location.origin + title.art }] : [];
  const wanted = { title: title?.title || title?.text || name, artist: title?.artist || name, album: title?.album || name };
  const shown = navigator.mediaSession.metadata;
  const same = Object.entries(wanted).every(([key, value]) => shown?.[key] === value);
  if (same && (shown.artwork[0]?.src ?? "") === (artwork[0]?.src ?? "")) return;
  navigator.mediaSession.metadata = new MediaMetadata({ ...wanted, artwork });
}
