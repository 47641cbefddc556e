"""Who may listen: names and passwords, links that expire, and a web service that decides, as with Icecast."""

from __future__ import annotations

import base64
import subprocess
import time
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from castd.access.hashes import hashed, hashed_digest, matches
from castd.access.links import signed
from castd.access.url_auth import UrlAuths
from castd.access.users import QUEUE, Users, read_users
from castd.cli import main
from castd.config import Config, Current, Dj, UrlAuth
from castd.errors import ClientError
from castd.wire.form import escaped, form
from tests.stats.hooks.fakes import Service, free_port, listening, status
from tests.support import ADMIN, Ear, Serving, basic, configured, head, serving, until

YES = status("200 OK", "Icecast-Auth-User: 1\r\n")


def config(**mount: Any) -> Config:
    return replace(configured(), mounts={"/live": mount})


async def answer(castd: Serving, target: str = "/live", login: str = "", **fields: str) -> int:
    """The status of what a listener gets; those let in hang up at once."""
    async with await castd.connect() as client:
        await client.send(head("GET", target, {"Authorization": login, **fields} if login else fields))
        first = await client.until(b"\r\n")
        return int(first.split()[1])


async def on_air(castd: Serving) -> None:
    encoder = await castd.encoder("/live")
    await encoder.push(50)
    await until(lambda: castd.mount("/live").begun)


def users_file(folder: Path, *lines: str) -> str:
    path = folder / "users"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


async def test_names_and_passwords(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import bcrypt

    blowfish = bcrypt.hashpw(b"bens", bcrypt.gensalt(4)).decode()
    file = users_file(
        tmp_path,
        "# the members",
        f"anna:{hashed('annas:word')}",
        f"ben:{blowfish}",
        f"old:{hashed_digest(md5(b'olds').hexdigest())}",
        "lazy:5f4dcc3b5aa765d61d8327deb882cf99",
        f"anna:{hashed('another')}",
    )
    async with serving(config(users_file=file), seconds=30) as castd:
        await on_air(castd)
        for login, code in (
            (("anna", "annas:word"), 200),
            (("ben", "bens"), 200),
            (("old", "olds"), 200),
            (("anna", "bens"), 401),
            (("anna", ""), 401),
            (("anna", "another"), 401),
            (("lazy", "password"), 401),
            (("nobody", "x"), 401),
            (("", ""), 401),
        ):
            assert await answer(castd, login=basic(*login)) == code, login
        assert await answer(castd) == 401
        assert await answer(castd, "/live;", login=basic("anna", "x")) == 401, "by any of its names"
        assert await answer(castd, "/", **{"Icy-MetaData": "1"}) == 401, "and where old players look for it"
        assert await answer(castd, "/") == 200, "the page is for everybody"
        users_file(tmp_path, f"carla:{hashed('new')}")
        await trio.sleep(1.1)
        assert await answer(castd, login=basic("anna", "annas:word")) == 401, "taken out of the file"
        assert await answer(castd, login=basic("carla", "new")) == 200
    assert caplog.text.count("left out: no password of argon2 or bcrypt") == 1
    assert "users:5" in caplog.text
    assert "annas" not in caplog.text


async def test_a_password_that_was_right_needs_no_hash_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def counted(password: str, entry: str) -> bool:
        computed.append(password)
        return matches(password, entry)

    monkeypatch.setattr("castd.access.users.matches", counted)
    users, file = Users(), users_file(tmp_path, f"anna:{hashed('right')}")
    for _ in range(3):
        assert await users.verify(file, "anna", "right")
    for _ in range(2):
        assert not await users.verify(file, "anna", "wrong")
        assert not await users.verify(file, "nobody", "right")
    assert computed == ["right", "wrong", "right", "wrong", "right"], "unknown names take as long"


async def test_the_time_of_a_refusal_does_not_tell_which_names_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [f"$2b$04$entry{number}" for number in range(4)] + [f"$argon2id$entry{number}" for number in range(4)]
    held_against: list[str] = []

    def right(password: str, entry: str) -> bool:
        held_against.append(entry)
        return True

    monkeypatch.setattr("castd.access.users.matches", right)
    users, file = Users(), users_file(tmp_path, *(f"user{number}:{entry}" for number, entry in enumerate(entries)))
    for number in range(200):
        assert not await users.verify(file, f"nobody{number}", "right"), "not even with somebody's password"
        assert not await users.verify(file, f"nobody{number}", "again")
        assert held_against[-1] == held_against[-2], "each name has its time, as each that is there has"
    assert set(held_against) == set(entries), "of each kind there is"


async def test_bytes_that_are_no_text_are_a_wrong_password(tmp_path: Path) -> None:
    import bcrypt

    blowfish = bcrypt.hashpw(b"bens", bcrypt.gensalt(4)).decode()
    file = users_file(tmp_path, f"anna:{hashed('word')}", f"ben:{blowfish}")
    half = b"\xed\xa0\x80"  # of a surrogate pair
    async with serving(config(users_file=file), seconds=30) as castd:
        await on_air(castd)
        for login in (b"anna:\xff\xfe", b"ben:\xff\xfe", b"ben:\0", b"\xff:\xff", b"ben:" + half, b"nobody:" + half):
            field = "Basic " + base64.b64encode(login).decode()
            assert await answer(castd, login=field) == 401, login
            assert (await castd.ask(head("GET", "/admin/stats", {"Authorization": field}))).status == 401, login


async def test_passwords_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(password: str, entry: str) -> bool:
        time.sleep(0.001)
        return True

    monkeypatch.setattr("castd.access.users.matches", slow)
    users, file = Users(), users_file(tmp_path, f"anna:{hashed('right')}")
    refused = 0

    async def sign_in(password: str) -> None:
        nonlocal refused
        try:
            await users.verify(file, "anna", password)
        except ClientError as error:
            refused += error.status == 503

    await users.verify(file, "anna", "first")
    async with trio.open_nursery() as nursery:
        for number in range(QUEUE + 10):
            nursery.start_soon(sign_in, str(number))
    assert refused == 10


async def test_the_oldest_of_a_users_listeners_gives_way(tmp_path: Path) -> None:
    file = users_file(tmp_path, f"anna:{hashed('a')}", f"ben:{hashed('b')}")
    async with serving(config(users_file=file, max_sessions_per_user=2)) as castd:
        await on_air(castd)
        ears: list[Ear] = []
        for user, password in (("anna", "a"), ("ben", "b"), ("anna", "a"), ("anna", "a")):
            ears.append(await castd.ear("/live", {"Authorization": basic(user, password)}))
        here = castd.mount("/live")
        assert sorted(each.user for each in here.listeners.values()) == ["anna", "anna", "ben"]
        await ears[0].rest()
        visit = castd.server.records.recent[0]
        assert (visit.user, visit.reason, visit.ended_by) == ("anna", "limit", "anna")


async def test_a_users_own_old_listener_does_not_make_a_mount_full(tmp_path: Path) -> None:
    file = users_file(tmp_path, f"anna:{hashed('a')}", f"ben:{hashed('b')}")
    async with serving(config(users_file=file, max_sessions_per_user=1, max_listeners=1)) as castd:
        await on_air(castd)
        for _ in range(2):
            await castd.ear("/live", {"Authorization": basic("anna", "a")})
        assert await answer(castd, login=basic("ben", "b")) == 503


async def test_the_first_who_come_at_once_wait_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(path: str) -> dict[str, str]:
        time.sleep(0.1)
        return read_users(path)

    monkeypatch.setattr("castd.access.users.read_users", slowly)
    users, file, right = Users(), users_file(tmp_path, f"anna:{hashed('a')}"), list[bool]()

    async def sign_in() -> None:
        right.append(await users.verify(file, "anna", "a"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(sign_in)
    assert right == [True] * 5


def test_a_users_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_users(str(tmp_path / "none"))


def test_the_command_makes_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("the word\n"))
    assert main(["password", "anna"]) == 0
    user, _, entry = capsys.readouterr().out.strip().partition(":")
    assert user == "anna"
    assert matches("the word", entry)
    assert main(["password", "an:na"]) == 2


async def test_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soon = int(time.time()) + 100
    async with serving(config(link_key="the key")) as castd:
        await on_air(castd)
        for target, code in (
            (signed("the key", "/live", soon), 200),
            (signed("the key", "/live", soon, "anna"), 200),
            (signed("the key", "/live", soon, "anna").replace("user=anna", "user=ben"), 403),
            (signed("the key", "/live", soon).replace(str(soon), str(soon + 1)), 403),
            (signed("the key", "/other", soon).replace("/other", "/live"), 403),
            (signed("another", "/live", soon), 403),
            (signed("the key", "/live", int(time.time()) - 1), 403),
            ("/live?signature=x", 403),
            ("/live?expires=%D9%A1&signature=x", 403),
            ("/live", 403),
        ):
            assert await answer(castd, target) == code, target
        file = tmp_path / "castd.toml"
        file.write_text('[mounts."/live"]\nlink_key = "the key"\n')
        file.chmod(0o600)
        assert main(["link", "-c", str(file), "/live", "--user", "anna", "--hours", "1"]) == 0
        link = urlsplit(capsys.readouterr().out.strip())
        assert await answer(castd, f"{link.path}?{link.query}") == 200
        assert main(["link", "-c", str(file), "/other"]) == 2


def test_openssl_makes_the_same_signature() -> None:
    """As docs/auth.md says."""
    command = ["openssl", "dgst", "-sha256", "-hmac", "the key"]
    made = subprocess.run(command, input=b"/live\n1800000000\nanna", capture_output=True, check=True).stdout
    assert made.split()[-1].decode() in signed("the key", "/live", 1_800_000_000, "anna")


def hooked(service: Service | int, *, actions: str = "listener_add listener_remove", **more: Any) -> Config:
    port = service if isinstance(service, int) else service.port
    urls: dict[str, Any] = {action: f"http://127.0.0.1:{port}/{action}" for action in actions.split()}
    return replace(config(url_auth="panel"), url_auth=(UrlAuth(name="panel", **(urls | more)),))


async def test_a_service_is_asked_and_told_as_icecast_does() -> None:
    """The bodies of capture E28, but for host, port and number."""
    async with listening(YES, YES) as service:
        hooks = hooked(service, client_headers=("x-pragma", "x-token", "x-none"))
        async with serving(hooks) as castd:
            await on_air(castd)
            fields = {"Authorization": basic("lu", "lp"), "User-Agent": "UA/1 x", "X-Pragma": "pr", "X-Token": "tk"}
            async with await castd.connect() as client:
                await client.send(head("GET", "/live?tok=1&b=2", fields))
                assert (await client.until(b"\r\n")).startswith(b"HTTP/1.0 200 OK")
                await until(lambda: len(castd.mount("/live").listeners) == 1)
                [number] = castd.mount("/live").listeners
                listed = await castd.ask(head("GET", "/admin/listclients?mount=/live", user=ADMIN))
                assert f"<ID>{number}</ID>" in listed.text
            await until(lambda: len(service.received) == 2)
            server = castd.server.config.server.hostname
            asked, told = service.received
            where = f"server={escaped(server)}&port={castd.server.config.listen[0].port}&client={number}"
            who = "mount=%2flive%3ftok%3d1%26b%3d2&user=lu&pass=lp"
            at = "ip=127%2e0%2e0%2e1&agent=UA%2f1%20x"
            shown = "ClientHeader.x-pragma=pr&ClientHeader.x-token=tk"
            assert asked.first == "POST /listener_add HTTP/1.1"
            assert asked.body.decode() == f"action=listener_add&{where}&{who}&{at}&{shown}"
            assert asked.headers["authorization"] == "Basic bHU6bHA="
            assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
            assert told.first == "POST /listener_remove HTTP/1.1"
            assert told.body.decode() == f"action=listener_remove&{where}&{who}&duration=0&{at}"


async def test_nobody_without_a_name_is_nobody() -> None:
    async with listening(YES) as service, serving(hooked(service)) as castd:
        await on_air(castd)
        async with await castd.connect() as client:
            await client.send(head("GET", "/live", {"User-Agent": ""}))
            await client.until(b"\r\n")
        assert service.received[0].headers["authorization"] == "Basic Og=="
        assert service.received[0].body.decode().partition("&user=")[2] == "&pass=&ip=127%2e0%2e0%2e1&agent=-"


@pytest.mark.parametrize(
    "no",
    [
        status("200 OK", "icecast-auth-user: 0\r\nicecast-auth-message: not you\r\n"),
        status("200 OK", "icecast-auth-message: not you\r\n"),
        status("200 OK", "icecast-auth-user: 1x\r\nicecast-auth-message: not you\r\n"),
        status("403 No", "icecast-auth-user: 1\r\nicecast-auth-message: not you\r\n"),
    ],
)
async def test_a_service_says_no(no: bytes) -> None:
    async with listening(no) as service, serving(hooked(service)) as castd:
        await on_air(castd)
        reply = await castd.ask(head("GET", "/live"))
        assert (reply.status, "not you" in reply.text) == (401, True)
        await trio.sleep(0.05)
        assert len(service.received) == 1, "who was not let in has not left"


async def test_a_service_limits_the_time() -> None:
    yes = status("200 OK", "icecast-auth-user: 1\r\nicecast-auth-timelimit: 1\r\n")
    async with listening(yes) as service, serving(hooked(service)) as castd:
        await on_air(castd)
        begun = trio.current_time()
        ear = await castd.ear("/live")
        await ear.rest()
        assert 0.9 < trio.current_time() - begun < 4.0
        await until(lambda: len(service.received) == 2)
        assert b"duration=1" in service.received[1].body or b"duration=2" in service.received[1].body
        assert castd.server.records.recent[0].reason == "limit"


async def dawdle(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def hang_up(stream: trio.SocketStream) -> None:
    return


@pytest.mark.parametrize(("when", "code"), [("refuse", 503), ("allow", 200)])
async def test_a_service_that_is_slow_or_away(when: str, code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        listening(dawdle, hang_up, b"nonsense\r\n\r\n") as service,
        serving(hooked(service, timeout_seconds=0.2, when_unreachable=when)) as castd,
    ):
        await on_air(castd)
        for _ in range(3):
            with trio.fail_after(15):
                assert await answer(castd) == code
    async with serving(hooked(free_port(), timeout_seconds=0.2, when_unreachable=when)) as castd:
        await on_air(castd)
        assert await answer(castd) == code
    assert caplog.text.count("panel ") >= 4


async def test_a_service_that_is_slow_costs_nobody_else_anything() -> None:
    async with listening(*[dawdle] * 100) as service:
        two = hooked(service, timeout_seconds=15.0)
        async with serving(two) as castd, await castd.encoder("/open") as other, trio.open_nursery() as nursery:
            await on_air(castd)
            await other.push(50)
            for _ in range(90):
                nursery.start_soon(answer, castd)
            await trio.sleep(0.1)
            with trio.fail_after(10):
                assert await answer(castd, "/open") == 200
            nursery.cancel_scope.cancel()


async def test_it_is_told_again_until_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castd.access.url_auth.TRIES_SECONDS", (0.0, 0.01, 0.01))
    async with listening(YES, hang_up, status("500 Oh"), YES) as service, serving(hooked(service)) as castd:
        await on_air(castd)
        assert await answer(castd) == 200
        await until(lambda: len(service.received) == 4)
        assert {each.first for each in service.received[1:]} == {"POST /listener_remove HTTP/1.1"}


async def test_what_is_untold_is_told_before_the_server_ends() -> None:
    async with listening() as service, trio.open_nursery() as nursery:
        actions = "mount_add mount_remove"
        auths = UrlAuths(Current(hooked(service, actions=actions)), lambda: 1, trio.current_time)
        for came in (True, False):
            auths.source_changed("/live", came=came)
        nursery.start_soon(auths.run)
        await auths.finish()
        nursery.cancel_scope.cancel()
    assert [each.first.split()[1] for each in service.received] == ["/mount_add", "/mount_remove"]


async def test_a_refusal_after_the_service_said_yes_is_told_too() -> None:
    async with listening(YES) as service:
        full = hooked(service)
        full = replace(full, mounts={"/live": {"url_auth": "panel", "max_listeners": 1}})
        async with serving(full) as castd:
            await on_air(castd)
            ear = await castd.ear("/live")
            service.answers.append(YES)
            assert (await castd.ask(head("GET", "/live"))).status == 503
            await until(lambda: len(service.received) == 3)
            assert service.received[2].first == "POST /listener_remove HTTP/1.1"
            await ear.close()


async def test_a_service_decides_who_may_send() -> None:
    actions = "stream_auth mount_add mount_remove"
    no = status("200 OK", "icecast-auth-message: off air today\r\n")
    async with listening(no, YES) as service, serving(hooked(service, actions=actions)) as castd:
        refused = await castd.ask(head("PUT", "/live", user=("anna", "wrong")))
        assert (refused.status, "off air today" in refused.text) == (401, True)
        encoder = await castd.encoder("/live", user=("anna", "her word"))
        await until(lambda: len(service.received) == 3)
        service.answers.append(YES)
        title = head("GET", "/admin/metadata?mode=updinfo&mount=/live&song=x", user=("anna", "her word"))
        assert (await castd.ask(title)).status == 200
        await encoder.close()
        await until(lambda: len(service.received) == 5)
        server, port = escaped(castd.server.config.server.hostname), castd.server.config.listen[0].port
        bodies = [each.body.decode() for each in service.received]
        login = f"mount=%2flive&ip=127%2e0%2e0%2e1&server={server}&port={port}&user=anna&pass=her%20word"
        assert bodies[1] == f"action=stream_auth&{login}"
        assert bodies[2] == f"action=mount_add&mount=%2flive&server={server}&port={port}"
        assert bodies[3] == f"action=stream_auth&{login}&admin=1"
        assert bodies[4] == f"action=mount_remove&mount=%2flive&server={server}&port={port}"
        asked = len(service.received)
        assert (await castd.ask(head("GET", "/admin/killsource?mount=/live", user=ADMIN))).status in (200, 400)
        assert len(service.received) == asked, "the admin needs nobody's leave"


async def test_of_several_encoders_at_a_mount_the_first_comes_and_the_last_goes() -> None:
    dj = Dj(user="ben", password="bens", priority=5)
    async with listening() as service:
        both = replace(hooked(service, actions="mount_add mount_remove"), djs=(dj,))
        async with serving(both) as castd:
            first = await castd.encoder("/live")
            second = await castd.encoder("/live", user=("ben", "bens"))
            await first.close()
            await until(lambda: len(castd.mount("/live").sources) == 1)
            assert [each.first.split()[1] for each in service.received] == ["/mount_add"]
            await second.close()
            await until(lambda: len(service.received) == 2)
            assert service.received[1].first.split()[1] == "/mount_remove"


def test_the_form_is_icecasts() -> None:
    assert form({"agent": "UA/1 x", "é": "ü"}) == "agent=UA%2f1%20x&é=%c3%bc"
    assert parse_qs(form({"pass": "a&b=c+d%"})) == {"pass": ["a&b=c+d%"]}
