"""Static files over HTTP: what is served, with which fields, and what never is."""

from __future__ import annotations

import os
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.config import Config, Files, Limits
from tests.support import Bench, Reply, bench, configured, frames, head, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = frames(0, 100)
MODIFIED = 1_700_000_000
ETAG = f'"{MODIFIED * 10**9:x}-{len(BODY):x}"'
CASTD_TOML = b"[auth]\nsource_password = 'secret'\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """/song.mp3 and what is around it; the configuration stands beside it."""
    root = tmp_path / "root"
    (root / "show").mkdir(parents=True)
    for name in ("song.mp3", "show/one two.ogg", "show/Café & <b>.mp3", "empty.txt", "robots.txt"):
        (root / name).write_bytes(BODY if name.endswith("mp3") else b"")
        os.utime(root / name, (MODIFIED, MODIFIED))
    (root / "list.m3u").write_bytes(b"its own\n")
    (tmp_path / "castd.toml").write_bytes(CASTD_TOML)
    return root


@pytest.fixture
async def castd(root: Path) -> AsyncIterator[Bench]:
    async with bench(Config(files=Files(root=str(root)))) as made:
        yield made


async def ask(castd: Bench, path: str, method: str = "GET", **fields: str) -> Reply:
    return await castd.ask(head(method, path, {name.replace("_", "-"): value for name, value in fields.items()}))


def open_files() -> list[str]:
    """The paths of this process's descriptors."""
    return [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]


async def test_the_whole(castd: Bench) -> None:
    reply = await ask(castd, "/song.mp3")
    assert reply.body == BODY
    assert reply.headers.pop("date")
    assert reply.headers.pop("server").startswith("castd/")
    assert (reply.status, reply.headers) == (
        200,
        {
            "connection": "keep-alive",
            "x-content-type-options": "nosniff",
            "etag": ETAG,
            "last-modified": formatdate(MODIFIED, usegmt=True),
            "accept-ranges": "bytes",
            "cache-control": "no-cache",
            "access-control-allow-origin": "*",
            "access-control-expose-headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
            "content-type": "audio/mpeg",
            "content-length": str(len(BODY)),
        },
    )


async def test_head_is_the_same_without_content(castd: Bench) -> None:
    get, asked = await ask(castd, "/song.mp3"), await ask(castd, "/song.mp3", "HEAD", Range="bytes=1-2")
    assert (asked.status, asked.body) == (200, b"")
    assert asked.headers == get.headers | {"date": asked.headers["date"]}


async def test_a_connection_goes_on_after_a_file(castd: Bench) -> None:
    async with castd.connect() as client:
        for _ in range(3):
            assert (await client.ask(head("GET", "/song.mp3"))).body == BODY
            assert (await client.ask(head("HEAD", "/song.mp3"))).status == 200
            assert (await client.ask(head("GET", "/song.mp3", {"If-None-Match": ETAG}))).status == 304
            assert (await client.ask(head("GET", "/song.mp3", {"Range": "bytes=-3"}))).body == BODY[-3:]


@pytest.mark.parametrize(
    ("field", "start", "end"), [("bytes=0-0", 0, 1), ("bytes=417-", 417, len(BODY)), ("bytes=-100", -100, len(BODY))]
)
async def test_a_part(castd: Bench, field: str, start: int, end: int) -> None:
    reply = await ask(castd, "/song.mp3", Range=field)
    first = start % len(BODY)
    assert (reply.status, reply.body) == (206, BODY[start:end])
    assert reply.headers["content-range"] == f"bytes {first}-{end - 1}/{len(BODY)}"
    assert reply.headers["content-length"] == str(end - first)
    assert reply.headers["etag"] == ETAG


@pytest.mark.parametrize("field", ["bytes=0-1,5-6", "bytes=9-1", "lines=1-2", "bytes=" + "0-," * 500])
async def test_other_ranges_get_the_whole(castd: Bench, field: str) -> None:
    reply = await ask(castd, "/song.mp3", Range=field)
    assert (reply.status, reply.body) == (200, BODY)
    assert "content-range" not in reply.headers


async def test_beyond_the_end(castd: Bench) -> None:
    reply = await ask(castd, "/song.mp3", Range=f"bytes={len(BODY)}-")
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{len(BODY)}")


async def test_if_range(castd: Bench) -> None:
    assert (await ask(castd, "/song.mp3", Range="bytes=0-1", If_Range=ETAG)).status == 206
    assert (await ask(castd, "/song.mp3", Range="bytes=0-1", If_Range='"other"')).status == 200
    assert (await ask(castd, "/song.mp3", Range=f"bytes={len(BODY)}-", If_Range='"other"')).status == 200


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If_None_Match", ETAG, 304),
        ("If_Modified_Since", formatdate(MODIFIED, usegmt=True), 304),
        ("If_Modified_Since", formatdate(MODIFIED - 1, usegmt=True), 200),
        ("If_Match", '"other"', 412),
    ],
)
async def test_conditions(castd: Bench, name: str, value: str, status: int) -> None:
    reply = await ask(castd, "/song.mp3", **{name: value})
    assert reply.status == status
    if status == 304:
        assert reply.headers["etag"] == ETAG
        assert reply.headers["cache-control"] == "no-cache"
        assert not {"content-length", "content-type"} & reply.headers.keys()


async def test_a_change_changes_the_tag(castd: Bench, root: Path) -> None:
    (root / "song.mp3").write_bytes(BODY[:-1])
    reply = await ask(castd, "/song.mp3", If_None_Match=ETAG)
    assert (reply.status, reply.body) == (200, BODY[:-1])


async def test_names_and_types(castd: Bench) -> None:
    assert (await ask(castd, "/show/one%20two.ogg")).headers["content-type"] == "audio/ogg"
    assert (await ask(castd, "/show/Caf%C3%A9%20%26%20%3Cb%3E.mp3?x=1")).body == BODY
    empty = await ask(castd, "/empty.txt")
    assert (empty.status, empty.body, empty.headers["content-type"]) == (200, b"", "text/plain; charset=utf-8")
    assert (await ask(castd, "/robots.txt")).status == 200


TRAVERSALS = [
    "/..",
    "/../castd.toml",
    "/show/../../castd.toml",
    "/%2e%2e/castd.toml",
    "/%2e%2e%2fcastd.toml",
    "/..%2fcastd.toml",
    "/..%5ccastd.toml",
    "/..\\castd.toml",
    "/....//castd.toml",
    "/....%2f%2fcastd.toml",
    "/%252e%252e/castd.toml",
    "/%252e%252e%252fcastd.toml",
    "//castd.toml",
    "//../castd.toml",
    "/%c0%ae%c0%ae/castd.toml",
    "/%c0%ae%c0%ae%c0%afcastd.toml",
    "/..;/castd.toml",
    "/.%00./castd.toml",
    "/song.mp3%00/../../castd.toml",
    "/show/%2e%2e/%2e%2e/castd.toml",
    "/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e/etc/passwd",
    "/../../../../../../../../etc/passwd",
    "/etc/passwd",
    "/file:///etc/passwd",
    "/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/%uff0e%uff0e/castd.toml",
    "/song.mp3/../../castd.toml",
    "/../castd.toml.m3u",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_nothing_outside_the_root(castd: Bench, path: str) -> None:
    for target in (path, f"http://radio.test{path}"):
        async with castd.connect() as client:
            reply = await client.ask(f"GET {target} HTTP/1.1\r\nHost: radio.test\r\n\r\n".encode())
        assert reply.status in (400, 404)
        assert b"secret" not in reply.body
        assert b"root:" not in reply.body


@pytest.mark.parametrize("path", ["/show", "/show/", "/absent.mp3", "/song.mp3/", "/list.m3u.m3u", "/robots.txt.m3u"])
async def test_404(castd: Bench, path: str) -> None:
    assert (await ask(castd, path)).status == 404


async def test_without_a_root_there_are_no_files() -> None:
    async with bench() as castd:
        assert (await ask(castd, "/etc/passwd")).status == 404


async def test_playlists(castd: Bench) -> None:
    m3u = await ask(castd, "/song.mp3.m3u")
    assert (m3u.status, m3u.headers["content-type"]) == (200, "audio/x-mpegurl")
    assert m3u.body == b"#EXTM3U\r\n#EXTINF:-1,song\r\nhttp://radio.test/song.mp3\r\n"
    pls = await ask(castd, "/show/Caf%C3%A9%20%26%20%3Cb%3E.mp3.pls")
    assert "File1=http://radio.test/show/Caf%C3%A9%20&%20%3Cb%3E.mp3\r\nTitle1=Café & <b>\r\n" in pls.text
    xspf = await ask(castd, "/show/Caf%C3%A9%20%26%20%3Cb%3E.mp3.XSPF")
    assert "<location>http://radio.test/show/Caf%C3%A9%20&amp;%20%3Cb%3E.mp3</location>" in xspf.text
    assert "<title>Café &amp; &lt;b&gt;</title>" in xspf.text
    assert (await ask(castd, "/song.mp3.m3u", "HEAD")).headers["content-length"] == str(len(m3u.body))
    assert (await ask(castd, "/list.m3u")).body == b"its own\n", "a file of that name goes before"
    assert (await ask(castd, "/absent.mp3.m3u")).status == 404


@pytest.mark.parametrize("host", ['a"><script>', "a b", "x\\y", "a/b", "[::1", ""])
async def test_a_hostile_host_is_not_repeated(castd: Bench, host: str) -> None:
    """ADM-15."""
    for kind in ("m3u", "pls", "xspf"):
        reply = await ask(castd, f"/song.mp3.{kind}", Host=host)
        assert reply.status == 400 or b"http://127.0.0.1:8000/song.mp3" in reply.body
        assert b"script" not in reply.body


async def test_no_injection_by_path(castd: Bench) -> None:
    """HTTP-19."""
    for kind in ("m3u", "pls", "xspf"):
        reply = await ask(castd, f"/x%0d%0aX-Injected:%201%0d%0a.mp3.{kind}")
        assert reply.status == 400
        assert "x-injected" not in reply.headers
        assert b"\nX-Injected" not in reply.body


async def test_a_mount_goes_before_a_file(root: Path) -> None:
    async with serving(configured_with(root)) as castd:
        assert (await castd.ask(head("GET", "/song.mp3"))).body == BODY
        async with await castd.encoder("/song.mp3") as encoder:
            await encoder.push(20)
            await until(lambda: castd.mount("/song.mp3").ring.head > 0)
            async with await castd.ear("/song.mp3") as ear:
                assert "content-length" not in ear.headers
                assert "accept-ranges" not in ear.headers


def configured_with(root: Path, **limits: float) -> Config:
    plain = configured(limits=Limits(**limits))  # type: ignore[arg-type]
    return Config(listen=plain.listen, limits=plain.limits, files=Files(root=str(root)))


async def test_a_reader_that_stops_is_dropped_and_no_descriptor_stays(root: Path) -> None:
    (root / "big.mp3").touch()
    os.truncate(root / "big.mp3", 5 << 30)
    async with serving(configured_with(root, reply_timeout_seconds=0.2)) as castd:
        before = len(os.listdir("/proc/self/fd"))
        async with await castd.connect() as client:
            await client.send(head("GET", "/big.mp3"))
            await client.exactly(100_000)
            assert str(root / "big.mp3") in open_files()
            await until(lambda: not castd.server.admission.open)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_client_that_leaves_takes_its_descriptor_along(root: Path) -> None:
    (root / "big.mp3").touch()
    os.truncate(root / "big.mp3", 5 << 30)
    async with serving(configured_with(root)) as castd:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            client = await castd.connect()
            await client.send(head("GET", "/big.mp3"))
            await client.exactly(100_000)
            client.reset()
        await until(lambda: not castd.server.admission.open)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_file_cut_shorter_ends_its_own_reply_only(root: Path) -> None:
    path = root / "big.mp3"
    path.write_bytes(bytes(8 << 20))
    async with serving(configured_with(root)) as castd, await castd.connect() as client:
        await client.send(head("GET", "/big.mp3"))
        await client.until(b"\r\n\r\n")
        os.truncate(path, 1 << 20)
        assert len(await client.rest()) < 8 << 20
        assert (await castd.ask(head("GET", "/song.mp3"))).body == BODY


async def test_many_downloads_leave_no_descriptor(castd: Bench, root: Path) -> None:
    os.mkfifo(root / "fifo.mp3")
    fields: list[dict[str, str]] = [{}, {"Range": "bytes=1-2"}, {"Range": "bytes=999999-"}, {"If-None-Match": "*"}]
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        for each in fields * 10:
            for path in ("/song.mp3", "/song.mp3.m3u", "/absent", "/fifo.mp3", "/show"):
                nursery.start_soon(castd.ask, head("GET", path, each))
                nursery.start_soon(castd.ask, head("HEAD", path, each))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_no_descriptors_left_is_503(castd: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("castd.admin.files.open_below", fail)
    reply = await ask(castd, "/song.mp3")
    assert (reply.status, reply.headers["retry-after"]) == (503, "10")
