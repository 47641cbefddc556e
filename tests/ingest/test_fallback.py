"""What is heard while no encoder is there: another mount, a file; and the encoder again as soon as it is back."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from castd.config import Config, Delivery, load
from castd.errors import ConfigError
from castd.mount.audio_file import FileLoop, Unplayable, whole_frames
from castd.wire.ogg_pages import Page, PageCutter
from tests.support import ADMIN, FRAME_BYTES, SOURCE, Ear, Serving, bench, configured, frames, head, serving, until

if TYPE_CHECKING:
    from trio.testing import MockClock

FIXTURES = Path(__file__).parents[1] / "fixtures"

AUTO = 10_000_000
"""Numbers from here on are of the mount that stands in."""

OGG = {"Content-Type": "audio/ogg"}


def config(**mounts: dict[str, Any]) -> Config:
    """Mounts by the names "/live", "/auto" and so on."""
    return replace(configured(), mounts={f"/{name}": each for name, each in mounts.items()})


def numbers(audio: bytes) -> list[int]:
    assert len(audio) % FRAME_BYTES == 0, "whole frames only"
    return [int(audio[at + 5 : at + 13]) for at in range(0, len(audio), FRAME_BYTES)]


class Heard:
    """What one listener gets, as it comes."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.audio = ear.received

    async def until(self, number: int) -> None:
        """Listen until this frame."""
        with trio.fail_after(20):
            while f"<{number:08d}>".encode() not in self.audio:
                data = await self.ear.stream.receive_some(65536)
                assert data, "hung up on"
                self.audio += data

    @property
    def parts(self) -> list[tuple[int, int]]:
        """First and last number of each stretch without a gap."""
        whole = self.audio[: len(self.audio) // FRAME_BYTES * FRAME_BYTES]
        found: list[tuple[int, int]] = []
        for number in numbers(whole):
            if found and number == found[-1][1] + 1:
                found[-1] = (found[-1][0], number)
            else:
                found.append((number, number))
        return found


async def test_listeners_hear_the_fallback_until_an_encoder_is_back() -> None:
    async with serving(config(live=dict(fallback="/auto"))) as castd, await castd.encoder("/auto") as auto:
        auto.next = AUTO
        await auto.push(20)
        await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").begun)
        async with await castd.ear("/live") as ear:
            heard = Heard(ear)
            await heard.until(AUTO + 18)
            live = await castd.encoder("/live")
            await auto.push(1)
            await heard.until(AUTO + 19)
            await live.push(20)
            await heard.until(18)
            await auto.push(20)  # nobody at /live hears these
            await live.push(1)
            await heard.until(19)
            status = await castd.ask(head("GET", "/api/v1/mounts/live"))
            assert '"state": "live"' in status.text or '"state":"live"' in status.text
            await live.close()
            await until(lambda: castd.mount("/live").encoder is None)
            await auto.push(20)
            await heard.until(AUTO + 59)
            status = await castd.ask(head("GET", "/api/v1/mounts/live"))
            assert '"fallback"' in status.text
            assert castd.server.registry.listeners == len(castd.mount("/live").listeners) == 1
            (first, second, third) = heard.parts
        assert first == (AUTO, AUTO + 19)
        assert second[0] == 0
        assert second[1] in (19, 20)
        assert third[0] <= AUTO + 41, "as much of the past as was missing, or nothing"
        assert third[1] >= AUTO + 59


async def test_a_standby_encoder_that_sends_nothing_changes_nothing() -> None:
    async with (
        serving(config(live=dict(fallback="/auto"))) as castd,
        await castd.encoder("/auto") as auto,
        await castd.encoder("/live"),
    ):
        await auto.push(20)
        ear = Heard(await castd.ear("/live"))
        await ear.until(18)
        assert castd.mount("/live").encoder is not None


async def test_many_listeners_through_many_flaps() -> None:
    """Nobody is dropped, counts are right all the time, and nobody hears a broken frame."""
    count = 12
    async with (
        serving(config(live=dict(fallback="/auto"))) as castd,
        await castd.encoder("/auto") as auto,
        trio.open_nursery() as nursery,
    ):
        auto.next = AUTO
        await auto.push(10)
        await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").begun)
        heard = [Heard(await castd.ear("/live")) for _ in range(count)]
        next_live = 0
        for _ in range(20):
            live = await castd.encoder("/live")
            live.next = next_live
            await live.push(10)
            last = live.next - 2
            for each in heard:
                await each.until(last)
            next_live = live.next
            await live.close()
            await until(lambda: castd.mount("/live").encoder is None)
            await auto.push(10)
            for each in heard:
                await each.until(auto.next - 2)
            assert len(castd.mount("/live").listeners) == castd.server.registry.listeners == count
        assert all(len(each.parts) >= 40 for each in heard)
        assert castd.mount("/live").visits == count
        assert castd.server.registry.sources == 1
        nursery.cancel_scope.cancel()


async def test_a_chain_of_fallbacks() -> None:
    chain = config(live=dict(fallback="/day"), day=dict(fallback="/night"))
    async with serving(chain) as castd, await castd.encoder("/night") as night:
        await night.push(20)
        heard = Heard(await castd.ear("/live"))
        await heard.until(18)
        assert [each.fallback for each in castd.mount("/live").sources] == ["/day"]
        async with await castd.encoder("/day") as day:
            day.next = 1000
            await day.push(20)
            await heard.until(1018)
        await until(lambda: castd.mount("/day").encoder is None)
        await night.push(20)
        await heard.until(38)
    assert [first for first, _ in heard.parts][:2] == [0, 1000]


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        ('[mounts."/a"]\nfallback = "/a"', "/a -> /a"),
        ('[mounts."/a"]\nfallback = "/b"\n[mounts."/b"]\nfallback = "/a"', "/a -> /b -> /a"),
    ],
)
def test_a_circle_is_refused(text: str, circle: str, tmp_path: Path) -> None:
    file = tmp_path / "castd.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="goes round in a circle") as caught:
        load(file, {"HOME": str(tmp_path)})
    assert circle in str(caught.value)


async def test_an_operator_chooses_another_and_no_circle(autojump_clock: MockClock) -> None:
    async with (
        bench(config(live=dict(fallback="/auto"))) as castd,
        await castd.encoder("/live") as live,
        await castd.encoder("/auto"),
        await castd.encoder("/b") as b,
    ):
        await b.push(20)
        for mount, fallback, words in (
            ("/auto", "/live", "/live leads back to /auto"),
            ("/live", "/live", "/live leads back to /live"),
            ("/live", "/b", "Fallback configured"),
        ):
            reply = await castd.ask(head("GET", f"/admin/fallbacks?mount={mount}&fallback={fallback}", user=ADMIN))
            assert words in reply.text
        assert (await castd.ask(head("GET", "/admin/fallbacks?mount=/live", user=ADMIN))).status == 400
        assert (await castd.ask(head("GET", "/admin/fallbacks?mount=/live&fallback=/b", user=SOURCE))).status == 401
        listed = await castd.ask(head("GET", "/admin/listmounts", user=ADMIN))
        assert '<source mount="/live"><fallback>/b</fallback><listeners>0</listeners><Connected>0' in listed.text
        await live.close()
        await until(lambda: [each.fallback for each in castd.mount("/live").sources] == ["/b"])
        assert castd.ring("/live") == castd.ring("/b")


async def test_a_mount_nobody_configured_has_its_fallback_while_somebody_listens() -> None:
    everywhere = replace(configured(delivery=Delivery(linger_seconds=0.3)), mounts={"default": dict(fallback="/auto")})
    async with serving(everywhere) as castd, await castd.encoder("/auto") as auto:
        await auto.push(20)
        live = await castd.encoder("/live")
        await live.push(20)
        ear = await castd.ear("/live")
        await live.close()
        await until(lambda: castd.mount("/live").encoder is None)
        heard = Heard(ear)
        auto.next = AUTO
        await auto.push(20)
        await heard.until(AUTO + 18)
        await ear.close()
        await until(lambda: "/live" not in castd.server.registry.mounts)


async def test_no_fallback_that_players_could_not_play(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with (
        serving(config(live=dict(fallback="/auto"))) as castd,
        await castd.encoder("/auto", OGG) as auto,
    ):
        live = await castd.encoder("/live")
        await live.push(20)
        await until(lambda: castd.mount("/live").begun)
        await auto.send((FIXTURES / "opus.opus").read_bytes())
        await until(lambda: castd.mount("/auto").begun)
        await live.close()
        await until(lambda: castd.mount("/live").encoder is None)
        assert castd.mount("/live").sources == []
        assert (
            "/auto does not stand in: it is ogg opus 48000 Hz, and players of mpeg mp3 44100 Hz would stop"
            in caplog.text
        )
        assert caplog.text.count("does not stand in") == 1


async def test_the_encoders_title_is_back_when_it_is() -> None:
    async with serving(config(live=dict(fallback="/auto"))) as castd, await castd.encoder("/auto") as auto:
        await auto.push(20)
        live = await castd.encoder("/live")
        await live.push(20)
        await until(lambda: castd.mount("/live").begun)
        castd.mount("/live").set_title("A - B", artist="A", title="B")
        castd.mount("/auto").set_title("robot")
        await live.close()
        await until(lambda: castd.title("/live") == "robot")
        castd.mount("/auto").set_title("another")
        assert castd.title("/live") == "another"
        live = await castd.encoder("/live")
        await live.push(20)
        await until(lambda: castd.title("/live") == "A - B")
        title = castd.mount("/live").timeline.title
        assert title is not None
        assert (title.artist, title.title) == ("A", "B")


async def test_who_finds_a_mount_full_gets_its_fallback() -> None:
    full = {"max_listeners": 1, "fallback_when_full": True}
    three = config(live=full | {"fallback": "/b"}, b=full | {"fallback": "/c"}, c={"max_listeners": 1})
    async with serving(three) as castd:
        for name in ("/live", "/b", "/c"):
            await (await castd.encoder(name)).push(20)
            await until(lambda name=name: castd.mount(name).begun)  # type: ignore[misc]
        for _ in range(3):
            await castd.ear("/live")
        assert [len(castd.mount(name).listeners) for name in ("/live", "/b", "/c")] == [1, 1, 1]
        reply = await castd.ask(head("GET", "/live"))
        assert (reply.status, "max listeners reached" in reply.text) == (503, True)


async def test_a_file_stands_in_over_and_over() -> None:
    file = FIXTURES / "cbr-44100-stereo.mp3"
    once, _ = whole_frames(file, 1 << 20)
    long = config(live=dict(fallback_file=str(file), burst_seconds=10.0))
    async with serving(long) as castd:
        await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").ring.head > 2 * len(once))
        audio = castd.ring("/live")
        assert audio == (once * 20)[: len(audio)]
        ear = await castd.ear("/live")
        assert ear.headers["content-type"] == "audio/mpeg"
        heard = await ear.exactly(len(once))
        assert heard in once * 20


async def test_a_file_is_heard_in_its_own_time() -> None:
    """Half a second ahead, and a second more for a slow machine; unpaced, it would be hundreds."""
    file = FIXTURES / "cbr-44100-stereo.mp3"
    async with serving(config(live=dict(fallback_file=str(file), burst_seconds=1.0))) as castd:
        begun = trio.current_time()
        await trio.sleep(1.0)
        ahead = castd.mount("/live").timeline.end - (trio.current_time() - begun)
        assert 0.0 < ahead < 3.0


async def test_a_file_gives_way_to_an_encoder_and_comes_back() -> None:
    file = FIXTURES / "cbr-44100-stereo.mp3"
    async with serving(config(live=dict(fallback_file=str(file)))) as castd:
        async with await castd.encoder("/live") as live:
            await live.push(20)
            here = castd.mount("/live")
            await until(lambda: here.source is here.encoder)
            await until(lambda: len(here.sources) == 1)
        await until(lambda: bool(here.sources) and here.sources[0].fallback == str(file))
        status = await castd.ask(head("GET", "/status-json.xsl"))
        assert '"listenurl"' in status.text
        assert "server_type" not in status.text, "a stub, as Icecast has it"


async def test_a_file_that_is_not_there_is_missed_once_and_asked_for_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("castd.ingest.file_player.RETRY_SECONDS", 0.02)
    file = tmp_path / "later.mp3"
    async with serving(config(live=dict(fallback_file=str(file)))) as castd:
        await until(lambda: "cannot stand in" in caplog.text)
        await trio.sleep(0.1)
        assert caplog.text.count("cannot stand in") == 1
        file.write_bytes(b"no audio at all" * 10000)
        await until(lambda: "it is neither MP3, AAC (ADTS), Ogg nor WebM" in caplog.text)
        file.write_bytes((FIXTURES / "cbr-44100-stereo.mp3").read_bytes())
        await until(lambda: castd.mount("/live").begun)


def test_each_turn_of_an_ogg_file_is_a_link_of_a_chain() -> None:
    loop = FileLoop(FIXTURES / "opus.opus")
    turns = []
    for _ in range(3):
        data = b""
        while not loop.ended:
            data += loop.read()
        turns.append(data)
        loop.rewind()
    loop.close()
    serials = []
    for turn in turns:
        cutter = PageCutter()
        pages = [Page.read(page) for page in (*cutter.feed(turn), *cutter.finish())]
        assert pages[0].header_type & 0x02, "begins"
        assert pages[-1].header_type & 0x04, "ends"
        (serial,) = {page.serial for page in pages}
        serials.append(serial)
    assert len(set(serials)) == 3
    assert len({len(turn) for turn in turns}) == 1


def test_a_file_too_long_or_no_audio(tmp_path: Path) -> None:
    with pytest.raises(Unplayable, match="longer than 1000 bytes"):
        whole_frames(FIXTURES / "cbr-44100-stereo.mp3", 1000)
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"")
    with pytest.raises(Unplayable, match="neither"):
        whole_frames(nothing, 1000)


async def intro_of(castd: Serving, fields: dict[str, str], size: int) -> bytes:
    async with await castd.ear("/live", fields) as ear:
        return await ear.exactly(size)


async def test_an_intro_goes_before_the_stream(tmp_path: Path) -> None:
    file = tmp_path / "intro.mp3"
    file.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + frames(5000, 5040))
    intro, _ = whole_frames(file, 1 << 20)
    assert intro == frames(5000, 5040)
    short = replace(config(live=dict(intro_file=str(file))), delivery=Delivery(icy_metaint=2000))
    async with serving(short) as castd, await castd.encoder("/live") as live:
        await live.push(50)
        await until(lambda: castd.mount("/live").ring.head > 40 * FRAME_BYTES)
        castd.mount("/live").set_title("now")
        plain = await intro_of(castd, {}, len(intro) + 20 * FRAME_BYTES)
        assert plain[: len(intro)] == intro
        assert numbers(plain[len(intro) :]) == list(range(20))
        async with await castd.ear("/live", {"Icy-MetaData": "1"}) as ear:
            audio, titles = b"", []
            while len(audio) < len(intro) + 10_000:
                audio += await ear.exactly(2000)
                titles.append(await ear.exactly((await ear.exactly(1))[0] * 16))
        assert audio.startswith(intro + frames(0, 20))
        assert b"StreamTitle=" in titles[0]
        file.write_bytes(frames(7000, 7010))
        await trio.sleep(1.1)  # it is looked at again after a second
        assert (await intro_of(castd, {}, 10 * FRAME_BYTES)) == frames(7000, 7010)


async def test_an_ogg_intro_is_a_link_before_the_stream(tmp_path: Path) -> None:
    file = FIXTURES / "opus.opus"
    async with (
        serving(config(live=dict(intro_file=str(file)))) as castd,
        await castd.encoder("/live", OGG) as live,
    ):
        await live.send(file.read_bytes())
        await until(lambda: castd.mount("/live").begun)
        size = file.stat().st_size
        heard = await intro_of(castd, {}, size + 200)
    cutter = PageCutter()
    pages = [Page.read(page) for page in cutter.feed(heard)]
    begins = [page.serial for page in pages if page.header_type & 0x02]
    assert len(set(begins)) == 2


async def test_an_intro_that_players_could_not_play_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    wrong = config(live=dict(intro_file=str(FIXTURES / "opus.opus")))
    async with serving(wrong) as castd, await castd.encoder("/live") as live:
        await live.push(20)
        await until(lambda: castd.mount("/live").begun)
        for _ in range(2):
            assert await intro_of(castd, {}, FRAME_BYTES) == frames(0, 1)
    assert caplog.text.count("is no intro: /live is mpeg mp3 44100 Hz, and it is ogg opus 48000 Hz") == 1
