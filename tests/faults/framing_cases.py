"""Damaged streams, and what somebody hears who comes late."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.e2e.program import until
from tests.e2e.units import BEGINS, adts_frames, mp3_frames, ogg_pages
from tests.faults.case import case
from tests.faults.ingest_cases import harmless
from tests.faults.site import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults.site import Site
    from tests.support import Encoder

FIXTURES = Path(__file__).parents[1] / "fixtures"

MIB = 1 << 20

MP3, VORBIS, OPUS, AAC, FLAC = (
    ("cbr-44100-stereo.mp3", "audio/mpeg", 0),
    ("vorbis.ogg", "application/ogg", 3),
    ("opus.opus", "audio/ogg", 2),
    ("lc-44100-stereo.aac", "audio/aac", 0),
    ("flac.oga", "audio/ogg", 2),
)
"""File, type, and how many packets of headers it begins with."""

Format = tuple[str, str, int]

CRC = [0] * 256
for _byte in range(256):
    _value = _byte << 24
    for _ in range(8):
        _value = (_value << 1) ^ (0x04C11DB7 if _value & 0x80000000 else 0)
    CRC[_byte] = _value & 0xFFFFFFFF


def checksum(page: bytes) -> int:
    """RFC 3533 §6, written here once more: a judge does not ask the judged."""
    value = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        value = (value << 8 & 0xFFFFFFFF) ^ CRC[value >> 24 ^ byte]
    return value


def page(
    body: bytes, granule: int = 0, *, kind: int = 0, serial: int = 77, sequence: int = 0, version: int = 0,
    lacing: bytes | None = None, right: bool = True,
) -> bytes:  # fmt: skip
    """An Ogg page; without `right` its checksum is not."""
    if lacing is None:
        lacing = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    made = struct.pack("<4sBBqIIIB", b"OggS", version, kind, granule, serial, sequence, 0, len(lacing)) + lacing + body
    crc = checksum(made) ^ (0 if right else 1)
    return made[:22] + struct.pack("<I", crc) + made[26:]


def recording(form: Format) -> bytes:
    return (FIXTURES / form[0]).read_bytes()


async def pour(encoder: Encoder, data: bytes, *, rounds: int = 1) -> None:
    """Send it all, or as much as the server takes."""
    try:
        for _ in range(rounds):
            for at in range(0, len(data), 16_384):
                await encoder.send(data[at : at + 16_384])
                await trio.sleep(0.01)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # cut off, which is one way to deal with it


def flipped(data: bytes, kept: int) -> bytes:
    """One bit of each hundredth byte flipped, after so many that are left alone."""
    dice, made = random.Random(7), bytearray(data)
    for at in range(kept, len(made)):
        if dice.random() < 0.01:
            made[at] ^= 1 << dice.randrange(8)
    return bytes(made)


async def damaged(site: Site, mount: str, form: Format, kept: int) -> None:
    """A damaged stream is cut off, or goes on for those who listen; the server lives."""
    data = recording(form)
    async with await site.source(mount, {"Content-Type": form[1]}) as encoder:
        await pour(encoder, flipped(data * 8, kept))
        said = await site.ask(mount, method="GET") if not await site.facts(mount) else None
        assert said is None or said.status in (404, 200, 503), f"a listener got {said and said.status}"


for _number, _form in enumerate((MP3, VORBIS, OPUS, AAC, FLAC), 2):
    for _suffix, _kept in (("", 0), ("b", 6144)):
        _name = f"FRM-{_number:02}{_suffix}"
        case(_name)(partial(damaged, mount=f"/{_name}", form=_form, kept=_kept))


@case("FRM-07")
async def a_stream_cut_in_a_page(site: Site) -> None:
    data = recording(VORBIS)
    for cut in (10, 40, 200, 2500):
        mount = f"/cut-{cut}"
        async with await site.source(mount, {"Content-Type": VORBIS[1]}, first=data[:cut]):
            pass

        async def free(mount: str = mount) -> bool:
            try:
                async with await site.source(mount, {"Content-Type": VORBIS[1]}) as encoder:
                    await pour(encoder, data, rounds=3)
                    await site.listed(mount)
                    async with site.listen(mount) as ear:
                        assert (await ear.bytes(4)).startswith(b"OggS"), "a clean stream does not begin with a page"
                return True
            except AssertionError as error:
                if "got 40" in str(error):
                    return False  # busy, as yet
                raise

        await until(free, seconds=PATIENCE_SECONDS, what=f"{mount} is free again", every_seconds=0.5)


@case("FRM-08", alone=True)
async def a_packet_that_never_ends_with_wrong_checksums(site: Site) -> None:
    await endless(site, "/endless-wrong", 16 * MIB, 64 * MIB, right=False)


@case("FRM-08b", alone=True)
async def a_packet_that_never_ends(site: Site) -> None:
    await endless(site, "/endless", 6 * MIB, 48 * MIB, right=True)


async def endless(site: Site, mount: str, size: int, most: int, *, right: bool) -> None:
    piece = page(b"x" * 255 * 255, -1, kind=1, lacing=b"\xff" * 255, right=right)
    before = site.figure("rss")
    headers = b"".join(each.data for each in list(ogg_pages(recording(VORBIS)))[:2])
    async with await site.source(mount, {"Content-Type": VORBIS[1]}, first=headers) as encoder:
        await pour(encoder, piece, rounds=size // len(piece))
        grown = site.figure("rss") - before
        assert grown <= most, f"the server grew by {grown // MIB} MiB"


@case("FRM-10")
async def odd_pages(site: Site) -> None:
    headers = list(ogg_pages(recording(VORBIS)))
    start, rest = b"".join(each.data for each in headers[:2]), [each.data for each in headers[2:]]
    serial = headers[0].serial
    streams = {
        "crc": start + b"".join(page(b"x" * 400, 1000 * at, serial=serial, right=False) for at in range(50)),
        "version": page(b"\x01vorbis", kind=2, version=9) * 20,
        "empty": start + b"".join(page(b"", 0, serial=serial, sequence=at, lacing=b"") for at in range(200)),
        "eos": page(b"\x01vorbis", kind=6) + start + b"".join(rest),
        "granule": start + b"".join(page(b"x" * 300, -2, serial=serial, sequence=at + 2) for at in range(100)),
        "jumps": start
        + b"".join(page(b"x" * 300, 1 << (40 + at % 20), serial=serial, sequence=at) for at in range(99)),
        "nested": b"OggS" * 20_000,
    }
    for name, data in streams.items():
        async with await site.source(f"/odd-{name}", {"Content-Type": VORBIS[1]}) as encoder:
            await pour(encoder, data)
            await site.canary.goes_on(3)


@case("FRM-12")
async def hostile_tags(site: Site) -> None:
    values = (
        b"TITLE=<script>alert(1)</script>",
        b"ARTIST=a\x00b\x01",
        b"TITLE=\xff\xfe",
        b"COMMENT=" + b"y" * 60_000,
        b"none",
        b"=x",
        b"TITLE=]]><img src=x onerror=alert(1)>",
    )
    comments = b"OpusTags" + struct.pack("<I", 4) + b"test" + struct.pack("<I", len(values))
    comments += b"".join(struct.pack("<I", len(each)) + each for each in values)
    serial = next(ogg_pages(recording(OPUS))).serial
    pages = [each.data for each in ogg_pages(recording(OPUS))]
    data = pages[0] + page(comments, serial=serial, sequence=1) + b"".join(pages[2:])
    async with await site.source("/tags", {"Content-Type": OPUS[1]}) as encoder, trio.open_nursery() as nursery:
        nursery.start_soon(pour, encoder, data)
        await site.listed("/tags")
        await harmless(site, "/tags")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def looped(site: Site, mount: str, form: Format, files: Iterable[str] = ()) -> AsyncIterator[None]:
    """A recording over and over, four times as fast as it plays; it is well under way."""
    data = b"".join((FIXTURES / name).read_bytes() for name in files) or recording(form)
    if walk := {MP3: mp3_frames, AAC: adts_frames}.get(form):
        data = b"".join(walk(data))  # without tags, and nothing half at the end of a round

    async def feed(encoder: Encoder) -> None:
        while True:
            for at in range(0, len(data), 1000):
                await encoder.send(data[at : at + 1000])
                await trio.sleep(0.02)

    async with await site.source(mount, {"Content-Type": form[1]}) as encoder, trio.open_nursery() as nursery:
        nursery.start_soon(feed, encoder)
        await site.listed(mount)
        await trio.sleep(2)
        yield
        nursery.cancel_scope.cancel()


def judge_pages(heard: bytes, headers: int, most_links: int = 1 << 30) -> None:
    """Whole pages with right checksums; each link has its headers before its sound."""
    begun: set[int] = set()
    packets, at, links = 0, 0, 0
    for each in ogg_pages(heard):
        assert int.from_bytes(each.data[22:26], "little") == checksum(each.data), f"a wrong checksum at byte {at}"
        if each.flags & BEGINS:
            assert not links or packets >= headers or each.granule == 0, "a link without its headers"
            begun.add(each.serial)
            packets, links = 0, links + 1
        assert each.serial in begun, f"sound of a link whose headers never came, at byte {at}"
        assert packets >= headers or each.granule in (0, -1), f"sound after {packets} packets of headers, at byte {at}"
        packets += len(each.packets) if each.complete else len(each.packets) - 1
        at += len(each.data)
    assert begun, f"not one page in {heard[:20]!r}"
    assert links <= most_links


async def late_on_ogg(site: Site, name: str, form: Format, files: Iterable[str] = ()) -> None:
    async with looped(site, f"/{name}", form, files), site.listen(f"/{name}") as ear:
        judge_pages(await ear.bytes(40_000, seconds=PATIENCE_SECONDS), form[2])


for _name, _form in (("FRM-14", VORBIS), ("FRM-15", OPUS), ("FRM-16", FLAC)):
    case(_name)(partial(late_on_ogg, name=_name, form=_form))

case("FRM-19")(partial(late_on_ogg, name="FRM-19", form=VORBIS, files=("chain.ogg",)))


@case("FRM-17")
async def late_on_aac(site: Site) -> None:
    async with looped(site, "/late-aac", AAC), site.listen("/late-aac") as ear:
        heard = await ear.bytes(20_000)
        first = 0 if site.is_castd else _first(heard, b"\xff\xf1", adts_frames)
        assert len(adts_frames(heard[first:])) > 10


@case("FRM-18")
async def late_on_mp3(site: Site) -> None:
    async with looped(site, "/late-mp3", MP3), site.listen("/late-mp3") as ear:
        heard = await ear.bytes(20_000)
        first = 0 if site.is_castd else _first(heard, b"\xff\xfb", mp3_frames)
        assert len(mp3_frames(heard[first:])) > 10


def _first(heard: bytes, sync: bytes, walk: object) -> int:
    """Where the first frame begins after which only frames come."""
    assert callable(walk)
    for at in range(2000):
        if heard[at : at + 2] == sync:
            try:
                walk(heard[at:])
                return at
            except AssertionError:
                pass
    raise AssertionError(f"no frame in {heard[:20]!r}")
