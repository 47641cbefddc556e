"""The configuration: what is accepted, what is refused and in which words, and the reference file."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from castd.config import (
    Auth,
    Config,
    Delivery,
    Listen,
    MountSettings,
    Proxies,
    load,
    mount_name,
    reference_config,
    share,
)
from castd.config import loader as loader_module
from castd.config.model import Limits, Server
from castd.config.names import MAX_NAME_BYTES
from castd.config.reader import PLAIN_SECTIONS
from castd.config.schema import keys
from castd.errors import ConfigError

Write = Callable[[str], Path]

HOME = {"HOME": "/home/radio"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a castd.toml that only its owner may read."""

    def write_text(text: str) -> Path:
        path = tmp_path / "castd.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    return write_text


def refusal(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    """The lines of the ConfigError that loading raises."""
    with pytest.raises(ConfigError) as caught:
        load(path, {**HOME, **(environ or {})})
    return str(caught.value).splitlines()


# Defaults and the reference


def test_without_a_file_everything_is_default() -> None:
    config = load(None, {**HOME, "STATE_DIRECTORY": "/var/lib/private/castd:/other"})
    assert config == Config(server=Server(state_dir="/var/lib/private/castd"))


def test_an_empty_file_is_a_working_one(write: Write) -> None:
    assert load(write(""), HOME) == load(None, HOME)


def test_the_reference_equals_the_defaults() -> None:
    config = load(reference_config(), HOME)
    assert config == dataclasses.replace(load(None, HOME), mounts={"default": {}})
    assert config.mount("/any") == load(None, HOME).mount("/any")


def test_the_reference_shows_every_key_and_no_other() -> None:
    tables = tomllib.loads(reference_config().read_text("utf-8"))
    shown = {name: set(table) for name, table in tables.items() if name in PLAIN_SECTIONS}
    assert shown == {name: set(keys(kind)) for name, kind in PLAIN_SECTIONS.items()}
    assert [set(each) for each in tables["listen"]] == [set(keys(Listen))]
    assert set(tables) == {*PLAIN_SECTIONS, "listen", "mounts"}


def test_the_references_commented_keys_of_mounts_are_all_keys_at_their_defaults(write: Write) -> None:
    section = reference_config().read_text("utf-8").partition("\n[mounts.default]\n")[2]
    commented = re.findall(r"^# (\w+ = .*)$", section, re.MULTILINE)
    assert {line.partition(" ")[0] for line in commented} == set(keys(MountSettings))
    shown = load(write("[mounts.default]\n" + "\n".join(commented)), HOME).mount("/any")
    assert dataclasses.replace(shown, public=None) == Config().mount("/any")


def test_the_references_example_of_a_mount_works(write: Write) -> None:
    example = reference_config().read_text("utf-8").partition('#     [mounts."/talk"]')
    text = "".join(example[1:]).replace("#     ", "")
    assert load(write(text), HOME).mount("/talk").burst_seconds == 1.0


def test_shipped_files_are_found() -> None:
    assert (share("web") / "index.html").is_file()
    assert reference_config().name == "castd.toml"


def test_an_incomplete_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castd.config.shipped.PACKAGE", tmp_path / "castd")
    with pytest.raises(FileNotFoundError, match="installed incompletely"):
        share("web")
    (tmp_path / "castd" / "share").mkdir(parents=True)
    (tmp_path / "castd" / "share" / "castd.toml").touch()
    assert reference_config() == tmp_path / "castd" / "share" / "castd.toml"


# What is refused: one row for each mistake, and what the message must say

REFUSED = [
    ("unknown key", "[server]\nhostnam = 'x'", ["server.hostnam", "unknown key", "did you mean hostname?"]),
    ("nothing near", "[server]\nzzz = 1", ["server.zzz", "known: hostname, location"]),
    ("unknown section", "[limit]\n", ["limit: unknown section", "did you mean limits?"]),
    ("key of another section", "[server]\nport = 1", ["server.port", "port belongs to [[listen]]"]),
    ("key without section", "burst_seconds = 3", ["burst_seconds", "belongs to [delivery]"]),
    ("odd key", '[server]\n"a b" = 1', ['server."a b": unknown key']),
    ("section not a table", "server = 3", ["server = 3", "must be a table, [server]"]),
    ("listen in single brackets", "[listen]\nport = 1", ["listen = a table", "double brackets"]),
    ("listen a number", "listen = 8000", ["listen = 8000", "double brackets"]),
    ("no listen", "listen = []", ["double brackets"]),
    ("mounts a list", "mounts = [1]", ["mounts = a list", "must be a table, [mounts]"]),
    ("mount not a table", "[mounts]\nlive = 3", ["mounts.live = 3", "must be a table"]),
    ("text for a number", "[limits]\nmax_listeners = '9'", ['limits.max_listeners = "9"', "number, 1 to 10,000,000"]),
    ("fraction for a whole number", "[limits]\nmax_listeners = 1.5", ["limits.max_listeners = 1.5", "a whole number"]),
    ("truth for a number", "[limits]\nmax_listeners = true", ["limits.max_listeners = true", "a whole number"]),
    ("truth for seconds", "[limits]\ndrain_seconds = true", ["limits.drain_seconds = true", "0 to 3,600 seconds"]),
    ("number for text", "[server]\nlocation = 3", ["server.location = 3", "must be text"]),
    ("number for truth", "[mounts.default]\nhidden = 1", ["mounts.default.hidden = 1", "must be true or false"]),
    ("a date", "[server]\nlocation = 2026-01-31", ["server.location = 2026-01-31"]),
    ("nan", "[limits]\ndrain_seconds = nan", ["limits.drain_seconds = nan", "0 to 3,600 seconds"]),
    ("infinity", "[limits]\ndrain_seconds = inf", ["limits.drain_seconds = inf"]),
    ("1e9", "[limits]\nheader_timeout_seconds = 1e9", ["limits.header_timeout_seconds = 1000000000.0"]),
    ("timeout 0", "[limits]\nheader_timeout_seconds = 0", ["limits.header_timeout_seconds = 0", "0.1 to 600 seconds"]),
    ("negative", "[limits]\nmax_sources = -1", ["limits.max_sources = -1"]),
    ("huge hexadecimal", f"[limits]\nmax_sources = 0x{'f' * 5000}", ["limits.max_sources = a huge number"]),
    ("huge decimal", f"[limits]\nmax_sources = {'9' * 5000}", ["castd.toml"]),
    ("port 70000", "[[listen]]\nport = 70000", ["listen.port = 70000", "0 to 65,535"]),
    ("second port", "[[listen]]\n[[listen]]\nport = -1", ["listen[2].port = -1"]),
    ("port twice", "[[listen]]\n[[listen]]\nport = 8000", ["listen[2]", "the same address and port"]),
    ("host with port", "[[listen]]\nhost = 'a:80'", ["listen.host", "without brackets or port"]),
    ("host in brackets", "[[listen]]\nhost = '[::1]'", ["listen.host", "without brackets"]),
    ("hostname a URL", "[server]\nhostname = 'http://x'", ["server.hostname", "without port or scheme"]),
    ("control character", '[server]\nlocation = "a\\nb"', ['"a\\nb"', "control characters"]),
    ("long text", f"[server]\nlocation = '{'x' * 1001}'", ["at most 1000 characters", "xxx..."]),
    ("colon in user", "[auth]\nsource_user = 'a:b'", ["auth.source_user", 'without ":"']),
    ("host not an address", "[[listen]]\nhost = '1::2::3'", ["listen.host"]),
    ("no user", "[auth]\nadmin_user = ''", ["auth.admin_user", "1 to 100 characters"]),
    ("text for a list", "[proxies]\ntrusted = '::1'", ['proxies.trusted = "::1"', "must be a list, each an IP"]),
    ("wrong in a list", "[proxies]\ntrusted = ['::1', '10.0.0']", ['trusted = ["::1", "10.0.0"]: "10.0.0" must be']),
    ("number in a list", "[proxies]\ntrusted = [7]", ["proxies.trusted = [7]: 7 must be an IP address"]),
    ("list in a list", "[proxies]\ntrusted = [['::1']]", ["proxies.trusted = [a list]: a list must be"]),
    ("host bits", "[proxies]\ntrusted = ['10.0.0.1/8']", ['"10.0.0.1/8" must be', "only zeros after its prefix"]),
    ("a name is no network", "[proxies]\ntrusted = ['proxy.local']", ['"proxy.local" must be an IP address']),
    ("a scope", "[proxies]\ntrusted = ['fe80::1%eth0']", ['"fe80::1%eth0" must be an IP address']),
    ("list for text", "[proxies]\nheader = ['forwarded']", ["proxies.header = a list: must be the name of a header"]),
    ("no field name", "[proxies]\nheader = 'x real ip'", ['proxies.header = "x real ip"', 'or "" for none']),
    ("PROXY from nobody", "[[listen]]\nproxy_protocol = true", ["nobody could connect while proxies.trusted is empty"]),
    ("port twice, told apart", "[[listen]]\n[[listen]]\nproxy_protocol = true", ["listen[2]", "the same address"]),
    ("NUL in a path", '[server]\nstate_dir = "a\\u0000"', ["server.state_dir", "a path"]),
    ("hackme", "[auth]\nsource_password = 'hackme'", ["auth.source_password: must be", '"hackme"']),
    ("changeme", "[auth]\nadmin_password = ' ChangeMe'", ["auth.admin_password: must be"]),
    ("hackme of a mount", "[mounts.a]\nsource_password = 'hackme'", ["mounts.a.source_password: must be"]),
    ("secret and file", "[auth]\nadmin_token = 'x'\nadmin_token_file = 'y'", ["auth.admin_token and auth.admin_"]),
    ("no such file", "[auth]\nadmin_token_file = 'none'", ["auth.admin_token_file = ", "No such file"]),
    ("file is a directory", "[auth]\nadmin_token_file = '/'", ['auth.admin_token_file = "/"', "Is a directory"]),
    ("policy", "[delivery]\nlag_policy = 'junp'", ['delivery.lag_policy = "junp"', '"jump" or "drop"']),
    ("small ring", "[delivery]\nring_bytes = 65535", ["delivery.ring_bytes = 65535", "65,536 to"]),
    ("bad mount key", '[mounts."/a"]\nburst_sec = 1', ['mounts."/a".burst_sec: unknown key', "mean burst_seconds?"]),
    ("mount twice", '[mounts.live]\n[mounts."/live"]', ['mounts."/live": the same mount as mounts.live']),
    ("mount twice, encoded", '[mounts."/é"]\n[mounts."/%c3%a9"]', ["the same mount as"]),
    ("reserved mount", '[mounts."/admin/x"]', ['mounts."/admin/x": the name is one of castd\'s own pages']),
    ("mount with query", '[mounts."/a?b"]', ["the name holds ?"]),
    ("dot in a mount", "[mounts.live.mp3]\nname = 'x'", ["mounts.live.mp3: unknown key; quote a mount's name"]),
    ("burst > ring", "[delivery]\nburst_seconds = 99", ["burst_seconds = 99.0: must be at most"]),
    ("lag = ring", "[delivery]\nlag_seconds = 60", ["lag_seconds = 60.0: must be less than delivery.ring_"]),
    ("lag < burst", "[delivery]\nlag_seconds = 3", ["lag_seconds = 3.0: must be more than delivery.burst_seconds"]),
    ("intervals", "[delivery]\nsend_interval_min_seconds = 2", ["must be at most delivery.send_interval_max_"]),
    ("interval and burst", "[delivery]\nburst_seconds = 1", ["at most half of delivery.burst_seconds = 1.0"]),
    ("a mount's burst", "[mounts.a]\nburst_seconds = 1", ['"/a".send_interval_max_seconds = 1.0 (from delivery)']),
    ("default's ring", "[mounts.default]\nring_seconds = 9", ["mounts.default.lag_seconds = 20.0 (from delivery)"]),
    ("over the default", "[mounts.default]\nlag_seconds = 7\n[mounts.a]\nburst_seconds = 8", ["(from mounts.default)"]),
    ("section twice", "[listen]\n[[listen]]", ["castd.toml:2: Cannot"]),
    ("syntax", "[server]\nhostname = \n", ["castd.toml:2: Invalid value"]),
    ("syntax at the end", "[server]\nhostname = 'x", ["castd.toml:2: "]),
    ("key twice", "[server]\nlocation = 'a'\nlocation = 'b'", ["castd.toml:3: "]),
    ("deep nesting", f"x = {'[' * 5000}", ["castd.toml", "not usable as TOML"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(write: Write, text: str, words: list[str]) -> None:
    path = write(text)
    message = "\n".join(refusal(path))
    assert message.startswith(str(path))
    for word in words:
        assert word in message


def test_all_mistakes_are_told_together(write: Write) -> None:
    path = write("[server]\nhostnam = 'x'\n[limits]\nmax_sources = 0\n[delivery]\nburst_seconds = 99\n[colour]\n")
    lines = refusal(path, {"CASTD_LIMITS__DRAIN_SECONDS": "soon"})
    assert len(lines) == 6  # burst_seconds is too much for ring_seconds and for lag_seconds
    assert sum(line.startswith("environment: ") for line in lines) == 1


def test_a_wrong_value_brings_no_contradictions_along(write: Write) -> None:
    assert len(refusal(write("[delivery]\nburst_seconds = 90\nring_seconds = 'long'\nlag_seconds = 95"))) == 1


@pytest.mark.parametrize(
    "text", ["source_password = 1234567", "source_password = 'hidden\\u0007'", "sauce_password = 'hidden'"]
)
def test_secrets_are_never_told(write: Write, text: str) -> None:
    message = "\n".join(refusal(write(f"[auth]\n{text}".replace("'", '"'))))
    assert "hidden" not in message
    assert "1234567" not in message


def test_secrets_are_not_in_repr(write: Write) -> None:
    config = load(write("[auth]\nsource_password = 'veiled-1'\n[mounts.a]\nsource_password = 'veiled-2'"), HOME)
    assert "veiled" not in repr(config)
    assert "veiled" not in repr(config.mount("/a"))


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "castd.toml"
    path.write_bytes(b"[server]\nlocation = '\xff'\n")
    assert refusal(path) == [f"{path}:2: not UTF-8 text"]


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "castd.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\nlocation = 'Mars'\n")
    assert load(path, HOME).server.location == "Mars"


def test_no_file_and_no_regular_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none")[0]
    assert "Is a directory" in refusal(tmp_path)[0]
    assert "larger than" in refusal(Path("/dev/zero"))[0]


# Secrets in files


def test_a_secret_from_a_file_beside_the_configuration(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim ö \r\n", encoding="utf-8")
    auth = load(write("[auth]\nadmin_password_file = 'secret'"), HOME).auth
    assert auth == Auth(admin_password="geheim ö ", admin_password_file=str(tmp_path / "secret"))


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"hackme\n", b"two\nlines\n"])
def test_a_useless_secret_file(write: Write, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    (line,) = refusal(write("[mounts.a]\nsource_password_file = 'secret'"))
    assert f'mounts.a.source_password_file = "{tmp_path}/secret": ' in line
    assert "lines" not in line.partition("without")[0]


def test_the_environment_replaces_a_secret_and_its_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file")
    by_file = write("[auth]\nadmin_token_file = 'secret'")
    assert load(by_file, {**HOME, "CASTD_AUTH__ADMIN_TOKEN": "x"}).auth == Auth(admin_token="x")
    by_value = write("[auth]\nadmin_token = 'x'")
    auth = load(by_value, {**HOME, "CASTD_AUTH__ADMIN_TOKEN_FILE": str(tmp_path / "secret")}).auth
    assert auth == Auth(admin_token="from the file", admin_token_file=str(tmp_path / "secret"))


@pytest.mark.parametrize("text", ["[auth]\nadmin_token = 'x'", "[mounts.a]\nsource_password = 'x'"])
def test_readable_passwords_bring_a_warning(write: Write, caplog: pytest.LogCaptureFixture, text: str) -> None:
    path = write(text)
    load(path, HOME)
    assert not caplog.records
    path.chmod(0o644)
    load(path, HOME)
    assert "every user of this machine" in caplog.text


def test_a_readable_file_without_passwords_is_fine(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(
        "[auth]\nsource_password_file = '/dev/null'\n[server]\nlocation = 'Mars'".replace("/dev/null", __file__)
    )
    path.chmod(0o644)
    assert "source_password_file" in refusal(path)[0]  # this file has many lines
    assert not caplog.records


# The environment


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("CASTD_SERVER__HOSTNAME", "radio.example.org", lambda config: config.server.hostname),
        ("CASTD_SERVER__STATE_DIR", "/srv/state", lambda config: config.server.state_dir),
        ("CASTD_AUTH__SOURCE_PASSWORD", "pässword", lambda config: config.auth.source_password),
        ("CASTD_LIMITS__MAX_LISTENERS", "7", lambda config: str(config.limits.max_listeners)),
        ("CASTD_DELIVERY__BURST_SECONDS", "2.5", lambda config: str(config.delivery.burst_seconds)),
        ("CASTD_DELIVERY__LAG_POLICY", "drop", lambda config: config.mount("/x").lag_policy),
        ("CASTD_MOUNTS__DEFAULT__GENRE", "jazz", lambda config: config.mount("/x").genre),
        ("CASTD_MOUNTS__DEFAULT__PUBLIC", "False", lambda config: str(config.mount("/x").public)),
        ("CASTD_LISTEN__HOST", "::1", lambda config: config.listen[0].host),
        ("CASTD_LISTEN__PORT", "0", lambda config: str(config.listen[0].port)),
    ],
)
def test_environment(variable: str, text: str, read: Callable[[Config], str]) -> None:
    assert read(load(None, {**HOME, variable: text})) == text


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ()),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("127.0.0.1,::1", ("127.0.0.1", "::1")),
        (" 127.0.0.1 , ::1 ,", ("127.0.0.1", "::1")),
    ],
)
def test_a_list_in_the_environment_has_commas(write: Write, text: str, networks: tuple[str, ...]) -> None:
    path = write("[proxies]\ntrusted = ['192.0.2.1']\nheader = ''")
    assert load(path, HOME).proxies == Proxies(trusted=("192.0.2.1",), header="")
    assert load(path, {**HOME, "CASTD_PROXIES__TRUSTED": text}).proxies == Proxies(trusted=networks, header="")


def test_a_wrong_network_alone_is_told_where_the_proxy_protocol_needs_one(write: Write) -> None:
    assert len(refusal(write("[[listen]]\nproxy_protocol = true\n[proxies]\ntrusted = ['nobody']"))) == 1


def test_the_environment_goes_before_the_file(write: Write) -> None:
    path = write("[limits]\nmax_sources = 5\nmax_listeners = 6\n[[listen]]\nhost = '::1'\n[[listen]]\nport = 1")
    config = load(path, {**HOME, "CASTD_LIMITS__MAX_SOURCES": "9", "CASTD_LISTEN__PORT": "80", "OTHER": "x"})
    assert config.limits == Limits(max_sources=9, max_listeners=6)
    assert config.listen == (Listen(port=80),)


@pytest.mark.parametrize(
    ("variable", "text", "word"),
    [
        ("CASTD_LIMITS__MAX_LISTENER", "1", "did you mean CASTD_LIMITS__MAX_LISTENERS?"),
        ("CASTD_LIMITS_MAX_LISTENERS", "1", "did you mean CASTD_LIMITS__MAX_LISTENERS?"),
        ("CASTD_LIMITS__MAX_LISTENERS", "", 'CASTD_LIMITS__MAX_LISTENERS = "": must be a whole number'),
        ("CASTD_LIMITS__MAX_LISTENERS", "9" * 5000, "must be a whole number"),
        ("CASTD_LIMITS__DRAIN_SECONDS", "nan", 'CASTD_LIMITS__DRAIN_SECONDS = "nan"'),
        ("CASTD_MOUNTS__DEFAULT__HIDDEN", "yes", "must be true or false"),
        ("CASTD_MOUNTS__DEFAULT__NAME", "\udcff", "\\udcff"),
        ("CASTD_AUTH__SOURCE_PASSWORD", "hackme", "CASTD_AUTH__SOURCE_PASSWORD: must be"),
        ("CASTD_AUTH__SOURCE_PASSWORD_FILE", "/none", 'CASTD_AUTH__SOURCE_PASSWORD_FILE = "/none": cannot be read'),
        ("CASTD_DELIVERY__BURST_SECONDS", "90", "environment: delivery.burst_seconds = 90.0: must be at most"),
        ("CASTD_LISTEN__HOST", "a b", "without brackets or port"),
        ("CASTD_PROXIES__TRUSTED", "::1, nobody", '__TRUSTED = "::1, nobody": "nobody" must be an IP address'),
    ],
)
def test_environment_refused(variable: str, text: str, word: str) -> None:
    message = "\n".join(refusal(None, {variable: text}))
    assert message.startswith("environment: ")
    assert word in message


def test_variables_of_orchestrators_are_not_ours() -> None:
    foreign = ("CASTD_SERVICE_HOST", "CASTD_SERVICE_PORT_HTTP", "CASTD_PORT", "CASTD_PORT_8000_TCP_ADDR", "CASTD_NAME")
    assert load(None, {**HOME, **dict.fromkeys(foreign, "x")}) == load(None, HOME)


# Where state is kept


@pytest.mark.parametrize(
    ("environ", "user", "expected"),
    [
        (HOME, 1000, "/home/radio/.local/state/castd"),
        ({**HOME, "XDG_STATE_HOME": "/state"}, 1000, "/state/castd"),
        ({**HOME, "XDG_STATE_HOME": "relative"}, 1000, "/home/radio/.local/state/castd"),
        (HOME, 0, "/var/lib/castd"),
        ({**HOME, "STATE_DIRECTORY": "/run/state"}, 0, "/run/state"),
    ],
)
def test_state_dir(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], user: int, expected: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert load(None, environ).server.state_dir == expected


def test_no_place_for_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "server.state_dir" in refusal(None, {"HOME": "nowhere"})[0]


def test_a_relative_state_dir_starts_from_the_file(write: Write, tmp_path: Path) -> None:
    assert load(write("[server]\nstate_dir = 'state'"), HOME).server.state_dir == str(tmp_path / "state")


# Mounts


def test_a_mount_goes_before_default_and_default_before_delivery(write: Write) -> None:
    config = load(
        write("""
            [auth]
            source_user = "studio"
            [delivery]
            icy_metaint = 1000
            linger_seconds = 1
            [mounts.default]
            linger_seconds = 2
            genre = "talk"
            source_password = "for all"
            [mounts.live]
            linger_seconds = 3
            source_user = "dj"
            public = false
            """),
        HOME,
    )
    live, other = config.mount("/live"), config.mount("/other")
    assert (live.icy_metaint, live.linger_seconds, live.genre) == (1000, 3.0, "talk")
    assert (live.source_user, live.source_password, live.public) == ("dj", "for all", False)
    assert (other.icy_metaint, other.linger_seconds, other.genre) == (1000, 2.0, "talk")
    assert (other.source_user, other.source_password, other.public) == ("studio", "for all", None)


def test_a_bare_config_has_settings_for_any_mount() -> None:
    settings = Config(delivery=Delivery(burst_seconds=2)).mount("/x")
    assert (settings.burst_seconds, settings.source_user, settings.source_password) == (2, "source", "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("live", "/live"),
        ("/live", "/live"),
        ("/a/b.mp3", "/a/b.mp3"),
        ("/caf%C3%A9", "/café"),
        ("/a%20b", "/a b"),
        ("/;x", None),
    ],
)
def test_mount_name(text: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(ValueError, match="own pages"):
            mount_name(text)
    else:
        assert mount_name(text) == name
        assert mount_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "/",
            "//a",
            "/a/",
            "/a//b",
            "/../a",
            "/a/%2e%2e/b",
            "/./a",
            "/a%00",
            "/a\n",
            "/%ff",
            "/a%2541",
            "/a%",
            "/a\\b",
        ),
        *(
            "/a?b",
            "/a#b",
            '/a"b',
            "/<a>",
            "/admin",
            "/%61dmin",
            "/api/v1",
            "/x/hls/y",
            "/x/clip",
            "/live.m3u",
            "/live.m3u8",
        ),
        *(
            "/stats",
            "/7.html",
            "/status-json.xsl",
            "/healthz",
            "/index.html",
            "/" + "é" * (MAX_NAME_BYTES // 2 + 1),
            "/\ud800",
        ),
    ],
)
def test_no_mount_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|holds|has|ends) "):
        mount_name(text)


def test_every_default_obeys_its_own_rule() -> None:
    for kind in (*PLAIN_SECTIONS.values(), Listen, MountSettings):
        for each in dataclasses.fields(kind):
            if each.default is not None:
                assert keys(kind)[each.name].accept(each.default) == each.default, each.name


def test_variables_cover_every_section() -> None:
    assert {section for section, _ in loader_module.VARIABLES.values()} == {*PLAIN_SECTIONS, "listen", "mounts.default"}
