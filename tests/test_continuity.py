"""Listeners through fifty drops, returns, take-overs and fallbacks: nobody is disconnected, no frame comes twice.

Every frame says which connection of which encoder sent it, and counts. What a listener has heard is right if each
connection's numbers only grow, and grow by one wherever two of its frames stand next to each other: then nothing was
repeated, nothing was turned round, and nothing is missing but what was sent while somebody else was on.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import pytest
import trio

from castd.config import Dj
from castd.ingest import filler
from castd.wire import silent_ogg
from castd.wire.ogg_pages import BOS, Page, PageCutter
from tests.support import SOURCE, Encoder, Serving, configured, serving, until

DJ = ("anna", "anna's word")
FLAPS = 50
EARS = 3

HEARD = re.compile(rb"<(\d{4}):(\d{6})>")


class Form(Protocol):
    """A codec, as far as counting goes."""

    content_type: str
    unchain: bool

    def start(self, session: int) -> bytes:
        """What precedes the frames of a connection."""
        ...

    def frame(self, session: int, number: int) -> bytes: ...

    def frames(self, heard: bytes) -> list[bytes]:
        """Cut apart what was heard, every byte of it; headers included."""
        ...


class Mp3:
    content_type = "audio/mpeg"
    unchain = False
    size = 417
    header = b"\xff\xfb\x90\x64"

    def start(self, session: int) -> bytes:
        return b""

    def frame(self, session: int, number: int) -> bytes:
        return self.header + b"<%04d:%06d>".ljust(self.size - len(self.header) - 2, b".") % (session, number)

    def frames(self, heard: bytes) -> list[bytes]:
        whole = len(heard) // self.size * self.size
        pieces = [heard[at : at + self.size] for at in range(0, whole, self.size)]
        assert all(each.startswith(self.header[:3]) for each in pieces)
        return pieces


class Aac(Mp3):
    """ADTS: AAC-LC, 44,100 Hz, two channels, frames of 417 bytes."""

    content_type = "audio/aac"
    header = bytes((0xFF, 0xF1, 0x50, 0x80 | 417 >> 11, 417 >> 3 & 0xFF, (417 & 7) << 5 | 0x1F, 0xFC))

    def frames(self, heard: bytes) -> list[bytes]:
        """By their lengths, as silence has another; the last may be cut off."""
        pieces, at = [], 0
        while at + 7 <= len(heard):
            assert heard.startswith(self.header[:3], at)
            end = at + ((heard[at + 3] & 3) << 11 | heard[at + 4] << 3 | heard[at + 5] >> 5)
            pieces.append(heard[at:end])
            at = end
        return pieces


class Opus:
    content_type = "audio/ogg"
    unchain = False

    def start(self, session: int) -> bytes:
        bos = Page(BOS, 0, session, 0, bytes((19,)), b"OpusHead\x01\x02" + bytes(9))
        tags = Page(0, 0, session, 1, bytes((16,)), b"OpusTags" + bytes(8))
        return bos.write() + tags.write()

    def frame(self, session: int, number: int) -> bytes:
        packet = b"\xfc<%04d:%06d>" % (session, number)
        return Page(0, 960 * (number + 1), session, number + 2, bytes((len(packet),)), packet).write()

    def frames(self, heard: bytes) -> list[bytes]:
        cutter = PageCutter()
        pages = cutter.feed(heard)
        assert cutter.skipped_bytes == 0
        serial = None
        for number, page in enumerate(map(Page.read, pages)):
            if page.serial != serial:  # a decoder is told what ends, and what comes
                assert serial is None or Page.read(pages[number - 1]).eos
                assert page.bos
                assert Page.read(pages[number + 1]).body.startswith(b"OpusTags")
            serial = page.serial
        return pages


class Unchained(Opus):
    unchain = True

    def frames(self, heard: bytes) -> list[bytes]:
        pages = PageCutter().feed(heard)
        first, tags, *audio = map(Page.read, pages)
        assert [page.bos for page in (first, tags, *audio)].count(True) == 1
        assert {page.serial for page in (first, tags, *audio)} == {first.serial}
        for before, after in pairwise(audio):
            assert after.sequence == before.sequence + 1
            assert after.granule_position == before.granule_position + 960
        return pages


@dataclass
class Stage:
    """The encoders of one mount, and those of the mount that stands in for it.

    Attributes:
        on: who is connected: each one's connection, its number, and how many frames it has sent.
    """

    castd: Serving
    form: Form
    chance: random.Random
    on: dict[str, tuple[Encoder, int, int]] = field(default_factory=dict)
    sessions: int = 0
    done: list[str] = field(default_factory=list)

    async def come(self, who: str) -> None:
        mount = "/night" if who == "night" else "/live"
        encoder = await self.castd.encoder(
            mount, {"Content-Type": self.form.content_type}, user=DJ if who == "dj" else SOURCE
        )
        self.sessions += 1
        self.on[who] = encoder, self.sessions, 0
        await encoder.send(self.form.start(self.sessions))

    async def leave(self, who: str, *, rudely: bool) -> None:
        encoder, _, _ = self.on.pop(who)
        if rudely:
            encoder.reset()
        else:
            await encoder.close()

    async def play(self) -> None:
        """Some frames of everybody."""
        for _ in range(self.chance.randint(1, 12)):
            for who, (encoder, session, sent) in list(self.on.items()):
                await encoder.send(self.form.frame(session, sent))
                self.on[who] = encoder, session, sent + 1
            await trio.sleep(self.chance.choice((0, 0, 0.002)))

    async def flap(self) -> None:
        """Something happens to one of the two encoders."""
        who = self.chance.choice(("main", "dj"))
        if who in self.on:
            await self.leave(who, rudely=self.chance.random() < 0.5)
        else:
            await self.come(who)
        self.done.append(who)


def check(form: Form, heard: bytes) -> set[int]:
    """See the module; whom was heard."""
    last: dict[int, int] = {}
    before = 0
    for piece in form.frames(heard):
        match = HEARD.search(piece)
        if match is None:
            continue
        session, number = int(match[1]), int(match[2])
        if session in last:
            assert number > last[session], f"{session}: {number} after {last[session]}"
            if session == before:
                assert number == last[session] + 1, f"{session}: {number} right after {last[session]}"
        last[session], before = number, session
    return set(last)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", [Mp3(), Aac(), Opus(), Unchained()], ids=["mp3", "aac", "opus", "unchained"])
async def test_fifty_flaps(form: Form, seed: int) -> None:
    config = configured(
        mounts={"/live": {"fallback": "/night", "linger_seconds": 60.0, "unchain": form.unchain}},
        djs=(Dj(user=DJ[0], password=DJ[1], priority=10),),
    )
    async with serving(config, seconds=60) as castd:
        stage = Stage(castd, form, random.Random(f"{form.content_type} {seed}"))
        await stage.come("night")
        await stage.come("main")
        await stage.play()
        await until(lambda: castd.mount("/live").begun)
        ears = [await castd.ear("/live") for _ in range(EARS)]
        for _ in range(FLAPS):
            await stage.flap()
            await stage.play()
        assert len(castd.mount("/live").listeners) == EARS
        for who in list(stage.on):
            await stage.leave(who, rudely=False)
        await until(lambda: not castd.mount("/live").sources)
        castd.server._stop.set()
        for ear in ears:
            assert len(check(form, await ear.rest())) > FLAPS // 4


def without_titles(heard: bytes, metaint: int) -> bytes:
    """An ICY listener's audio."""
    audio, at = b"", 0
    while at < len(heard):
        audio += heard[at : at + metaint]
        at += metaint
        at += 1 + 16 * (heard[at] if at < len(heard) else 0)
    return audio


@pytest.mark.parametrize("form", [Mp3(), Aac(), Opus(), Unchained()], ids=["mp3", "aac", "opus", "unchained"])
async def test_silence_between_flaps(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else stands in; some have been there from the start, some come in the middle, and some want titles."""
    monkeypatch.setattr(filler, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(filler, "STEP_SECONDS", 0.005)
    monkeypatch.setattr(silent_ogg, "PAGE_SECONDS", 0.02)
    chance = random.Random(form.content_type)
    config = configured(
        mounts={"/live": {"filler": "silence", "linger_seconds": 0.0, "unchain": form.unchain}},
        djs=(Dj(user=DJ[0], password=DJ[1], priority=10),),
    )
    async with serving(config, seconds=60) as castd:
        stage = Stage(castd, form, chance)
        await stage.come("main")
        await stage.play()
        live = castd.mount("/live")
        await until(lambda: live.begun)
        ears, silences = [], 0
        for number in range(24):
            if number % 4 == 0:
                ears.append(await castd.ear("/live", {"Icy-MetaData": str(number % 8 // 4)}))
                await until(lambda: len(live.listeners) == len(ears))
            if chance.random() < 0.3 and stage.on:
                await stage.flap()
            elif stage.on:
                for who in list(stage.on):
                    await stage.leave(who, rudely=chance.random() < 0.5)
            else:
                await stage.come(chance.choice(("main", "dj")))
            if stage.on:
                await stage.play()
                continue
            at = live.ring.head
            await until(lambda: live.source is not None and live.source.fallback == "silence" and live.ring.head > at)  # noqa: B023
            silences += 1
        assert silences > 5
        assert len(live.listeners) == len(ears)
        castd.server._stop.set()
        for number, ear in enumerate(ears):
            metaint = int(ear.headers.get("icy-metaint", "0"))
            assert bool(metaint) == (number % 2 == 1 and not isinstance(form, Opus))
            heard = await ear.rest()
            audio = without_titles(heard, metaint) if metaint else heard
            assert len(check(form, audio)) >= len(ears) - 1 - number
            silent = [piece for piece in form.frames(audio) if HEARD.search(piece) is None]
            assert len(silent) >= len(ears) - 1 - number
