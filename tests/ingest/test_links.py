"""Where one link of an Ogg mount ends and the next begins: for those who were there, and those who come between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from castd.wire.ogg_pages import BOS, EOS, NO_PACKET_ENDS, Page, PageCutter, ending
from tests.support import Bench, Encoder, bench, configured, frames

if TYPE_CHECKING:
    from trio.testing import MockClock

OPUS = (Path(__file__).parents[1] / "fixtures" / "opus.opus").read_bytes()
VORBIS = (Path(__file__).parents[1] / "fixtures" / "vorbis.ogg").read_bytes()

OGG = {"Content-Type": "audio/ogg"}


def pages_of(data: bytes) -> list[Page]:
    cutter = PageCutter()
    pages = [Page.read(each) for each in cutter.feed(data)]
    assert cutter.skipped_bytes == 0
    return pages


def unended(data: bytes, serial: int) -> bytes:
    """A stream whose encoder went without a word."""
    *pages, last = [replace(each, serial=serial) for each in pages_of(data)]
    assert last.eos
    return b"".join(each.write() for each in pages)


async def sends(castd: Bench, data: bytes, kind: dict[str, str] = OGG) -> Encoder:
    encoder = await castd.encoder("/live", kind)
    await encoder.send(data)
    await trio.sleep(0.1)
    return encoder


async def leaves(encoder: Encoder) -> None:
    await encoder.close()
    await trio.sleep(0.1)


def newcomer(castd: Bench) -> bytes:
    """What somebody is sent who comes now, so far."""
    mount = castd.mount("/live")
    position, headers = mount.entrance(mount.join_point())
    return headers + mount.ring.read(position, mount.ring.head)


async def test_a_link_that_was_broken_off_is_ended(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        for serial in (5, 6):
            encoder = await sends(castd, unended(OPUS, serial))
            end = castd.mount("/live").timeline.end
            await leaves(encoder)
            assert castd.mount("/live").timeline.end == end
            assert newcomer(castd) == b""
        encoder = await sends(castd, OPUS)  # which ends itself
        await leaves(encoder)
        pages = pages_of(castd.ring("/live"))
    links = [[page for page in pages if page.serial == serial] for serial in (5, 6, pages[-1].serial)]
    assert [page for link in links for page in link] == pages
    for link in links:
        assert link[0].bos
        assert [page.eos for page in link] == [False] * (len(link) - 1) + [True]
        assert [page.sequence for page in link] == list(range(len(link)))
    for link in links[:2]:
        assert (link[-1].body, link[-1].granule_position) == (b"", link[-2].granule_position)


def test_every_stream_among_some_pages_is_ended() -> None:
    pages = [
        Page(0, 100, 1, 7, b"\x01", b"a"),
        Page(BOS, 0, 2, 0, b"\x01", b"b"),
        Page(0, NO_PACKET_ENDS, 1, 8, b"\xff", bytes(255)),
        Page(EOS, 50, 3, 0xFFFFFFFF, b"\x01", b"c"),
        Page(0, NO_PACKET_ENDS, 4, 0xFFFFFFFF, b"\xff", bytes(255)),
    ]
    assert pages_of(ending(b"".join(page.write() for page in pages))) == [
        Page(EOS, 100, 1, 9, b"", b""),
        Page(EOS, 0, 2, 1, b"", b""),
        Page(EOS, NO_PACKET_ENDS, 4, 0, b"", b""),
    ]
    assert ending(b"") == b""


async def test_who_comes_between_two_links_made_one_has_the_headers(autojump_clock: MockClock) -> None:
    async with bench(configured(mounts={"/live": {"unchain": True}})) as castd:
        await leaves(await sends(castd, unended(OPUS, 5)))
        heard = newcomer(castd)
        assert [page.bos for page in pages_of(heard)] == [True, False]
        at = castd.mount("/live").ring.head
        await sends(castd, unended(OPUS, 6))
        more = pages_of(heard + castd.mount("/live").ring.read(at, castd.mount("/live").ring.head))
        assert {page.serial for page in more} == {5}
        assert not any(page.bos or page.eos for page in more[1:])
        assert len(more) == len(pages_of(OPUS)) - 1


@pytest.mark.parametrize("next_one", ["vorbis", "mp3"])
async def test_headers_of_another_stream_are_not_kept(next_one: str, autojump_clock: MockClock) -> None:
    async with bench(configured(mounts={"/live": {"unchain": True}})) as castd:
        await leaves(await sends(castd, unended(OPUS, 5)))
        if next_one == "mp3":
            await sends(castd, frames(0, 20), {})
            assert newcomer(castd) == frames(0, 19)
        else:
            await sends(castd, unended(VORBIS, 6))
            heard = pages_of(newcomer(castd))
            assert b"OpusHead" not in b"".join(page.body for page in heard)
            assert [page.serial for page in heard if page.bos] == [6]
