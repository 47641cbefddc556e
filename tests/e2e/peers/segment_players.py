"""hls.js, dash.js and shaka in Chromium: any number of them on one page, each with an `<audio>` of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[3]

SCRIPTS = (
    ROOT / "web" / "vendor" / "hls.min.js",
    ROOT / "tests" / "e2e" / "vendor" / "shaka-player.compiled-es2021.js",
    ROOT / "tests" / "e2e" / "vendor" / "dash.mediaplayer.min.js",
)

PAGE = "players.html"

STALL_SECONDS = 1.0
"""Shorter waits are the machine's."""

# Begins to play; players[name] has what was learnt of it. `wall` is the wall time of what is heard, in seconds;
# `titles` and `found` are of [how they came, text, media time].
BEGIN = """
([name, kind, url, lowLatency, stall]) => {
  const audio = document.body.appendChild(document.createElement("audio"));
  audio.id = name;
  const told = (window.players ??= {})[name] =
    { audio, errors: [], titles: [], wall: () => NaN, found: () => [], stalls: [], jumps: 0 };
  let waits = null;
  audio.addEventListener("waiting", () => { if (told.begun !== undefined) waits ??= performance.now(); });
  audio.addEventListener("timeupdate", () => {
    if (waits !== null && audio.readyState > 2) {
      const seconds = (performance.now() - waits) / 1000;
      if (seconds > stall) told.stalls.push(seconds);
      waits = null;
    }
  });
  audio.addEventListener("seeking", () => { if (told.begun !== undefined) told.jumps++; });
  const words = data => new TextDecoder().decode(data);
  const unpacked = text => words(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)));
  if (kind === "hls.js") {
    const hls = told.player = new Hls({ lowLatencyMode: lowLatency });
    hls.on(Hls.Events.ERROR, (_, error) => { if (error.fatal) told.errors.push(error.details); });
    hls.on(Hls.Events.FRAG_PARSING_METADATA, (_, found) => {
      for (const sample of found.samples) told.titles.push(["fragment", words(sample.data), sample.pts]);
    });
    told.wall = () => hls.playingDate / 1000;
    told.found = () => [...audio.textTracks].filter(track => track.kind === "metadata")
      .flatMap(track => [...track.cues]).filter(cue => ["TIT2", "X-TITLE"].includes(cue.value?.key))
      .map(cue => [cue.value.key, cue.value.data, cue.startTime]);
    hls.loadSource(url);
    hls.attachMedia(audio);
    hls.on(Hls.Events.MANIFEST_PARSED, () => audio.play());
  } else if (kind === "shaka") {
    const player = told.player = new shaka.Player();
    player.addEventListener("error", event => told.errors.push(JSON.stringify(event.detail)));
    player.addEventListener("metadata", event =>
      told.titles.push(["metadata", `${event.payload.key} ${event.payload.data}`, event.startTime]));
    player.addEventListener("timelineregionadded", ({ detail }) =>
      told.titles.push(["region", unpacked(detail.eventNode.children.join("")), detail.startTime]));
    player.configure({ streaming: { lowLatencyMode: lowLatency } });
    told.wall = () => player.getPlayheadTimeAsDate() / 1000;
    player.attach(audio).then(() => player.load(url)).then(() => audio.play())
      .catch(error => told.errors.push(`${error}`));
  } else {
    const player = told.player = dashjs.MediaPlayer().create();
    player.on("error", event => told.errors.push(JSON.stringify(event.error)));
    player.on("https://aomedia.org/emsg/ID3", ({ event }) => told.titles.push(
      ["event", unpacked(event.messageData), event.calculatedPresentationTime]));
    told.wall = () => player.timeAsUTC();
    player.initialize(audio, url, true);
  }
}
"""

MEASURE = """
name => {
  const told = players[name];
  return [told.audio.currentTime, performance.now() / 1000, told.wall(), Date.now() / 1000 - told.wall(),
          told.audio.webkitAudioDecodedByteCount, told.audio.buffered.length, told.stalls, told.jumps, told.errors];
}
"""

TITLES = """
name => {
  const told = players[name], offset = told.wall() - told.audio.currentTime;
  return [...told.titles, ...told.found()].map(([way, text, time]) => [way, text, offset + time]);
}
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """How far one is.

    Attributes:
        time: currentTime, seconds.
        clock: the page's, seconds.
        wall: wall time of what is heard, by the dates of the playlist or manifest.
        latency: seconds since then.
        decoded_bytes: so far.
        ranges: of time buffered; one, if nothing is missing.
        stalls: for how long each time it had nothing to play, in seconds, since it began; short ones are left out.
        jumps: how often it went elsewhere, since it began.
        errors: those it does not recover from.
    """

    time: float
    clock: float
    wall: float
    latency: float
    decoded_bytes: int
    ranges: int
    stalls: Sequence[float]
    jumps: int
    errors: Sequence[str]


def make_page(folder: Path) -> None:
    """A page with the players' scripts, to be served from a folder."""
    for script in SCRIPTS:
        copy(script, folder)
    scripts = "".join(f'<script src="/{script.name}"></script>' for script in SCRIPTS)
    (folder / PAGE).write_text(f"<!doctype html><title>players</title><body>{scripts}</body>")


def begin(page: Page, name: str, kind: str, url: str, *, low_latency: bool = False) -> None:
    """Have one play.

    Args:
        name: to ask for it by.
        kind: "hls.js", "shaka" or "dash.js".
    """
    page.evaluate(BEGIN, [name, kind, url, low_latency, STALL_SECONDS])


def measure(page: Page, names: Sequence[str]) -> Mapping[str, Heard]:
    """How far they are."""
    return {name: Heard(*page.evaluate(MEASURE, name)) for name in names}


def titles(page: Page, name: str) -> list[tuple[str, str, float]]:
    """The titles that one was told: by which way, the text it came as, and the wall time from which it is heard."""
    return [(way, text, wall) for way, text, wall in page.evaluate(TITLES, name)]


def wait_for_sound(page: Page, names: Sequence[str], seconds: float) -> None:
    """Wait until all have played for a second.

    Raises:
        playwright.sync_api.TimeoutError: they have not.
    """
    wait_for_progress(page, dict.fromkeys(names, 0.0), 1.0, seconds)


def wait_for_progress(page: Page, since: Mapping[str, float], more: float, seconds: float) -> None:
    """Wait until all have played some seconds more.

    Args:
        since: where each was; 0 for one that is to begin anywhere.
    """
    condition = """
    ([since, more]) => Object.entries(since).every(([name, from]) => {
      const told = players[name];
      if (told.begun === undefined && told.audio.webkitAudioDecodedByteCount > 0) told.begun = told.audio.currentTime;
      return told.begun !== undefined && told.audio.currentTime >= (from || told.begun) + more;
    })
    """
    page.wait_for_function(condition, arg=[dict(since), more], timeout=seconds * 1000)


def wait_for_wall(page: Page, names: Sequence[str], wall: float, seconds: float) -> None:
    """Wait until all play what was sent after a wall time."""
    condition = "([names, wall]) => names.every(name => players[name].wall() > wall)"
    page.wait_for_function(condition, arg=[list(names), wall], timeout=seconds * 1000)
