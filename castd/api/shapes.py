"""The shapes of the API's answers: what docs/api.md and the OpenAPI document describe. Times are RFC 3339 in UTC, links
are paths on this server, lists are always lists."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from castd.config.differences import Change
from castd.stats.snapshot import ListenerFacts, SoundFacts, SourceFacts
from castd.tcp import TcpState

Moment = Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema={"format": "date-time"})]
Path = Annotated[str, Meta(description="a path on this server, percent-encoded")]


class Server(Struct, kw_only=True):
    """Who answers."""

    software: str
    hostname: str
    location: str
    admin_contact: str
    started: Moment


class Title(Struct, kw_only=True):
    """What is heard from a moment on. A page shows it when its listener hears media_seconds, which is some seconds
    after the server knows of it."""

    text: Annotated[str, Meta(description='the whole, usually "Artist - Title"')]
    artist: str | None
    title: str | None
    album: str | None
    url: Annotated[str, Meta(description='StreamUrl, "" for none')]
    art: Annotated[Path | None, Meta(description="where its picture is; null for none")]
    duration_seconds: Annotated[float | None, Meta(description="null where nobody told")]
    since: Annotated[Moment, Meta(description="when it began at the server")]
    position: Annotated[int, Meta(description="of its first byte in the mount's stream")]
    media_seconds: Annotated[float, Meta(description="seconds of audio before it since the mount began")]
    listen: Annotated[Path | None, Meta(description="the stream from there on; null where that is not held")] = None


class Links(Struct, kw_only=True):
    """Ways to listen to a mount, and to show it."""

    stream: Path
    m3u: Path
    pls: Path
    xspf: Path
    hls: Annotated[Path | None, Meta(description="null where its format cannot be put into segments, or is unknown")]
    dash: Annotated[Path | None, Meta(description="likewise, or where no player of DASH plays it")]
    page: Path
    embed: Annotated[Path, Meta(description="a page for an iframe")]
    oembed: Path
    qr: Annotated[Path, Meta(description="an SVG with the address of the page")]
    events: Path
    titles: Path


class Mount(Struct, kw_only=True):
    """A stream under its name."""

    mount: str
    path: Path
    state: Annotated[
        Literal["live", "fallback", "silence", "waiting"],
        Meta(description="waiting: for its source to return; silence: likewise, and silence is sent meanwhile"),
    ]
    fallback: Annotated[str | None, Meta(description="the mount or file that stands in now, or `silence`")]
    name: str
    description: str
    genre: str
    url: str
    public: bool
    content_type: str
    codec: Annotated[str, Meta(description='mp3, aac, vorbis, opus, flac, speex; "" while unknown')]
    bitrate: Annotated[int | None, Meta(description="bit/s")]
    sample_rate: Annotated[int | None, Meta(description="Hz")]
    channels: int | None
    listeners: int
    listener_peak: int
    started: Moment | None
    title: Title | None
    group: Annotated[str | None, Meta(description="the first of its groups: the same programme in several qualities")]
    rewind_seconds: Annotated[int, Meta(description="one may go back by so much (?t=-600); whole minutes")]
    listen_url: Annotated[str | UnsetType, Meta(description="absent in events")] = UNSET
    links: Links


class Status(Struct, kw_only=True):
    """The server and its public mounts."""

    server: Server
    listeners: int
    mounts: list[Mount]


class Mounts(Struct, kw_only=True):
    """The public mounts."""

    mounts: list[Mount]


class GroupLinks(Struct, kw_only=True):
    """Ways to listen to a group, and to show it."""

    stream: Annotated[Path, Meta(description="of the first of its mounts that is on the air")]
    hls: Annotated[Path | None, Meta(description="null where there is nothing for it on the air")]
    dash: Annotated[Path | None, Meta(description="likewise")]
    page: Path


class Group(Struct, kw_only=True):
    """Mounts with the same programme in several qualities, under one name."""

    name: str
    path: Path
    listeners: Annotated[int, Meta(description="of the mounts listed")]
    mounts: Annotated[list[Mount], Meta(description="the public ones on the air, the highest bitrate first")]
    first: Annotated[str | None, Meta(description="the one of these that comes first in the configuration")]
    links: GroupLinks


class Groups(Struct, kw_only=True):
    """All groups."""

    groups: list[Group]


class Titles(Struct, kw_only=True):
    """What was on, the newest first; the first may still be to be heard."""

    mount: str
    titles: list[Title]


class Dated(Struct, kw_only=True):
    """From here on audio has no gap: what is n seconds later has a date n seconds later."""

    media_seconds: float
    date: Annotated[float, Meta(description="seconds since 1970, as EXT-X-PROGRAM-DATE-TIME has it")]


class Window(Struct, kw_only=True):
    """How far back a listener may go (?media=)."""

    mount: str
    oldest_media_seconds: Annotated[float | None, Meta(description="null where the mount keeps nothing")]
    live_media_seconds: Annotated[float, Meta(description="at the live end, now")]
    dates: Annotated[list[Dated], Meta(description="how its HLS playlist dates it, the oldest first; [] without one")]


class Hearing(Struct, kw_only=True):
    """Where a listener's stream begins: what it hears n seconds after its first sound is at media_seconds + n."""

    mount: str
    media_seconds: float
    position: int
    live_media_seconds: Annotated[float, Meta(description="at the live end, now")]


class Embedding(Struct, kw_only=True):
    """oEmbed 1.0 (https://oembed.com)."""

    version: Literal["1.0"]
    type: Literal["rich"]
    title: str
    provider_name: str
    provider_url: str
    html: str
    width: int
    height: int
    cache_age: int


class MountDetails(Mount, kw_only=True):
    """A mount as operators see it."""

    hidden: bool
    max_listeners: int
    slow_listeners: int
    bytes_received: int
    bytes_sent: int
    ring_bytes: Annotated[int, Meta(description="the buffer")]
    ring_seconds: Annotated[float, Meta(description="of audio in it")]
    measured_bitrate: Annotated[int, Meta(description="bit/s over what the buffer holds")]
    sources: list[SourceFacts]
    health: Health | None
    history: History


class Health(Struct, kw_only=True):
    """How steadily the source sends, measured every ten seconds."""

    bitrates: Annotated[list[int], Meta(description="bit/s, the newest last")]
    gaps: Annotated[int, Meta(description="times it sent nothing for two seconds or more")]
    drift_seconds: Annotated[float, Meta(description="audio it sent beyond what the clock says since it began")]
    last_frame_seconds: Annotated[float, Meta(description="since the last frame")]
    sound: Annotated[SoundFacts | None, Meta(description="where the mount has silence_seconds; null while not told")]


class History(Struct, kw_only=True):
    """Listeners, every minute of the last hours, the newest last."""

    step_seconds: int
    listeners: list[int]


class Process(Struct, kw_only=True):
    """What the server takes of its machine."""

    uptime_seconds: float
    cpu_percent: Annotated[float, Meta(description="of one core, over the last ten seconds")]
    memory_bytes: int
    descriptors: int
    max_descriptors: int
    tasks: Annotated[int, Meta(description="of trio: connections that are spoken with, and the server's own")]
    threads: int
    sent_mbit: Annotated[float, Meta(description="Mbit/s to listeners over the last ten seconds")]
    received_mbit: Annotated[float, Meta(description="Mbit/s from sources")]


class Stats(Struct, kw_only=True):
    """Everything countable."""

    server: Server
    process: Process
    listeners: int
    sources: int
    followers: Annotated[int, Meta(description="of event streams")]
    totals: dict[str, int]
    mounts: list[MountDetails]


class Sources(Struct, kw_only=True):
    """Encoders, and what stands in for one."""

    sources: list[SourceFacts]


class Listeners(Struct, kw_only=True):
    """Those who listen now, as many as were asked for."""

    listeners: list[ListenerFacts]
    total: Annotated[int, Meta(description="of all that the filter lets through")]


class Kicked(Struct, kw_only=True):
    """Somebody was let go."""

    id: int
    kicked: bool


class Moved(Struct, kw_only=True):
    """Listeners go on with another mount."""

    mount: str
    to: str
    moved: int


class Fallback(Struct, kw_only=True):
    """What stands in for a mount."""

    mount: str
    fallback: str


class Visit(Struct, kw_only=True):
    """One visit of a listener or source that has ended."""

    id: int
    kind: Literal["listener", "source"]
    mount: str
    address: Annotated[str, Meta(description="hashed, plain or empty, as sessions.addresses says")]
    agent: str
    user: str
    protocol: str
    started: Moment
    ended: Moment
    seconds: float
    bytes: int
    worst_lag_seconds: float
    jumps: int
    titles: int
    last_titles: list[str]
    reason: str
    ended_by: str
    explained: Annotated[str, Meta(description="in a sentence")]
    tcp: TcpState | None


class Visits(Struct, kw_only=True):
    """Visits that have ended, the last first."""

    sessions: list[Visit]
    next_before: Annotated[int | None, Meta(description="for `before` of the next question; null at the end")]


class Ban(Struct, kw_only=True):
    """Who gets nothing, or may not listen or send."""

    id: Annotated[int | None, Meta(description="null for those of the configuration, which only that can lift")]
    address: str | None
    agent: str | None
    scope: str
    reason: str
    expires: Moment | None
    created: Moment | None
    by: str


class MadeBan(Ban, kw_only=True):
    """A new ban."""

    kicked: Annotated[int, Meta(description="who was here and is not any more")]


class Bans(Struct, kw_only=True):
    """All bans."""

    bans: list[Ban]


class Limit(Struct, kw_only=True):
    """How close something is to its limit."""

    limit: str
    mount: str
    value: Annotated[float, Meta(description="0 for none")]
    used: float


class Limits(Struct, kw_only=True):
    """All limits that fill up."""

    limits: list[Limit]


class Hooks(Struct, kw_only=True):
    """How the hooks are."""

    hooks: list[dict[str, Any]]


class Reloaded(Struct, kw_only=True):
    """What a new configuration changed, and what waits for a restart."""

    changed: list[Change]
    waiting: list[Change]


class LogLine(Struct, kw_only=True):
    """One line of the server's log."""

    id: int
    time: Moment
    level: str
    logger: str
    message: str


class LogTail(Struct, kw_only=True):
    """The end of the log, the newest last."""

    lines: list[LogLine]
    last: Annotated[int, Meta(description="for `after` of the next question")]


class SignedIn(Struct, kw_only=True):
    """A session of a browser; the cookie that goes with it is out of reach of scripts."""

    user: str
    csrf_token: Annotated[str, Meta(description="goes into X-CSRF-Token of each request that changes something")]
    scopes: list[str]
    mounts: Annotated[list[str], Meta(description="it is for; none for all")]
    expires: Moment


class Session(Struct, kw_only=True):
    """Whether this browser is signed in."""

    session: SignedIn | None


class Done(Struct, kw_only=True):
    """It is done."""

    done: bool = True


class Problem(Struct, kw_only=True):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
