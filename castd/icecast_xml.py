"""icecast.xml to castd.toml, for stations that move in: what means the same is carried over, everything else is named.

Knows the elements of Icecast 2.4 and those of icecast-kh that panels write. Passwords everybody knows are left out;
castd makes new ones. Nothing is read but the file itself, and a listeners' file where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

from castd.access.hashes import hashed_digest
from castd.config.names import mount_name
from castd.config.rules import WELL_KNOWN_PASSWORDS
from castd.errors import ConfigError
from castd.wire.text import one_line

Value: TypeAlias = str | int | float | bool | list[str]
Table: TypeAlias = dict[str, Value]

_QUIET = frozenset(
    [
        "limits",
        "authentication",
        "directory",
        "mount",
        "relay",
        "listen-socket",
        "paths",
        "logging",
        "security",
        "http-headers",
        "header",
        "alias",
        "server_id",
        "server-id",
        "basedir",
        "adminroot",
        "pidfile",
        "loglevel",
        "loghierarchy",
        "threadpool",
        "workers",
        "client-timeout",
        "fallback-override",
        "shoutcast-compat",
        "changeowner",
        "chroot",
        "mp3-metadata-interval",
        "bitrate",
        "type",
        "subtype",
        "file-serve",
        "fileserve",
        "accesslog_date",
        "errorlog_date",
        "option",
        "relay-shoutcast-metadata",
        "ssl-private-key",
        "logdir",
        "webroot",
        "prng-seed",
        "event-bindings",
        "legacyevents",
        "queue-size",
        "min-queue-size",
        "tls-context",
    ]
)
"""Elements that need no word: they are read elsewhere, or castd does by itself what they are for."""

_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass
class Imported:
    """What became of a file.

    Attributes:
        sections: of plain tables, by name.
        mounts: by name; "default" is for all.
        tables: of lists of tables, by name.
        users: lines of users files to be written, by path.
        notes: what could not be carried over, in words.
    """

    sections: dict[str, Table] = field(default_factory=dict)
    mounts: dict[str, Table] = field(default_factory=dict)
    tables: dict[str, list[Table]] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, section: str, key: str, value: Value) -> None:
        """Set a key."""
        self.sections.setdefault(section, {})[key] = value

    def add(self, name: str, table: Table) -> None:
        """Add a table to a list."""
        self.tables.setdefault(name, []).append(table)

    def text(self) -> str:
        """As castd.toml."""
        lines = [f"# not carried over: {one_line(note)}" for note in self.notes]
        for name, table in self.sections.items():
            lines += ["", f"[{name}]", *_keys(table)]
        for name, tables in self.tables.items():
            for table in tables:
                lines += ["", f"[[{name}]]", *_keys(table)]
        for name, table in self.mounts.items():
            key = name if name == "default" else json.dumps(name, ensure_ascii=False)
            lines += ["", f"[mounts.{key}]", *_keys(table)]
        return "\n".join(lines).strip() + "\n"


def _keys(table: Table) -> Iterator[str]:
    for key, value in table.items():
        # what JSON writes of these is TOML, but for the one control character that XML and JSON let stand
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007F")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can be called so
        return False


def convert(path: Path) -> Imported:
    """Read an icecast.xml.

    Raises:
        ConfigError: it cannot be read, or is no icecast.xml.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter two: of its encoding
        raise ConfigError(f"{path}: no XML: {error}") from None
    if root.tag != "icecast":
        raise ConfigError(f"{path}: its root is <{root.tag}>, not <icecast>")
    return _Converter(root).convert()


class _Converter:
    def __init__(self, root: ElementTree.Element) -> None:
        self._root = root
        self._to = Imported()
        self._used: set[ElementTree.Element] = set()

    def convert(self) -> Imported:
        root, to = self._root, self._to
        self._carry(root, "server", {"hostname": "hostname", "location": "location", "admin": "admin_contact"})
        for limits in self._all(root, "limits"):
            self._limits(limits)
        for each in self._all(root, "authentication"):
            self._authentication(each)
        for each in self._all(root, "listen-socket"):
            self._listen(each)
        if (port := self._number(root, "port")) is not None and "listen" not in to.tables:
            to.add("listen", {"port": port})
        headers = [line for each in self._all(root, "http-headers") for line in self._headers(each)]
        if headers:
            to.mounts.setdefault("default", {})["headers"] = headers
        relays = self._relays()
        for each in self._all(root, "mount"):
            self._mount(each, relays)
        for each in self._all(root, "paths"):
            self._paths(each)
        for each in self._all(root, "logging"):
            self._logging(each)
        for each in self._all(root, "security"):
            self._security(each)
        for each in self._all(root, "directory"):
            for url in self._texts(each, "yp-url"):
                to.add("directories", {"url": url})
            self._number(each, "yp-url-timeout")
        self._master()
        self._leftovers()
        return to

    def _all(self, parent: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
        found = parent.findall(tag)
        self._used.update(found)
        return found

    def _texts(self, parent: ElementTree.Element, tag: str) -> list[str]:
        return [text for each in self._all(parent, tag) if (text := (each.text or "").strip())]

    def _text(self, parent: ElementTree.Element, tag: str) -> str:
        return next(reversed(self._texts(parent, tag)), "")

    def _number(self, parent: ElementTree.Element, tag: str) -> int | None:
        text = self._text(parent, tag)
        if not text:
            return None
        if re.fullmatch(r"-?\d{1,12}", text):
            return int(text)
        self._to.notes.append(f"<{tag}>{text}</{tag}>: not a number")
        return None

    def _flag(self, parent: ElementTree.Element, tag: str) -> bool | None:
        text = self._text(parent, tag).lower()
        return None if not text else text in ("1", "yes", "true", "on")

    def _carry(self, parent: ElementTree.Element, section: str, keys: dict[str, str]) -> None:
        for tag, key in keys.items():
            if text := self._text(parent, tag):
                self._to.put(section, key, text)

    def _secret(self, parent: ElementTree.Element, tag: str, set_: Callable[[str], None]) -> None:
        text = self._text(parent, tag)
        if text.lower() in WELL_KNOWN_PASSWORDS:
            self._to.notes.append(f"<{tag}>: everybody knows this password; castd makes a new one")
        elif text:
            set_(text)

    def _limits(self, limits: ElementTree.Element) -> None:
        to = self._to
        for tag, key in (
            ("clients", "max_listeners"),
            ("sources", "max_sources"),
            ("header-timeout", "header_timeout_seconds"),
            ("source-timeout", "source_timeout_seconds"),
        ):
            number = self._number(limits, tag)
            if number is not None:
                to.put("limits", key, number)
        if (burst := self._number(limits, "burst-size")) is not None:
            to.put("delivery", "burst_bytes", burst)
        if self._flag(limits, "burst-on-connect") is False:
            to.put("delivery", "burst_seconds", 0)
        if self._number(limits, "queue-size") is not None:
            to.notes.append("<queue-size>: castd counts in seconds; see [delivery] lag_seconds and ring_seconds")

    def _authentication(self, each: ElementTree.Element) -> None:
        to = self._to
        self._carry(
            each, "auth", {"source-user": "source_user", "admin-user": "admin_user", "relay-user": "relay_user"}
        )
        for key in ("source_password", "admin_password", "relay_password"):
            self._secret(each, key.replace("_", "-"), partial(to.put, "auth", key))

    def _listen(self, each: ElementTree.Element) -> None:
        table: Table = {}
        if host := self._text(each, "bind-address"):
            table["host"] = host
        port = self._number(each, "port")
        table["port"] = 8000 if port is None else port
        if self._flag(each, "ssl") or self._flag(each, "tls"):
            table["tls"] = "on"
        if mount := self._text(each, "shoutcast-mount"):
            table["shoutcast_mount"] = mount
        self._flag(each, "shoutcast-compat")
        self._to.add("listen", table)

    def _headers(self, each: ElementTree.Element) -> Iterator[str]:
        for header in self._all(each, "header"):
            name, value = header.get("name", "").strip(), header.get("value", "").strip()
            if name.lower().startswith("access-control-"):
                continue  # castd answers every origin by itself
            if name:
                yield f"{name}: {value}"

    def _mount(self, each: ElementTree.Element, relays: set[str]) -> None:
        to = self._to
        default = each.get("type", "") == "default"
        given = self._text(each, "mount-name")
        if not given and not default:
            to.notes.append("<mount> without <mount-name>")
            return
        try:
            name = "default" if default else mount_name(given)
        except ValueError as error:
            to.notes.append(f"mount {given}: the name {error}")
            return
        table = to.mounts.setdefault(name, {})
        for tag, key in (
            ("username", "source_user"),
            ("stream-name", "name"),
            ("stream-description", "description"),
            ("stream-url", "url"),
            ("genre", "genre"),
            ("dump-file", "dump_file"),
        ):
            if text := self._text(each, tag):
                table[key] = text
        charset = self._text(each, "charset").lower()
        if charset.replace("-", "") not in ("", "utf8"):  # titles are UTF-8 in any case, first
            table["charset"] = charset
        self._secret(each, "password", lambda text: table.update(source_password=text))
        for tag, key in (
            ("max-listeners", "max_listeners"),
            ("max-listener-duration", "max_listener_seconds"),
            ("burst-size", "burst_bytes"),
            ("mp3-metadata-interval", "icy_metaint"),
            ("max-bandwidth", ""),
        ):
            number = self._number(each, tag)
            if number is not None and number >= 0 and key and not (key == "icy_metaint" and number < 256):
                table[key] = number
        for tag, key in (("hidden", "hidden"), ("no-mount", "no_mount"), ("fallback-when-full", "fallback_when_full")):
            if (flag := self._flag(each, tag)) is not None:
                table[key] = flag
        if (public := self._number(each, "public")) in (0, 1):
            table["public"] = bool(public)
        if intro := self._text(each, "intro"):
            table["intro_file"] = self._in_webroot(intro)
        if fallback := self._text(each, "fallback-mount"):
            self._fallback(name, table, fallback, relays)
        if self._text(each, "fallback-override") in ("0", "none", "no"):
            to.notes.append(f"mount {name}: <fallback-override> off: an encoder that is back is always heard")
        headers = [line for group in self._all(each, "http-headers") for line in self._headers(group)]
        if headers:
            common = to.mounts.get("default", {}).get("headers", [])
            table["headers"] = [*(common if isinstance(common, list) else []), *headers]
        for auth in self._all(each, "authentication"):
            self._listener_auth(name, table, auth)
        for tag in ("on-connect", "on-disconnect"):
            if program := self._text(each, tag):
                event = "source.connected" if tag == "on-connect" else "source.ended"
                to.add("hooks", {"events": [event], "program": program})
                to.notes.append(
                    f"mount {name}: <{tag}> {program}: is run for every mount, and gets the event on standard input, "
                    "not the mount as an argument"
                )

    def _in_webroot(self, path: str) -> str:
        root = self._root.findtext("paths/webroot", "").strip()
        return f"{root.rstrip('/')}/{path.lstrip('/')}"

    def _fallback(self, name: str, table: Table, fallback: str, relays: set[str]) -> None:
        """Another mount; or, where nothing says that there is such a mount, a file of the web root if it is there."""
        try:
            other = mount_name(fallback)
        except ValueError:
            other = ""
        mounts = {(each.text or "").strip() for each in self._root.findall("mount/mount-name")} | relays
        file = Path(self._in_webroot(fallback))
        if other and (fallback in mounts or other in mounts or not file.suffix):
            table["fallback"] = other
        elif _is_file(file) or not other or "[" in fallback:
            table["fallback_file"] = str(file)
        else:
            table["fallback"] = other
            self._to.notes.append(
                f"mount {name}: <fallback-mount> {fallback} is taken for a mount; for a file, say fallback_file"
            )

    def _listener_auth(self, name: str, table: Table, auth: ElementTree.Element) -> None:
        to, kind = self._to, auth.get("type", "")
        options = {each.get("name", ""): each.get("value", "").strip() for each in self._all(auth, "option")}
        if kind == "htpasswd":
            self._htpasswd(name, table, options.get("filename", ""))
        elif kind == "url":
            service: Table = {"name": name.strip("/") or "default"}
            for key in ("listener_add", "listener_remove", "mount_add", "mount_remove", "stream_auth"):
                if url := options.pop(key, ""):
                    service[key] = url
            if header := options.pop("auth_header", ""):
                service["auth_header"] = header
            if header := options.pop("timelimit_header", ""):
                service["time_limit_header"] = header.rstrip(": ")
            if user := options.pop("username", ""):
                service["user"], service["password"] = user, options.pop("password", "")
            if headers := options.pop("headers", ""):
                service["client_headers"] = [each.strip().lower() for each in headers.split(",") if each.strip()]
            options.pop("password", None)
            for option, value in options.items():
                to.notes.append(f"mount {name}: option {option} = {value} of its authentication")
            to.add("url_auth", service)
            table["url_auth"] = str(service["name"])
        else:
            to.notes.append(f"mount {name}: authentication of type {kind!r}")

    def _htpasswd(self, name: str, table: Table, filename: str) -> None:
        path = Path(filename)
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            self._to.notes.append(f"mount {name}: its users in {filename}: {error}")
            return
        users = []
        for line in lines:
            user, _, digest = line.strip().partition(":")
            if user and _MD5.fullmatch(digest):
                users.append(f"{user}:{hashed_digest(digest)}")
            elif line.strip():
                self._to.notes.append(f"mount {name}: a line of {filename} is no user of Icecast's")
        new = str(path.with_name(path.name + ".castd"))
        self._to.users[new] = users
        table["users_file"] = new

    def _relays(self) -> set[str]:
        names = set()
        for relay in self._all(self._root, "relay"):
            places = [relay, *self._all(relay, "master")]  # of these icecast-kh may have several
            mount = self._text(relay, "mount") or "/"
            here = self._text(relay, "local-mount") or mount
            urls = [
                f"http://{server}:{self._number(place, 'port') or 8000}{self._text(place, 'mount') or mount}"
                for place in places
                if (server := self._text(place, "server") or self._text(place, "ip"))
            ]
            if not urls:
                self._to.notes.append(f"relay {here}: without <server>")
                continue
            table: Table = {"mount": here, "urls": urls}
            if user := self._text(relay, "username"):
                table["user"], table["password"] = user, self._text(relay, "password")
            if self._flag(relay, "on-demand"):
                table["on_demand"] = True
            if self._flag(relay, "relay-shoutcast-metadata") is False:
                table["titles"] = False
            self._to.add("relays", table)
            names.add(here)
        return names

    def _master(self) -> None:
        root, to = self._root, self._to
        if not (server := self._text(root, "master-server")):
            return
        port = self._number(root, "master-server-port") or 8000
        to.put("master", "url", f"http://{server}:{port}")
        if user := self._text(root, "master-username"):
            to.put("master", "user", user)
        if password := self._text(root, "master-password"):
            to.put("master", "password", password)
        if (seconds := self._number(root, "master-update-interval")) is not None:
            to.put("master", "update_seconds", seconds)
        if self._flag(root, "relays-on-demand"):
            to.put("master", "on_demand", True)

    def _paths(self, paths: ElementTree.Element) -> None:
        to = self._to
        if certificate := self._text(paths, "ssl-certificate"):
            table: Table = {"certificate": certificate}
            if key := self._text(paths, "ssl-private-key"):
                table["key"] = key
            to.add("certificates", table)
        for tag, key in (
            ("deny-ip", "deny_ip_file"),
            ("allow-ip", "allow_ip_file"),
            ("deny-agents", "deny_agents_file"),
        ):
            if text := self._text(paths, tag):
                to.put("bans", key, text)
        if trusted := self._texts(paths, "x-forwarded-for"):
            to.put("proxies", "trusted", [part for text in trusted for part in re.split(r"[\s,]+", text)])
        webroot = self._text(paths, "webroot")
        serves = self._root.findtext("fileserve", "1").strip() != "0"
        if webroot and serves and not webroot.startswith("/usr/share/icecast"):
            to.put("files", "root", webroot)
        for alias in self._all(paths, "alias"):
            source, destination = alias.get("source", ""), alias.get("destination", "") or alias.get("dest", "")
            if source == "/" or destination.endswith((".xsl", ".html")):
                continue  # Icecast's own pages
            try:
                to.add("aliases", {"path": mount_name(source), "mount": mount_name(destination)})
            except ValueError as error:
                to.notes.append(f"alias {source}: the name {error}")
        for tag in ("ssl-allowed-ciphers", "tls-allowed-ciphers"):
            if self._text(paths, tag):
                to.notes.append(f"<{tag}>: castd takes OpenSSL's choice")

    def _logging(self, logging: ElementTree.Element) -> None:
        folder = self._root.findtext("paths/logdir", "").strip().rstrip("/")
        for tag, key in (("accesslog", "access"), ("errorlog", "server"), ("playlistlog", "playlist")):
            element = logging.find(f"{tag}/name") if logging.find(f"{tag}/name") is not None else logging.find(tag)
            self._all(logging, tag)
            name = (element.text or "").strip() if element is not None else ""
            if name and name != "-" and folder:
                self._to.put("logs", key, name if name.startswith("/") else f"{folder}/{name}")
        if size := self._number(logging, "logsize"):
            self._to.put("logs", "rotate_bytes", size * 1024)
        self._flag(logging, "logarchive")

    def _security(self, security: ElementTree.Element) -> None:
        for each in self._all(security, "changeowner"):
            if user := self._text(each, "user"):
                self._to.put("server", "user", user)
            self._text(each, "group")
        if self._flag(security, "chroot"):
            self._to.notes.append("<chroot>: let systemd confine it; see docs/deploy.md")

    def _leftovers(self) -> None:
        """Every element that nobody looked at."""
        for parent in self._root.iter():
            if parent is not self._root and parent not in self._used:
                continue
            for each in parent:
                text = (each.text or "").strip()
                if each not in self._used and each.tag not in _QUIET and isinstance(each.tag, str):
                    self._to.notes.append(f"<{each.tag}>" + ("" if "pass" in each.tag else text[:60]))
