"""Directories: what they are told, byte for byte, and what they answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from castd.config import Config, Directory, Server
from tests.stats.hooks.fakes import Service, free_port, listening, status
from tests.support import PROBE, Bench, bench, configured, until

if TYPE_CHECKING:
    import pytest

    from tests.support import Encoder

ADDED = status("200 OK", "YPResponse: 1\r\nYPMessage: Added\r\nSID: sid-42\r\nTouchFreq: 60\r\n")
TOUCHED = status("200 OK", "YPResponse: 1\r\nYPMessage: OK\r\nTouchFreq: 60\r\n")
NO = status("200 OK", "YPResponse: 0\r\nYPMessage: bad stream\r\n")


def listed(*ports: int) -> Config:
    urls = tuple(Directory(url=f"http://127.0.0.1:{port}/cgi-bin/yp-cgi", timeout_seconds=1.0) for port in ports)
    return replace(configured(), server=Server(hostname="ice.example"), directories=urls)


def bodies(service: Service) -> list[str]:
    return [each.body.decode() for each in service.received]


async def encoder(castd: Bench, public: str = "1") -> Encoder:
    made = await castd.encoder("/pub.mp3", PROBE | {"Ice-Public": public})
    await made.push(20)
    await until(lambda: castd.mount("/pub.mp3").begun)
    return made


async def test_a_mount_is_added_touched_and_removed() -> None:
    """As in capture E30."""
    async with listening(ADDED, TOUCHED, TOUCHED, TOUCHED) as service, bench(listed(service.port)) as castd:
        told = castd.server.directories
        source = await encoder(castd)
        for now in (0.0, 5.0, 10.0, 70.0):
            await told.tell(now)
        castd.mount("/pub.mp3").set_title("Ä")
        await told.tell(140.0)
        await source.close()
        while castd.mount("/pub.mp3").source is not None:
            await told.tell(145.0)
        await told.tell(150.0)
        assert bodies(service) == [
            "action=add&sn=Probe%20Name&genre=test&cpswd=&desc=Probe%20Desc&url=http%3a%2f%2fexample%2einvalid%2f"
            "&listenurl=http%3a%2f%2fice%2eexample%3a" + str(castd.server.config.listen[0].port) + "%2fpub%2emp3"
            "&type=audio%2fmpeg&stype=&b=128"
            "&ice%2dsamplerate%3d44100%3bice%2dbitrate%3d128%3bice%2dchannels%3d2\r\n",
            "action=touch&sid=sid-42&st=&listeners=0&max_listeners=20000&stype=\r\n",
            "action=touch&sid=sid-42&st=&listeners=0&max_listeners=20000&stype=\r\n",
            "action=touch&sid=sid-42&st=%c3%84&listeners=0&max_listeners=20000&stype=\r\n",
            "action=remove&sid=sid-42",
        ]


async def test_who_is_not_public_is_not_told() -> None:
    async with listening() as service, bench(listed(service.port)) as castd:
        await encoder(castd, public="0")
        await castd.server.directories.tell(0.0)
        assert service.received == []


async def test_a_directory_that_says_no_or_nothing_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(NO, ADDED, NO, ADDED) as service, bench(listed(free_port(), service.port)) as castd:
        await encoder(castd)
        for now in (0.0, 5.0, 300.0, 305.0, 310.0, 604.0, 606.0):
            await castd.server.directories.tell(now)
        assert [body.partition("&")[0] for body in bodies(service)] == [
            "action=add",
            "action=add",
            "action=touch",
            "action=add",
        ]
    assert caplog.text.count("failed: bad stream") == 2
    assert caplog.text.count("Connection refused") == 1, "said once, however often it is tried"


async def test_everything_is_taken_out_when_the_server_stops() -> None:
    async with listening(ADDED) as service, bench(listed(service.port)) as castd:
        await encoder(castd)
        await castd.server.directories.tell(0.0)
        await castd.server.directories.finish()
        assert bodies(service)[-1] == "action=remove&sid=sid-42"


async def test_a_directory_cannot_ask_to_be_told_all_the_time() -> None:
    eager = status("200 OK", "YPResponse: 1\r\nSID: a b\r\nTouchFreq: 0\r\n")
    async with listening(eager, eager, eager) as service, bench(listed(service.port)) as castd:
        await encoder(castd)
        for now in (0.0, 1.0, 2.0, 29.0, 31.5):
            await castd.server.directories.tell(now)
        assert [body.partition("&")[0] for body in bodies(service)] == ["action=add", "action=touch", "action=touch"]
        assert "&sid=a%20b&" in bodies(service)[1], "what could be more than a name is escaped"
