// What there is to hear as cards. A card is made once and then only changed where it differs.

import { count, formatOf, nameOf, qualityOf, siteOf } from "./text.js";
import { setText } from "./ui.js";

const STATES = {
  live: "on air",
  fallback: "Something else stands in until the source is back",
  silence: "Silence until the source is back",
  waiting: "The source was lost; the stream is kept for a while",
};

export class Cards {
  #list;
  #template;
  #cards = new Map(); // name of a mount or group -> article

  constructor(list, template) {
    this.#list = list;
    this.#template = template;
  }

  // Show exactly these programmes (see station.js), in this order; `titleOf` tells what is on at a mount.
  show(programmes, titleOf) {
    const names = new Set(programmes.map(({ name }) => name));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.remove();
      this.#cards.delete(name);
    }
    programmes.forEach((programme, index) => {
      const card = this.#cards.get(programme.name) ?? this.#make(programme.name);
      fill(card, programme, titleOf(programme.first));
      const there = this.#list.children[index];
      if (there !== card) this.#list.insertBefore(card, there ?? null);
    });
  }

  // Tell which one is being played; `state` is the player's.
  mark(playing, state) {
    for (const [name, card] of this.#cards) {
      const wanted = name === playing;
      card.querySelector(".play").setAttribute("aria-pressed", wanted);
      if (wanted) card.dataset.player = state;
      else delete card.dataset.player;
    }
  }

  #make(name) {
    const card = this.#template.content.firstElementChild.cloneNode(true);
    card.dataset.mount = name;
    this.#cards.set(name, card);
    return card;
  }
}

const sum = (mounts, field) => mounts.reduce((total, mount) => total + mount[field], 0);

function fill(card, { name: path, mounts, first: mount, page, stream }, heard) {
  const put = (name, text) => {
    const element = card.querySelector(`.${name}`);
    setText(element, text ?? "");
    return element;
  };
  const name = nameOf(mount);
  const title = heard?.text ?? "";
  card.dataset.state = mount.state;
  card.setAttribute("aria-label", name);
  card.querySelector(".play").setAttribute("aria-label", `Play ${name}`);
  card.querySelector(".copy").setAttribute("aria-label", `Copy link to ${name}`);
  put("name", name);
  card.querySelector(".page").href = page;
  showArt(card.querySelector(".art"), heard?.art);
  put("state", mount.state).title = STATES[mount.state] ?? "";
  put("listeners", count(sum(mounts, "listeners"), "listener")).title = `at most ${sum(mounts, "listener_peak")} at once`;
  put("title", title).title = title;
  put("description", mount.description);
  put("genre", mount.genre);
  put("format", mounts.length > 1 ? "" : formatOf(mount));
  put("direct", path).href = stream;
  card.querySelector(".qualities select").setAttribute("aria-label", `Quality of ${name}`);
  fillQualities(card.querySelector(".qualities"), mounts, mount);

  const site = siteOf(mount);
  const link = put("site", site?.host);
  link.hidden = !site;
  if (site) link.href = site.href;
}

function fillQualities(label, mounts, chosen) {
  label.hidden = mounts.length < 2;
  const select = label.querySelector("select");
  while (select.options.length > mounts.length) select.lastElementChild.remove();
  mounts.forEach((mount, index) => {
    const option = select.options[index] ?? select.appendChild(new Option());
    setText(option, qualityOf(mount));
    if (option.value !== mount.mount) option.value = mount.mount;
  });
  if (select.value !== chosen.mount) select.value = chosen.mount;
}

// The picture to a title; without one, or where it cannot be had, nothing.
export function showArt(image, art) {
  if (image.getAttribute("src") === (art ?? null)) return;
  image.hidden = !art;
  image.onerror = () => (image.hidden = true);
  if (art) image.src = art;
  else image.removeAttribute("src");
}
