"""Silence goes on where a stream stops: the same parameters, not a sample that is not 0, not one too many."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from castd.wire import silent_flac
from castd.wire.framer import Head
from castd.wire.ogg_codecs import Flac, identify
from castd.wire.ogg_pages import EOS, Page, PageCutter
from castd.wire.silence import silence_after
from castd.wire.silent_flac import SilentFlac
from castd.wire.silent_ogg import vorbis_modes
from castd.wire.sniff import Sniffer, framer_of
from castd.wire.unmakeable import Unmakeable
from tests import xiph

if TYPE_CHECKING:
    from castd.wire.silence import Silence

FIXTURES = Path(__file__).parents[1] / "fixtures"

FRAMES = (
    "cbr-44100-stereo.mp3", "cbr-48000-stereo.mp3", "layer2-48000-crc.mp3", "mono-22050.mp3", "mono-8000.mp3",
    "vbr-44100-stereo.mp3", "lc-44100-stereo.aac", "tagged-22050-mono.aac",
)  # fmt: skip
DECODED = (
    "cbr-44100-stereo.mp3", "layer2-48000-crc.mp3", "mono-8000.mp3", "lc-44100-stereo.aac", "tagged-22050-mono.aac",
    "opus.opus", "vorbis.ogg", "flac.oga",
)  # fmt: skip
PAGES = ("opus.opus", "chain.opus", "vorbis.ogg", "chain.ogg", "flac.oga")

SERIAL = 77
SECONDS = 3.0

DITHER = 16


class Heard:
    """What a file tells of itself: its format, its last headers, its first frame, its bitrate."""

    def __init__(self, name: str) -> None:
        sniffer = Sniffer("")
        verdict = sniffer.feed((FIXTURES / name).read_bytes()) or sniffer.finish()
        assert verdict is not None
        runs = [*verdict.runs, *verdict.framer.finish()]
        self.form = verdict.format
        self.framer = verdict.framer
        self.head = next((run.head for run in reversed(runs) if run.head), None)
        entered = next(run for run in runs if run.entries)
        self.frame = entered.data[entered.entries[0].offset :][:16]
        assert runs[-1].end
        self.bitrate = round(sum(len(run.data) for run in runs) * 8 / runs[-1].end)

    def silence(self, bitrate: int | None = None) -> Silence:
        return silence_after(self.form, self.head, self.frame, self.bitrate if bitrate is None else bitrate, SERIAL)


def some(silence: Silence) -> tuple[bytes, float]:
    """SECONDS of it, in whole pieces, and how long that is."""
    pieces = int(SECONDS / silence.seconds)
    return silence.start + b"".join(silence.next() for _ in range(pieces)), pieces * silence.seconds


@pytest.mark.parametrize("bitrate", [None, 0], ids=["as before", "shortest"])
@pytest.mark.parametrize("name", [*FRAMES, *PAGES])
def test_our_framers_take_it_for_the_same_stream(name: str, bitrate: int | None) -> None:
    heard = Heard(name)
    audio, seconds = some(heard.silence(bitrate))
    framer = framer_of(heard.form)
    runs = [*framer.feed(audio), *framer.finish()]
    assert b"".join(run.data for run in runs) == audio
    assert (framer.codec, framer.sample_rate, framer.skipped_bytes) == (heard.framer.codec, heard.framer.sample_rate, 0)
    end = runs[-1].end
    assert end is not None
    if framer.codec == "vorbis":  # whose first packet gives nothing
        assert 0 < seconds - end < 0.1
    else:
        assert end == pytest.approx(seconds)
    if bitrate is None and not name.startswith("chain"):
        # headers and short files weigh, so only about
        assert 0.6 < len(audio) * 8 / seconds / heard.bitrate < 1.5


@pytest.mark.slow
@pytest.mark.needs("ffmpeg", "ffprobe")
@pytest.mark.parametrize("name", DECODED)
def test_ffmpeg_hears_nothing_for_exactly_as_long(name: str, tmp_path: Path) -> None:
    audio, seconds = some(Heard(name).silence())
    file = tmp_path / f"silence{Path(name).suffix}"
    file.write_bytes(audio)
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=sample_rate,channels", "-of", "csv=p=0"]
    of_file, of_silence = (
        subprocess.run([*command, str(path)], check=True, capture_output=True, text=True).stdout.split()[0]
        for path in (FIXTURES / name, file)
    )
    assert of_file == of_silence
    rate, channels = map(int, of_silence.split(","))
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(file), "-f", "s16le", "-"],
        check=True,
        capture_output=True,
    )
    assert done.stderr == b""
    assert done.stdout.count(0) == len(done.stdout)
    lasted = len(done.stdout) / 2 / channels / rate
    assert lasted == pytest.approx(seconds, abs=0.1 if name.endswith(".ogg") else 0.0001)


def quiet(pcm: bytes) -> bool:
    """Nothing but the dither with which opusfile rounds to 16 bits."""
    return max(map(abs, memoryview(pcm).cast("h"))) <= DITHER


@pytest.mark.parametrize(("codec", "name"), [("opus", "opus.opus"), ("vorbis", "vorbis.ogg"), ("flac", "flac.oga")])
def test_xiphs_decoders_hear_nothing(codec: str, name: str) -> None:
    audio, seconds = some(Heard(name).silence())
    decoded = xiph.decode(codec, audio)
    assert quiet(decoded.pcm)
    assert decoded.holes == 0
    assert decoded.samples / decoded.sample_rate == pytest.approx(seconds, abs=0.1 if codec == "vorbis" else 0.0001)


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_one_link_without_an_end(name: str) -> None:
    audio, _ = some(Heard(name).silence())
    cutter = PageCutter()
    pages = [Page.read(each) for each in cutter.feed(audio)]
    assert cutter.skipped_bytes == 0
    assert [page.sequence for page in pages] == list(range(len(pages)))
    assert {page.serial for page in pages} == {SERIAL}
    assert [page.bos for page in pages] == [True] + [False] * (len(pages) - 1)
    assert not any(page.header_type & EOS for page in pages)
    granules = [page.granule_position for page in pages]
    assert granules == sorted(granules)


def crc(data: bytes, width: int, polynomial: int) -> int:
    """Bit by bit, as the specification tells it."""
    value = 0
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> width - 1 else 0)
            value &= (1 << width) - 1
    return value


def flac_head(*, shortest: int, longest: int, rate: int = 48_000, channels: int = 2, depth: int = 16) -> Head:
    packed = rate << 12 | (channels - 1) << 9 | (depth - 1) << 4
    info = shortest.to_bytes(2, "big") + longest.to_bytes(2, "big") + bytes(6) + packed.to_bytes(4, "big") + bytes(20)
    packet = b"\x7fFLAC\x01\0\0\0fLaC\x80\0\0\x22" + info
    return Head(Page(2, 0, 1, 0, bytes((len(packet),)), packet).write(), "flac", rate, channels, b"")


@pytest.mark.parametrize(("shortest", "longest"), [(4096, 4096), (16, 4608), (192, 192), (1024, 2048)])
@pytest.mark.parametrize(("rate", "channels", "depth"), [(48_000, 2, 16), (44_100, 6, 24), (50_000, 1, 9)])
def test_flac_frames_have_the_checksums_they_need(
    shortest: int, longest: int, rate: int, channels: int, depth: int
) -> None:
    head = flac_head(shortest=shortest, longest=longest, rate=rate, channels=channels, depth=depth)
    silence = silence_after("ogg", head, b"", 500_000, SERIAL)
    audio = silence.start + b"".join(silence.next() for _ in range(200))
    packets, unfinished = list[bytes](), b""
    for page in map(Page.read, PageCutter().feed(audio)):
        pieces = page.packets()
        pieces[0] = unfinished + pieces[0]
        unfinished = pieces.pop() if page.unfinished else b""
        packets += pieces
    codec = identify(packets[0])
    assert isinstance(codec, Flac)
    assert codec.is_last_header(1, packets[1])
    assert len(packets) > 300
    for packet in (packets[2], packets[200], packets[-1]):
        assert shortest <= codec.samples(packet) <= longest
        number = 1 if packet[4] < 0x80 else 8 - (packet[4] ^ 0xFF).bit_length()
        header = 4 + number + 2
        assert packet[header] == crc(packet[:header], 8, 0x07)
        assert int.from_bytes(packet[-2:], "big") == crc(packet[:-2], 16, 0x8005)


@pytest.mark.parametrize(
    ("streams", "coupled", "channels"), [(1, 0, 1), (1, 1, 2), (2, 2, 4), (4, 2, 6)], ids=["1", "2", "4", "5.1"]
)
@pytest.mark.parametrize("bitrate", [0, 1_000, 510_000])
def test_opus_packets_are_20_ms_whatever_their_size(streams: int, coupled: int, channels: int, bitrate: int) -> None:
    family = 0 if channels < 3 else 1
    mapping = bytes((streams, coupled, *range(channels))) if family else b""
    packet = (
        b"OpusHead\x01" + bytes((channels, 0x38, 1)) + (48_000).to_bytes(4, "little") + bytes((0, 0, family)) + mapping
    )
    head = Head(Page(2, 0, 1, 0, bytes((len(packet),)), packet).write(), "opus", 48_000, channels, b"")
    silence = silence_after("ogg", head, b"", bitrate, SERIAL)
    audio, seconds = some(silence)
    pages = [Page.read(each) for each in PageCutter().feed(audio)]
    assert pages[0].body == packet[:10] + bytes(2) + packet[12:], "with no pre-skip"
    for data in (each for page in pages[2:] for each in page.packets()):
        assert len(data) == max(bitrate // 400, min(len(data), 4 * streams))
        if streams == 1:
            assert xiph.opus_packet_samples(data) == 960
    decoded = xiph.decode("opus", audio)
    assert decoded.samples == round(seconds * 48_000)
    assert quiet(decoded.pcm)


def adts(configuration: int, bitrate: int) -> bytes:
    like = bytes((0xFF, 0xF1, 0x50 | configuration >> 2, (configuration & 3) << 6, 1, 0, 0))
    audio, _ = some(silence_after("aac", None, like, bitrate, SERIAL))
    return audio


@pytest.mark.slow
@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize(
    ("configuration", "channels", "bitrate"), [(1, 1, 128_000), (2, 2, 0), (2, 2, 320_000), (6, 6, 64_000), (7, 8, 0)]
)
def test_aac_of_any_number_of_channels(configuration: int, channels: int, bitrate: int, tmp_path: Path) -> None:
    file = tmp_path / "silence.aac"
    file.write_bytes(adts(configuration, bitrate))
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(file), "-f", "s16le", "-"],
        check=True,
        capture_output=True,
    )
    assert done.stderr == b""
    assert done.stdout.count(0) == len(done.stdout)
    assert len(done.stdout) == int(SECONDS * 44_100 / 1024) * 1024 * 2 * channels


@pytest.mark.parametrize("name", ["vorbis.ogg", "chain.ogg"])
def test_vorbis_modes_are_found(name: str) -> None:
    """libvorbis writes two: short blocks, and long ones."""
    heard = Heard(name)
    assert heard.head is not None
    pages = map(Page.read, PageCutter().feed(heard.head.data))
    setup = b"".join(b"".join(page.packets()) for page in pages)
    assert vorbis_modes(setup) == [False, True]
    assert vorbis_modes(b"") == vorbis_modes(b"\xff" * 100) == []


@pytest.mark.parametrize(
    ("form", "head", "frame", "words"),
    [
        ("webm", None, b"", "is webm"),
        ("", None, b"", "is of no known format"),
        ("mpeg", None, b"", "has no frame yet"),
        ("mpeg", None, b"no header", "has no frame yet"),
        ("aac", None, b"no header", "has no frame yet"),
        ("aac", None, b"\xff\xf1\x50\x00\x01\x00\x00", "is AAC whose channels no header tells"),
        ("ogg", None, b"", "has no headers yet"),
    ],
)
def test_what_there_is_no_silence_for(form: str, head: Head | None, frame: bytes, words: str) -> None:
    with pytest.raises(Unmakeable, match=words):
        silence_after(form, head, frame, 0, SERIAL)


@pytest.mark.parametrize(("name", "words"), [("speex.spx", "is speex"), ("theora.ogg", "is several streams in one")])
def test_ogg_there_is_no_silence_for(name: str, words: str) -> None:
    with pytest.raises(Unmakeable, match=words):
        Heard(name).silence()


def test_headers_that_make_no_sense() -> None:
    """An encoder's word; whatever it is, there is either silence or a reason why not."""
    for name in PAGES:
        heard = Heard(name)
        assert heard.head is not None
        pages = [Page.read(each) for each in PageCutter().feed(heard.head.data)]
        for at in range(0, min(400, sum(len(page.body) for page in pages))):
            broken, seen = list[bytes](), 0
            for page in pages:
                body = bytearray(page.body)
                if seen <= at < seen + len(body):
                    body[at - seen] ^= 0xFF
                seen += len(body)
                broken.append(
                    Page(
                        page.header_type,
                        page.granule_position,
                        page.serial,
                        page.sequence,
                        page.segment_table,
                        bytes(body),
                    ).write()
                )
            head = Head(b"".join(broken), heard.head.codec, heard.head.sample_rate, heard.head.channels, b"")
            try:
                silence = silence_after("ogg", head, b"", 64_000, SERIAL)
            except Unmakeable:
                continue
            assert silence.next()
            assert silence.seconds > 0


def test_the_largest_flac_frames_are_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight channels, 65,535 samples a frame: nobody else's audio may wait while silence is made of that."""
    gone_through = 0
    crc = silent_flac._crc

    def counted(data: bytes, width: int, start: int = 0) -> int:
        nonlocal gone_through
        gone_through += len(data)
        return crc(data, width, start)

    monkeypatch.setattr(silent_flac, "_crc", counted)
    codes = 8_000 << 12 | 7 << 9 | 23 << 4
    made = SilentFlac(b"\xff" * 4 + bytes(6) + codes.to_bytes(4) + bytes(20), 8_000 * 8 * 24)
    frame = made.frame(5)
    assert len(frame) > 900_000
    assert gone_through < len(frame) + 1000
    assert crc(frame, 16) == 0


def test_zeros_carry_a_checksum_on() -> None:
    for count in (0, 1, 2, 3, 17, 255, 1000):
        zeros = bytes(count)
        assert silent_flac._carried(count) == [silent_flac._crc(zeros, 16, 1 << bit) for bit in range(16)]
