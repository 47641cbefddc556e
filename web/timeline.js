// The past of a mount that can be heard again: a slider over its songs, from the oldest to the live end.
//
// Places in it are media times, as `media_seconds` in the API; null is the live end.

import { behind, timeOf } from "./text.js";
import { setText } from "./ui.js";

const LEAST_SECONDS = 60; // less of a past is not worth a slider
const LIVE_SECONDS = 10; // who wants to go nearer to the live end than this wants the live end
const KEY_MS = 400; // after the last key it goes there
const KEYS = {
  ArrowUp: 10, ArrowDown: -10, ArrowRight: 10, ArrowLeft: -10, PageUp: 60, PageDown: -60, Home: -Infinity, End: Infinity,
};

// Fires "go" with the place that its user chose.
export class Timeline extends EventTarget {
  sounding = false; // the live end moves on only while there is something

  #part;
  #track;
  #slider;
  #songs;
  #bubble;
  #window = null; // as the API told it, and `at` which ms of the page's clock
  #titles = [];
  #at = 0; // where the slider is
  #chosen = null; // where its user has it meanwhile
  #keyTimer = 0;

  constructor(part) {
    super();
    this.#part = part;
    this.#track = part.querySelector(".track");
    [this.#songs, this.#slider, this.#bubble] = [".songs", "input", ".bubble"].map((name) => part.querySelector(name));
    this.#slider.addEventListener("input", () => this.#choose(this.oldest + this.#slider.valueAsNumber));
    this.#slider.addEventListener("change", () => this.#go());
    this.#slider.addEventListener("keydown", (event) => this.#key(event));
    this.#track.addEventListener("pointermove", (event) => this.#point(event));
    this.#track.addEventListener("pointerleave", () => (this.#bubble.hidden = true));
    this.#track.addEventListener("pointercancel", () => (this.#chosen = null)); // it was the page that was scrolled
  }

  // Find out what there is of a mount, as `use` takes it; never fails.
  async ask(mount) {
    try {
      const response = await fetch(`/api/v1/mounts/${encodeURIComponent(mount.slice(1))}/window`);
      return response.ok ? { ...(await response.json()), mount, at: performance.now() } : { mount };
    } catch {
      return this.#window?.mount === mount ? this.#window : { mount }; // what was known stays true for a while
    }
  }

  // Places are that mount's from now on.
  use(window) {
    this.#window = window;
  }

  // The media time of what has a date in the playlist, ms since 1970; null where that is not known.
  placeOf(date) {
    const dates = this.#window?.dates ?? [];
    if (date === null || !dates.length) return null;
    const from = dates.findLast((each) => each.date * 1000 <= date) ?? dates[0];
    return from.media_seconds + date / 1000 - from.date;
  }

  dateOf(place) {
    const dates = this.#window?.dates ?? [];
    if (place === null || !dates.length) return null;
    const from = dates.findLast((each) => each.media_seconds <= place) ?? dates[0];
    return (from.date + place - from.media_seconds) * 1000;
  }

  // Whether the mount keeps anything at all.
  get kept() {
    return this.#window?.oldest_media_seconds != null;
  }

  get usable() {
    return this.kept && this.live - this.oldest >= LEAST_SECONDS;
  }

  get oldest() {
    return this.#window.oldest_media_seconds;
  }

  get live() {
    const { live_media_seconds: told, at } = this.#window;
    return told + (this.sounding ? (performance.now() - at) / 1000 : 0);
  }

  // Whether one may go to a place, and not just to the live end or to the oldest instead.
  holds(place) {
    return this.usable && place >= this.oldest && place < this.live - LIVE_SECONDS;
  }

  // Show what is heard.
  //
  //   titles: of the mount, oldest first
  //   place: media time, null if it is not known
  //   live: whether it is the live end
  show(titles, place, live) {
    this.#part.hidden = !this.usable;
    if (!this.usable) return;
    const [oldest, end] = [this.oldest, this.live];
    this.#titles = titles.filter(({ text }, index) => text !== titles[index - 1]?.text);
    this.#at = this.#chosen ?? Math.min(Math.max(place ?? end, oldest), end);
    live = this.#chosen === null ? live : this.#chosen >= end - LIVE_SECONDS;
    this.#slider.max = Math.round(end - oldest);
    this.#slider.value = Math.round(this.#at - oldest);
    const song = this.#titleAt(this.#at)?.text;
    const words = live ? "Live" : behind(end - this.#at);
    const spoken = [words, song].filter(Boolean).join(", ");
    if (this.#slider.getAttribute("aria-valuetext") !== spoken) this.#slider.setAttribute("aria-valuetext", spoken);
    setText(this.#part.querySelector(".behind bdi"), live ? "Live" : `${timeOf(end - this.#at)} behind live`);
    this.#track.style.setProperty("--heard", share(this.#at - oldest, end - oldest));
    this.#showSongs(oldest, end);
  }

  #showSongs(oldest, end) {
    const held = this.#titles.filter((title, index) => (this.#titles[index + 1]?.media_seconds ?? end) > oldest);
    while (this.#songs.children.length > held.length) this.#songs.lastElementChild.remove();
    held.forEach(({ text, media_seconds }, index) => {
      const song = this.#songs.children[index] ?? this.#songs.appendChild(document.createElement("span"));
      if (!song.firstElementChild) song.append(document.createElement("bdi"));
      setText(song.firstElementChild, text);
      const from = Math.max(media_seconds, oldest);
      const until = Math.min(held[index + 1]?.media_seconds ?? end, end);
      song.style.insetInlineStart = share(from - oldest, end - oldest);
      song.style.inlineSize = share(Math.max(0, until - from), end - oldest);
    });
  }

  #titleAt(place) {
    return this.#titles.findLast((title) => title.media_seconds <= place);
  }

  // What is under the pointer.
  #point({ clientX }) {
    const { left, width } = this.#songs.getBoundingClientRect();
    const across = Math.min(Math.max((clientX - left) / width, 0), 1);
    const part = this.#rightToLeft() ? 1 - across : across;
    const place = this.oldest + part * (this.live - this.oldest);
    const song = this.#titleAt(place)?.text;
    const time = place >= this.live - LIVE_SECONDS ? "Live" : `\u2066−${timeOf(this.live - place)}\u2069`;
    setText(this.#bubble, song ? `${time} · \u2068${song}\u2069` : time); // isolated: it may run the other way
    this.#bubble.style.setProperty("--at", `${part * 100}%`);
    this.#bubble.hidden = false;
  }

  #key(event) {
    const step = KEYS[event.key] * (/Left|Right/.test(event.key) && this.#rightToLeft() ? -1 : 1);
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // a browser's own steps depend on the length
    this.#choose(Math.min(Math.max(this.#at + step, this.oldest), this.live));
    this.#keyTimer = setTimeout(() => this.#go(), KEY_MS);
  }

  #rightToLeft() {
    return getComputedStyle(this.#track).direction === "rtl";
  }

  #choose(place) {
    clearTimeout(this.#keyTimer);
    this.#at = this.#chosen = place;
    this.dispatchEvent(new Event("move"));
  }

  #go() {
    const place = this.#chosen;
    this.#chosen = null;
    if (place === null) return;
    const detail = place < this.live - LIVE_SECONDS ? Math.max(place, this.oldest) : null;
    this.dispatchEvent(new CustomEvent("go", { detail }));
  }
}

const share = (part, whole) => `${((part / whole) * 100).toFixed(2)}%`;
