// Mounts: what is on air, how well, and what can be done about it.

import { ask, button, confirmed, kbit, make, size, spark } from "./desk.js";
import { count, duration, formatOf, nameOf } from "./text.js";

const SILENT_SECONDS = 2;
const DRIFT_SECONDS = 3;
const QUIETEST_DBFS = -60; // the left end of the level's picture
const DIGITAL_SILENCE_DBFS = -120;
const WORDS = { live: "live", fallback: "a fallback stands in", silence: "silence: the source is away", waiting: "the source is away" };

export const every = 2000;

export async function load({ may }) {
  const [stats, limits] = await Promise.all([ask("stats"), may("server") ? ask("limits") : { limits: [] }]);
  return { stats, limits: limits.limits };
}

export function show({ stats, limits }, view, { may, again }) {
  const { process, server } = stats;
  const near = limits.filter(({ value, used }) => value && used / value > 0.9);
  view.replaceChildren(
    make(
      "dl",
      { className: "tiles", ariaLabel: "Server" },
      tile("Server", server.software.replace("/", " ")),
      tile("Up", duration(process.uptime_seconds)),
      tile("Listeners", stats.listeners.toLocaleString("en")),
      tile("Sources", stats.sources),
      tile("To listeners", `${process.sent_mbit.toFixed(1)} Mbit/s`),
      tile("CPU", `${process.cpu_percent.toFixed(0)} %`, [process.cpu_percent, 100]),
      tile("Memory", size(process.memory_bytes)),
      tile("Descriptors", process.descriptors.toLocaleString("en"), [process.descriptors, process.max_descriptors]),
    ),
    ...near.map(({ limit, mount, used, value }) =>
      make("p", { className: "warn" }, `${limit}${mount ? ` of ${mount}` : ""}: ${used} of ${value} are used`),
    ),
    stats.mounts.length
      ? make("div", { className: "mounts" }, ...stats.mounts.map((mount) => card(mount, stats.mounts, may, again)))
      : make("p", { className: "panel" }, "Nothing on air: no encoder is connected, and none was a moment ago."),
  );
}

function tile(name, value, part) {
  const bar = part && make("meter", { min: 0, max: part[1], high: part[1] * 0.8, value: part[0], ariaLabel: name });
  return make("div", { className: "tile" }, make("dt", {}, name), make("dd", {}, String(value), bar));
}

function card(mount, all, may, again) {
  const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  const act = (label, run, right) => (may(right) ? button(label, () => run(mount, again, all)) : null);
  const { listeners } = mount.history;
  return make(
    "article",
    { "data-mount": mount.mount, "data-state": mount.state },
    make(
      "header",
      {},
      make("h2", { dir: "auto" }, make("a", { href: mount.links.page, target: "_blank" }, nameOf(mount))),
      make("span", { className: "quiet" }, mount.mount),
      make("span", { className: "state" }, WORDS[mount.state]),
      mount.hidden ? make("span", { className: "quiet" }, "hidden") : null,
    ),
    make("p", { className: "now title", dir: "auto" }, mount.title?.text || "no title"),
    make("p", { className: "quiet" }, formatOf(mount)),
    make(
      "dl",
      { className: "facts-grid" },
      fact("Listeners", `${mount.listeners}, peak ${mount.listener_peak}`),
      fact("Measured", kbit(mount.measured_bitrate)),
      fact("Buffer", `${mount.ring_seconds.toFixed(0)} s, ${size(mount.ring_bytes)}`),
      fact("Sent", size(mount.bytes_sent)),
      fact("Fell behind", String(mount.slow_listeners)),
    ),
    spark(listeners, `Listeners in the last ${duration((listeners.length - 1) * mount.history.step_seconds)}: now ${listeners.at(-1)}`),
    ...mount.sources.map((source) => sourceLine(source, mount, may, again)),
    make(
      "p",
      { className: "buttons" },
      act("Set title…", setTitle, "title"),
      act("Move listeners…", moveListeners, "move"),
      act("Fallback…", setFallback, "move"),
    ),
  );
}

function called(source) {
  if (source.fallback === "silence") return "Silence";
  return source.fallback ? `Fallback: ${source.fallback}` : `${source.agent || "an encoder"} from ${source.address}`;
}

function sourceLine(source, mount, may, again) {
  const feeding = mount.sources[0] === source;
  const kick = () =>
    confirmed(`Disconnect the source of ${mount.mount}?`, "Most encoders come back by themselves.", "Disconnect", () =>
      ask(`sources/${source.id}`, { method: "DELETE" }),
    ).then(again);
  return make(
    "div",
    { className: "source-line" },
    make("span", {}, called(source)),
    make("span", { className: "quiet" }, `${source.user} · ${source.protocol} · ${duration(source.connected_seconds)}`),
    feeding ? health(mount.health) : make("span", { className: "quiet" }, "stands by"),
    sound(source.sound),
    may("kick") && !source.fallback ? button("Disconnect…", kick, "copy danger") : null,
  );
}

// In words; the bitrates as a picture.
function health(facts) {
  if (!facts) return null;
  const { bitrates, gaps, drift_seconds: drift, last_frame_seconds: silent } = facts;
  const usual = [...bitrates].sort((a, b) => a - b)[bitrates.length >> 1];
  const unsteady = bitrates.filter((rate) => Math.abs(rate - usual) > usual / 2).length;
  const faults = [
    silent > SILENT_SECONDS && `nothing for ${silent.toFixed(0)} s`,
    gaps && count(gaps, "gap"),
    bitrates.length > 3 && unsteady > bitrates.length / 10 && "bitrate unsteady",
    Math.abs(drift) > DRIFT_SECONDS && `${Math.abs(drift).toFixed(1)} s ${drift > 0 ? "ahead of" : "behind"} the clock`,
  ].filter(Boolean);
  const picture = bitrates.length > 1 ? spark(bitrates, `Bitrate, last ${kbit(bitrates.at(-1))}`) : null;
  return make(
    "span",
    { className: faults.length ? "warn" : "good", title: `drift ${drift} s, last frame ${silent} s ago` },
    faults.length ? faults.join(", ") : "steady",
    picture,
  );
}

// How loud a source is, as a picture and in words, where its mount wants to know.
function sound(facts) {
  if (!facts) return null;
  const { level_dbfs: level, peak_dbfs: peak, quiet_seconds: quiet, silent } = facts;
  const known = level === null ? "level not known" : level <= DIGITAL_SILENCE_DBFS ? "digital silence" : `${level.toFixed(0)} dBFS`;
  const value = Math.max(QUIETEST_DBFS, level ?? QUIETEST_DBFS);
  return make(
    "span",
    { className: silent ? "level warn" : "level quiet", title: peak === null ? known : `${known}, peak ${peak.toFixed(0)} dBFS` },
    level === null ? null : make("meter", { min: QUIETEST_DBFS, max: 0, value, ariaLabel: "Level" }),
    silent ? `silent for ${duration(quiet)}` : known,
  );
}

function setTitle(mount, again) {
  const { artist, title, text } = mount.title ?? {};
  const fields = {
    artist: { label: "Artist", value: artist ?? "" },
    title: { label: "Title", value: title ?? (artist ? "" : (text ?? "")) },
    album: { label: "Album" },
    url: { label: "Link (StreamUrl)" },
    art: { label: "Address of a picture" },
  };
  const set = (values) => ask(`${path(mount)}/title`, { method: "POST", body: values });
  confirmed(`Title of ${mount.mount}`, "It is heard, and shown, from now on.", "Set title", set, fields).then(again);
}

function moveListeners(mount, again, all) {
  const options = all.filter((each) => each !== mount).map((each) => [each.mount, `${each.mount} ${nameOf(each)}`]);
  const move = async (body) => {
    const { moved } = await ask(`${path(mount)}/move`, { method: "POST", body });
    return `${count(moved, "listener")} moved.`;
  };
  const text = options.length ? "They go on without a new connection." : "There is no other mount.";
  confirmed(`Move ${count(mount.listeners, "listener")} of ${mount.mount}`, text, "Move", move, {
    to: { label: "To", options },
  }).then(again);
}

function setFallback(mount, again, all) {
  const options = [["", "nothing"], ...all.filter((each) => each !== mount).map((each) => [each.mount, each.mount])];
  const set = (body) => ask(`${path(mount)}/fallback`, { method: "POST", body });
  confirmed(`Fallback of ${mount.mount}`, "What stands in while its source is away, until the mount closes.", "Set", set, {
    fallback: { label: "Mount", options },
  }).then(again);
}

const path = (mount) => `mounts/${encodeURIComponent(mount.mount.slice(1))}`;
