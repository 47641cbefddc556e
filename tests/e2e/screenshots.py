"""Pictures of every page, for docs/pictures: `make screenshots`.

    python -m tests.e2e.screenshots FOLDER

A server with encoders and listeners of all kinds is set up, and each page is looked at as people see it: on a phone and
on a desk, light and dark, with nothing on air, with forty mounts, with no title and with a very long one.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.e2e.client import get
from tests.e2e.media import FORMATS, make
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.program import Program
from tests.e2e.server import ADMIN_PASSWORD, SOURCE_PASSWORD, Castd, live, source_url
from tests.e2e.test_adaptive import AAC_LOW, HIGH, wait_for_quality
from tests.e2e.test_listeners_page import free_port
from tests.e2e.test_operators_page import sign_in, tab
from tests.e2e.test_timeline import Past

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.media import Media

DESK, PHONE = (1180, 820), (360, 740)

STATIONS = (
    "Radio Aurora", "Deep House Cellar", "Klassik am Abend", "Jazz 24", "Nachtwache", "Indie Garden", "Folk & Fiddle",
    "Dub Station", "La Voz del Sur", "إذاعة المدينة", "Ambient One", "News Now", "Kinderradio", "Rock Antenne",
)  # fmt: skip

LONG = (
    "Symphony No. 6 in F major, Op. 68, “Pastoral”: "
    + "I. Erwachen heiterer Empfindungen bei der Ankunft auf dem Lande. Allegro ma non troppo. " * 3
)

SETTINGS = """
[art]
private_networks = true
[groups."/aurora"]
mounts = ["/live", "/live-low"]
[mounts."/live"]
name = "Radio Aurora"
description = "Northern lights, southern nights: music without borders, around the clock."
genre = "Eclectic"
url = "https://aurora.example/"
rewind_seconds = 3600
[mounts."/live-low"]
name = "Radio Aurora, for slow lines"
rewind_seconds = 3600
[mounts."/quiet"]
name = "A mount without a title"
[mounts."/long"]
name = "Klassik am Abend, live aus dem Großen Saal"
"""

SONGS = {
    "Nils Frahm - Says": 250.0,
    "Hania Rani - Glass": 220.0,
    "Ólafur Arnalds - Saman": 190.0,
    "Moderat - A New Error": 370.0,
}
"""What was on before, and for how many seconds."""

AGENTS = (
    "VLC/3.0.18 LibVLC/3.0.18",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "mpv 0.35.1",
    "AppleCoreMedia/1.0.0 (iPhone)",
    "Lavf/59.27.100",
    "WinampMPEG/5.66",
    "Sonos/80.1",
    "Dalvik/2.1.0 (Android 14)",
    "GStreamer souphttpsrc 1.22",
)

BANS = (
    '{"address": "203.0.113.0/24", "reason": "rips every stream", "seconds": 86400}',
    '{"agent": "*ripper*"}',
)


@dataclass
class Shot:
    """One picture.

    Attributes:
        name: of the file.
        prepare: brings the page into the state to be shown.
    """

    name: str
    path: str
    size: tuple[int, int] = DESK
    scheme: str = "light"
    prepare: Callable[[Page], Any] = lambda page: page.wait_for_timeout(700)
    whole: bool = False


def playing(page: Page) -> None:
    page.locator("#toggle, article .play").first.click()
    page.wait_for_function("() => document.querySelector('[data-player=playing]')", timeout=15_000)
    page.wait_for_timeout(6000)


def back(page: Page) -> None:
    """Some minutes ago, with the pointer on another song."""
    playing(page)
    box = page.locator("#timeline input").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 9)
    page.wait_for_timeout(6000)
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 9)
    page.wait_for_timeout(500)


def in_auto(page: Page) -> None:
    page.select_option("#quality", "auto")
    playing(page)
    wait_for_quality(page, HIGH)


def opened(page: Page) -> None:
    playing(page)
    page.click("#share summary")
    page.wait_for_timeout(800)


def view(name: str) -> Callable[[Page], None]:
    def prepare(page: Page) -> None:
        if page.locator("#sign-in-form").is_visible():
            sign_in(page, ADMIN_PASSWORD)
        page.wait_for_selector("#desk", state="visible")
        tab(page, name)
        page.wait_for_timeout(1500)

    return prepare


SHOTS = [
    Shot("station", "/", prepare=playing),
    Shot("station-dark", "/", scheme="dark", prepare=playing),
    Shot("station-phone", "/", PHONE, prepare=playing),
    Shot("station-phone-dark", "/", PHONE, "dark", prepare=playing),
    Shot("mount", "/p/live", prepare=back),
    Shot("mount-dark", "/p/live", scheme="dark", prepare=back),
    Shot("mount-phone", "/p/live", PHONE, prepare=opened, whole=True),
    Shot("mount-phone-dark", "/p/live", PHONE, "dark", prepare=back),
    Shot("group", "/p/aurora", prepare=in_auto),
    Shot("group-phone-dark", "/p/aurora", PHONE, "dark", prepare=in_auto),
    Shot("mount-without-title", "/p/quiet", PHONE),
    Shot("mount-long-title", "/p/long", PHONE, prepare=playing),
    Shot("mount-off-air", "/p/nothing"),
    Shot("embedded", "/p/live?embed=1", (480, 180), prepare=back),
    Shot("api", "/api/"),
    Shot("api-phone-dark", "/api/", PHONE, "dark"),
    Shot("sign-in", "/admin/"),
    Shot("desk", "/admin/", prepare=view("mounts")),
    Shot("desk-dark", "/admin/", scheme="dark", prepare=view("mounts")),
    Shot("desk-phone", "/admin/", PHONE, prepare=view("mounts")),
    Shot("desk-listeners", "/admin/", prepare=view("listeners")),
    Shot("desk-listeners-phone", "/admin/", PHONE, "dark", prepare=view("listeners")),
    Shot("desk-gone", "/admin/", prepare=view("gone")),
    Shot("desk-bans", "/admin/", prepare=view("bans")),
    Shot("desk-log", "/admin/", scheme="dark", prepare=view("log")),
    Shot("desk-server", "/admin/", prepare=view("server")),
]

EMPTY_SHOTS = [Shot("empty", "/"), Shot("empty-phone-dark", "/", PHONE, "dark")]

MANY_SHOTS = [Shot("forty-mounts", "/", whole=True), Shot("forty-mounts-phone", "/", PHONE)]


def take(address: str, shots: list[Shot], folder: Path) -> Callable[[Visit], list[str]]:
    def look(browser: Visit) -> list[str]:
        for shot in shots:
            page = browser.open("about:blank")
            page.set_viewport_size({"width": shot.size[0], "height": shot.size[1]})
            page.emulate_media(color_scheme="dark" if shot.scheme == "dark" else "light")
            page.goto(address + shot.path)
            shot.prepare(page)
            page.screenshot(path=folder / f"{shot.name}.png", full_page=shot.whole)
            print(shot.name)
            page.close()
        return browser.errors

    return look


async def push(address: str, mount: str, name: str, frames: bytes) -> None:
    """An encoder that repeats a second of audio."""
    login = base64.b64encode(f"source:{SOURCE_PASSWORD}".encode()).decode()
    stream = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
    head = f"PUT {mount} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Type: audio/mpeg\r\n"
    await stream.send_all(f"{head}Ice-Name: {name}\r\n\r\n".encode())
    while True:
        await stream.send_all(frames)
        await trio.sleep(1)


async def listen(address: str, mount: str, agent: str, seconds: float = 1e9) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
    await stream.send_all(f"GET {mount} HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\n\r\n".encode())
    with trio.move_on_after(seconds):
        while await stream.receive_some(65536):
            pass
    await trio.aclose_forcefully(stream)


async def title(address: str, mount: str, song: str, art: str = "") -> None:
    """Set a title as a program does that knows the API."""
    artist, _, name = song.partition(" - ")
    body = {"artist": artist, "title": name} | ({"art": art, "album": "Spiegelungen"} if art else {})
    command = ["curl", "-sf", "-u", f"source:{SOURCE_PASSWORD}", "-d", json.dumps(body)]
    await trio.run_process([*command, f"{address}/api/v1/admin/mounts{mount}/title"], capture_stdout=True)


def encode(media: Media, castd: Castd, mount: str, log: Path) -> Program:
    """An ffmpeg that sends a file over and over."""
    form = ["-c", "copy", "-f", media.format.container, "-content_type", media.format.content_type]
    source = ["-re", "-stream_loop", "-1", "-i", str(media.path)]
    return Program(["ffmpeg", "-nostdin", "-v", "error", *source, *form, source_url(castd, mount)], log)


async def picture(path: Path) -> None:
    """A cover, as good as any."""
    drawn = "gradients=s=600x600:c0=0x1b1464:c1=0xf79f1f:c2=0x12cbc4:x0=80:y0=60:x1=560:y1=520:n=3:d=1"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", drawn, "-frames:v", "1", str(path)]
    await trio.run_process(command)


async def forty(work: Path, folder: Path, second: bytes) -> None:
    """A server with forty mounts."""
    async with Castd(work / "many") as castd, trio.open_nursery() as nursery:
        for number in range(40):
            name = f"{STATIONS[number % len(STATIONS)]} {number // len(STATIONS) + 1}"
            nursery.start_soon(push, castd.address, f"/mount-{number}", name, second)
        await live(castd, "/mount-39")
        for number in range(0, 40, 3):
            await title(castd.address, f"/mount-{number}", f"{STATIONS[number % 9]} - Track {number}")
        await trio.sleep(2)
        await visit(work / "profile-many", take(castd.address, MANY_SHOTS, folder))
        nursery.cancel_scope.cancel()


async def people(castd: Castd, nursery: trio.Nursery, art: str, past: Past) -> None:
    """Listeners who stay, who have gone, who were sent away; the song that is on."""
    for number, agent in enumerate(AGENTS * 3):
        nursery.start_soon(listen, castd.address, ("/live", "/live-low", "/long")[number % 3], agent)
    for agent in AGENTS[:4]:
        nursery.start_soon(listen, castd.address, "/live", agent, 2)
    await title(castd.address, "/live", "Aurora Ensemble - Nordlicht", art)
    await past.send(150)
    await title(castd.address, "/long", f"Ludwig van Beethoven - {LONG}")
    for ban in BANS:
        command = ["curl", "-sf", "-u", f"admin:{ADMIN_PASSWORD}", "-d", ban, f"{castd.address}/api/v1/admin/bans"]
        await trio.run_process(command, capture_stdout=True)
    login = ("admin", ADMIN_PASSWORD)
    reply = await get(f"{castd.address}/admin/listclients?mount=/long", login)
    for number in re.findall(r"<ID>(\d+)</ID>", bytes(reply.body).decode())[:2]:
        await get(f"{castd.address}/admin/killclient?mount=/long&id={number}", login)


async def main(folder: Path) -> None:
    """Take all pictures."""
    await trio.Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        media = await trio.to_thread.run_sync(make, work, (*FORMATS, AAC_LOW))
        async with Castd(work / "empty") as empty:
            await visit(work / "profile-empty", take(empty.address, EMPTY_SHOTS, folder))
        await forty(work, folder, b"".join(media["mp3"].units[:39]))

        port, art = free_port(), work / "art"
        await trio.Path(art).mkdir()
        await picture(art / "cover.png")
        serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(art), str(port)]
        async with AsyncExitStack() as running:
            nursery = await running.enter_async_context(trio.open_nursery())
            castd = await running.enter_async_context(Castd(work / "castd", SETTINGS))
            await running.enter_async_context(Program(serve, work / "pictures.log"))
            past = Past(castd, media["aac"], SONGS)
            await nursery.start(past.run)
            for mount, form in (("/live-low", AAC_LOW.name), ("/long", "flac"), ("/quiet", "aac")):
                await running.enter_async_context(encode(media[form], castd, mount, work / f"{mount[1:]}.log"))
                await live(castd, mount)
            await people(castd, nursery, f"http://127.0.0.1:{port}/cover.png", past)
            await trio.sleep(25)  # a few samples of how steadily the sources send
            for error in await visit(work / "profile", take(castd.address, SHOTS, folder)):
                print(f"on the console: {error}", file=sys.stderr)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
