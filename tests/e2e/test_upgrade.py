"""`castd upgrade`: a new process goes on with everything, and nobody notices."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from castd.wire.ogg_pages import Page, PageCutter
from tests.e2e.client import get
from tests.e2e.program import Program
from tests.e2e.server import SOURCE_PASSWORD, Castd, live, set_title, source_url, status
from tests.support import FRAME_BYTES, FRAME_SECONDS, basic, frame
from tests.test_tls import make_certificate

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]

UPGRADES = 20
LISTENERS = 500

NO_LIMITS = "max_new_connections_per_minute = 0\nmax_connections_per_address = 0\n"


class Counting:
    """An encoder that counts in each frame, as fast as they are heard.

    Args:
        how: "PUT", "chunked" or "SHOUTcast".
    """

    def __init__(self, address: str, mount: str, how: str) -> None:
        self._host, self._port = urlsplit(address).hostname or "", urlsplit(address).port or 0
        self._mount = mount
        self._how = how
        self.sent = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        stream = await trio.open_tcp_stream(self._host, self._port)
        async with stream:
            await stream.send_all(self._greeting())
            assert b"OK" in await stream.receive_some(1000)
            if self._how == "SHOUTcast":
                await stream.send_all(b"content-type:audio/mpeg\r\nicy-name:counting\r\n\r\n")
            task_status.started()
            begun = trio.current_time()
            while True:
                data = frame(self.sent)
                if self._how == "chunked":
                    # pieces of frames, so that many an upgrade comes in the middle of one
                    for piece in (data[:100], data[100:]):
                        await stream.send_all(b"%x\r\n%s" % (len(piece), piece[:50]))
                        await trio.sleep(0.001)
                        await stream.send_all(piece[50:] + b"\r\n")
                else:
                    await stream.send_all(data[:200])
                    await trio.sleep(0.001)
                    await stream.send_all(data[200:])
                self.sent += 1
                await trio.sleep_until(begun + self.sent * FRAME_SECONDS)

    def _greeting(self) -> bytes:
        if self._how == "SHOUTcast":
            return f"{self._mount}:{SOURCE_PASSWORD}\r\n".encode()
        coding = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n" if self._how == "chunked" else ""
        return (
            f"PUT {self._mount} HTTP/1.1\r\nHost: x\r\n{coding}Content-Type: audio/mpeg\r\n"
            f"Authorization: {basic('source', SOURCE_PASSWORD)}\r\n\r\n"
        ).encode()


class Ear:
    """A listener who keeps what it hears, without the ICY blocks if it asked for them."""

    def __init__(self, address: str, mount: str, *, icy: bool) -> None:
        self._host, self._port = urlsplit(address).hostname or "", urlsplit(address).port or 0
        self.mount = mount
        self._icy = icy
        self.heard = bytearray()
        self.ended = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        stream = await trio.open_tcp_stream(self._host, self._port)
        async with stream:
            fields = "Icy-MetaData: 1\r\n" if self._icy else ""
            await stream.send_all(f"GET {self.mount} HTTP/1.0\r\nHost: x\r\n{fields}\r\n".encode())
            received = b""
            while b"\r\n\r\n" not in received:
                data = await stream.receive_some(65536)
                assert data, received
                received += data
            head, _, rest = received.partition(b"\r\n\r\n")
            match = re.search(rb"icy-metaint:(\d+)", head)
            metaint = int(match[1]) if match else 0
            task_status.started()
            waiting = bytearray(rest)
            while True:
                if metaint:
                    _take_blocks(waiting, self.heard, metaint)
                else:
                    self.heard += waiting
                    waiting.clear()
                data = await stream.receive_some(65536)
                if not data:
                    self.ended = True
                    return
                waiting += data


def _take_blocks(waiting: bytearray, heard: bytearray, metaint: int) -> None:
    """Move whole intervals, of audio and the block behind it, out of what waits."""
    while len(waiting) > metaint and len(waiting) > metaint + 16 * waiting[metaint]:
        heard += waiting[:metaint]
        del waiting[: metaint + 1 + 16 * waiting[metaint]]


def numbers(heard: bytes) -> list[int]:
    """Of the frames that were heard; each is checked whole."""
    whole = len(heard) // FRAME_BYTES * FRAME_BYTES
    found = []
    for at in range(0, whole, FRAME_BYTES):
        one = bytes(heard[at : at + FRAME_BYTES])
        match = re.fullmatch(rb"\xff\xfb\x90\x64<(\d{8})>\.+", one)
        assert match, one[:40]
        found.append(int(match[1]))
    return found


def check_numbers(heard: bytes) -> int:
    """No frame is missing or comes twice; the last one's number."""
    found = numbers(heard)
    assert found == list(range(found[0], found[0] + len(found)))
    return found[-1]


def check_pages(heard: bytes) -> int:
    """Every page is whole, and none is missing or comes twice; how many there were."""
    cutter = PageCutter()
    pages = [Page.read(each) for each in cutter.feed(heard)]
    assert cutter.skipped_bytes == 0
    audio = [page for page in pages if page.granule_position > 0]
    assert [page.sequence for page in audio] == [*range(audio[0].sequence, audio[0].sequence + len(audio))]
    assert len({page.serial for page in pages}) == 1
    return len(pages)


def another_version(folder: Path) -> Path:
    """This castd as if it were another: it says so, and its parsers are not the same code."""
    for name in ("castd", "web", "etc"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    init, sniffer = folder / "castd/__init__.py", folder / "castd/wire/sniff.py"
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.0.1"', init.read_text()))
    sniffer.write_text(sniffer.read_text() + "# another\n")
    return folder


def previous_commit(folder: Path) -> Path:
    """The castd of the commit before this one."""
    git = ["git", "-C", str(ROOT)]
    archive = subprocess.run([*git, "archive", "HEAD~1"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("no history here")
    folder.mkdir()
    subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
    if not (folder / "castd/upgrade").exists():
        pytest.skip("it could not be upgraded yet")
    return folder


@pytest.mark.parametrize("make", [another_version, previous_commit])
async def test_from_another_version(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """As a package manager does it: the new version comes where the old one was, and the server is told."""
    current = tmp_path / "current"
    current.symlink_to(make(tmp_path / "old"))
    async with AsyncExitStack() as stack:
        castd = await stack.enter_async_context(Castd(tmp_path / "castd", limits=NO_LIMITS, tree=current))
        nursery = await stack.enter_async_context(trio.open_nursery())
        encoders = {"/put": "PUT", "/chunked": "chunked", "/shoutcast": "SHOUTcast"}
        counting = [Counting(castd.address, mount, how) for mount, how in encoders.items()]
        for each in counting:
            await nursery.start(each.run)
        for codec in ("opus", "vorbis"):
            await stack.enter_async_context(ogg(castd, codec, tmp_path))
            await live(castd, f"/{codec}")
        mounts = [*encoders, "/opus", "/vorbis"]
        ears = [Ear(castd.address, mount, icy=icy) for mount in mounts for icy in (False, True)]
        for ear in ears:
            await nursery.start(ear.run)
        await trio.sleep(1)
        current.unlink()
        current.symlink_to(ROOT)
        for _ in range(3):
            said = await castd.upgrade()
            assert "5 mounts, 5 sources, 10 listeners" in said
            await trio.sleep(1)
        for ear in ears:
            assert not ear.ended
            if ear.mount in encoders:
                assert check_numbers(bytes(ear.heard)) > 2 / FRAME_SECONDS
            else:
                assert check_pages(bytes(ear.heard)) > 20
        nursery.cancel_scope.cancel()


def ogg(castd: Castd, codec: str, folder: Path) -> Program:
    """ffmpeg, sending noise."""
    source = f"anoisesrc=color=pink:sample_rate=48000:seed={len(codec)}"
    command = [
        "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", source, "-c:a", f"lib{codec}", "-b:a", "64k",
        "-content_type", "audio/ogg", "-page_duration", "100000", "-f", "ogg", source_url(castd, f"/{codec}"),
    ]  # fmt: skip
    return Program(command, folder / f"{codec}.log")


STAND_IN = """\
[mounts."/live"]
fallback = "/night"
[mounts."/other"]
linger_seconds = 60
[mounts.default]
burst_seconds = 2
"""


async def shown_title(castd: Castd) -> dict[str, Any]:
    """At the mount that has a stand-in."""
    told = json.loads((await get(f"{castd.address}/api/v1/mounts/live")).body)
    return dict(told["title"])


async def test_everybody_goes_over(tmp_path: Path) -> None:
    """Requests that are half read or not begun, listeners who take nothing, stand-ins, titles, counts and times."""
    async with (
        AsyncExitStack() as stack,
        Castd(tmp_path / "castd", STAND_IN, limits=NO_LIMITS) as castd,
        trio.open_nursery() as nursery,
    ):
        night = Counting(castd.address, "/night", "PUT")
        await nursery.start(night.run)
        await live(castd, "/live")
        host, port = urlsplit(castd.address).hostname or "", urlsplit(castd.address).port or 0
        half, idle, lazy = [await stack.enter_async_context(await trio.open_tcp_stream(host, port)) for _ in range(3)]
        await half.send_all(b"GET /healthz HTT")
        await idle.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await idle.receive_some(65536)
        ear = Ear(castd.address, "/live", icy=True)
        await nursery.start(ear.run)
        await lazy.send_all(b"GET /night HTTP/1.0\r\n\r\n")
        await set_title(castd, "/night", "What is on")
        await trio.sleep(0.5)
        title = await shown_title(castd)
        assert title["text"] == "What is on"
        before = (await get(f"{castd.address}/api/v1/mounts/night/titles")).body
        for _ in range(3):
            assert "2 mounts, 1 sources, 2 listeners, 2 waiting connections" in await castd.upgrade()
            await trio.sleep(0.5)
        assert (await get(f"{castd.address}/api/v1/mounts/night/titles")).body == before
        await half.send_all(b"P/1.1\r\nHost: x\r\n\r\n")
        for stream in (half, idle):
            if stream is idle:
                await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with trio.fail_after(5):
                assert b" 200 " in await stream.receive_some(65536)
        assert check_numbers(bytes(ear.heard)) > 0
        received = b""
        with trio.fail_after(10):
            while len(received) < 150 * FRAME_BYTES:
                received += await lazy.receive_some(65536)
        check_numbers(received.partition(b"\r\n\r\n")[2])
        assert await shown_title(castd) == title
        assert (await castd.command("reload")).returncode == 0
        nursery.cancel_scope.cancel()


async def test_a_configuration_that_is_broken(tmp_path: Path) -> None:
    """The operator reads why, and the old process goes on."""
    async with Castd(tmp_path / "castd", limits=NO_LIMITS) as castd, trio.open_nursery() as nursery:
        encoder, ear = Counting(castd.address, "/live", "PUT"), Ear(castd.address, "/live", icy=False)
        await nursery.start(encoder.run)
        await live(castd, "/live")
        await nursery.start(ear.run)
        good, pid = castd.config.read_text(), castd.pid
        castd.config.write_text(good + "\n[mounts.default]\nburst_seconds = 'long'\n")
        done = await castd.command("upgrade")
        assert done.returncode == 2
        assert b"burst_seconds" in done.stderr
        castd.config.write_text(good + '\n[[certificates]]\ncertificate = "/nowhere/cert.pem"\n')
        done = await castd.command("upgrade")
        assert done.returncode == 2
        assert b"the server was not handed over, and goes on as it is" in done.stderr
        assert b"/nowhere/cert.pem" in done.stderr
        castd.config.write_text(good)
        await trio.sleep(0.5)
        assert castd.pid == pid
        assert check_numbers(bytes(ear.heard)) > 0
        nursery.cancel_scope.cancel()


async def test_twenty_upgrades_lose_nothing(tmp_path: Path) -> None:
    """500 listeners and 5 sources: as encoders send by PUT, in chunks and by SHOUTcast, and ffmpeg's Opus and
    Vorbis."""
    async with AsyncExitStack() as stack:
        castd = await stack.enter_async_context(Castd(tmp_path / "castd", limits=NO_LIMITS))
        nursery = await stack.enter_async_context(trio.open_nursery())
        encoders = {"/put": "PUT", "/chunked": "chunked", "/shoutcast": "SHOUTcast"}
        counting = [Counting(castd.address, mount, how) for mount, how in encoders.items()]
        for each in counting:
            await nursery.start(each.run)
        for codec in ("opus", "vorbis"):
            await stack.enter_async_context(ogg(castd, codec, tmp_path))
            await live(castd, f"/{codec}")
        mounts = ["/put", "/chunked", "/shoutcast", "/opus", "/vorbis"]
        ears = [Ear(castd.address, mounts[number % 5], icy=number % 2 == 0) for number in range(LISTENERS)]
        for ear in ears:
            await nursery.start(ear.run)
        for number in range(UPGRADES):
            said = await castd.upgrade()
            assert f"5 mounts, 5 sources, {LISTENERS} listeners" in said, (number, said)
            match = re.search(r"for (\d+) ms", said)
            assert match
            print(f"upgrade {number + 1}: {match[1]} ms")
        await trio.sleep(2)
        for mount in mounts:
            told = await status(castd, mount)
            assert told is not None
            assert told["listeners"] == LISTENERS // 5
        assert not any(ear.ended for ear in ears)
        sent = {mount: each.sent for mount, each in zip(encoders, counting, strict=True)}
        for number, ear in enumerate(ears):
            mount = mounts[number % 5]
            if mount in sent:
                # what an interval between titles holds back, and what is on the way
                assert sent[mount] - check_numbers(bytes(ear.heard)) < 3 / FRAME_SECONDS
            else:
                assert check_pages(bytes(ear.heard)) > UPGRADES
        nursery.cancel_scope.cancel()
    log = castd.log()
    assert log.count("took over 5 mounts") == UPGRADES


async def test_listeners_over_tls_get_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can go on with their keys: they hear all there was, and the operator is told. systemd, too, is told."""
    certificate, key = make_certificate(tmp_path, "localhost")
    settings = f'[[certificates]]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with (
            Castd(tmp_path / "castd", settings, listen='tls = "auto"', limits=NO_LIMITS) as castd,
            trio.open_nursery() as nursery,
        ):
            encoder, ear = Counting(castd.address, "/live", "PUT"), Ear(castd.address, "/live", icy=False)
            await nursery.start(encoder.run)
            await live(castd, "/live")
            await nursery.start(ear.run)
            context = ssl.create_default_context(cafile=str(certificate))
            secured = trio.SSLStream(
                await trio.open_tcp_stream("127.0.0.1", urlsplit(castd.address).port or 0),
                context, server_hostname="localhost", https_compatible=True,
            )  # fmt: skip
            await secured.send_all(b"GET /live HTTP/1.0\r\n\r\n")
            received = bytearray(await secured.receive_some(65536))
            said = await castd.upgrade()
            assert "1 listeners over TLS could not be handed over; their players connect again" in said
            assert "1 mounts, 1 sources, 1 listeners" in said
            with trio.fail_after(5):
                while data := await secured.receive_some(65536):
                    received += data
            check_numbers(bytes(received).partition(b"\r\n\r\n")[2])
            await trio.sleep(0.3)
            check_numbers(bytes(ear.heard))
            told = []
            with suppress(BlockingIOError):
                while True:
                    told.append(manager.recv(4096).decode())
            handed_over = told.index(f"MAINPID={castd.pid}")
            assert "READY=1" in told[handed_over:]
            assert not any(each.startswith("STOPPING") for each in told)
            await trio.aclose_forcefully(secured)
            nursery.cancel_scope.cancel()
