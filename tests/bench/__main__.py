"""castd and icecast2 under the same load, in pairs, on this machine: make bench.

    python -m tests.bench [--pairs N] [--seconds N] [--only WORDS] [--resume] [--out FOLDER]

Pairs are run A B A B. With --only, the other loads keep the figures they have in performance.json, which also makes the
page anew: performance.md, and performance.svg.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import trio

from castd import __version__
from tests.bench.loads import LOADS
from tests.bench.measure import read
from tests.bench.plot import bars
from tests.bench.report import page
from tests.e2e.peers.icecast import Icecast
from tests.e2e.program import Program
from tests.e2e.server import SOURCE_PASSWORD, Castd, live
from tests.support import FRAME_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.loads import Load, Result

ROOT = Path(__file__).parents[2]

WARM_SECONDS = 5.0
"""After the last listener's first audio: bursts are over, and intervals have settled."""

BURST_SECONDS = 5.0
"""The source's head start: what a server gives a new listener at once is there."""

CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")

CODECS = {"aac": ("aac", "adts", "audio/aac"), "vorbis": ("libvorbis", "ogg", "application/ogg")}
"""Of the streams that ffmpeg makes: encoder, container, content type."""


async def one(load: Load, server: str, seconds: float, swarm: Path, folder: Path) -> Result:
    """One server under one load."""
    certificate = folder / "bundle.pem"
    if load.tls:
        make_certificate(certificate)
    running: Castd | Icecast
    if server == "castd":
        tls = 'tls = "auto"' if load.tls else ""
        shown = f'[[certificates]]\ncertificate = "{certificate}"\n' if load.tls else ""
        running = Castd(folder, f"max_sources = 1000\n{shown}", tls)
    else:
        running = Icecast(folder, clients=20_000, certificate=certificate if load.tls else None)
    async with running:
        plain = running.address.rpartition(":")[2]
        port = str(running.tls_port) if isinstance(running, Icecast) and load.tls else plain
        async with Program(source(load, plain), folder / "source.out", errors=folder / "source.log") as encoder:
            epoch = "0"
            if load.stream == "numbered":
                epoch = (await encoder.printed(r"\d{6,}", seconds=60)).group()
            else:
                await live(running, "/m0")
            await trio.sleep(BURST_SECONDS)
            ears = Program(
                listeners(load, port, epoch, seconds, swarm), folder / "swarm.out", errors=folder / "swarm.log"
            )
            async with ears:
                await ears.printed("ready", seconds=240)
                await trio.sleep(0.5)
                begun = read(running.pid)
                await trio.sleep(seconds)
                ended = read(running.pid)
                await ears.wait()
            assert ears.process.returncode == 0, ears.text()
            heard: dict[str, Any] = json.loads(ears.text().partition("ready")[2].strip().splitlines()[0])
    cpu = ended.cpu_seconds - begun.cpu_seconds
    return heard | {
        "cpu": cpu,
        "cpu_percent": 100 * cpu / (ended.at - begun.at),
        "rss_mb": ended.rss_mb,
        "socket_mb": ended.socket_mb,
    }


def source(load: Load, port: str) -> list[str]:
    """The command of the source."""
    if load.stream == "numbered":
        counts = [port, str(load.mounts), SOURCE_PASSWORD, str(load.frames_at_once)]
        return [sys.executable, "-m", "tests.bench.source", *counts]
    encoder, container, content_type = CODECS[load.stream]
    return [
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "sine=f=440:r=44100",
        "-ac", "2", "-c:a", encoder, "-b:a", "128k", "-content_type", content_type, "-f", container,
        f"icecast://source:{SOURCE_PASSWORD}@127.0.0.1:{port}/m0",
    ]  # fmt: skip


def listeners(load: Load, port: str, epoch: str, seconds: float, swarm: Path) -> list[str | Path]:
    """The command of the swarm."""
    if load.tls:
        return [
            sys.executable, "-m", "tests.bench.tls_swarm", port, str(load.listeners), "32", str(WARM_SECONDS),
            str(seconds),
        ]  # fmt: skip
    options = {
        "port": port,
        "count": load.listeners,
        "mounts": load.mounts,
        "icy": int(load.icy),
        "stalled": load.stalled,
        "first": load.first,
        "ramp_us": load.ramp_us,
        "format": {"numbered": 0, "aac": 1, "vorbis": 2}[load.stream],
        "warm_ms": round(1000 * WARM_SECONDS),
        "measure_ms": round(1000 * seconds),
        "epoch_ns": epoch,
        "frame_ns": round(1e9 * FRAME_SECONDS),
    }
    return [swarm, *(f"{name}={value}" for name, value in options.items())]


def make_certificate(bundle: Path) -> None:
    """A self-signed certificate and its key, in one file."""
    key, certificate = bundle.with_suffix(".key"), bundle.with_suffix(".crt")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    bundle.write_bytes(certificate.read_bytes() + key.read_bytes())
    bundle.chmod(0o644)  # of a throw-away key, in a folder of our own: icecast2 reads it as nobody


def scratch() -> Path:
    """A folder of our own that icecast2, as nobody, may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="castd-bench."))
    folder.chmod(0o711)
    return folder


@contextmanager
def congestion_control(name: str) -> Iterator[None]:
    """Another congestion control than the one found.

    Raises:
        OSError: this user may not choose it.
    """
    found = CONGESTION.read_text()
    if name:
        CONGESTION.write_text(name)
    try:
        yield
    finally:
        if name:
            CONGESTION.write_text(found)


async def run(load: Load, pairs: int, seconds: float, swarm: Path) -> dict[str, list[Result]]:
    """All pairs of one load."""
    found: dict[str, list[Result]] = {"castd": [], "icecast2": []}
    for number in range(pairs):
        for server in ("castd",) if load.alone else ("castd", "icecast2"):
            folder = scratch()
            try:
                with congestion_control(load.congestion):
                    result = await one(load, server, seconds, swarm, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            found[server].append(result)
            print(f"{load.name}, pair {number + 1}, {server}: {result['cpu_percent']:.2f} % of a core; "
                  f"{json.dumps(result)}", flush=True)  # fmt: skip
    return found


def machine() -> dict[str, str]:
    """What the figures depend on."""
    icecast = subprocess.run(["icecast2", "-v"], capture_output=True, text=True, check=False).stdout.strip()
    cores = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "castd": __version__,
        "Icecast": icecast,
        "Python": platform.python_version(),
        "kernel": platform.release(),
        "processor": f"{len(cores)} x {cores[0].partition(':')[2].strip()}" if cores else platform.machine(),
        "congestion control": CONGESTION.read_text().strip(),
    }


def write(found: dict[str, dict[str, list[Result]]], out: Path) -> None:
    """The record and the page made of it, after every load: an interrupted run is not lost."""
    out.mkdir(exist_ok=True)
    (out / "performance.json").write_text(json.dumps({"machine": machine(), "results": found}, indent=1) + "\n")
    (out / "performance.md").write_text(page(machine(), found))
    shares = {
        name: {
            server: median(each["cpu_percent"] for each in results) for server, results in servers.items() if results
        }
        for name, servers in found.items()
    }
    (out / "performance.svg").write_text(bars(shares))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="castd and icecast2, the same load.")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="measured in each run (default: %(default)s)")
    parser.add_argument("--only", default="", help="loads whose name holds these words")
    parser.add_argument("--resume", action="store_true", help="leave out loads whose figures performance.json has")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the report (default: %(default)s)")
    arguments = parser.parse_args()
    record = arguments.out / "performance.json"
    found = (
        json.loads(record.read_text())["results"] if (arguments.only or arguments.resume) and record.exists() else {}
    )
    with tempfile.TemporaryDirectory(prefix="castd-bench.") as folder:
        swarm = Path(folder) / "swarm"
        subprocess.run(["cc", "-O2", "-o", swarm, Path(__file__).with_name("swarm.c")], check=True)
        for load in LOADS:
            if arguments.only not in load.name or (arguments.resume and load.name in found):
                continue
            try:
                found[load.name] = trio.run(run, load, arguments.pairs, arguments.seconds, swarm)
            except PermissionError as error:
                print(f"{load.name}: left out, {error}", file=sys.stderr)
            else:
                write(found, arguments.out)
    print(f"\n{arguments.out / 'performance.md'}")


if __name__ == "__main__":
    main()
