"""Moving in: an icecast.xml as panels write it becomes a castd.toml that castd takes and runs with."""

from __future__ import annotations

import stat
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from castd.access.users import read_users
from castd.cli import main
from castd.config import Config, Listen, load
from castd.errors import ConfigError
from castd.icecast_xml import convert
from tests.support import frames, head, serving, until

AZURACAST = """<icecast>
    <location>AzuraCast</location>
    <admin>icemaster@localhost</admin>
    <hostname>radio.example.org</hostname>
    <limits>
        <clients>2500</clients> <sources>250</sources> <queue-size>524288</queue-size>
        <client-timeout>30</client-timeout> <header-timeout>15</header-timeout> <source-timeout>30</source-timeout>
        <burst-size>65535</burst-size>
    </limits>
    <authentication>
        <source-password>the encoders' &amp; "word"</source-password>
        <relay-password>between us</relay-password>
        <admin-user>boss</admin-user> <admin-password>hackme</admin-password>
    </authentication>
    <listen-socket> <port>8010</port> </listen-socket>
    <listen-socket> <port>8443</port> <ssl>1</ssl> </listen-socket>
    <http-headers>
        <header name="Access-Control-Allow-Origin" value="*"/>
        <header name="X-Robots-Tag" value="noindex"/>
    </http-headers>
    <mount type="normal">
        <mount-name>/radio.mp3</mount-name>
        <charset>UTF8</charset>
        <stream-name>Rädio</stream-name> <stream-description>All of it</stream-description>
        <stream-url>https://radio.example.org</stream-url> <genre>Jazz</genre> <bitrate>128</bitrate>
        <max-listeners>500</max-listeners> <public>1</public> <hidden>0</hidden> <burst-size>32768</burst-size>
        <fallback-mount>/fallback-[128].mp3</fallback-mount> <fallback-override>1</fallback-override>
        <authentication type="url">
            <option name="listener_add" value="http://127.0.0.1:6010/api/internal/1/listener-auth"/>
            <option name="listener_remove" value="http://127.0.0.1:6010/api/internal/1/listener-auth"/>
            <option name="auth_header" value="icecast-auth-user: 1"/>
            <option name="timelimit_header" value="icecast-auth-timelimit:"/>
            <option name="handlers" value="3"/>
        </authentication>
    </mount>
    <mount type="normal">
        <mount-name>/members</mount-name> <username>dj</username> <password>a dj's</password>
        <fallback-mount>/radio.mp3</fallback-mount> <fallback-when-full>1</fallback-when-full>
        <authentication type="htpasswd"> <option name="filename" value="{folder}/members"/> </authentication>
        <on-connect>/usr/local/bin/on-air</on-connect>
        <max-history>20</max-history>
    </mount>
    <relay>
        <server>other.example.org</server> <port>8000</port> <mount>/far.mp3</mount>
        <local-mount>/near.mp3</local-mount> <on-demand>1</on-demand>
    </relay>
    <directory> <yp-url-timeout>15</yp-url-timeout> <yp-url>http://dir.xiph.org/cgi-bin/yp-cgi</yp-url> </directory>
    <fileserve>1</fileserve>
    <paths>
        <basedir>/usr/local/share/icecast</basedir> <logdir>{folder}/log</logdir> <webroot>{folder}/web</webroot>
        <adminroot>/usr/local/share/icecast/admin</adminroot> <pidfile>{folder}/icecast.pid</pidfile>
        <x-forwarded-for>127.0.0.1</x-forwarded-for>
        <ssl-certificate>{folder}/ssl.pem</ssl-certificate>
        <deny-ip>{folder}/deny-ip</deny-ip> <deny-agents>{folder}/deny-agents</deny-agents>
        <alias source="/" dest="/status.xsl"/> <alias source="/old" destination="/radio.mp3"/>
    </paths>
    <logging>
        <accesslog>access.log</accesslog> <errorlog>/dev/stderr</errorlog> <loglevel>2</loglevel>
        <logsize>10000</logsize>
    </logging>
    <security> <chroot>0</chroot> </security>
</icecast>
"""


def written(folder: Path, text: str = AZURACAST) -> Path:
    for name in ("log", "web"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "web" / "fallback-[128].mp3").write_bytes(frames(0, 200))
    (folder / "members").write_text(f"anna:{md5(b'annas').hexdigest()}\nbroken\n")
    for name in ("deny-ip", "deny-agents"):
        (folder / name).write_text("192.0.2.1\n")
    path = folder / "icecast.xml"
    path.write_text(text.replace("{folder}", str(folder)), "utf-8")
    return path


def imported(folder: Path, text: str = AZURACAST) -> Config:
    """The configuration that the new file makes, without a certificate, of which there is none here."""
    toml = folder / "castd.toml"
    assert main(["import", str(written(folder, text)), "-o", str(toml)]) == 0
    assert stat.S_IMODE(toml.stat().st_mode) == 0o600
    return load(toml, {"HOME": str(folder)})


def test_what_a_panel_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = imported(tmp_path)
    assert (config.server.hostname, config.server.location) == ("radio.example.org", "AzuraCast")
    assert (config.limits.max_listeners, config.limits.max_sources) == (2500, 250)
    assert (config.limits.header_timeout_seconds, config.limits.source_timeout_seconds) == (15, 30)
    assert config.delivery.burst_bytes == 65535
    assert (config.auth.source_password, config.auth.admin_user) == ('the encoders\' & "word"', "boss")
    assert (config.auth.admin_password, config.auth.relay_password) == ("", "between us")
    assert [(each.port, each.tls) for each in config.listen] == [(8010, "off"), (8443, "on")]
    radio, members = config.mount("/radio.mp3"), config.mount("/members")
    assert (radio.name, radio.description, radio.genre, radio.public) == ("Rädio", "All of it", "Jazz", True)
    assert (radio.max_listeners, radio.burst_bytes, radio.hidden) == (500, 32768, False)
    assert radio.headers == ("X-Robots-Tag: noindex",)
    assert radio.fallback_file == f"{tmp_path}/web/fallback-[128].mp3"
    [service] = config.url_auth
    assert (radio.url_auth, service.time_limit_header) == (service.name, "icecast-auth-timelimit")
    assert service.listener_add == service.listener_remove == "http://127.0.0.1:6010/api/internal/1/listener-auth"
    assert (members.source_user, members.source_password) == ("dj", "a dj's")
    assert (members.fallback, members.fallback_when_full) == ("/radio.mp3", True)
    assert list(read_users(members.users_file)) == ["anna"]
    [relay] = config.relays
    assert (relay.mount, relay.urls, relay.on_demand) == ("/near.mp3", ("http://other.example.org:8000/far.mp3",), True)
    assert config.directories[0].url == "http://dir.xiph.org/cgi-bin/yp-cgi"
    assert config.proxies.trusted == ("127.0.0.1",)
    assert (config.bans.deny_ip_file, config.bans.deny_agents_file) == (
        f"{tmp_path}/deny-ip",
        f"{tmp_path}/deny-agents",
    )
    assert [(alias.path, alias.mount) for alias in config.aliases] == [("/old", "/radio.mp3")]
    assert (config.logs.access, config.logs.rotate_bytes) == (f"{tmp_path}/log/access.log", 10_240_000)
    told = capsys.readouterr().err
    for words in (
        "<admin-password>: everybody knows",
        "on-connect",
        "option handlers = 3",
        "a line of",
        "<max-history>20",
    ):
        assert words in told
    assert "encoders" not in told


async def test_it_runs(tmp_path: Path) -> None:
    config = replace(imported(tmp_path), listen=(Listen(host="127.0.0.1", port=0),), certificates=(), relays=())
    config = replace(config, directories=(), url_auth=(), mounts={**config.mounts, "/radio.mp3": {
        **config.mounts["/radio.mp3"], "url_auth": ""}})  # fmt: skip
    async with serving(config) as castd:
        await until(lambda: castd.mount("/radio.mp3").begun)
        ear = await castd.ear("/old")
        assert (await ear.exactly(417)) in frames(0, 200)
        assert ear.headers["icy-name"] == "Rädio"
        assert (await castd.ask(head("GET", "/members"))).status == 401


@pytest.mark.parametrize(
    ("text", "words"),
    [("<shoutcast/>", "its root is <shoutcast>"), ("<icecast>", "no XML"), ("", "no XML")],
)
def test_what_is_no_icecast_xml(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(written(tmp_path, text))]) == 2
    assert words in capsys.readouterr().err
    with pytest.raises(ConfigError, match="No such file"):
        convert(tmp_path / "none")


@pytest.mark.needs("icecast2")
def test_debians_own_file_loses_nothing_but_its_passwords(tmp_path: Path) -> None:
    found = convert(Path("/etc/icecast2/icecast.xml"))
    assert all("everybody knows" in note or "queue-size" in note for note in found.notes), found.notes
    (tmp_path / "castd.toml").write_text(found.text())
    load(tmp_path / "castd.toml", {"HOME": str(tmp_path)})


def test_several_masters_of_a_relay_and_a_note_over_several_lines(tmp_path: Path) -> None:
    """As icecast-kh has it. A note must not become a line of the configuration."""
    masters = "".join(f"<master><ip>{name}.example.org</ip><port>80{n}0</port></master>" for n, name in enumerate("ab"))
    found = imported(
        tmp_path,
        f"<icecast><relay><local-mount>/near</local-mount><mount>/far</mount>{masters}</relay>"
        "<strange>x\n[auth]\nadmin_user = 'mallory'</strange></icecast>",
    )
    assert found.relays[0].urls == ("http://a.example.org:8000/far", "http://b.example.org:8010/far")
    assert found.auth.admin_user == "admin"


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml, toml = written(tmp_path), tmp_path / "castd.toml"
    toml.write_text("mine")
    assert main(["import", str(xml), "-o", str(toml)]) == 2
    assert toml.read_text() == "mine"
    assert "File exists" in capsys.readouterr().err
