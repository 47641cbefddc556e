// Plays a group of mounts by HLS, in the quality that the network allows: by hls.js, which is loaded when it is first
// needed, or by the browser itself where that is Safari.
//
// As CastdPlayer it has one <audio> element and keeps to what its listener asked for: it goes on when the source or the
// server is back, and a stop drops all connections. What it asks the server for comes in segments, so it is some more
// seconds behind the live end, and its listener may go back as far as the playlist reaches.

const WATCH_MS = 500;
const STALL_MS = 3500; // no progress for so long while playing: it does not play
const REBUILD_MS = 12_000; // nor for so long while there is something to hear: begin anew
const CONNECT_MS = 25_000; // the first segment of a source may take two target durations
const FORGIVE_MS = 60_000; // hls.js never again chooses a quality that once could not be had
const SLEPT_MS = 10_000;
const SETTLED_MS = 10_000;
const RECOVER_MS = 10_000; // a second decoder's fault in that time is more than a fault
const RETRY_MS = [250, 1000, 2000, 4000, 8000, 15_000];
const REFUSALS = 3; // so many, one after the other, while there is something to hear: it cannot be had this way
const LIVE_TARGETS = 3; // HOLD-BACK, in target durations
const WITHIN_SECONDS = 0.5; // of the first segment: at its very beginning hls.js 1.7 waits for ever

const SETTINGS = {
  // Its estimate of the network is weighed by the time that downloads take. Of sound that is next to nothing where the
  // network is fast: it would go up again a quarter of an hour after it went down.
  abrEwmaFastLive: 1,
  abrEwmaSlowLive: 3,
  enableWorker: false, // a worker would be made of a blob, which no policy of ours allows
  lowLatencyMode: false, // who lets the quality change has a network that does
  backBufferLength: 30,
  maxMaxBufferLength: 30, // seconds ahead; what went back would fetch ten minutes at once
  enableDateRangeMetadataCues: false, // titles come by another way; for these, it makes a track out of a data: URL
  enableEmsgMetadataCues: false,
  enableID3MetadataCues: false,
  // It waits for the last part of the next segment, which is farther ahead than playlists may be asked for when that has
  // no part yet (bis §6.2.5.2); for the whole segment it may always wait.
  xhrSetup(request, url) {
    if (url.includes("_HLS_part=")) request.open("GET", url.replace(/&_HLS_part=\d+/, ""), true);
  },
};

const spread = (ms) => ms * (0.75 + Math.random() / 2);

const ownHls = (audio) => Boolean(audio.canPlayType("application/vnd.apple.mpegurl") && audio.getStartDate);

let library = null;

function load(script) {
  library ??= new Promise((done, failed) => {
    const element = document.createElement("script");
    element.src = script;
    element.onload = () => done(globalThis.Hls);
    element.onerror = () => {
      element.remove();
      library = null;
      failed(new Error("hls.js cannot be had"));
    };
    document.head.append(element);
  });
  return library;
}

// `clock` knows the mount that is heard: `placeOf(date)` and `dateOf(place)` are media times for ms since 1970 and the
// other way, null where that is not known; `hear(mount)` has it ask the server about that mount, or about the same one
// again, and counts `place` in its times; `sounding` while there is something.
//
// Fires "change" as CastdPlayer does; "mount" with the name of the mount that is heard from now on; "beyond" when the
// place that was asked for is older than what there is; "refused" when there is nothing to be had.
export class AdaptivePlayer extends EventTarget {
  state = "stopped"; // as of CastdPlayer
  place = null; // likewise
  mount = ""; // the one that is heard; "" while that is not known

  #audio;
  #url;
  #script;
  #clock;
  #hls = null;
  #attempt = null; // an object for each
  #failures = 0;
  #refusals = 0;
  #retryTimer = 0;
  #playingSince = 0;
  #recoveredAt = -Infinity;
  #forgaveAt = 0;
  #last = { time: 0, at: 0 };
  #watchedAt = performance.now();
  #sessions = new Map(); // level -> the session of its segments
  #periods = new Set(); // seen, by level

  constructor(audio, url, script, clock) {
    super();
    this.#audio = audio;
    this.#url = new URL(url, document.baseURI).href;
    this.#script = script;
    this.#clock = clock;
    audio.addEventListener("playing", () => this.#playing());
    audio.addEventListener("error", () => this.#hls || this.#retry());
    audio.addEventListener("ended", () => this.#retry());
    audio.addEventListener("pause", () => this.#paused());
    addEventListener("online", () => this.hurry());
    setInterval(() => this.#watch(), WATCH_MS);
  }

  get wanted() {
    return this.state === "connecting" || this.state === "playing" || this.state === "reconnecting";
  }

  get heard() {
    return this.state === "playing" ? this.#clock.placeOf(this.#date()) : null;
  }

  play(from = null) {
    if (this.state === "playing" && this.#seek(from)) return;
    this.#close();
    this.place = from;
    this.#failures = this.#refusals = 0;
    this.#open("connecting");
  }

  stop(state = "stopped") {
    this.place ??= this.heard;
    this.#close();
    this.#enter(state);
  }

  // There is news that the stream may be there again.
  hurry() {
    if (!this.wanted) return;
    this.#last.at = performance.now();
    if (!this.#retryTimer) return;
    this.#failures = 0;
    this.#open("reconnecting");
  }

  // ms since 1970 of what is heard, null while nobody knows
  #date() {
    if (this.#hls) return this.#hls.playingDate?.getTime() ?? null;
    const began = this.#audio.getStartDate?.().getTime();
    return Number.isFinite(began) ? began + this.#audio.currentTime * 1000 : null;
  }

  async #open(state) {
    this.#close();
    const attempt = (this.#attempt = {});
    this.#last = { time: -1, at: performance.now() };
    this.#enter(state);
    if (ownHls(this.#audio)) return this.#openByItself();
    try {
      const Hls = await load(this.#script);
      if (attempt !== this.#attempt) return;
      if (Hls?.isSupported()) this.#openBy(Hls);
      else this.#tell("refused");
    } catch {
      if (attempt === this.#attempt) this.#retry();
    }
  }

  #openBy(Hls) {
    const hls = (this.#hls = new Hls(SETTINGS));
    const { Events } = Hls;
    this.#sessions.clear();
    this.#periods.clear();
    let begun = false;
    hls.on(Events.MANIFEST_PARSED, (_, { levels }) => {
      // By itself it never goes from one codec to another but in need, and then never back.
      if (globalThis.SourceBuffer?.prototype.changeType) for (const level of levels) level.codecSet = levels[0].codecSet;
    });
    hls.on(Events.LEVEL_LOADED, async (_, { details }) => {
      if (begun) return;
      begun = true;
      if (this.place === null) return this.#clock.hear(mountOf(details.url));
      hls.stopLoad();
      await this.#clock.hear(mountOf(details.url));
      if (hls !== this.#hls) return;
      const position = positionOf(details, this.#clock.dateOf(this.place));
      if (position === null) this.#tell("beyond");
      else hls.startLoad(position);
    });
    hls.on(Events.LEVEL_UPDATED, (_, { details, level }) => this.#updated(details, level));
    hls.on(Events.LEVEL_SWITCHED, (_, { level }) => this.#hears(hls.levels[level]));
    hls.on(Events.FRAG_CHANGED, (_, { frag }) => {
      const period = `${frag.level}:${frag.cc}`;
      if (this.#periods.size && !this.#periods.has(period)) this.#clock.hear("");
      this.#periods.add(period);
    });
    hls.on(Events.ERROR, (_, error) => this.#failed(Hls, error));
    hls.loadSource(this.#url);
    hls.attachMedia(this.#audio);
    this.#start();
  }

  #openByItself() {
    const url = new URL(this.#url);
    url.searchParams.set("_", Date.now()); // no cache answers
    this.#audio.src = url.href;
    const attempt = this.#attempt;
    this.#audio.addEventListener("loadedmetadata", async () => {
      await this.#clock.hear("");
      if (this.place === null || attempt !== this.#attempt) return;
      if (!this.#seekByItself(this.place)) this.#tell("beyond");
    }, { once: true });
    this.#start();
  }

  #start() {
    this.#audio.play().catch((error) => {
      if (error.name === "NotAllowedError" && this.wanted) this.stop("blocked");
    });
  }

  #close() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    if (this.place !== null) this.place = this.heard ?? this.place;
    this.#attempt = null;
    const hls = this.#hls;
    this.#hls = null;
    hls?.destroy();
    this.#hears(null);
    if (!hls && !this.#audio.hasAttribute("src")) return;
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

  #failed({ ErrorTypes, ErrorDetails }, { fatal, type, details, response }) {
    if (!fatal) return;
    if (type === ErrorTypes.MEDIA_ERROR && performance.now() - this.#recoveredAt > RECOVER_MS) {
      this.#recoveredAt = performance.now();
      this.#hls.recoverMediaError();
      return this.#start();
    }
    const refused = details === ErrorDetails.MANIFEST_LOAD_ERROR && response?.code >= 400 && response.code < 500;
    if (!refused || !this.#clock.sounding) this.#refusals = 0;
    else if (++this.#refusals >= REFUSALS) return this.#tell("refused");
    this.#retry();
  }

  // Another process has begun to make segments, and hls.js would take them for more of the same.
  #updated(details, level) {
    const session = /([0-9a-f]{16})-[^/]*$/.exec(details.fragments.at(-1)?.relurl ?? "")?.[1];
    const before = this.#sessions.get(level);
    this.#sessions.set(level, session);
    if (before && session && before !== session) this.#open("reconnecting");
  }

  #hears(level) {
    const name = level ? mountOf(level.uri ?? level.url[0] ?? "") : "";
    if (name === this.mount) return;
    this.mount = name;
    if (name) this.dispatchEvent(new CustomEvent("mount", { detail: name }));
  }

  #playing() {
    if (!this.wanted || this.state === "playing") return;
    this.#playingSince = this.#last.at = performance.now();
    this.#refusals = 0;
    this.#enter("playing");
  }

  // Go to a place without beginning anew; false where that is not possible.
  #seek(place) {
    const level = this.#hls?.levels[this.#hls.currentLevel];
    let position = null;
    if (!this.#hls) {
      if (!this.#seekByItself(place)) return false;
    } else {
      const date = this.#clock.dateOf(place);
      position = place === null ? this.#hls.liveSyncPosition : level?.details && positionOf(level.details, date);
      if (!Number.isFinite(position)) return false;
      this.#audio.currentTime = position;
    }
    this.place = place;
    this.#enter("playing");
    return true;
  }

  #seekByItself(place) {
    const { seekable } = this.#audio;
    if (!seekable.length) return false;
    const [oldest, live] = [seekable.start(0), seekable.end(seekable.length - 1)];
    const date = this.#clock.dateOf(place);
    const position = place === null ? live : (date - this.#audio.getStartDate().getTime()) / 1000;
    if (!(position >= oldest) || (place !== null && date === null)) return false;
    this.#audio.currentTime = Math.min(position, live);
    return true;
  }

  // As of CastdPlayer: paused by someone else.
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
    if (now - this.#forgaveAt > FORGIVE_MS) {
      this.#forgaveAt = now;
      for (const level of this.#hls?.levels ?? []) level.loadError = level.fragmentError = 0;
    }
    const time = this.#audio.currentTime;
    const still = now - this.#last.at;
    if (time !== this.#last.time) {
      this.#last = { time, at: now };
      if (this.state === "playing" && now - this.#playingSince > SETTLED_MS) this.#failures = 0;
    } else if (this.state === "playing" && still > STALL_MS) {
      this.#enter("reconnecting"); // it plays on by itself when there is more
    } else if (still > (this.state === "connecting" ? CONNECT_MS : REBUILD_MS) && this.#clock.sounding) {
      this.#retry();
    }
  }

  #tell(what) {
    this.stop();
    this.dispatchEvent(new Event(what));
  }

  #enter(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

// Where in hls.js's time something with this date is; null where the playlist does not reach so far back.
function positionOf({ fragments, edge, targetduration }, date) {
  if (date === null || !fragments.length || date < fragments[0].programDateTime - targetduration * 1000) return null;
  const fragment = fragments.findLast((each) => each.programDateTime <= date) ?? fragments[0];
  const within = Math.min((date - fragment.programDateTime) / 1000, fragment.duration);
  const position = Math.min(fragment.start + within, edge - LIVE_TARGETS * targetduration);
  return Math.max(position, fragments[0].start + WITHIN_SECONDS);
}

// ".../radio-128/hls/audio.m3u8?session=..." -> "/radio-128"
function mountOf(url) {
  const path = new URL(url, document.baseURI).pathname;
  return decodeURIComponent(/^(.*)\/hls\/[^/]*$/.exec(path)?.[1] ?? "");
}
