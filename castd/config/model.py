"""The configuration as values: a frozen dataclass for each section of castd.toml, defaults and rules beside the fields.

etc/castd.toml explains every key to operators; here stand its type, its default and what it may be. Each part of castd
receives only its own section. `Config()` is a valid configuration made of defaults, so tests need no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from castd.config.rules import (
    ACCOUNT,
    ADDRESS,
    AGENT,
    ARGUMENT,
    AUTH_HEADER,
    CHARSET,
    EVENTS,
    FIELD,
    HEADER,
    HOST,
    MOUNT,
    MOUNT_OR_NONE,
    MOUNT_USER,
    MOUNTS,
    NAME,
    NETWORK,
    PATH,
    REDIRECT,
    SECRET,
    TEXT,
    USER,
    WEB_URL,
    between,
)

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """[server]: who this server is and where it keeps its state.

    Attributes:
        hostname: the name listeners reach it by, without port.
        location: where it stands, for the status page.
        admin_contact: mail address or URL for the status page.
        state_dir: absolute directory of generated secrets; load() always fills it in, only a bare Server() has "".
        user: whom to become once every port is open, if started as root; "" means stay.
    """

    hostname: Annotated[str, NAME] = "localhost"
    location: Annotated[str, TEXT] = "Earth"
    admin_contact: Annotated[str, TEXT] = "icemaster@localhost"
    state_dir: Annotated[str, PATH] = ""
    user: Annotated[str, ACCOUNT] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """[[listen]]: one address to accept connections on.

    Attributes:
        host: IP address or name; "" means every address, IPv4 and IPv6.
        port: TCP port; 0 means any free one.
        proxy_protocol: connections begin with a PROXY protocol header, from a trusted proxy.
        tls: "on" for TLS alone, "auto" for TLS and plain HTTP, told apart by their first byte.
        shoutcast_mount: what SHOUTcast encoders feed that come to this port; "" means the first of [shoutcast] mounts.
    """

    host: Annotated[str, ADDRESS] = ""
    port: Annotated[int, between(0, 65535)] = 8000
    proxy_protocol: bool = False
    tls: Literal["off", "on", "auto"] = "off"
    shoutcast_mount: Annotated[str, MOUNT_OR_NONE] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """[proxies]: whom to believe when they speak for others.

    Attributes:
        trusted: IP addresses and networks of proxies.
        header: the field in which they tell the client's address; "" means that none of their fields is believed.
    """

    trusted: tuple[Annotated[str, NETWORK], ...] = ()
    header: Annotated[str, FIELD] = "x-forwarded-for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """[[certificates]]: one certificate for TLS.

    Attributes:
        certificate: PEM file with the chain, the server's own first, and the key if it is in there.
        key: PEM file with its key, without a password; "" means in the file of the certificate.
        hosts: names it is for, such as "radio.example.org" or "*.example.org".
    """

    certificate: Annotated[str, PATH] = ""
    key: Annotated[str, PATH] = ""
    hosts: tuple[Annotated[str, HOST], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """[tls]: how TLS is spoken where a [[listen]] says so.

    Attributes:
        handshake_timeout_seconds: for a whole handshake.
        max_handshakes: at once.
        hsts_seconds: browsers that came by TLS are told to come by nothing else for so long; 0 tells them nothing.
    """

    handshake_timeout_seconds: Annotated[float, between(0.1, 600, "seconds")] = 10.0
    max_handshakes: Annotated[int, between(1, 1_000_000)] = 500
    hsts_seconds: Annotated[int, between(0, 100_000_000, "seconds")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """[auth]: the server's own users. An empty secret is generated once: ask castd.access.secrets, not this.

    Attributes:
        source_user, source_password: what encoders sign in with, where their mount has none of its own.
        admin_user, admin_password: what operators sign in with.
        admin_token: bearer token for programs that use the API.
        relay_user, relay_password: what slaves sign in with, to see the list of mounts; "" lets none.
        relay_password_file: where load() read it; "" if it did not.
        source_password_file, admin_password_file, admin_token_file: where load() read that secret; "" if it did not.
    """

    source_user: Annotated[str, USER] = "source"
    source_password: Annotated[str, SECRET] = field(default="", repr=False)
    source_password_file: Annotated[str, PATH] = ""
    admin_user: Annotated[str, USER] = "admin"
    admin_password: Annotated[str, SECRET] = field(default="", repr=False)
    admin_password_file: Annotated[str, PATH] = ""
    admin_token: Annotated[str, SECRET] = field(default="", repr=False)
    admin_token_file: Annotated[str, PATH] = ""
    relay_user: Annotated[str, USER] = "relay"
    relay_password: Annotated[str, SECRET] = field(default="", repr=False)
    relay_password_file: Annotated[str, PATH] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dj:
    """[[djs]]: somebody who may feed some mounts.

    Attributes:
        user: what they sign in with.
        password: likewise; "" lets nobody in.
        password_file: where load() read it; "" if it did not.
        mounts: names and globs of the mounts.
        priority: of several sources at a mount, the one with the highest is heard; everybody else's is 0.
    """

    user: Annotated[str, USER] = "dj"
    password: Annotated[str, SECRET] = field(default="", repr=False)
    password_file: Annotated[str, PATH] = ""
    mounts: tuple[Annotated[str, MOUNTS], ...] = ("/*",)
    priority: Annotated[int, between(-1000, 1000)] = 0

    def may_feed(self, mount: str) -> bool:
        """Is that mount one of theirs?"""
        return any(fnmatchcase(mount, pattern) for pattern in self.mounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoutcast:
    """[shoutcast]: what its encoders, players and panels take for granted.

    Attributes:
        mounts: those of stream ids 1, 2, ...; the first is for encoders that name none, and what players get at "/;".
    """

    mounts: tuple[Annotated[str, MOUNT], ...] = ("/stream",)

    def mount(self, stream_id: int) -> str:
        """The mount of a stream id, from 1; that of 1 for 0; "" if there is none."""
        return self.mounts[max(stream_id, 1) - 1] if max(stream_id, 1) <= len(self.mounts) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """[[aliases]]: another path of a mount.

    Attributes:
        path: what listeners ask for; a mount of that name goes before it.
        mount: what they get.
    """

    path: Annotated[str, MOUNT] = "/"
    mount: Annotated[str, MOUNT] = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """[limits]: how much strangers may ask of the server.

    Attributes:
        max_listeners: of all mounts together.
        max_sources: of all mounts together.
        max_bandwidth_mbit: in Mbit/s, that listeners of all mounts together get; 0 means no limit.
        max_listener_seconds: a listener's longest visit, for mounts that set none; 0 means no limit.
        full_redirect: where listeners are sent who find no place, for mounts that set none; "" means a refusal.
        max_connections_per_address: at once from one client address; 0 means no limit.
        max_sessions_per_address: listeners by HLS and DASH at once from one client address; 0 means no limit.
        max_new_connections_per_minute: from one client address; 0 means no limit.
        max_wrong_passwords_per_minute: from one client address, then none is looked at for a while; 0 means no limit.
        max_event_streams: clients of the API's event streams at once.
        max_unread_heads: connections at once that wait for a request head, the first or a later one.
        header_bytes: of one request head.
        header_count: header fields of one request head.
        header_timeout_seconds: for a whole request head to arrive.
        reply_timeout_seconds: for a client to take a whole reply that is not a stream.
        source_timeout_seconds: a source that sends nothing for so long is dropped.
        peer_timeout_seconds: a peer that acknowledges nothing for so long is dropped.
        drain_seconds: for listeners and downloads to receive what is left when the server stops.
    """

    max_listeners: Annotated[int, between(1, 10_000_000)] = 20_000
    max_sources: Annotated[int, between(1, 1_000_000)] = 100
    max_bandwidth_mbit: Annotated[float, between(0, 10_000_000, "Mbit/s")] = 0.0
    max_listener_seconds: Annotated[float, between(0, 10_000_000, "seconds")] = 0.0
    full_redirect: Annotated[str, REDIRECT] = ""
    max_connections_per_address: Annotated[int, between(0, 10_000_000)] = 0
    max_sessions_per_address: Annotated[int, between(0, 10_000_000)] = 1000
    max_new_connections_per_minute: Annotated[int, between(0, 1_000_000)] = 0
    max_wrong_passwords_per_minute: Annotated[int, between(0, 1_000_000)] = 30
    max_event_streams: Annotated[int, between(0, 1_000_000)] = 5000
    max_unread_heads: Annotated[int, between(1, 10_000_000)] = 1000
    header_bytes: Annotated[int, between(1024, MIB, "bytes")] = 16_384
    header_count: Annotated[int, between(10, 10_000)] = 100
    header_timeout_seconds: Annotated[float, between(0.1, 600, "seconds")] = 15.0
    reply_timeout_seconds: Annotated[float, between(0.1, 600, "seconds")] = 15.0
    source_timeout_seconds: Annotated[float, between(0.1, 3600, "seconds")] = 10.0
    peer_timeout_seconds: Annotated[float, between(1, 3600, "seconds")] = 30.0
    drain_seconds: Annotated[float, between(0, 3600, "seconds")] = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bans:
    """[bans]: who gets nothing, or may not listen, or may not feed a mount; and who alone gets anything.

    Attributes:
        addresses, agents: addresses and networks, and globs of User-Agents, that get nothing.
        listener_addresses, listener_agents: that may not listen.
        source_addresses, source_agents: that may not feed or steer a mount.
        allow: if there are any, other addresses get nothing; likewise the file.
        deny_ip_file, deny_agents_file, allow_ip_file: with more of addresses, agents, allow; "" means none.
    """

    addresses: tuple[Annotated[str, NETWORK], ...] = ()
    agents: tuple[Annotated[str, AGENT], ...] = ()
    listener_addresses: tuple[Annotated[str, NETWORK], ...] = ()
    listener_agents: tuple[Annotated[str, AGENT], ...] = ()
    source_addresses: tuple[Annotated[str, NETWORK], ...] = ()
    source_agents: tuple[Annotated[str, AGENT], ...] = ()
    allow: tuple[Annotated[str, NETWORK], ...] = ()
    deny_ip_file: Annotated[str, PATH] = ""
    deny_agents_file: Annotated[str, PATH] = ""
    allow_ip_file: Annotated[str, PATH] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """[files]: static files beside the mounts.

    Attributes:
        root: absolute directory; "" means none are served.
        rate_limit_bytes: of one download in a second; 0 means no limit.
    """

    root: Annotated[str, PATH] = ""
    rate_limit_bytes: Annotated[int, between(0, 10_000_000_000, "bytes")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Art:
    """[art]: pictures to titles, where a title came with the address of one.

    Attributes:
        max_bytes: a picture may have.
        timeout_seconds: for the whole picture to arrive.
        private_networks: they may come from addresses that are not of the public internet.
    """

    max_bytes: Annotated[int, between(1024, 64 * MIB, "bytes")] = MIB
    timeout_seconds: Annotated[float, between(0.1, 60, "seconds")] = 5.0
    private_networks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """[sessions]: what is recorded of listeners and sources that have gone.

    Attributes:
        recent: visits kept in memory.
        keep_days: visits are kept in state_dir for so long; 0 means only in memory.
        addresses: how addresses are recorded.
    """

    recent: Annotated[int, between(0, 1_000_000)] = 1000
    keep_days: Annotated[int, between(0, 36_500, "days")] = 30
    addresses: Literal["hashed", "plain", "none"] = "hashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """[logs]: log files; absolute paths.

    Attributes:
        access: of requests; "" means none.
        playlist: of titles; "" means none.
        server: of the server itself; "" means standard error.
        rotate_bytes: a file is renamed before it grows beyond it; 0 means never.
        rotate_keep: renamed files kept of each.
    """

    access: Annotated[str, PATH] = ""
    playlist: Annotated[str, PATH] = ""
    server: Annotated[str, PATH] = ""
    rotate_bytes: Annotated[int, between(0, 1 << 40, "bytes")] = 100 * MIB
    rotate_keep: Annotated[int, between(1, 1000)] = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """[[hooks]]: whom to tell what happens.

    Attributes:
        events: names and patterns of those it wants.
        url: a web service to tell; "" if there is a program.
        secret: signs what is sent there; "" means no signature.
        secret_file: where load() read it; "" if it did not.
        program: absolute path of a program to run; "" if there is a URL.
        args: its arguments.
        timeout_seconds: for the service to answer, and for the program to end.
        batch_seconds: events of listeners are gathered for so long; 0 means not at all.
    """

    events: tuple[Annotated[str, EVENTS], ...] = ()
    url: Annotated[str, WEB_URL] = ""
    secret: Annotated[str, SECRET] = field(default="", repr=False)
    secret_file: Annotated[str, PATH] = ""
    program: Annotated[str, PATH] = ""
    args: tuple[Annotated[str, ARGUMENT], ...] = ()
    timeout_seconds: Annotated[float, between(0.1, 600, "seconds")] = 10.0
    batch_seconds: Annotated[float, between(0, 3600, "seconds")] = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlAuth:
    """[[url_auth]]: a web service that decides who may listen and send, as Icecast's URL authentication has it.

    Attributes:
        name: by which mounts choose it.
        listener_add: asked whether somebody may listen; "" lets everybody.
        listener_remove: told when one whom it let in has left; "" is not told.
        mount_add, mount_remove: told when an encoder comes and goes; "" is not told.
        stream_auth: asked whether somebody may send; "" leaves it to the passwords castd knows.
        user: signs in to the service; "" passes on what the client gave.
        password: likewise.
        password_file: where load() read it; "" if it did not.
        auth_header: of its answer, that means yes.
        time_limit_header: of its answer, with the seconds that a listener may stay.
        client_headers: fields of the listener's request that it is told.
        timeout_seconds: for its answer.
        when_unreachable: what holds while it does not answer.
    """

    name: Annotated[str, TEXT] = ""
    listener_add: Annotated[str, WEB_URL] = ""
    listener_remove: Annotated[str, WEB_URL] = ""
    mount_add: Annotated[str, WEB_URL] = ""
    mount_remove: Annotated[str, WEB_URL] = ""
    stream_auth: Annotated[str, WEB_URL] = ""
    user: Annotated[str, TEXT] = ""
    password: Annotated[str, SECRET] = field(default="", repr=False)
    password_file: Annotated[str, PATH] = ""
    auth_header: Annotated[str, AUTH_HEADER] = "icecast-auth-user: 1"
    time_limit_header: Annotated[str, FIELD] = "icecast-auth-timelimit"
    client_headers: tuple[Annotated[str, FIELD], ...] = ()
    timeout_seconds: Annotated[float, between(0.1, 600, "seconds")] = 5.0
    when_unreachable: Literal["refuse", "allow"] = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """[[directories]]: a directory of stations that is told of public mounts.

    Attributes:
        url: of its YP service.
        timeout_seconds: for its answer.
    """

    url: Annotated[str, WEB_URL] = ""
    timeout_seconds: Annotated[float, between(0.1, 600, "seconds")] = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """[[relays]]: a mount that is pulled from another server.

    Attributes:
        mount: its name here.
        urls: of the stream there; those after the first are tried where it cannot be had.
        user: signs in there; "" for nobody.
        password: likewise.
        password_file: where load() read it; "" if it did not.
        on_demand: pulled only while somebody listens.
        titles: asked for and carried on.
    """

    mount: Annotated[str, MOUNT_OR_NONE] = ""
    urls: tuple[Annotated[str, WEB_URL], ...] = ()
    user: Annotated[str, TEXT] = ""
    password: Annotated[str, SECRET] = field(default="", repr=False)
    password_file: Annotated[str, PATH] = ""
    on_demand: bool = False
    titles: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """[master]: a server all of whose mounts are relayed here.

    Attributes:
        url: of the server; "" for none.
        user, password: sign in to its list of mounts.
        password_file: where load() read it; "" if it did not.
        update_seconds: between two looks at that list.
        on_demand: its mounts are pulled only while somebody listens.
    """

    url: Annotated[str, WEB_URL] = ""
    user: Annotated[str, TEXT] = "relay"
    password: Annotated[str, SECRET] = field(default="", repr=False)
    password_file: Annotated[str, PATH] = ""
    update_seconds: Annotated[float, between(1, 86_400, "seconds")] = 120.0
    on_demand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What [delivery] sets for every mount and a mount may set for itself.

    Attributes:
        burst_seconds: of audio given to a new listener at once; 0 means none.
        burst_bytes: that burst holds at least, as far as half of lag_seconds allows; 0 means burst_seconds alone.
        ring_seconds: of audio kept for listeners that fall behind.
        ring_bytes: upper bound of one mount's ring; it holds the largest Ogg page (65,307 bytes) at least.
        send_interval_max_seconds: the longest a listener waits between two sends.
        lag_seconds: a listener this far behind is acted on.
        lag_policy: "jump" moves it forward to the live end, "drop" closes it.
        linger_seconds: listeners wait so long for a source that was lost.
        icy_metaint: bytes of audio between two ICY metadata blocks.
        hls: HLS and DASH are offered, where the format allows.
        hls_segment_seconds: of audio in a segment of these.
        hls_part_seconds: in a part of one, for low latency.
        hls_window_seconds: of audio in a playlist; four segments at least.
        hls_rewind_seconds: likewise, where a mount has rewind_seconds, and these are as many.
    """

    burst_seconds: Annotated[float, between(0, 300, "seconds")] = 4.0
    burst_bytes: Annotated[int, between(0, 16 * MIB, "bytes")] = 32_768
    ring_seconds: Annotated[float, between(1, 86_400, "seconds")] = 60.0
    ring_bytes: Annotated[int, between(65_536, 65_536 * MIB, "bytes")] = 16 * MIB
    send_interval_max_seconds: Annotated[float, between(0.001, 10, "seconds")] = 1.0
    lag_seconds: Annotated[float, between(0.1, 86_400, "seconds")] = 20.0
    lag_policy: Literal["jump", "drop"] = "jump"
    linger_seconds: Annotated[float, between(0, 86_400, "seconds")] = 30.0
    icy_metaint: Annotated[int, between(256, MIB, "bytes")] = 16_000
    hls: bool = True
    hls_segment_seconds: Annotated[float, between(1, 10, "seconds")] = 4.0
    hls_part_seconds: Annotated[float, between(0.2, 4, "seconds")] = 0.5
    hls_window_seconds: Annotated[float, between(4, 3600, "seconds")] = 24.0
    hls_rewind_seconds: Annotated[float, between(0, 14_400, "seconds")] = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Pace):
    """[delivery]: how audio reaches listeners.

    Attributes:
        send_interval_min_seconds: between two sends to a listener while there are few of them.
        send_buffer_bytes: of the kernel's send buffer for one listener.
        read_interval_max_seconds: the longest a source waits between two reads while there are many; 0: not at all.
    """

    send_interval_min_seconds: Annotated[float, between(0.001, 10, "seconds")] = 0.05
    send_buffer_bytes: Annotated[int, between(4096, 16 * MIB, "bytes")] = 65_536
    read_interval_max_seconds: Annotated[float, between(0, 10, "seconds")] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSettings(Pace):
    """[mounts.default] or [mounts."/name"], resolved by Config.mount: nothing is unset but `public`.

    Attributes:
        name, description, genre, url: what listeners are told; "" means what the source says.
        public: whether directories may list the mount; None means what the source says.
        hidden: left out of the public status pages.
        no_mount: listeners are refused; what is here is for relays of the server's own, fallbacks and moves.
        fallback: the mount that stands in while there is no encoder; "" for none.
        fallback_file: stands in where that cannot, over and over; "" for none.
        filler: what is sent while nothing else is there: nothing, or silence in the codec heard last.
        filler_seconds: after which that ends and the mount is given up; 0 means never.
        silence_seconds: an encoder that is quieter than silence_dbfs for so long is silent; 0 means nobody listens.
        silence_dbfs: as root mean square of about a second, in dB below full scale.
        silence_fallback: what stands in for an encoder does so while it is silent.
        fallback_when_full: who finds the mount full listens to the fallback mount.
        transcode_from: the mount of which this one is a rendition; "" if it is none.
        codec: of the rendition.
        bitrate: likewise, in bit/s.
        transcode_on_demand: it is made only while somebody listens.
        intro_file: what every listener hears first; "" for nothing.
        dump_file: pattern of the names of files in which encoders' streams are recorded; "" records nothing.
        dump_rotate_bytes, dump_rotate_seconds: after which a new file is begun; 0 means not.
        unchain: links of a chained Ogg stream are made into one, as far as they fit.
        charset: of titles that are not UTF-8 and name none.
        headers: fields added to listeners' replies, as "Name: value".
        max_listeners: of this mount; 0 means only the server's limit.
        max_bandwidth_mbit: in Mbit/s, that its listeners get; 0 means only the server's limit.
        max_listener_seconds, full_redirect: as in [limits], for this mount.
        allow_listeners, allow_sources: addresses and networks; if there are any, no others may listen, or feed it.
        source_user: what encoders of this mount sign in with.
        source_password: likewise; "" means the server's, which castd.access.secrets knows.
        source_password_file: where load() read the password; "" if it did not.
        stream_key: in the URL of an encoder's request, lets it in without user and password; "" lets nobody in.
        stream_key_file: where load() read it; "" if it did not.
        users_file: names and hashed passwords of those who may listen; "" asks nobody for them.
        link_key: makes and checks links that let a listener in until they expire; "" means there are none.
        link_key_file: where load() read it; "" if it did not.
        url_auth: name of the [[url_auth]] that is asked who may listen and send; "" means none is.
        max_sessions_per_user: listeners at once with one user's name; 0 means any number.
        rewind_seconds: of audio that listeners may go back by; 0 means not at all.
        rewind_bytes: upper bound of the file that holds it.
    """

    name: Annotated[str, TEXT] = ""
    description: Annotated[str, TEXT] = ""
    genre: Annotated[str, TEXT] = ""
    url: Annotated[str, TEXT] = ""
    public: bool | None = None
    hidden: bool = False
    no_mount: bool = False
    fallback: Annotated[str, MOUNT_OR_NONE] = ""
    fallback_file: Annotated[str, PATH] = ""
    filler: Literal["hold", "silence"] = "hold"
    filler_seconds: Annotated[float, between(0, 100_000_000, "seconds")] = 3600.0
    silence_seconds: Annotated[float, between(0, 86_400, "seconds")] = 0.0
    silence_dbfs: Annotated[float, between(-110, 0, "dBFS")] = -50.0
    silence_fallback: bool = False
    fallback_when_full: bool = False
    transcode_from: Annotated[str, MOUNT_OR_NONE] = ""
    codec: Literal["aac", "opus", "mp3"] = "aac"
    bitrate: Annotated[int, between(8_000, 320_000, "bit/s")] = 64_000
    transcode_on_demand: bool = True
    intro_file: Annotated[str, PATH] = ""
    dump_file: Annotated[str, PATH] = ""
    dump_rotate_bytes: Annotated[int, between(0, 1 << 50, "bytes")] = 0
    dump_rotate_seconds: Annotated[float, between(0, 100_000_000, "seconds")] = 0.0
    unchain: bool = False
    charset: Annotated[str, CHARSET] = "iso-8859-1"
    headers: tuple[Annotated[str, HEADER], ...] = ()
    max_listeners: Annotated[int, between(0, 10_000_000)] = 0
    max_bandwidth_mbit: Annotated[float, between(0, 10_000_000, "Mbit/s")] = 0.0
    max_listener_seconds: Annotated[float, between(0, 10_000_000, "seconds")] = 0.0
    full_redirect: Annotated[str, REDIRECT] = ""
    allow_listeners: tuple[Annotated[str, NETWORK], ...] = ()
    allow_sources: tuple[Annotated[str, NETWORK], ...] = ()
    source_user: Annotated[str, MOUNT_USER] = ""
    source_password: Annotated[str, SECRET] = field(default="", repr=False)
    source_password_file: Annotated[str, PATH] = ""
    stream_key: Annotated[str, SECRET] = field(default="", repr=False)
    stream_key_file: Annotated[str, PATH] = ""
    users_file: Annotated[str, PATH] = ""
    link_key: Annotated[str, SECRET] = field(default="", repr=False)
    link_key_file: Annotated[str, PATH] = ""
    url_auth: Annotated[str, TEXT] = ""
    max_sessions_per_user: Annotated[int, between(0, 10_000_000)] = 0
    rewind_seconds: Annotated[float, between(0, 2_678_400, "seconds")] = 0.0
    rewind_bytes: Annotated[int, between(MIB, 1 << 40, "bytes")] = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """[groups."/name"]: mounts with one programme in several qualities, under one name.

    Attributes:
        mounts: their names; the first that is on the air is what plain listeners of the group get.
    """

    mounts: tuple[Annotated[str, MOUNT], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole castd.toml.

    Attributes:
        groups: by normalised name.
        mounts: what each mount sets for itself, as MountSettings' fields, by normalised name; "default" is for all.
            Ask mount() instead. Not in repr, since it holds passwords.
    """

    server: Server = Server()
    listen: tuple[Listen, ...] = (Listen(),)
    certificates: tuple[Certificate, ...] = ()
    tls: Tls = Tls()
    proxies: Proxies = Proxies()
    auth: Auth = Auth()
    djs: tuple[Dj, ...] = ()
    shoutcast: Shoutcast = Shoutcast()
    aliases: tuple[Alias, ...] = ()
    limits: Limits = Limits()
    bans: Bans = Bans()
    files: Files = Files()
    art: Art = Art()
    sessions: Sessions = Sessions()
    logs: Logs = Logs()
    hooks: tuple[Hook, ...] = ()
    url_auth: tuple[UrlAuth, ...] = ()
    directories: tuple[Directory, ...] = ()
    relays: tuple[Relay, ...] = ()
    master: Master = Master()
    delivery: Delivery = Delivery()
    groups: Mapping[str, Group] = field(default_factory=dict)
    mounts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def own_url(self) -> str:
        """What links to this server begin with where no request tells how clients reach it; no slash at the end."""
        first, hostname = self.listen[0], self.server.hostname
        scheme, usual = ("https", 443) if first.tls == "on" else ("http", 80)
        return f"{scheme}://{hostname}" if first.port == usual else f"{scheme}://{hostname}:{first.port}"

    def group_of(self, mount: str) -> str:
        """The name of the first group that a mount is in; "" if it is in none."""
        return next(iter(self.groups_of(mount)), "")

    def groups_of(self, mount: str) -> list[str]:
        """The names of all groups that a mount is in."""
        return [name for name, group in self.groups.items() if mount in group.mounts]

    def mount(self, name: str) -> MountSettings:
        """The settings of one mount: its own over [mounts.default] over [delivery], [limits] and [auth].

        Args:
            name: normalised, such as "/live" (castd.config.names.mount_name); any name has settings.
        """
        values = {key.name: getattr(self.delivery, key.name) for key in fields(Pace)}
        values["max_listener_seconds"] = self.limits.max_listener_seconds
        values["full_redirect"] = self.limits.full_redirect
        values.update(self.mounts.get("default", {}))
        values.update(self.mounts.get(name, {}))
        values["source_user"] = values.get("source_user") or self.auth.source_user
        return MountSettings(**values)
