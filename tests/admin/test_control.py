"""Icecast's admin endpoints: its words and statuses (captures D22-D55), and the requests real encoders send."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
import trio
import trio.testing

from castd.access.hashes import matches
from castd.access.users import read_users
from castd.config import Delivery
from castd.mount.party import Goodbye
from tests.delivery.icy import deinterleave
from tests.support import (
    ADMIN,
    SOURCE,
    TOKEN,
    Bench,
    Reply,
    Serving,
    basic,
    bench,
    canary,
    configured,
    frames,
    head,
    serving,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

BUTT = (
    b"GET /admin/metadata?mode=updinfo&mount=/live&song=Lab%20\xc3\x84rtist%20-%20S\xc3\xb6ng%20%26%201 HTTP/1.0\r\n"
    b"User-Agent: butt 0.1.37\r\nAuthorization: " + basic(*SOURCE).encode() + b"\r\nHost: 127.0.0.1:17010\r\n\r\n"
)  # fmt: skip


async def answer(
    castd: Bench | Serving, target: str, user: tuple[str, str] = ADMIN, method: str = "GET"
) -> tuple[int, str]:
    """Status and words of an admin's request: of a refusal its reason, of an answer its message and return value."""
    reply = await castd.ask(head(method, target, user=user))
    if reply.headers["content-type"].startswith("text/html"):
        return reply.status, reply.text.partition(" - ")[2].partition("</b>")[0]
    root = ElementTree.fromstring(reply.body)
    assert root.tag == "iceresponse"
    return reply.status, f"{root.findtext('message')} {root.findtext('return')}"


UPDATED = (200, "Metadata update successful 1")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/admin/nope", (400, "Unrecognised command")),
        ("/admin/metadata", (400, "Unknown admin request")),
        ("/admin/listclients", (400, "Unknown admin request")),
        ("/admin/killsource", (400, "Unknown admin request")),
        ("/admin/killclient", (400, "Unknown admin request")),
        ("/admin/metadata?mount=/nope&mode=updinfo&song=x", (400, "Source does not exist")),
        ("/admin/listclients?mount=/nope", (400, "Source does not exist")),
        ("/admin/killsource?mount=/nope", (400, "Source does not exist")),
        ("/admin/metadata?mount=/live&song=x", (400, "Missing parameter")),
        ("/admin/metadata?mount=/live&mode=foo&song=x", (200, "No such action 0")),
        ("/admin/metadata?mount=/live&mode=updinfo", UPDATED),
        ("/admin/metadata?mount=/live&mode=updinfo&song=A%20B", UPDATED),
        ("/admin/metadata?mount=live&mode=updinfo&song=x", UPDATED),
        ("/admin/metadata?mount=%2Flive&mode=updinfo&song=x", UPDATED),
        ("/admin/killclient?mount=/live", (400, "Missing parameter")),
        ("/admin/killclient?mount=/live&id=999999", (200, "Client 999999 not found 0")),
        ("/admin/killclient?mount=/live&id=" + "9" * 100, (200, f"Client {'9' * 100} not found 0")),
        ("/admin/killclient?mount=/live&id=-1", (200, "Client -1 not found 0")),
        ("/admin/killclient?mount=/live&id=%3Cb%3E%00", (200, "Client <b> not found 0")),
        ("/admin/killclient?mount=/live&id=%C2%B2", (200, "Client \N{SUPERSCRIPT TWO} not found 0")),
    ],
)
async def test_words_of_icecast(target: str, expected: tuple[int, str], autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        assert await answer(castd, target) == expected
        assert castd.mount("/live").source is not None


@pytest.mark.parametrize(
    ("query", "title", "artist"),
    [
        ("song=A+B%2BC", "A B+C", None),
        ("song=one&song=two", "two", None),
        ("song=%20%20a%20%20b%20", "a b", None),
        ("artist=The+Artist&title=A+B", "The Artist - A B", "The Artist"),
        ("title=A&artist=B&song=C", "B - A", "B"),
        ("title=&artist=&song=C", "C", None),
        ("title=A", "A", None),
        ("artist=B", "B", "B"),
        ("song=", "", None),
        ("charset=UTF-8&song=S%C3%B6ng", "S\xf6ng", None),
        ("charset=UTF%2d8&song=%d0%9f", "\u041f", None),
        ("song=S%C3%B6ng", "S\xf6ng", None),
        ("song=S%F6ng", "S\xf6ng", None),
        ("charset=ISO-8859-1&song=S%F6ng", "S\xf6ng", None),
        ("charset=ISO-8859-1&song=S%C3%B6ng", "S\xf6ng", None),
        ("charset=KOI8-R&song=%f0", "\u041f", None),
        ("charset=windows-1251&song=%cf", "\u041f", None),
        ("charset=nonsense&song=S%F6ng", "S\xf6ng", None),
        ("charset=punycode&song=S%F6ng", "S\xf6ng", None),
        ("charset=unicode_escape&song=%5cq%F6", "\\q\xf6", None),
        ("charset=hex&song=zz%F6", "zz\xf6", None),
        ("charset=%00&song=S%F6ng", "S\xf6ng", None),
        ("charset=" + "x" * 5000 + "&song=S%F6ng", "S\xf6ng", None),
    ],
)
async def test_titles(query: str, title: str, artist: str | None, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        assert await answer(castd, "/admin/metadata?mount=/live&mode=updinfo&" + query, SOURCE) == UPDATED
        mark = castd.mount("/live").timeline.title
        assert mark is not None
        assert (mark.text, mark.artist) == (title, artist)


async def test_a_song_clears_the_artist(autojump_clock: MockClock) -> None:
    update = "/admin/metadata?mount=/live&mode=updinfo&"
    async with bench() as castd, await castd.encoder("/live"):
        await answer(castd, update + "artist=The+Artist&title=A&album=C&url=http://a.test/")
        mark = castd.mount("/live").timeline.title
        assert mark is not None
        assert (mark.album, mark.url) == ("C", "http://a.test/")
        await answer(castd, update + "song=B")
        mark = castd.mount("/live").timeline.title
        assert mark is not None
        assert (mark.text, mark.artist, mark.title, mark.album, mark.url) == ("B", None, None, None, "")
        await answer(castd, update)
        assert castd.title("/live") == "B", "no song, no change"


async def test_butts_request(autojump_clock: MockClock) -> None:
    """Raw UTF-8 in the target, and its side closed before the reply."""
    async with bench() as castd, await castd.encoder("/live"), castd.connect() as butt:
        await butt.send(BUTT)
        await butt.stream.send_eof()
        reply = await butt.reply()
        assert reply.status == 200
        assert reply.body == (
            b'<?xml version="1.0"?>\n<iceresponse><message>Metadata update successful</message><return>1</return>'
            b"</iceresponse>\n"
        )
        assert await butt.rest() == b""
        assert castd.title("/live") == "Lab \xc4rtist - S\xf6ng & 1"


async def test_butt_on_a_real_socket_gone_before_the_reply() -> None:
    async with serving() as castd, await castd.encoder("/live"):
        async with await castd.connect() as butt:
            await butt.send(BUTT)
        await until(lambda: castd.title("/live") == "Lab \xc4rtist - S\xf6ng & 1")


async def test_libshouts_clients_are_challenged_first(autojump_clock: MockClock) -> None:
    """ezstream sends its title without credentials, and again with them when it has seen the challenge."""
    target = "/admin/metadata?mode=updinfo&mount=%2flive&charset=UTF%2d8&artist=Lab%20%c3%84rtist&title=S%c3%b6ng"
    async with bench() as castd, await castd.encoder("/live"):
        reply = await castd.ask(head("GET", target))
        assert (reply.status, castd.title("/live")) == (401, None)
        assert "www-authenticate" in reply.headers
        assert await answer(castd, target, SOURCE) == UPDATED
        assert castd.title("/live") == "Lab \xc4rtist - S\xf6ng"


async def test_a_wrong_password_changes_no_title(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        await answer(castd, "/admin/metadata?mount=/live&mode=updinfo&song=old")
        status, _ = await answer(castd, "/admin/metadata?mount=/live&mode=updinfo&song=new", ("source", "guess"))
        assert (status, castd.title("/live")) == (401, "old")


async def test_a_form_is_read(autojump_clock: MockClock) -> None:
    """As libshout sends it once OPTIONS told it that POST will do."""
    async with bench() as castd, await castd.encoder("/live"):
        form = b"mode=updinfo&charset=UTF-8&mount=%2flive&song=Unknown%20%2d%20S%C3%B6ng"
        fields = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(form))}
        assert (await castd.ask(head("POST", "/admin/metadata", fields) + form)).status == 401
        reply = await castd.ask(head("POST", "/admin/metadata", fields, user=SOURCE) + form)
        assert (reply.status, castd.title("/live")) == (200, "Unknown - S\N{LATIN SMALL LETTER O WITH DIAERESIS}ng")
        fields |= {"Content-Length": "70000"}
        reply = await castd.ask(head("POST", "/admin/metadata", fields, user=ADMIN) + bytes(70000))
        assert reply.status == 413
        assert await answer(castd, "/admin/metadata?mount=/live&mode=updinfo&song=x", method="POST") == UPDATED


async def test_titles_in_a_row_are_heard_in_the_stream() -> None:
    """A 4 KB title, 200 more, and one with quotes: the last wins, the blocks stand where they must."""
    config = configured(delivery=Delivery(icy_metaint=1000))
    async with serving(config) as castd, canary(castd), await castd.encoder("/live") as encoder:
        await encoder.push(10)
        await until(lambda: castd.mount("/live").ring.head > 0)
        ear = await castd.ear("/live", {"Icy-MetaData": "1"})
        assert ear.headers["icy-metaint"] == "1000"
        for title in ["a" * 4096, *map(str, range(200)), "It%27s%20%27%3BStreamUrl%3D%27http://evil/"]:
            reply = await castd.ask(head("GET", f"/admin/metadata?mount=/live&mode=updinfo&song={title}", user=SOURCE))
            assert reply.status == 200
        await encoder.push(30)
        await encoder.close()
        heard = b""
        while len(audio := deinterleave(heard, 1000)[0]) < len(frames(0, 40)):
            heard += await ear.exactly(1) + ear.received
            ear.received = b""
        audio, titles = deinterleave(heard, 1000)
        assert audio == frames(0, 40)
        told = [title for title in titles if title]
        assert (
            told[-1]
            == "StreamTitle='It's \N{RIGHT SINGLE QUOTATION MARK};StreamUrl=\N{RIGHT SINGLE QUOTATION MARK}http://evil/';"
        )


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("user", [ADMIN, SOURCE])
async def test_killsource(
    method: str, user: tuple[str, str], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd, await castd.encoder("/live") as encoder, await castd.encoder("/other"):
        assert await answer(castd, "/admin/killsource?mount=/live", user, method) == (200, "Source Removed 1")
        assert await encoder.rest() == b""
        assert castd.mount("/other").source is not None
        assert await answer(castd, "/admin/killsource?mount=/live", user) == (400, "Source does not exist")
    assert any(f"kicked by {user[0]} from 192.0.2.1" in message for message in caplog.messages)


async def test_listclients_and_killclient() -> None:
    async with serving() as castd, canary(castd), await castd.encoder("/live") as encoder:
        await encoder.push(5)
        ear = await castd.ear("/live", {"User-Agent": 'ListenerUA/1 <x>&"'})
        await until(lambda: len(castd.mount("/live").listeners) == 1)
        reply = await castd.ask(head("GET", "/admin/listclients?mount=/live", user=ADMIN))
        assert reply.headers["content-type"] == "text/xml; charset=utf-8"
        (listener_id,) = castd.mount("/live").listeners
        assert reply.text == (
            '<?xml version="1.0"?>\n<icestats><source mount="/live"><Listeners>1</Listeners><listener>'
            '<IP>127.0.0.1</IP><UserAgent>ListenerUA/1 &lt;x&gt;&amp;"</UserAgent><Connected>0</Connected>'
            f"<ID>{listener_id}</ID></listener></source></icestats>\n"
        )
        other = f"/admin/killclient?mount=/canary&id={listener_id}"
        assert await answer(castd, other) == (200, f"Client {listener_id} not found 0")
        kill = f"/admin/killclient?mount=/live&id={listener_id}"
        assert (await answer(castd, kill, SOURCE))[0] == 401
        assert await answer(castd, kill) == (200, f"Client {listener_id} removed 1")
        await ear.rest()
        assert not castd.mount("/live").listeners
        empty = (await castd.ask(head("GET", "/admin/listclients?mount=/live", user=ADMIN))).body
        assert b"<Listeners>0</Listeners></source>" in empty


async def test_a_token_is_as_good_as_the_admin(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        reply = await castd.ask(head("GET", "/admin/listclients?mount=/live", {"Authorization": f"Bearer {TOKEN}"}))
        assert reply.status == 200
        await trio.testing.wait_all_tasks_blocked()


async def test_accounts_of_listeners(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("# mine\n")
    file.chmod(0o640)
    config = replace(configured(), mounts={"/live": {"users_file": str(file)}})
    async with bench(config) as castd, await castd.encoder("/live"), await castd.encoder("/open"):

        async def manage(query: str, mount: str = "/live") -> Reply:
            return await castd.ask(head("GET", f"/admin/manageauth?mount={mount}{query}", user=ADMIN))

        assert "<return>" not in (await manage("")).text
        assert "User anna added" in (await manage("&action=add&username=anna&password=hers")).text
        assert (await manage("&action=add&username=anna&password=x")).status == 400
        assert (await manage("&action=add&username=be:n&password=x")).status == 400
        assert (await manage("&action=add&username=ben&password=")).status == 400
        assert (await manage("&action=burn&username=ben")).status == 400
        assert "<User><username>anna</username></User>" in (await manage("")).text
        assert matches("hers", read_users(str(file))["anna"])
        assert file.read_text().startswith("# mine\nanna:$argon2id$")
        assert file.stat().st_mode & 0o777 == 0o640
        assert "<return>0</return>" in (await manage("&action=delete&username=nobody")).text
        assert "User anna deleted" in (await manage("&action=delete&username=anna")).text
        assert file.read_text() == "# mine\n"
        assert (await manage("", "/open")).status == 400
        file.unlink()
        assert (await manage("&action=add&username=anna&password=hers")).status == 503


async def test_commands_as_pages_and_a_reload(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        page = await castd.ask(head("GET", "/admin/listmounts.xsl", user=ADMIN))
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "/live" in page.text
        assert (await castd.ask(head("GET", "/admin/listmounts.xsl"))).status == 401
        reply = await castd.ask(head("GET", "/admin/reloadconfig", user=ADMIN))
        assert "<message>Config reloaded</message><return>1</return>" in reply.text


async def test_stats_as_they_change(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live", {"Ice-Name": "Näme"}) as encoder:
        assert (await castd.ask(head("STATS", "/"))).status == 401
        async with castd.connect() as client:
            await client.send(head("STATS", "/", user=ADMIN))
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"
            first = (await client.until(b"EVENT /live user_agent probe/1\n")).decode().splitlines()
            assert "EVENT global stats 1" in first
            assert "EVENT /live server_name Näme" in first
            castd.mount("/live").set_title("one\ntwo")
            await encoder.push(10)
            later = (await client.until(b"title one two\n")).decode()
            assert "server_name" not in later
            await encoder.close()
            castd.server.registry.mounts.pop("/live").close(Goodbye.KICKED)
            await client.until(b"EVENT /live null null\n")
        await trio.testing.wait_all_tasks_blocked()
        reply = await castd.ask(head("GET", "/admin/stats", user=ADMIN))
        assert "<stats>0</stats><stats_connections>1</stats_connections>" in reply.text


async def test_moves_and_fallbacks_by_api() -> None:
    async with (
        serving() as castd,
        await castd.encoder("/live") as live,
        await castd.encoder("/two") as two,
        await castd.encoder("/ogg", {"Content-Type": "audio/ogg"}),
    ):
        await live.push(40)
        await two.push(40)
        await until(lambda: castd.mount("/live").begun and castd.mount("/two").begun)
        await castd.ear("/live")

        async def post(path: str, body: str) -> Reply:
            fields = {"Content-Length": str(len(body))}
            return await castd.ask(head("POST", f"/api/v1/admin/mounts/{path}", fields, user=ADMIN) + body.encode())

        for path, body, status in (
            ("live/move", '{"to": "/none"}', 404),
            ("none/move", '{"to": "/two"}', 404),
            ("live/move", '{"to": "/live"}', 400),
            ("live/move", '{"where": "/two"}', 400),
            ("live/move", '{"to": "/ogg"}', 409),
            ("live/fallback", '{"fallback": "two"}', 400),
            ("live/fallback", '{"fallback": "/live"}', 409),
            ("live/fallback", '{"fallback": "/two"}', 200),
            ("two/fallback", '{"fallback": "/live"}', 409),
        ):
            assert (await post(path, body)).status == status, (path, body)
        assert json.loads((await post("live/move", '{"to": "/two"}')).body) == {
            "mount": "/live",
            "to": "/two",
            "moved": 1,
        }
        assert [len(castd.mount(name).listeners) for name in ("/live", "/two")] == [0, 1]


async def test_who_follows_the_stats_and_resets_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as castd, await castd.encoder("/live"):
        for _ in range(5):
            client = await castd.connect()
            await client.send(head("STATS", "/", user=ADMIN))
            await client.until(b"EVENT /live user_agent probe/1\n")
            client.reset()
        reply = await castd.ask(head("GET", "/admin/stats", user=ADMIN))
        while "<stats>0</stats>" not in reply.text:
            await trio.sleep(0.02)
            reply = await castd.ask(head("GET", "/admin/stats", user=ADMIN))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
