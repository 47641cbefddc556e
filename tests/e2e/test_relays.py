"""A stream that goes through four servers: Icecast, castd, castd, Icecast; and an Icecast slave of castd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.client import Listener
from tests.e2e.media import MP3, VORBIS, Media
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.icecast import Icecast
from tests.e2e.program import until
from tests.e2e.server import SOURCE_PASSWORD, Castd, live, set_title

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe", "icecast2")]

TITLE = "Übers Meer - Teil 1"


def relay(url: str, mount: str) -> str:
    """Of castd's configuration."""
    return f'[[relays]]\nmount = "{mount}"\nurls = ["{url}{mount}"]\n'


def relay_of_icecast(url: str, mount: str) -> str:
    """Of Icecast's."""
    address = urlsplit(url)
    return (
        f"<relay><server>{address.hostname}</server><port>{address.port}</port><mount>{mount}</mount>"
        f"<local-mount>{mount}</local-mount><relay-shoutcast-metadata>1</relay-shoutcast-metadata></relay>"
    )


def from_a_frame(media: Media, heard: bytes) -> bytes:
    """What Icecast's listeners hear, from the first whole frame on: their burst begins anywhere."""
    starts = {unit[:64] for unit in media.units}
    return heard[next(at for at in range(len(heard)) if heard[at : at + 64] in starts) :]


async def test_a_chain_with_titles_at_its_end(media: Mapping[str, Media], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    mounts = ("/mp3", "/vorbis")
    async with (
        Icecast(folders[0]) as first,
        publish(media["mp3"], first, "/mp3", tmp_path / "mp3.log"),
        publish(media["vorbis"], first, "/vorbis", tmp_path / "vorbis.log"),
    ):
        for mount in mounts:
            await live(first, mount)
        async with (
            Castd(folders[1], "".join(relay(first.address, mount) for mount in mounts)) as second,
            Castd(folders[2], "".join(relay(second.address, mount) for mount in mounts)) as third,
        ):
            for mount in mounts:
                await live(third, mount)
            extra = "".join(relay_of_icecast(third.address, mount) for mount in mounts)
            async with Icecast(folders[3], extra=extra) as last:
                for mount in mounts:
                    await live(last, mount)
                async with (
                    Listener(f"{last.address}/mp3", icy=True) as listener,
                    Listener(f"{last.address}/vorbis") as other,
                ):
                    await set_title(first, "/mp3", TITLE)

                    async def titled() -> bool:
                        await listener.listen(1.0)
                        return any(TITLE in title for title in listener.titles())

                    await until(titled, seconds=30, what="the title at the end of the chain")
                    await other.listen(2.0)
                    heard = media["mp3"].find(MP3.walk(from_a_frame(media["mp3"], listener.audio())))
                    assert heard.seconds > 2.0
                    assert media["vorbis"].find(VORBIS.walk(bytes(other.reply.body))[3:]).seconds > 2.0


async def test_an_icecast_slave_of_castd(media: Mapping[str, Media], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    async with (
        Castd(folders[0]) as master,
        publish(media["mp3"], master, "/mp3", tmp_path / "mp3.log"),
    ):
        await live(master, "/mp3")
        address = urlsplit(master.address)
        extra = (
            f"<master-server>{address.hostname}</master-server><master-server-port>{address.port}</master-server-port>"
            f"<master-update-interval>2</master-update-interval><master-password>{SOURCE_PASSWORD}</master-password>"
        )
        async with Icecast(folders[1], extra=extra) as slave:
            await live(slave, "/mp3")
            async with Listener(f"{slave.address}/mp3") as listener:
                await listener.listen(4.0)
                assert media["mp3"].find(MP3.walk(from_a_frame(media["mp3"], bytes(listener.reply.body)))).seconds > 2.0
