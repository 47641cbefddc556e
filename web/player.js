// One <audio> element that keeps to what the listener asked for: a live stream that plays, or nothing at all.
//
// Each attempt opens the stream anew with its own query, so neither a cache nor an old buffer answers. It is given up
// on error, on the end of the body, and when currentTime stands still; the next one follows after a growing delay for
// as long as the listener wants sound. Stopping drops the connection instead of pausing it.
//
// Fires "change" whenever `state` or `mount` changes.

const WATCH_MS = 1000;
const STALL_MS = 5000; // no progress for so long while playing: reconnect
const CONNECT_MS = 10000; // first sound may take longer, on a slow line or a mount that waits for its source
const SETTLED_MS = 10000; // playing for so long makes the next failure a first one; more than a server's burst
const RETRY_MS = [250, 1000, 2000, 4000, 8000, 15000];

export class Player extends EventTarget {
  state = "stopped"; // | "connecting" | "playing" | "reconnecting" | "blocked" (the browser wants a click first)
  mount = null; // key of the mount last asked for; kept after stop, so that it can be resumed

  #audio;
  #url = "";
  #failures = 0;
  #retryTimer = 0; // set only between two attempts
  #playingSince = 0;
  #last = { time: 0, at: 0 }; // currentTime as last seen to change, and when

  constructor(audio) {
    super();
    this.#audio = audio;
    audio.addEventListener("playing", () => this.#playing());
    audio.addEventListener("error", () => this.#retry());
    audio.addEventListener("ended", () => this.#retry());
    audio.addEventListener("pause", () => this.#paused());
    setInterval(() => this.#watch(), WATCH_MS);
  }

  get wanted() {
    return this.state === "connecting" || this.state === "playing" || this.state === "reconnecting";
  }

  // Call it in the click's own task: phones let sound start only there.
  play(mount, url) {
    this.mount = mount;
    this.#url = url;
    this.#failures = 0;
    this.#open("connecting");
  }

  stop(state = "stopped") {
    this.#close();
    this.#enter(state);
  }

  resume() {
    if (this.mount !== null) this.play(this.mount, this.#url);
  }

  // The stream or the network is known to be back: do not sit out the delay.
  hurry() {
    if (this.#retryTimer) this.#open("reconnecting");
  }

  #open(state) {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    this.#last = { time: 0, at: performance.now() };
    this.#audio.src = `${this.#url}?t=${Date.now()}`;
    this.#enter(state);
    this.#audio.play().catch((error) => {
      // AbortError is our own doing (a newer src); any other failure also fires "error".
      if (error.name === "NotAllowedError" && this.wanted) this.stop("blocked");
    });
  }

  #close() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  #retry() {
    if (!this.wanted || this.#retryTimer) return;
    this.#close();
    const delay = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    // Spread out: all listeners of a mount lose it in the same moment.
    this.#retryTimer = setTimeout(() => this.#open("reconnecting"), delay * (0.75 + Math.random() / 2));
    this.#enter("reconnecting");
  }

  #playing() {
    if (!this.wanted || this.state === "playing") return;
    this.#playingSince = this.#last.at = performance.now();
    this.#enter("playing");
  }

  // Paused by someone else (headphones pulled out, a phone call): going on later from the old buffer would not be live.
  #paused() {
    const { paused, ended, error } = this.#audio;
    if (this.state === "playing" && paused && !ended && !error) this.stop();
  }

  #watch() {
    if (!this.wanted || this.#retryTimer) return;
    const now = performance.now();
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
