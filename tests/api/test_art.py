"""The picture to a title: out of the stream, or fetched, once, when somebody asks."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio
from mutagen.oggopus import OggOpus

from castd.config import Art
from tests.http.test_fetch import answering, reply
from tests.support import ADMIN, Reply, Serving, configured, head, serving, until
from tests.wire.test_picture import JPEG, PNG, block, id3
from tests.wire.test_tags import FIXTURES, MP3

ART = "/api/v1/mounts/live/art"


async def set_title(castd: Serving, **fields: Any) -> dict[str, Any]:
    body = json.dumps(fields).encode()
    request = head("POST", "/api/v1/admin/mounts/live/title", {"Content-Length": str(len(body))}, user=ADMIN)
    answer = await castd.ask(request + body)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def shown(castd: Serving) -> Any:
    return json.loads((await castd.ask(head("GET", "/api/v1/mounts/live"))).body)["title"]


async def art(castd: Serving, path: str = ART, fields: dict[str, str] | None = None) -> Reply:
    return await castd.ask(head("GET", path, fields))


async def test_out_of_id3() -> None:
    async with serving() as castd, await castd.encoder("/live") as encoder:
        assert (await art(castd)).status == 404
        await encoder.send(id3((3, PNG)) + MP3 * 4)
        await until(lambda: castd.title("/live") == "Song")
        title = await shown(castd)
        for path in (ART, title["art"]):
            answer = await art(castd, path)
            assert (answer.status, answer.body) == (200, PNG)
            assert answer.headers["content-type"] == "image/png", "whatever the tag says"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
            assert answer.headers["access-control-allow-origin"] == "*"
            again = await art(castd, path, {"If-None-Match": answer.headers["etag"]})
            assert (again.status, again.body) == (304, b"")
        assert "immutable" in (await art(castd, title["art"])).headers["cache-control"]
        assert (await art(castd)).headers["cache-control"] == "no-cache"
        assert (await art(castd, f"{ART}?v=nope")).status == 404


async def test_out_of_ogg_and_gone_with_the_next_title(tmp_path: Path) -> None:
    path = tmp_path / "song.opus"
    shutil.copy(FIXTURES / "opus.opus", path)
    file = OggOpus(path)  # type: ignore[no-untyped-call]
    file["metadata_block_picture"] = [base64.b64encode(block(JPEG)).decode()]
    file.save()
    async with serving() as castd:
        encoder = await castd.encoder("/live", {"Content-Type": "audio/ogg"})
        await encoder.send(path.read_bytes())
        await until(lambda: castd.title("/live") is not None)
        first = (await shown(castd))["art"]
        assert (await art(castd, first)).body == JPEG
        await set_title(castd, text="no picture")
        assert (await shown(castd))["art"] is None
        assert (await art(castd)).status == 404
        assert (await art(castd, first)).body == JPEG, "for whoever hears it still"


async def test_fetched_once_for_all_who_ask() -> None:
    async with answering(reply(PNG)) as (url, asked), serving(configured(art=Art(private_networks=True))) as castd:
        await castd.encoder("/live")
        title = await set_title(castd, artist="A", title="B", art=f"{url}/a.png")
        assert asked == [], "before anybody asks"
        assert url not in json.dumps(title), "a listener's browser goes nowhere else"
        answers: list[Reply] = []

        async def ask() -> None:
            answers.append(await art(castd, title["art"]))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert [(each.status, each.body) for each in answers] == [(200, PNG)] * 10
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(b"<svg onload='alert(1)'/>", "Content-Type: image/png"), "it is no JPEG, PNG, GIF or WebP"),
        (reply(PNG + bytes(5000)), "larger than 4096 bytes"),
        (reply(b"", status="500 No"), "it answered 500"),
    ],
)
async def test_what_cannot_be_fetched(answer: bytes, why: str, caplog: pytest.LogCaptureFixture) -> None:
    config = configured(art=Art(private_networks=True, max_bytes=4096))
    async with answering(answer, answer) as (url, asked), serving(config) as castd:
        await castd.encoder("/live")
        await set_title(castd, text="x", art=f"{url}/a.png")
        for _ in range(3):
            refused = await art(castd)
            assert (refused.status, why in refused.text) == (502, True), refused.text
        assert len(asked) == 1, "it is not tried again at once"
        assert sum(why in message for message in caplog.messages) >= 1


async def test_nothing_is_fetched_from_within() -> None:
    async with answering(reply(PNG)) as (url, asked), serving() as castd:
        await castd.encoder("/live")
        await set_title(castd, text="x", art=f"{url}/a.png")
        refused = await art(castd)
        assert (refused.status, "not on the public internet" in refused.text) == (502, True)
        assert asked == []
