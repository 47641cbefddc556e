"""Makes the API's values of what there is."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from castd.api import shapes
from castd.errors import ClientError
from castd.http.heads import SERVER
from castd.http.messages import quote_mount
from castd.mount.party import FILLER
from castd.segments.muxers import offered
from castd.stats.snapshot import art_path, mount_facts, source_facts

if TYPE_CHECKING:
    from castd.config import Config
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.mount.timeline import Title
    from castd.stats.samples import Samples


def find_mount(registry: Registry, name: str) -> Mount:
    """A mount that has, or had, a source.

    Raises:
        ClientError: 404.
    """
    mount = registry.get(name)
    if mount is None or mount.description is None:
        raise ClientError(404, "no such mount")
    return mount


def is_public(mount: Mount) -> bool:
    """Whether everybody is told of it."""
    return mount.description is not None and not mount.settings.hidden


def public_mounts(registry: Registry) -> list[Mount]:
    """In the order of their names."""
    return sorted(filter(is_public, registry.mounts.values()), key=lambda mount: mount.name)


def segment(name: str) -> str:
    """A mount's name as one segment of a path of the API."""
    return quote(name.removeprefix("/"), safe="")


def describe_server(config: Config, registry: Registry) -> shapes.Server:
    server = config.server
    return shapes.Server(
        software=SERVER,
        hostname=server.hostname,
        location=server.location,
        admin_contact=server.admin_contact,
        started=rfc3339(registry.started),
    )


def describe_links(name: str, mount: Mount | None = None) -> shapes.Links:
    """Links about a mount.

    Args:
        mount: the mount, if it is there.
    """
    path, one = quote_mount(name), segment(name)
    kind = offered(mount) if mount is not None else None
    return shapes.Links(
        stream=path,
        m3u=f"{path}.m3u",
        pls=f"{path}.pls",
        xspf=f"{path}.xspf",
        hls=f"{path}/hls/index.m3u8" if kind else None,
        dash=f"{path}/dash/manifest.mpd" if kind == "m4s" else None,
        page=f"/p/{one}",
        embed=f"/p/{one}?embed=1",
        oembed=f"/api/v1/oembed?url=/p/{quote(one, safe='')}",
        qr=f"/api/v1/mounts/{one}/qr",
        events=f"/api/v1/mounts/{one}/events",
        titles=f"/api/v1/mounts/{one}/titles",
    )


def describe_title(mount: Mount, title: Title) -> shapes.Title:
    return shapes.Title(
        text=title.text,
        artist=title.artist,
        title=title.title,
        album=title.album,
        url=title.url,
        art=art_path(mount.name, title.art) or None,
        duration_seconds=title.duration or None,
        since=rfc3339(title.wall),
        position=title.position,
        media_seconds=round(title.time, 3),
        listen=_rewound(mount, title),
    )


def _rewound(mount: Mount, title: Title) -> str | None:
    oldest = mount.timeline.rewound(-1.0, mount.alike_from)
    if not mount.settings.rewind_seconds or oldest is None or title.position < oldest.position:
        return None
    return f"{quote_mount(mount.name)}?start={title.wall:.3f}"


def _rewind_seconds(mount: Mount) -> int:
    oldest = mount.timeline.rewound(-1.0, mount.alike_from)
    held = mount.timeline.end - oldest.time if oldest is not None else 0.0
    return int(min(held, mount.settings.rewind_seconds)) // 60 * 60


def mount_fields(mount: Mount, config: Config) -> dict[str, Any]:
    """The fields of shapes.Mount, but for listen_url."""
    facts, title = mount_facts(mount), mount.timeline.title
    return {
        "mount": mount.name,
        "path": quote_mount(mount.name),
        "state": state(mount),
        "fallback": mount.source.fallback or None if mount.source else None,
        "name": facts.name,
        "description": facts.description,
        "genre": facts.genre,
        "url": facts.url,
        "public": facts.public,
        "content_type": facts.content_type,
        "codec": facts.codec,
        "bitrate": facts.bitrate or None,
        "sample_rate": facts.sample_rate or None,
        "channels": facts.channels or None,
        "listeners": len(mount.listeners),
        "listener_peak": mount.listener_peak,
        "started": rfc3339(mount.started) if mount.started else None,
        "title": describe_title(mount, title) if title is not None and title.text else None,
        "group": config.group_of(mount.name) or None,
        "rewind_seconds": _rewind_seconds(mount),
        "links": describe_links(mount.name, mount),
    }


def describe_mount(mount: Mount, base: str, config: Config) -> shapes.Mount:
    """A mount for everybody.

    Args:
        base: what links to this server begin with.
    """
    fields = mount_fields(mount, config)
    return shapes.Mount(**fields, listen_url=base + fields["path"])


def describe_group(name: str, registry: Registry, base: str, config: Config) -> shapes.Group:
    """A group for everybody.

    Args:
        name: of one that is configured.
        base: what links to this server begin with.
    """
    members = [mount for each in config.groups[name].mounts if (mount := registry.get(each)) is not None]
    shown = [describe_mount(mount, base, config) for mount in members if is_public(mount)]
    path, kinds = quote_mount(name), {offered(mount) for mount in members}
    return shapes.Group(
        name=name,
        path=path,
        listeners=sum(each.listeners for each in shown),
        mounts=sorted(shown, key=lambda each: -(each.bitrate or 0)),
        first=shown[0].mount if shown else None,
        links=shapes.GroupLinks(
            stream=path,
            hls=f"{path}/hls/index.m3u8" if kinds - {None} else None,
            dash=f"{path}/dash/manifest.mpd" if "m4s" in kinds else None,
            page=f"/p/{segment(name)}",
        ),
    )


def describe_details(mount: Mount, base: str, config: Config, samples: Samples) -> shapes.MountDetails:
    """A mount for operators."""
    fields, oldest = mount_fields(mount, config), mount.timeline.oldest
    return shapes.MountDetails(
        **fields,
        listen_url=base + fields["path"],
        hidden=mount.settings.hidden,
        max_listeners=mount.settings.max_listeners,
        slow_listeners=mount.slow_listeners,
        bytes_received=mount.bytes_received,
        bytes_sent=mount.bytes_sent,
        ring_bytes=mount.ring.capacity,
        ring_seconds=round(mount.timeline.end - oldest.time, 3) if oldest else 0.0,
        measured_bitrate=mount.measured_bitrate,
        sources=[source_facts(mount, each) for each in mount.sources],
        health=_health(mount, samples),
        history=shapes.History(step_seconds=samples.step_seconds, listeners=samples.listeners(mount)),
    )


def _health(mount: Mount, samples: Samples) -> shapes.Health | None:
    found = samples.health(mount)
    return None if found is None else shapes.Health(**{each.name: getattr(found, each.name) for each in fields(found)})


def state(mount: Mount) -> Any:
    """`live`, `fallback` while one stands in, `silence` while nothing else does, `waiting` for its source."""
    if mount.source is None:
        return "waiting"
    if mount.source.fallback == FILLER:
        return "silence"
    return "fallback" if mount.source.fallback else "live"


def rfc3339(wall: float) -> str:
    """A moment, to the second: `2026-11-23T05:48:18Z`."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
