"""MPEG-DASH: the manifest, over the same files as HLS (ISO/IEC 23009-1).

/live/dash/manifest.mpd                     sends a player on with a token of its own
/live/dash/manifest.mpd?session=TOKEN       who asks for it again listens
/live/dash/time                             the time, for players whose clock is off
/live/dash/...                              the files, as /live/hls/ has them
"""

from __future__ import annotations

from base64 import b64encode
from itertools import groupby
from typing import TYPE_CHECKING

from castd.adaptive import playlists
from castd.adaptive.hls import redirect
from castd.adaptive.outputs import NOT_KEPT, SHARED, Outputs, shared
from castd.adaptive.sessions import TOKEN
from castd.errors import ClientError
from castd.http.links import public_url
from castd.http.messages import ANY_ORIGIN, Response, quote_mount
from castd.segments.segment import init_name, timed_name
from castd.wire import mpd
from castd.wire.fmp4 import ID3_SCHEME

if TYPE_CHECKING:
    from castd.adaptive.groups import Groups
    from castd.adaptive.sessions import Sessions
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.mount.mount import Clock
    from castd.segments.segment import Period, Segment
    from castd.segments.segmenter import Segmenter
    from castd.segments.title_marks import TitleMark

PROTOCOL = "dash"

MANIFEST = "manifest.mpd"

TIME = "time"

DELAY_SEGMENTS = 3
"""Segments behind the live end at which players are advised to be."""


class Dash:
    """The handlers."""

    def __init__(self, current: Current, outputs: Outputs, sessions: Sessions, groups: Groups, clock: Clock) -> None:
        self._current = current
        self._outputs = outputs
        self._sessions = sessions
        self._groups = groups
        self._clock = clock

    async def manifest(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the manifest.

        Raises:
            ClientError: see castd.adaptive.outputs; 404 for what DASH does not carry; 503: there is no room.
        """
        request = exchange.request
        if self._outputs.is_group(call.mount):
            return await self._groups.manifest(exchange, call)
        mount = await self._outputs.find(exchange, call)
        segmenter = await self._outputs.segmenter(mount)
        if segmenter.muxer is None or segmenter.muxer.kind != "m4s":
            name, codec = mount.name, segmenter.listed[-1].period.track.codec.upper()
            raise ClientError(
                404,
                f"DASH players do not play {codec}; there are {name}/hls/index.m3u8 and {name} itself",
                (ANY_ORIGIN,),
            )
        cache = self._outputs.max_age(mount, segmenter.segment_seconds / 2)
        if request.method == "HEAD":
            return shared(request, self._text(segmenter), mpd.CONTENT_TYPE, cache)
        # some players, as ffmpeg, do not care for Location
        for_cache = SHARED in request.query and self._outputs.for_everybody(mount)
        if for_cache or TOKEN in request.query or self._sessions.returns(request, mount.name, PROTOCOL):
            text = self._text(segmenter)
            response = shared(request, text, mpd.CONTENT_TYPE, cache)
            session = self._sessions.attend(request, mount, call.grant, PROTOCOL)
            session.position = segmenter.listed[-1].position
            session.bytes_sent += len(response.body)
            return response
        welcomed = self._sessions.welcome(request, mount, call.grant, PROTOCOL)
        if isinstance(welcomed, Response):
            return welcomed
        folder = f"{quote_mount(welcomed.mount.name)}/dash"
        if welcomed.mount is not mount:
            return redirect(f"{request.prefix}{folder}/{MANIFEST}")
        base = public_url(self._current.config, request)
        location = f"{base}{folder}/{MANIFEST}?{TOKEN}={welcomed.token}"
        text = playlists.text_of(mpd.with_location(self._text(segmenter).data, location))
        return shared(request, text, mpd.CONTENT_TYPE, NOT_KEPT)

    def _text(self, segmenter: Segmenter) -> playlists.Text:
        return self._outputs.kept.get(segmenter, MANIFEST, lambda: manifest(segmenter), parts=False)

    async def file(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the time, or of a file."""
        if call.parameters["file"] != TIME:
            return await self._outputs.file(exchange, call, PROTOCOL)
        now = mpd.date_time(self._clock.wall()).encode()
        return Response(200, now, headers=(NOT_KEPT, ANY_ORIGIN))


def manifest(segmenter: Segmenter) -> bytes:
    """The manifest; there must be a segment."""
    listed = segmenter.listed
    periods = {period: list(segments) for period, segments in groupby(listed, key=lambda each: each.period)}
    return mpd.write_mpd(
        mpd.Manifest(
            availability_start=0.0,
            publish_time=listed[-1].wall + listed[-1].seconds,
            minimum_update_period=segmenter.segment_seconds / 2,
            min_buffer_time=segmenter.segment_seconds,
            time_shift_buffer_depth=sum(each.seconds for each in listed),
            suggested_presentation_delay=DELAY_SEGMENTS * segmenter.segment_seconds,
            max_segment_duration=max(each.seconds for each in listed),
            utc_timing=TIME,
            event_scheme=ID3_SCHEME,
            periods=[_period(segmenter, period, segments) for period, segments in periods.items()],
        )
    )


def _period(segmenter: Segmenter, period: Period, segments: list[Segment]) -> mpd.Period:
    track, session = period.track, segmenter.session
    end = segments[-1].wall + segments[-1].seconds
    heard = [mark for mark in segmenter.titles.since(segments[0].wall) if mark.date < end]
    sound = representation(segmenter, period, segments, "audio", period.start)
    return mpd.Period(
        id=f"{session}-{period.number}",
        start=period.wall(period.start),
        sets=[mpd.AdaptationSet([sound])],
        events=events(heard, period.start, track.sample_rate),
    )


def representation(
    segmenter: Segmenter, period: Period, segments: list[Segment], name: str, offset: int, folder: str = ""
) -> mpd.Representation:
    """Segments of one mount.

    Args:
        period: of the last of them.
        offset: media time at which the manifest's period begins, in samples.
        folder: of the files, as the manifest's URL leads there.
    """
    track, session = period.track, segmenter.session
    return mpd.Representation(
        id=name,
        timescale=track.sample_rate,
        offset=offset,
        initialization=folder + init_name(session, period.number),
        media=folder + timed_name(session, period.number),
        segments=[(each.start, each.samples) for each in segments],
        codecs=track.codecs,
        bandwidth=playlists.bandwidths(segments)[0],
        sample_rate=track.sample_rate,
        channels=track.channels,
    )


def events(marks: list[TitleMark], start: int, rate: int) -> list[mpd.Event]:
    """Titles in a period that begins at a media time in samples."""
    return [mpd.Event(mark.id, max(start, round(mark.time * rate)), b64encode(mark.tag).decode()) for mark in marks]
