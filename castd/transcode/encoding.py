"""Sound to AAC in ADTS frames, MP3 frames, or Opus in Ogg pages, by FFmpeg's encoders, through PyAV; only in the
process that encodes.

Loudness is left alone. One or two channels stay; more are mixed down to two. Media time is that of the source: what
comes out of an encoder is told by its own count of samples, which has its delay in it, and by where in the source's
time the first of these samples was.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from secrets import randbits
from typing import TYPE_CHECKING, Any

from castd.wire.adts import write_header
from castd.wire.ogg_pages import BOS, EOS, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ASTRAY_SECONDS = 0.1
"""The source's time may be so far from the count of samples: headers, cut links and resampling are far below. More is
audio that is missing."""

PAGE_PACKETS = 5
"""Of 20 ms each, on an Ogg page."""

_OPUS_RATE = 48_000
_OPUS_MOST = 256_000
"""In bit/s for a channel (libopus)."""

_COMMENTS = b"OpusTags" + (5).to_bytes(4, "little") + b"castd" + bytes(4)
"""RFC 7845 §5.2: who made it, and no comment; titles are told outside the stream."""


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder.

    Attributes:
        encoder: FFmpeg's name of it.
        sample_format: of what it takes.
        rates: that it can have, in Hz, from the highest to the lowest.
    """

    encoder: str
    sample_format: str
    rates: tuple[int, ...]


CODECS = {
    "aac": Codec("aac", "fltp", (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)),
    "mp3": Codec("libmp3lame", "fltp", (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)),
    "opus": Codec("libopus", "flt", (_OPUS_RATE,)),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A frame or a page.

    Attributes:
        data: its bytes.
        seconds: of audio in it.
        end: media time after it, in seconds. Before it is as much less, unless audio is missing there.
    """

    data: bytes
    seconds: float
    end: float


class Encoder:
    """One rendition's, whatever becomes of its source.

    Args:
        module: the package av.
        codec, bitrate, sample_rate: see castd.transcode.messages.Begin.
    """

    def __init__(self, module: Any, codec: str, bitrate: int, sample_rate: int) -> None:
        self._module = module
        self._name = codec
        self._codec = CODECS[codec]
        self._bitrate = bitrate
        self._rate = sample_rate
        self._layout = ""
        self._context: Any = None
        self._resampler: Any = None
        self._taken: tuple[int, str, str] | None = None  # rate, layout and format that the resampler takes
        self._fifo: Any = None
        self._fed = self._encoded = 0  # samples into the queue, and out of it
        self._anchors: deque[tuple[int, float]] = deque()  # from this sample on, the media time is that
        self._pages: _Pages | None = None

    def at(self, start: float) -> None:
        """What is encoded next has a media time; where that is not what is due, audio is missing."""
        self._due = start
        if self._context is not None and abs(self._time(self._fed) - start) > ASTRAY_SECONDS:
            self._anchors.append((self._fed, start))

    def encode(self, frame: Any) -> Iterator[Unit]:
        """What one more frame of sound completes.

        Args:
            frame: av.AudioFrame.
        """
        layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
        if layout != self._layout:
            yield from self.finish()
            self._open(frame.sample_rate, layout)
        frame.pts = None
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        if kind != self._taken:
            self._taken = kind
            self._resampler = self._module.AudioResampler(self._codec.sample_format, layout, self._rate)
        for each in self._resampler.resample(frame):
            yield from self._queue(each)

    def finish(self) -> Iterator[Unit]:
        """What it still holds; it may begin anew."""
        if self._context is None:
            return
        for each in self._resampler.resample(None):
            yield from self._queue(each)
        rest = self._fifo.read(0, True)
        packets = [*(self._context.encode(self._stamped(rest)) if rest else ()), *self._context.encode(None)]
        self._due = self._time(self._fed)
        yield from self._units(packets, last=True)
        self._context, self._layout, self._taken = None, "", None

    def _open(self, source_rate: int, layout: str) -> None:
        codec = self._codec
        self._rate = self._rate or next((rate for rate in codec.rates if rate <= source_rate), codec.rates[-1])
        channels = 1 if layout == "mono" else 2
        context = self._module.CodecContext.create(codec.encoder, "w")
        context.sample_rate, context.layout, context.format = self._rate, layout, codec.sample_format
        context.time_base = Fraction(1, self._rate)
        context.thread_count = 1
        context.bit_rate = min(self._bitrate, _OPUS_MOST * channels) if self._name == "opus" else self._bitrate
        context.open()
        self._context, self._layout = context, layout
        self._fifo, self._taken = self._module.AudioFifo(), None
        self._fed = self._encoded = 0
        self._anchors = deque([(0, self._due)])
        # AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): object type 2, which is low complexity
        self._config = (2 << 11 | _ADTS_INDEX.get(self._rate, 0) << 7 | channels << 3).to_bytes(2)
        self._pages = _Pages(context.extradata) if self._name == "opus" else None

    def _queue(self, frame: Any) -> Iterator[Unit]:
        frame.pts = None
        self._fifo.write(frame)
        self._fed += frame.samples
        while (block := self._fifo.read(self._context.frame_size)) is not None:
            yield from self._units(self._context.encode(self._stamped(block)))

    def _stamped(self, frame: Any) -> Any:
        frame.pts, frame.time_base = self._encoded, Fraction(1, self._rate)
        self._encoded += frame.samples
        return frame

    def _units(self, packets: Iterable[Any], *, last: bool = False) -> Iterator[Unit]:
        for packet in packets:
            data, seconds, end = bytes(packet), packet.duration / self._rate, self._time(packet.pts + packet.duration)
            if self._pages is not None:
                if page := self._pages.add(data, packet.duration, end):
                    yield page
            elif self._name == "aac":
                yield Unit(write_header(self._config, len(data)) + data, seconds, end)
            else:
                yield Unit(data, seconds, end)
        if last and self._pages is not None and (page := self._pages.close()):
            yield page

    def _time(self, sample: int) -> float:
        """The media time of a sample, counted as the encoder does; the encoder's delay comes before the first."""
        while len(self._anchors) > 1 and self._anchors[1][0] <= min(sample, self._encoded - self._rate):
            self._anchors.popleft()
        count, time = next((each for each in reversed(self._anchors) if each[0] <= sample), self._anchors[0])
        return time + (sample - count) / self._rate


_ADTS_INDEX = {48_000: 3, 44_100: 4, 32_000: 5, 24_000: 6, 22_050: 7, 16_000: 8, 12_000: 9, 11_025: 10, 8_000: 11}
"""sampling_frequency_index (ISO/IEC 14496-3 §1.6.3.4)."""


class _Pages:
    """Opus packets to Ogg pages, RFC 7845: one link.

    Args:
        identification: the OpusHead packet.
    """

    def __init__(self, identification: bytes) -> None:
        self._serial = randbits(32)
        self._sequence = 0
        self._granule = 0
        self._packets: list[bytes] = []
        self._samples = -int.from_bytes(identification[10:12], "little")  # pre-skip: no decoder gives these
        self._end = 0.0
        self._headers = self._page([identification], BOS) + self._page([_COMMENTS])

    def add(self, packet: bytes, samples: int, end: float) -> Unit | None:
        """The page that is complete with this packet."""
        self._packets.append(packet)
        self._granule += samples
        self._samples += samples
        self._end = end
        return self._take() if len(self._packets) == PAGE_PACKETS else None

    def close(self) -> Unit | None:
        """The last page."""
        return self._take(EOS) if self._packets else None

    def _take(self, flags: int = 0) -> Unit:
        data, self._headers = self._headers + self._page(self._packets, flags), b""
        seconds = max(0, self._samples) / _OPUS_RATE
        self._packets, self._samples = [], 0
        return Unit(data, seconds, self._end)

    def _page(self, packets: list[bytes], flags: int = 0) -> bytes:
        lacing = b"".join(b"\xff" * (len(each) // 255) + bytes((len(each) % 255,)) for each in packets)
        page = Page(flags, self._granule, self._serial, self._sequence, lacing, b"".join(packets))
        self._sequence += 1
        return page.write()
