"""What is asked of both servers, byte for byte; the names are those of the recorded exchanges where there is one."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from tests.e2e.server import ADMIN_PASSWORD, SOURCE_PASSWORD

ADMIN = ("admin", ADMIN_PASSWORD)
SOURCE = ("source", SOURCE_PASSWORD)
RELAY = ("relay", SOURCE_PASSWORD)
WRONG = ("admin", "a guess")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        name: of the case.
        stream: the answer goes on for ever; only its head is read.
        once: it changes something that a second time would find changed.
    """

    name: str
    request: bytes
    stream: bool = False
    once: bool = False


def ask(
    name: str,
    target: str,
    user: tuple[str, str] | None = None,
    method: str = "GET",
    fields: dict[str, str] | None = None,
    *,
    version: str = "HTTP/1.1",
    stream: bool = False,
    once: bool = False,
) -> Ask:
    """A request as clients write it."""
    lines = [f"{method} {target} {version}", "Host: 127.0.0.1", "User-Agent: probe/1"]
    if user:
        lines.append("Authorization: Basic " + base64.b64encode(":".join(user).encode()).decode())
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    return Ask(name, "\r\n".join([*lines, "", ""]).encode(), stream, once)


MP3 = {"Content-Type": "audio/mpeg"}

NOTHING = {"Content-Length": "0"}

REQUESTS = (
    ask("json", "/status-json.xsl"),
    ask("json-one", "/status-json.xsl?mount=/live.mp3"),
    ask("json-none", "/status-json.xsl?mount=/nope"),
    ask("not-there", "/nope"),
    ask("get-11", "/live.mp3", stream=True),
    ask("get-10", "/live.mp3", version="HTTP/1.0", stream=True),
    ask("get-icy", "/live.mp3", fields={"Icy-MetaData": "1"}, stream=True),
    ask("get-icy-ogg", "/live.ogg", fields={"Icy-MetaData": "1"}, stream=True),
    ask("get-query", "/live.mp3?token=1", stream=True),
    ask("get-range", "/live.mp3", fields={"Range": "bytes=0-"}, stream=True),
    ask("head", "/live.mp3", method="HEAD"),
    ask("post", "/live.mp3", method="POST", fields={"Content-Length": "0"}),
    ask("m3u", "/live.mp3.m3u"),
    ask("xspf", "/live.mp3.xspf"),
    ask("m3u-none", "/nope.m3u"),
    ask("traversal", "/../../etc/passwd"),
    ask("D20-stats-none", "/admin/stats"),
    ask("D20-stats-badpw", "/admin/stats", WRONG),
    ask("D20-stats-source", "/admin/stats", SOURCE),
    ask("D01-admin-stats", "/admin/stats", ADMIN),
    ask("D02-admin-stats_xml", "/admin/stats.xml", ADMIN),
    ask("D30-stats-mount", "/admin/stats?mount=/live.mp3", ADMIN),
    ask("stats-unknown-mount", "/admin/stats?mount=/nope", ADMIN),
    ask("D04-admin-listmounts", "/admin/listmounts", ADMIN),
    ask("D06-admin-streamlist", "/admin/streamlist", ADMIN),
    ask("D21-streamlist-relay", "/admin/streamlist.txt", RELAY),
    ask("D21-streamlist-none", "/admin/streamlist.txt"),
    ask("D07-streamlist-admin", "/admin/streamlist.txt", ADMIN),
    ask("D10-admin-nope", "/admin/nope", ADMIN),
    ask("admin-nope-none", "/admin/nope"),
    ask("D22-listclients-nomount", "/admin/listclients", ADMIN),
    ask("D23-listclients", "/admin/listclients?mount=/live.mp3", ADMIN),
    ask("D25-listclients-source", "/admin/listclients?mount=/live.mp3", SOURCE),
    ask("D29-unknown-mount", "/admin/listclients?mount=/nope", ADMIN),
    ask("D32-metadata-none", "/admin/metadata?mount=/live.mp3&mode=updinfo&song=x"),
    ask("D33-metadata", "/admin/metadata?mount=/live.mp3&mode=updinfo&song=A%20-%20B", SOURCE),
    ask("D34-metadata-admin", "/admin/metadata?mount=/live.mp3&mode=updinfo&song=A%20-%20B", ADMIN),
    ask("D35-metadata-nomode", "/admin/metadata?mount=/live.mp3&song=x", SOURCE),
    ask("D36-metadata-badmode", "/admin/metadata?mount=/live.mp3&mode=x&song=x", SOURCE),
    ask("D37-metadata-nosong", "/admin/metadata?mount=/live.mp3&mode=updinfo", SOURCE),
    ask("D39-metadata-post", "/admin/metadata?mount=/live.mp3&mode=updinfo&song=x", SOURCE, "POST", NOTHING),
    ask("D40-metadata-noslash", "/admin/metadata?mount=live.mp3&mode=updinfo&song=x", ADMIN),
    ask("metadata-unknown-mount", "/admin/metadata?mount=/nope&mode=updinfo&song=x", ADMIN),
    ask("json-title", "/status-json.xsl?mount=/live.mp3"),
    ask("D43-fallbacks", "/admin/fallbacks?mount=/live.mp3&fallback=/two.mp3", ADMIN),
    ask("D44-fallbacks-missing", "/admin/fallbacks?mount=/live.mp3", ADMIN),
    ask("D45-listmounts-after", "/admin/listmounts", ADMIN),
    ask("D47-moveclients-raw", "/admin/moveclients?mount=/live.mp3", ADMIN),
    ask("D48-moveclients-same", "/admin/moveclients?mount=/live.mp3&destination=/live.mp3", ADMIN),
    ask("D49-moveclients-nodest", "/admin/moveclients?mount=/live.mp3&destination=/nope", ADMIN),
    ask("D50-moveclients-format", "/admin/moveclients?mount=/live.mp3&destination=/live.ogg", ADMIN),
    ask("D51-moveclients", "/admin/moveclients?mount=/live.mp3&destination=/two.mp3", ADMIN),
    ask("D53-killclient-bad", "/admin/killclient?mount=/live.mp3&id=999999", ADMIN),
    ask("D54-killclient-noid", "/admin/killclient?mount=/live.mp3", ADMIN),
    ask("D56-updatemetadata", "/admin/updatemetadata?mount=/live.mp3", ADMIN),
    ask("D58-buildm3u", "/admin/buildm3u?mount=/live.mp3&username=u&password=p"),
    ask("D59-buildm3u-missing", "/admin/buildm3u?mount=/live.mp3"),
    ask("D60-manageauth-none", "/admin/manageauth?mount=/live.mp3", ADMIN),
    ask("killsource-unknown", "/admin/killsource?mount=/nope", ADMIN),
    ask("put-none", "/new.mp3", method="PUT", fields=MP3),
    ask("put-badpw", "/new.mp3", ("source", "a guess"), "PUT", MP3),
    ask("source-badpw", "/new.mp3", ("source", "a guess"), "SOURCE", MP3, version="HTTP/1.0"),
    ask("source-busy", "/live.mp3", SOURCE, "SOURCE", MP3, version="HTTP/1.0"),
    ask("source", "/new.mp3", SOURCE, "SOURCE", MP3, version="HTTP/1.0", stream=True),
    ask("source-ice", "/new2.mp3", SOURCE, "SOURCE", MP3, version="ICE/1.0", stream=True),
    ask("put", "/new3.mp3", SOURCE, "PUT", MP3, stream=True),
    ask("put-continue", "/new4.mp3", SOURCE, "PUT", MP3 | {"Expect": "100-continue"}, stream=True),
    ask("killsource", "/admin/killsource?mount=/two.mp3", ADMIN, once=True),
    ask("options", "/live.mp3", method="OPTIONS"),
    ask("unknown-method", "/live.mp3", method="BREW"),
)
