"""Sources that come twice, break off, lie about their length or themselves."""

from __future__ import annotations

import json
import re
from collections import Counter
from xml.etree import ElementTree

import trio

from tests.e2e.program import until
from tests.faults.case import case
from tests.faults.site import ADMIN, PATIENCE_SECONDS, SOURCE, Ear, Site
from tests.support import FRAME_BYTES, frames, head

CHUNKED = {"Transfer-Encoding": "chunked"}


def numbers(heard: bytes) -> list[int]:
    """The frames in what a listener heard, from its first whole one.

    Raises:
        AssertionError: there is anything else between them.
    """
    at = heard.find(b"\xff\xfb\x90\x64<")
    assert at >= 0, f"no frame in {heard[:40]!r}"
    found = []
    while at + FRAME_BYTES <= len(heard):
        assert heard[at : at + 5] == b"\xff\xfb\x90\x64<", f"{heard[at : at + 12]!r} in the place of a frame"
        found.append(int(heard[at + 5 : at + 13]))
        at += FRAME_BYTES
    return found


def unbroken(heard: bytes) -> list[int]:
    """Likewise; none is missing or there twice."""
    found = numbers(heard)
    assert found == list(range(found[0], found[0] + len(found))), f"frames {found[:50]}"
    return found


async def hear(ear: Ear, count: int = 60) -> list[int]:
    """So many frames more, of a stream without a hole."""
    await ear.bytes(len(ear.heard) + count * FRAME_BYTES)
    return unbroken(bytes(ear.heard))


@case("ING-01")
async def a_busy_mount(site: Site) -> None:
    async with site.live("/busy"), site.listen("/busy") as ear:
        await ear.bytes(20 * FRAME_BYTES)
        for method in ("SOURCE", "PUT"):
            said = await site.send(head(method, "/busy", user=SOURCE) + frames(9000, 9010))
            assert said.status in (403, 409), f"a second source by {method} got {said.status}"
        await hear(ear)


@case("ING-03")
async def a_source_that_leaves_and_comes_back(site: Site) -> None:
    for _ in range(3):
        first = await site.source("/back")
        await first.push(60)
        await site.listed("/back")
        async with site.listen("/back") as ear:
            await ear.bytes(10 * FRAME_BYTES)
            await first.stream.send_eof()
            await first.close()

            async def taken() -> bool:
                said = await site.send(head("SOURCE", "/back", user=SOURCE) + frames(5000, 5060), seconds=2)
                return said.status == 200

            await until(taken, seconds=PATIENCE_SECONDS, what="the mount is free again")
            with trio.move_on_after(1):
                while data := await ear.client.stream.receive_some(65536):
                    ear.heard += data
            numbers(bytes(ear.heard))


@case("ING-05")
async def chunked(site: Site) -> None:
    async with await site.connect() as client:
        await client.send(head("PUT", "/chunked", CHUNKED, user=SOURCE))
        with trio.fail_after(PATIENCE_SECONDS):
            status = int((await client.until(b"\r\n\r\n")).split()[1])
        if status in (411, 501):
            return
        assert status == 200, f"answered {status}"
        for at in range(0, 200, 4):
            data = frames(at, at + 4)
            await client.send(b"%x\r\n" % len(data) + data + b"\r\n")
        await site.listed("/chunked")
        async with site.listen("/chunked") as ear:
            await ear.bytes(40 * FRAME_BYTES)
            unbroken(bytes(ear.heard))


@case("ING-07")
async def expectations(site: Site) -> None:
    async with await site.connect() as client:
        await client.send(head("PUT", "/expects", {"Expect": "100-continue"}, user=SOURCE))
        with trio.fail_after(PATIENCE_SECONDS):
            first = await client.until(b"\r\n\r\n")
        assert first.split()[1] == b"100", f"answered {first[:30]!r}"
        await client.send(frames(0, 60))
        await site.listed("/expects")
        async with site.listen("/expects") as ear:
            await ear.bytes(20 * FRAME_BYTES)
            unbroken(bytes(ear.heard))
    said = await site.send(head("PUT", "/maybe", {"Expect": "200-maybe"}, user=SOURCE) + frames(0, 10))
    assert said.status in (200, 417), f"answered {said.status}"


NASTY = "<script>alert(1)</script>\x01\xff"


@case("ING-09")
async def what_a_source_says_of_itself(site: Site) -> None:
    fields = {
        "ice-name": NASTY,
        "ice-genre": "g" * 2000,
        "ice-url": "javascript:alert(1)",
        "ice-description": "]]><x>&",
        "ice-bitrate": "-1e999",
        "ice-audio-info": "ice-samplerate=NaN;bitrate=1%0d%0aX-Injected: 1;x=<b>",
        "ice-public": "maybe",
    }
    request = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")
    start = head("SOURCE", "/nasty", user=SOURCE).removesuffix(b"\r\n")
    async with await site.connect() as client:
        await client.send(start + request + b"\r\n" + frames(0, 80))
        with trio.fail_after(PATIENCE_SECONDS):
            status = int((await client.until(b"\r\n\r\n")).split()[1])
        if status == 400:
            return
        assert status == 200, f"answered {status}"
        await site.listed("/nasty")
        json.dumps(await site.facts("/nasty"))
        await harmless(site, "/nasty")


async def harmless(site: Site, mount: str) -> None:
    """Nothing that was said of a mount runs, breaks a document or a head."""
    xml = await site.ask("/admin/stats", user=ADMIN)
    body = xml.body.decode("utf-8", "replace")
    try:
        ElementTree.fromstring(xml.body)
    except ElementTree.ParseError as error:
        raise AssertionError(f"/admin/stats is no XML: {error}") from None
    assert "<script>" not in body
    pages = ["/", "/status.xsl", f"/p{mount}", f"{mount}.xspf", f"{mount}.m3u", "/admin/listmounts.xsl"]
    for page in pages:
        said = await site.ask(page, user=ADMIN if page.startswith("/admin") else None)
        assert said.status < 500, f"{page} answered {said.status}"
        shown = said.body.decode("utf-8", "replace")
        for bad in ("<script>alert", "<img src=x", 'href="javascript:', "href='javascript:"):
            assert bad not in shown or page.endswith(".m3u"), f"{page} has {bad} in it"
        if page.endswith(".xspf") and said.status == 200:
            ElementTree.fromstring(said.body)
    async with site.listen(mount, {"Icy-MetaData": "1"}) as ear:
        assert b"\nx-injected" not in ear.said.head.lower(), "a header field is injected"
        assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", ear.said.head), "control bytes in a listener's head"


@case("ING-11")
async def a_race(site: Site) -> None:
    answers: Counter[int] = Counter()

    async def run() -> None:
        async with await site.connect() as client:
            await client.send(head("SOURCE", "/race", user=SOURCE) + frames(0, 20))
            with trio.fail_after(PATIENCE_SECONDS):
                status = int((await client.until(b"\r\n\r\n")).split()[1])
            answers[status] += 1
            while status == 200 and not everybody.is_set():  # who falls silent may be replaced
                await client.send(frames(0, 4))
                await trio.sleep(0.1)

    async def all_answered() -> bool:
        return answers.total() == 10

    everybody = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(run)
        await until(all_answered, seconds=PATIENCE_SECONDS, what="ten answers")
        everybody.set()
    assert answers[200] == 1, f"answered {dict(answers)}"


@case("ING-13")
async def audio_in_the_segment_of_the_head(site: Site) -> None:
    async with await site.source("/first", first=frames(0, 8)) as encoder:
        encoder.next = 8
        await encoder.push(60)
        await site.listed("/first")
        async with site.listen("/first") as ear:
            await ear.bytes(20 * FRAME_BYTES)
            assert unbroken(bytes(ear.heard))[0] == 0, "frame 0 is lost"


@case("ING-15")
async def shoutcast(site: Site) -> None:
    async with await site.connect(site.shoutcast_port) as client, trio.open_nursery() as nursery:
        await client.send(SOURCE[1].encode() + b"\r\n")
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await client.until(b"\r\n")).startswith(b"OK2"), "no OK2"
        await client.send(b"icy-name: x\r\ncontent-type: audio/mpeg\r\n\r\n")

        async def feed() -> None:
            for at in range(0, 4000, 4):
                await client.send(frames(at, at + 4))
                await trio.sleep(0.05)

        nursery.start_soon(feed)
        await site.listed("/shoutcast")
        async with site.listen("/shoutcast") as ear:
            await hear(ear)
        nursery.cancel_scope.cancel()


@case("RES-06")
async def a_source_that_never_sends(site: Site) -> None:
    async with await site.source("/mute") as encoder:
        with trio.move_on_after(50) as scope:
            await encoder.rest()
        assert not scope.cancelled_caught, "still there after 50 s"


@case("DEL-05")
async def icy(site: Site) -> None:
    async with site.live("/icy"), site.listen("/icy", {"Icy-MetaData": "1"}) as ear:
        interval = int(ear.fields["icy-metaint"])
        heard = await ear.bytes(2 * interval + 30_000)
        audio, at = b"", 0
        while at < len(heard):
            audio += heard[at : at + interval]
            length = heard[at + interval] * 16 if at + interval < len(heard) else 0
            block = heard[at + interval + 1 : at + interval + 1 + length]
            assert not block or block.startswith(b"StreamTitle='"), f"no block: {block[:20]!r}"
            at += interval + 1 + length
        unbroken(audio)


@case("ADM-11")
async def titles_in_a_row(site: Site) -> None:
    async with (
        site.live("/titles"),
        site.listen("/titles", {"Icy-MetaData": "1"}) as ear,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_drain, ear)
        for number in range(200):
            said = await site.ask(f"/admin/metadata?mount=/titles&mode=updinfo&song=Number%20{number}", user=SOURCE)
            assert said.status == 200, f"answered {said.status}"

        async def last() -> bool:
            return "Number 199" in str(await site.facts("/titles"))

        await until(last, seconds=PATIENCE_SECONDS, what="the last title")
        nursery.cancel_scope.cancel()


async def _drain(ear: Ear) -> None:
    while data := await ear.client.stream.receive_some(65536):
        ear.heard += data
