"""What HLS and DASH cost without a cache in front: answers for each second of a core, and muxing as a share of one.

    python -m tests.bench.hls [--rounds N] [--seconds N] [--against TREE] [--out FILE]

castd has one core for itself, the clients (fetch.c, connections that are kept) the other. Answers are counted for each
second of the server's own CPU, so that what else the machine does matters little, and compared with the least that
castd answers, /healthz, in the same round. With --against, another checkout of castd runs the same loads in turn, and
what is printed are ratios to it; nothing is written. Else the table in docs/hls.md is written anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import trio

from castd.config import MountSettings
from castd.mount.mount import Mount
from castd.mount.shape import Shape
from castd.segments.segmenter import Segmenter
from castd.wire.adts import AdtsFramer
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg import OggFramer
from tests import hls
from tests.bench.__main__ import machine
from tests.bench.measure import read
from tests.e2e.client import get
from tests.e2e.media import AAC, FLAC, MP3, OPUS, Format, make
from tests.e2e.program import Program, until
from tests.e2e.server import Castd, source_url
from tests.mount.fakes import HandClock, source

if TYPE_CHECKING:
    from castd.wire.framer import Framer

ROOT = Path(__file__).parents[2]

BEGIN, END = "<!-- made by python -m tests.bench.hls -->", "<!-- end -->"

PLAYLIST = "/m0/hls/audio.m3u8?session=benchmark-of-hls%06d"

STREAM_SECONDS = 30.0
"""For which a source sends before anything is measured: its playlist is as long as it gets."""


@dataclass(frozen=True)
class Load:
    """Something that is asked for again and again.

    Attributes:
        target: see fetch.c; {segment}, {part} and {seconds} are filled in.
        follows: each client waits for the next part.
    """

    name: str
    target: str
    clients: int = 20
    follows: bool = False
    gzip: bool = False


LEAST = Load("`/healthz`", "/healthz")

LOADS = (
    LEAST,
    Load("playlist", PLAYLIST, gzip=True),
    Load("playlist, waited for (500 clients, a part each)", PLAYLIST, 500, follows=True),
    Load("part of half a second, 8 KB", "/m0/hls/{part}"),
    Load("segment of four seconds, 64 KB", "/m0/hls/{segment}"),
    Load("manifest of DASH", "/m0/dash/manifest.mpd?session=benchmark-of-dash%06d", gzip=True),
)


async def answers(server: Castd, load: Load, seconds: float, fetch: Path) -> float:
    """Answers for each second of the server's CPU."""
    reply = await get(f"{server.address}/m0/hls/audio.m3u8")
    playlist = hls.parse(bytes(reply.body))
    segment, part = playlist.complete[-1].uri, playlist.complete[-1].parts[-1].uri
    target = load.target.format(segment=segment, part=part) if "{" in load.target else load.target
    port = server.address.rpartition(":")[2]
    options = [str(load.clients), f"{1000 * seconds:.0f}", str(int(load.follows)), str(int(load.gzip)), target]
    begun = read(server.pid)
    done = await trio.run_process(["taskset", "-c", "1", str(fetch), port, *options], capture_stdout=True)
    ended = read(server.pid)
    told = json.loads(done.stdout)
    assert told["bad"] == 0, (load.name, told)
    return float(told["good"] / (ended.cpu_seconds - begun.cpu_seconds))


async def measure(trees: list[Path], rounds: int, seconds: float, folder: Path) -> list[dict[str, list[float]]]:
    """All loads on all trees, in turn."""
    fetch = folder / "fetch"
    await trio.run_process(["cc", "-O2", "-o", str(fetch), str(Path(__file__).with_name("fetch.c"))])
    found: list[dict[str, list[float]]] = [{load.name: [] for load in LOADS} for _ in trees]
    async with AsyncExitStack() as running:
        servers = []
        for number, tree in enumerate(trees):
            castd = Castd(folder / str(number), "max_sources = 10\n", tree=tree, prefix=("taskset", "-c", "0"))
            servers.append(await running.enter_async_context(castd))
            command = [
                "taskset", "-c", "1", "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i",
                "sine=f=440:r=44100", "-ac", "2", "-c:a", "aac", "-b:a", "128k", "-content_type", "audio/aac",
                "-f", "adts", source_url(castd, "/m0"),
            ]  # fmt: skip
            await running.enter_async_context(Program(command, folder / f"ffmpeg-{number}.log"))

        async def answering() -> bool:
            return all([(await get(f"{each.address}/m0/hls/audio.m3u8")).status == 200 for each in servers])

        await until(answering, seconds=60, what="playlists", every_seconds=1)
        await trio.sleep(STREAM_SECONDS)
        for number in range(rounds):
            for load in LOADS:
                for at, server in enumerate(servers):
                    for _ in range(2 if load.follows and number == 0 else 1):  # clients are counted in once
                        value = await answers(server, load, seconds, fetch)
                    found[at][load.name].append(value)
                    print(f"round {number + 1}, {trees[at].name}, {load.name}: {value:.0f}/s", flush=True)
    return found


MUXED: tuple[tuple[str, Format, Callable[[], Framer], Shape, bool], ...] = (
    ("AAC, 128 kbit/s", AAC, AdtsFramer, Shape("aac", "aac", 44_100), False),
    ("Opus, 96 kbit/s", OPUS, OggFramer, Shape("ogg"), True),
    ("FLAC", FLAC, OggFramer, Shape("ogg"), True),
    ("MP3, 128 kbit/s", MP3, MpegAudioFramer, Shape("mpeg", "mp3", 44_100), False),
)

PIECES = 600
"""In which a minute comes: one each tenth of a second."""


def muxing(folder: Path) -> Mapping[str, float]:
    """The share of a core that it takes to make segments, parts and all, of each codec; the best of five."""
    made, found = make(folder, [each[1] for each in MUXED]), {}
    for name, form, framer, shape, ogg in MUXED:
        path = made[form.name].path
        if ogg:  # pages as short as low latency wants them
            short = path.with_suffix(".short")
            options = ["-c", "copy", "-page_duration", "100000", "-f", "ogg", str(short)]
            subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), *options], check=True)
            path = short
        data = path.read_bytes()
        found[name] = min(_muxing(data, form, framer(), shape) for _ in range(5))
        print(f"muxing {name}: {100 * found[name]:.3f} % of a core", flush=True)
    return found


def _muxing(data: bytes, form: Format, framer: Framer, shape: Shape) -> float:
    clock = HandClock()
    mount = Mount("/live", MountSettings(ring_bytes=8 << 20), clock.clock)
    sender = source(form.content_type)
    mount.take_on(sender)
    mount.recognised(sender, shape, form.content_type)
    segmenter, spent, size = Segmenter(mount), 0.0, len(data) // PIECES
    for at in range(0, len(data), size):
        for run in framer.feed(data[at : at + size]):
            mount.append(sender, run)
        clock.now += 60 / PIECES
        begun = time.process_time()
        while segmenter.advance():
            pass
        spent += time.process_time() - begun
    assert segmenter.ready
    return spent / 60


def table(found: Mapping[str, list[float]], muxed: Mapping[str, float]) -> str:
    """As it stands in docs/hls.md."""
    lines = ["| answers, on connections that are kept | for each second of a core | of `/healthz` |", "|---|---|---|"]
    for load in LOADS:
        ratios = [one / least for one, least in zip(found[load.name], found[LEAST.name], strict=True)]
        lines.append(f"| {load.name} | {median(found[load.name]):,.0f} | {median(ratios):.0%} |")
    lines += ["", "| making segments and parts | share of a core |", "|---|---|"]
    lines += [f"| {name} | {share:.3%} |" for name, share in muxed.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hls", description="What HLS and DASH cost.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load (default: %(default)s)")
    parser.add_argument("--against", type=Path, help="another checkout, to compare with")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "hls.md", help="default: %(default)s")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="castd-bench."))
    try:
        trees = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
        found = trio.run(measure, trees, arguments.rounds, arguments.seconds, folder)
        if arguments.against:
            for load in LOADS:
                ratios = [one / other for one, other in zip(*(each[load.name] for each in found), strict=True)]
                print(f"{load.name}: {median(ratios):.2f} times as many ({min(ratios):.2f} to {max(ratios):.2f})")
            return
        muxed = muxing(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts = machine()
    made = f"{facts['processor']}, Python {facts['Python']}:\n\n{table(found[0], muxed)}\n"
    text = arguments.out.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    arguments.out.write_text(f"{before}\n{made}\n{after}")


if __name__ == "__main__":
    main()
