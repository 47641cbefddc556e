// castd-player.js: plays a live stream of a castd server, and goes on doing so. One file, nothing else needed, for your
// own site too:
//
//   <script type="module" src="https://radio.example.org/static/castd-player.js"></script>
//   <castd-player src="https://radio.example.org/live"></castd-player>
//
// or, for a player that looks like yours:
//
//   import { CastdPlayer, CastdEvents } from "https://radio.example.org/static/castd-player.js";
//   const player = new CastdPlayer();
//   player.addEventListener("change", () => show(player.state));
//   button.onclick = () => player.toggle("https://radio.example.org/live");
//
// docs/player.md has the rest. GPL-2.0-or-later, like castd.

const WATCH_MS = 500;
const STALL_MS = 3500; // no progress for so long while playing: reconnect
const CONNECT_MS = 10000; // first sound may take longer, on a slow line or a mount that waits for its source
const SLEPT_MS = 10000; // timers stood still for so long: the machine slept, and the buffer is not live any more
const SETTLED_MS = 10000; // playing for so long makes the next failure a first one; more than a server's burst
const RETRY_MS = [250, 1000, 2000, 4000, 8000, 15000];
const HIDDEN_MS = 10000;
const TITLES_KEPT = 50;

const spread = (ms) => ms * (0.75 + Math.random() / 2); // all listeners of a mount lose it in the same moment

// Where the API has a mount: ("https://radio.example.org/live") -> "https://radio.example.org/api/v1/mounts/live".
export function apiOf(streamUrl) {
  const { origin, pathname } = new URL(streamUrl, document.baseURI);
  return `${origin}/api/v1/mounts/${encodeURIComponent(decodeURIComponent(pathname.slice(1)))}`;
}

// One <audio> element that keeps to what its listener asked for: a live stream that plays, or nothing at all.
//
// Each attempt opens the stream anew with its own query, so neither a cache nor an old buffer answers. It is given up
// on error, on the end of the body, and when currentTime stands still; the next one follows after a growing delay for
// as long as the listener wants sound. Stopping drops the connection instead of pausing it. There is never more than
// one connection.
//
// Where a castd server keeps the past of a mount it plays that, too: play(url, from), and on from where it was after a
// lost connection. play(url, player.place) after stop() makes a pause of it.
//
// Fires "change" whenever `state` or `url` changes, and when `heard` becomes known.
export class CastdPlayer extends EventTarget {
  state = "stopped"; // | "connecting" | "playing" | "reconnecting" | "blocked" (the browser wants a click first)
  url = ""; // last asked for; kept after stop, so that it can be resumed
  place = null; // media time from which it plays what was on before, or at which it was stopped; null: the live end

  #audio;
  #failures = 0;
  #retryTimer = 0; // set only between two attempts
  #playingSince = 0;
  #last = { time: 0, at: 0 }; // currentTime as last seen to change, and when
  #watchedAt = performance.now();
  #id = ""; // of this attempt, for the server
  #start = null; // media time of what is heard at currentTime 0

  constructor(audio = new Audio()) {
    super();
    this.#audio = audio;
    audio.preload = "none";
    audio.addEventListener("playing", () => this.#playing());
    audio.addEventListener("error", () => this.#retry());
    audio.addEventListener("ended", () => this.#retry());
    audio.addEventListener("pause", () => this.#paused());
    addEventListener("online", () => this.hurry());
    setInterval(() => this.#watch(), WATCH_MS);
  }

  get audio() {
    return this.#audio;
  }

  // Whether the listener wants sound, whatever there is.
  get wanted() {
    return this.state === "connecting" || this.state === "playing" || this.state === "reconnecting";
  }

  // Seconds of the mount's audio, as `media_seconds` in the API, that are heard now; null while that is not known.
  get heard() {
    return this.#start === null || this.state !== "playing" ? null : this.#start + this.#audio.currentTime;
  }

  // Call it in the click's own task: phones let sound start only there. `from`: a media time; null for the live end.
  play(url, from = null) {
    this.#close();
    this.place = from;
    this.url = new URL(url, document.baseURI).href;
    this.#failures = 0;
    this.#open("connecting");
  }

  stop(state = "stopped") {
    this.place ??= this.heard;
    this.#close();
    this.#enter(state);
  }

  resume() {
    if (this.url && !this.wanted) this.play(this.url);
  }

  toggle(url = this.url) {
    if (this.wanted && this.url === new URL(url, document.baseURI).href) this.stop();
    else this.play(url);
  }

  // There is news that the stream may be there again: do not wait for the next attempt.
  hurry() {
    if (!this.wanted || !this.#retryTimer) return;
    this.#failures = 0;
    this.#open("reconnecting");
  }

  #open(state) {
    this.#close();
    this.#last = { time: 0, at: performance.now() };
    this.#id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const url = new URL(this.url);
    url.searchParams.set("player", this.#id);
    if (this.place !== null) url.searchParams.set("media", this.place.toFixed(3));
    this.#audio.src = url.href;
    this.#enter(state);
    this.#audio.play().catch((error) => {
      // AbortError is our own doing (a newer src); any other failure also fires "error".
      if (error.name === "NotAllowedError" && this.wanted) this.stop("blocked");
    });
  }

  #close() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    if (this.place !== null) this.place = this.heard ?? this.place;
    this.#start = null;
    if (!this.#audio.hasAttribute("src")) return;
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  #retry() {
    if (!this.wanted || this.#retryTimer) return;
    this.#close();
    const delay = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    this.#retryTimer = setTimeout(() => this.#open("reconnecting"), spread(delay));
    this.#enter("reconnecting");
  }

  #playing() {
    if (!this.wanted || this.state === "playing") return;
    this.#playingSince = this.#last.at = performance.now();
    this.#enter("playing");
    this.#ask(this.#id);
  }

  // Where did the server let us in? Other servers than castd do not tell, and nothing depends on it.
  async #ask(id) {
    try {
      const { buffered } = this.#audio;
      const base = buffered.length ? buffered.start(0) : 0; // WebM and Ogg begin at the stream's own time
      const response = await fetch(`${apiOf(this.url)}/hearing?player=${id}`, { signal: AbortSignal.timeout(8000) });
      if (!response.ok || id !== this.#id) return;
      this.#start = (await response.json()).media_seconds - base;
      this.dispatchEvent(new Event("change"));
    } catch {
      // not known then
    }
  }

  // Paused by someone else (headphones pulled out, a phone call): going on later from the old buffer would not be live.
  #paused() {
    const { paused, ended, error } = this.#audio;
    if (this.state === "playing" && paused && !ended && !error) this.stop();
  }

  #watch() {
    const now = performance.now();
    const slept = now - this.#watchedAt > SLEPT_MS && !document.hidden;
    this.#watchedAt = now;
    if (!this.wanted) return;
    if (slept) return this.#open("reconnecting");
    if (this.#retryTimer) return;
    const time = this.#audio.currentTime;
    if (time !== this.#last.time) {
      this.#last = { time, at: now };
      if (this.state === "playing" && now - this.#playingSince > SETTLED_MS) this.#failures = 0;
    } else if (now - this.#last.at > (this.state === "playing" ? STALL_MS : CONNECT_MS)) {
      this.#retry();
    }
  }

  #enter(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

// What happens at a server (".../api/v1/events") or at one mount (".../api/v1/mounts/live/events"), kept up to date.
//
// A browser has six connections for a server, for all its tabs: one that nobody looks at gives its own up after a while,
// unless keep() says that it is needed, and has it back when it is looked at.
//
// Fires "change" when anything did. `connected` is false while the server is not reached.
export class CastdEvents extends EventTarget {
  mounts = new Map(); // mount name -> the API's mount, and `titles`: the last ones, in the order in which they are heard
  connected = true;

  #url;
  #keep;
  #source = null;
  #failures = 0;
  #hiddenTimer = 0;
  #look = () => this.#looked();

  constructor(url, keep = () => false) {
    super();
    this.#url = url;
    this.#keep = keep;
    document.addEventListener("visibilitychange", this.#look);
    this.#open();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#look);
    this.#pause();
  }

  #looked() {
    clearTimeout(this.#hiddenTimer);
    if (!document.hidden && !this.#source) this.#open();
    if (document.hidden) this.#hiddenTimer = setTimeout(() => (this.#keep() ? this.#looked() : this.#pause()), HIDDEN_MS);
  }

  #pause() {
    clearTimeout(this.#hiddenTimer);
    this.#source?.close();
    this.#source = null;
  }

  // The title of a mount at a media time (CastdPlayer.heard), null if none was on yet; the newest for null.
  titleAt(mount, heard) {
    if (heard === null) return mount.title;
    return mount.titles.findLast((title) => title.media_seconds <= heard + 0.05) ?? null;
  }

  // Add titles that were on before, as GET /api/v1/mounts/NAME/titles gives them.
  addTitles(mount, titles) {
    const known = new Map([...titles, ...mount.titles].map((title) => [title.media_seconds, title]));
    mount.titles = [...known.values()].sort((a, b) => a.media_seconds - b.media_seconds).slice(-TITLES_KEPT);
  }

  #open() {
    const source = (this.#source = new EventSource(this.#url));
    const handlers = {
      mounts: ({ mounts }) => (this.mounts = new Map(mounts.map((mount) => [mount.mount, withTitles(mount)]))),
      mount: (mount) => this.#update(mount),
      listeners: ({ mount, ...counts }) => this.#change(mount, counts),
      title: (event) => this.#title(event),
      "mount.opened": ({ mount }) => this.#change(mount, { title: null, titles: [] }),
      absent: ({ mount }) => this.mounts.delete(mount),
      "mount.closed": ({ mount }) => this.mounts.delete(mount),
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, ({ data }) => {
        handle(JSON.parse(data));
        this.dispatchEvent(new CustomEvent("change", { detail: name }));
      });
    }
    source.onopen = () => this.#enter(true);
    source.onerror = () => {
      this.#enter(false);
      if (source.readyState !== EventSource.CLOSED || this.#source !== source) return;
      // refused: the browser leaves it at that
      setTimeout(() => this.#source === source && this.#open(), spread(Math.min(1000 * 2 ** this.#failures++, 15000)));
    };
  }

  #enter(connected) {
    if (connected) this.#failures = 0;
    if (this.connected === connected) return;
    this.connected = connected;
    this.dispatchEvent(new CustomEvent("change", { detail: "connection" }));
  }

  #change(name, fields) {
    const mount = this.mounts.get(name);
    if (mount) Object.assign(mount, fields);
  }

  #update(mount) {
    const { titles, listen_url } = this.mounts.get(mount.mount) ?? {};
    this.mounts.set(mount.mount, titles?.length ? { listen_url, ...mount, titles } : withTitles(mount));
  }

  #title({ mount: name, time, wall, ...title }) {
    const mount = this.mounts.get(name);
    if (!mount) return;
    mount.titles = mount.titles.filter(({ media_seconds: at }) => at !== title.media_seconds);
    this.addTitles(mount, [{ ...title, since: time }]);
    mount.title = mount.titles.at(-1);
  }
}

export const withTitles = (mount) => ({ ...mount, titles: mount.title ? [mount.title] : [] });

// <castd-player src="https://radio.example.org/live" label="Radio Example"></castd-player>: a button, the title in time
// with what is heard, and the volume; with the address of a group of mounts a choice of quality, too. Its looks:
// --castd-accent, --castd-ink, --castd-back, and ::part(button), ::part(title), ::part(state), ::part(quality),
// ::part(volume).
const STATES = {
  stopped: "", connecting: "Connecting…", playing: "", reconnecting: "Reconnecting…", blocked: "Press play to go on",
};

class CastdPlayerElement extends HTMLElement {
  static observedAttributes = ["src"];

  player = new CastdPlayer();
  #url = null; // of the stream: `src`, or of a mount of the group that has that address
  #group = [];
  #events = null;
  #timer = 0;

  connectedCallback() {
    if (!this.shadowRoot) this.#build();
    this.#follow();
    this.#timer = setInterval(() => this.#show(), 250);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
    this.#events?.close();
    this.player.stop();
  }

  attributeChangedCallback() {
    if (!this.isConnected || !this.shadowRoot) return;
    const wanted = this.player.wanted;
    this.player.stop();
    this.#follow();
    if (wanted) this.player.play(this.#url);
  }

  #build() {
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`
      :host { display: flex; align-items: center; gap: .75em; padding: .6em .8em; border-radius: .8em; font: 1em/1.35 system-ui, sans-serif;
        color: var(--castd-ink, CanvasText); background: var(--castd-back, Canvas); }
      button { flex: none; width: 2.75em; height: 2.75em; border: 0; border-radius: 50%; cursor: pointer; font: inherit;
        background: var(--castd-accent, #c2410c); color: #fff; }
      button:focus-visible, input:focus-visible, select:focus-visible { outline: 3px solid var(--castd-accent, #c2410c); outline-offset: 2px; }
      div { flex: 1; min-width: 0; } p { margin: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      [part=title] { font-weight: 600; } [part=state]:empty, [hidden] { display: none; }
      select { font: inherit; max-width: 9em; color: inherit; background: inherit; } input { width: 6em; accent-color: var(--castd-accent, #c2410c); }`);
    root.adoptedStyleSheets = [sheet];
    const make = (name, part, fields = {}) => {
      const element = Object.assign(document.createElement(name), fields);
      element.setAttribute("part", part);
      return element;
    };
    this.button = make("button", "button", { type: "button", onclick: () => this.player.toggle(this.#url) });
    this.titleLine = make("p", "title", { dir: "auto" });
    this.stateLine = make("p", "state");
    this.stateLine.setAttribute("role", "status");
    const volume = make("input", "volume", { type: "range", min: 0, max: 1, step: 0.05, value: 1, ariaLabel: "Volume" });
    volume.oninput = () => (this.player.audio.volume = volume.valueAsNumber);
    const text = document.createElement("div");
    text.append(this.titleLine, this.stateLine);
    this.choice = make("select", "quality", { hidden: true, ariaLabel: "Quality", onchange: () => this.#choose() });
    root.append(this.button, text, this.choice, volume);
    this.player.addEventListener("change", () => this.#show());
  }

  #follow() {
    this.#group = [];
    this.choice.hidden = true;
    this.#listenTo(this.getAttribute("src"));
  }

  #listenTo(url) {
    this.#url = url;
    this.#events?.close();
    const events = (this.#events = url ? new CastdEvents(`${apiOf(url)}/events`, () => this.player.wanted) : null);
    events?.addEventListener("change", ({ detail }) => detail === "absent" && events === this.#events && this.#findGroup());
    this.#show();
  }

  // There is no such mount: is it a group?
  async #findGroup() {
    const src = this.getAttribute("src");
    if (this.#url !== src) return;
    const response = await fetch(apiOf(src).replace("/mounts/", "/groups/")).catch(() => null);
    const group = response?.ok ? await response.json() : null;
    if (!group?.first || src !== this.#url || !this.isConnected) return;
    this.#group = group.mounts;
    this.choice.replaceChildren(...group.mounts.map(({ mount, codec, bitrate }) => {
      const quality = [codec.toUpperCase(), bitrate && `${Math.round(bitrate / 1000)} kbit/s`].filter(Boolean).join(" ");
      return new Option(quality || mount, mount);
    }));
    this.choice.value = group.first;
    this.choice.hidden = group.mounts.length < 2;
    this.#choose();
  }

  #choose() {
    const { wanted } = this.player;
    const { path } = this.#group.find(({ mount }) => mount === this.choice.value);
    this.#listenTo(new URL(this.getAttribute("src"), document.baseURI).origin + path);
    if (wanted) this.player.play(this.#url);
  }

  #show() {
    const mount = this.#events?.mounts.values().next().value;
    const name = this.getAttribute("label") || mount?.name || this.getAttribute("src") || "";
    const put = (element, text) => element.textContent !== text && (element.textContent = text);
    put(this.button, this.player.wanted ? "◼" : "▶");
    this.button.ariaLabel = `${this.player.wanted ? "Stop" : "Play"} ${name}`;
    put(this.titleLine, (mount && this.#events.titleAt(mount, this.player.heard)?.text) || name);
    put(this.stateLine, STATES[this.player.state]);
  }
}

if (!customElements.get("castd-player")) customElements.define("castd-player", CastdPlayerElement);
