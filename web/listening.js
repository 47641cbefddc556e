// What a listener chose of a programme's qualities, and the player for it: CastdPlayer plays one mount as a plain stream,
// AdaptivePlayer the group's playlist, "Auto". Both have the page's one <audio> element, one at a time.

import { CastdPlayer } from "./castd-player.js";
import { AUTO, keep, kept } from "./choices.js";

// `streams`: names and addresses of the mounts; `first`: the one to begin with; `adaptive`: { group, url, script } where there
// is a choice, with a url where "Auto" is one; `clock`: see adaptive.js.
//
// Fires "change" as the players do, and "mount" with the name of another mount that is heard from now on.
export class Listening extends EventTarget {
  choice; // AUTO, or the name of a mount
  alone = ""; // why, though Auto was chosen, it is one quality that is played: "beyond" or "refused", as of AdaptivePlayer

  #streams;
  #adaptive;
  #clock;
  #plain;
  #auto = null;
  #active;
  #mount; // of the plain stream
  #reach = Infinity; // seconds behind the live end, from which on Auto does not go back

  constructor(audio, streams, first, adaptive, clock) {
    super();
    this.#streams = streams;
    this.#adaptive = adaptive;
    this.#clock = clock;
    this.#active = this.#plain = new CastdPlayer(audio);
    this.#plain.addEventListener("change", () => this.#changed(this.#plain));
    this.choice = this.#mount = first;
    const before = adaptive.group && kept(adaptive.group);
    if (streams.has(before)) this.choice = this.#mount = before;
    if (before !== AUTO || !adaptive.url) return;
    this.choice = AUTO;
    this.#prepare().catch(() => {}); // so that a click on a phone finds it there
  }

  get audio() {
    return this.#plain.audio;
  }

  get state() {
    return this.#active.state;
  }

  get wanted() {
    return this.#active.wanted;
  }

  get heard() {
    return this.#active.heard;
  }

  get place() {
    return this.#active.place;
  }

  set place(place) {
    this.#active.place = place;
  }

  // The mount that Auto plays now, "" where that is not known.
  get rendition() {
    return this.#active === this.#auto ? this.#auto.mount : "";
  }

  play(from = null) {
    if (from === null) this.#reach = Infinity; // playlists become longer
    const near = from === null || this.#clock.live - from < this.#reach;
    this.alone = this.choice === AUTO && !near ? "beyond" : "";
    if (this.choice === AUTO && near) this.#playAuto(from);
    else this.#playPlain(from);
  }

  stop() {
    this.#active.stop();
  }

  hurry() {
    this.#active.hurry();
  }

  // Resolves when it can be played; what was to be heard is not stopped before.
  async choose(choice) {
    this.choice = choice;
    keep(this.#adaptive.group, choice);
    if (choice === AUTO) return this.#prepare().catch(() => {});
    this.#mount = choice;
  }

  // The mount whose plain stream stands in for Auto, where that does not do.
  standIn(mount) {
    this.#mount = mount;
  }

  #playPlain(from) {
    if (this.#active !== this.#plain) this.#auto.stop();
    this.#active = this.#plain;
    this.#plain.play(this.#streams.get(this.#mount), from);
  }

  #playAuto(from) {
    if (this.#auto) return this.#playAutoNow(from);
    const { choice } = this;
    this.#prepare().then(
      () => choice === this.choice && this.#playAutoNow(from),
      () => this.#playAlone("refused", from),
    );
  }

  #playAutoNow(from) {
    if (this.#active !== this.#auto) this.#plain.stop();
    this.#active = this.#auto;
    this.#auto.play(from);
  }

  #playAlone(why, from) {
    this.alone = why;
    this.#playPlain(from);
  }

  async #prepare() {
    const { AdaptivePlayer } = await import("./adaptive.js");
    if (this.#auto) return;
    const auto = (this.#auto = new AdaptivePlayer(this.audio, this.#adaptive.url, this.#adaptive.script, this.#clock));
    auto.addEventListener("change", () => this.#changed(auto));
    auto.addEventListener("mount", ({ detail }) => this.dispatchEvent(new CustomEvent("mount", { detail })));
    auto.addEventListener("refused", () => this.#playAlone("refused", auto.place));
    auto.addEventListener("beyond", () => {
      this.#reach = this.#clock.live - auto.place;
      this.#playAlone("beyond", auto.place);
    });
  }

  #changed(player) {
    if (player === this.#active) this.dispatchEvent(new Event("change"));
  }
}
