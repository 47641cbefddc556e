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

# Begins to play; players[name] has what was learnt of it.
BEGIN = """
([name, kind, url, lowLatency]) => {
  const audio = document.body.appendChild(document.createElement("audio"));
  audio.id = name;
  const told = (window.players ??= {})[name] = { audio, errors: [], titles: [], latency: () => NaN, stalls: 0 };
  audio.addEventListener("waiting", () => { if (audio.currentTime > 1) told.stalls++; });
  if (kind === "hls.js") {
    const hls = new Hls({ lowLatencyMode: lowLatency });
    hls.on(Hls.Events.ERROR, (_, error) => { if (error.fatal) told.errors.push(error.details); });
    hls.on(Hls.Events.FRAG_PARSING_METADATA, (_, found) => {
      for (const sample of found.samples)
        told.titles.push([new TextDecoder().decode(sample.data), sample.pts, hls.levels[0].details.fragments[0].start]);
    });
    told.latency = () => hls.latency;
    told.dates = () => Object.values(hls.levels[0].details.dateRanges).map(range => range.attr["X-TITLE"]);
    told.hls = hls;
    hls.loadSource(url);
    hls.attachMedia(audio);
    hls.on(Hls.Events.MANIFEST_PARSED, () => audio.play());
  } else if (kind === "shaka") {
    const player = new shaka.Player();
    player.addEventListener("error", event => told.errors.push(JSON.stringify(event.detail)));
    player.configure({ streaming: { lowLatencyMode: lowLatency } });
    told.latency = () => player.getStats().liveLatency;
    player.attach(audio).then(() => player.load(url)).then(() => audio.play())
      .catch(error => told.errors.push(`${error}`));
  } else {
    const player = dashjs.MediaPlayer().create();
    player.on("error", event => told.errors.push(JSON.stringify(event.error)));
    player.on("https://aomedia.org/emsg/ID3", event => told.titles.push([event.event.messageData, 0, 0]));
    told.latency = () => player.getCurrentLiveLatency();
    player.initialize(audio, url, true);
  }
}
"""

MEASURE = """
name => {
  const told = players[name];
  return [told.audio.currentTime, told.audio.webkitAudioDecodedByteCount, told.latency(), told.stalls, told.errors];
}
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """How far one is.

    Attributes:
        time: currentTime, seconds.
        decoded_bytes: so far.
        latency: seconds behind the live end, as the player has it.
        stalls: how often it had nothing to play, after its first second.
        errors: those it does not recover from.
    """

    time: float
    decoded_bytes: int
    latency: float
    stalls: int
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
    page.evaluate(BEGIN, [name, kind, url, low_latency])


def measure(page: Page, names: Sequence[str]) -> Mapping[str, Heard]:
    """How far they are."""
    return {name: Heard(*page.evaluate(MEASURE, name)) for name in names}


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
