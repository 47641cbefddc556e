"""What is true now, as plain values: every page, API answer and reply head is made of these."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.party import Listener, Source

KBIT = 1000

SUBTYPES = {"vorbis": "Vorbis", "opus": "Opus", "flac": "FLAC", "speex": "Speex"}
"""Codecs of Ogg as Icecast's status and directories name them."""


@dataclass(frozen=True, slots=True)
class MountFacts:
    """What a mount is called and what it carries: the operator's words before the source's, the bytes' before both.

    Attributes:
        content_type: "" before a source was there.
        codec: "mp3", "aac", "vorbis", "opus", "flac", "speex", ...; "" if unknown.
        bitrate: in bit/s, 0 if unknown; what the frames say, else the source, else what was measured.
        sample_rate: in Hz, 0 if unknown.
        channels: 0 if unknown.
        audio_info: the source's Ice-Audio-Info pairs; audio_info_text as it sent them.
        declared_bitrate: as the source wrote it, usually kbit/s.
    """

    name: str
    description: str
    genre: str
    url: str
    public: bool
    content_type: str
    codec: str
    bitrate: int
    sample_rate: int
    channels: int
    audio_info: tuple[tuple[str, str], ...]
    audio_info_text: str
    declared_bitrate: str


def art_path(mount: str, art: str) -> str:
    """Where the picture to a title is.

    Args:
        mount: its name.
        art: as castd.mount.timeline.Title has it; "" gives "".
    """
    if not art:
        return ""
    key = sha256(art.encode()).hexdigest()[:24] if art.startswith(("http://", "https://")) else art
    return f"/api/v1/mounts/{quote(mount.removeprefix('/'), safe='')}/art?v={key}"


def mount_facts(mount: Mount) -> MountFacts:
    """The facts of a mount."""
    settings, said, info = mount.settings, mount.description, mount.info
    audio_info = dict(said.audio_info) if said else {}

    def declared(*names: str) -> int:
        for name in names:
            value = audio_info.get(name, "")
            if value.isascii() and value.isdigit() and len(value) < 8:
                return int(value)
        return 0

    declared_bitrate = said.bitrate if said else ""
    kilobits = declared("ice-bitrate", "bitrate")
    if declared_bitrate.isascii() and declared_bitrate.isdigit() and len(declared_bitrate) < 8:
        kilobits = int(declared_bitrate)
    public = settings.public if settings.public is not None else bool(said and said.public)
    return MountFacts(
        name=settings.name or (said.name if said else ""),
        description=settings.description or (said.description if said else ""),
        genre=settings.genre or (said.genre if said else ""),
        url=settings.url or (said.url if said else ""),
        public=public,
        content_type=said.content_type if said else "",
        codec=info.codec if info else "",
        bitrate=(info.bitrate if info else 0) or kilobits * KBIT or mount.measured_bitrate,
        sample_rate=(info.sample_rate if info else 0) or declared("ice-samplerate", "samplerate"),
        channels=(info.channels if info else 0) or declared("ice-channels", "channels"),
        audio_info=said.audio_info if said else (),
        audio_info_text=said.audio_info_text if said else "",
        declared_bitrate=declared_bitrate,
    )


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """A listener as operators see it.

    Attributes:
        connected_seconds: since it joined.
        lag_seconds: media time between what was last given to the kernel for it and the live end.
    """

    id: int
    mount: str
    address: str
    agent: str
    user: str
    protocol: str
    connected_seconds: float
    bytes_sent: int
    lag_seconds: float
    jumps: int


def listener_facts(mount: Mount, listener: Listener) -> ListenerFacts:
    """The facts of one listener."""
    return ListenerFacts(
        id=listener.id,
        mount=mount.name,
        address=listener.address,
        agent=listener.agent,
        user=listener.user,
        protocol=listener.protocol,
        connected_seconds=round(mount.clock.monotonic() - listener.connected, 3),
        bytes_sent=listener.bytes_sent,
        lag_seconds=round(mount.lag_seconds(listener.position), 3),
        jumps=listener.jumps,
    )


@dataclass(frozen=True, slots=True)
class SoundFacts:
    """What can be heard of a source.

    Attributes:
        level_dbfs: root mean square of the last second or so; -120 is digital silence. None where that cannot be told.
        peak_dbfs: of the loudest sample then.
        quiet_seconds: for which it has been below the mount's threshold.
        silent: for longer than the mount allows.
    """

    level_dbfs: float | None
    peak_dbfs: float | None
    quiet_seconds: float
    silent: bool


def sound_facts(mount: Mount, source: Source) -> SoundFacts | None:
    """The facts of one source's sound; None while nobody listens to it."""
    sound = source.sound
    if source.ear is None or not mount.settings.silence_seconds:
        return None
    return SoundFacts(sound.level_dbfs, sound.peak_dbfs, round(sound.quiet_seconds, 1), sound.silent)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A source as operators see it.

    Attributes:
        connected_seconds: since it claimed its mount.
        silent_seconds: since its last bytes.
        skipped_bytes: bytes that were no part of a frame, tags not counted.
        fallback: the mount or file that stands in for an encoder; "" for an encoder.
        sound: what can be heard of it; None while nobody listens to that.
    """

    id: int
    mount: str
    address: str
    agent: str
    user: str
    protocol: str
    connected_seconds: float
    silent_seconds: float
    bytes_received: int
    skipped_bytes: int
    fallback: str
    sound: SoundFacts | None


def source_facts(mount: Mount, source: Source) -> SourceFacts:
    """The facts of one source."""
    now = mount.clock.monotonic()
    return SourceFacts(
        id=source.id,
        mount=mount.name,
        address=source.address,
        agent=source.agent,
        user=source.user,
        protocol=source.protocol,
        connected_seconds=round(now - source.connected, 3),
        silent_seconds=round(now - source.received, 3),
        bytes_received=source.bytes_received,
        skipped_bytes=source.skipped_bytes,
        fallback=source.fallback,
        sound=sound_facts(mount, source),
    )
