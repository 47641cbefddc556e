"""What frames tell of loudness undecoded, what decoders tell, and what they cost: the figures of docs/silence.md.

    python -m tests.bench.levels [WORDS OF AN ENCODER]

Encodes signals of known loudness with ffmpeg's encoders, and looks at each second of the middle of each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from castd.levels.decoders import Libraries
from castd.levels.empty_frames import aac_is_empty, mp3_is_empty
from castd.levels.loudness import Loudness
from castd.wire.adts import AdtsFramer
from castd.wire.mpeg_audio import MpegAudioFramer

SECONDS = 8
RATE = 44_100

SPEECH = (
    "Good evening. Here is the news from the harbour. Ships will leave late today because of fog. And now the weather"
)

_NOISE = (
    "anoisesrc=c={colour}:r={rate}:a=1:s=1[l];anoisesrc=c={colour}:r={rate}:a=1:s=2[r];[l][r]amerge,tremolo=f=2:d=0.6"
)
_CHORD = "aevalsrc=sin(2*PI*220*t)+sin(2*PI*277*t)+sin(2*PI*330*t)|sin(2*PI*220*t)+sin(2*PI*440*t):s={rate}"
_LINE = "aevalsrc=sin(2*PI*50*t)+0.7*(random(0)*2-1)|sin(2*PI*50*t)+0.7*(random(1)*2-1):s={rate}"
_SPEECH = "flite=text='{speech}',aresample={rate},aloop=-1:9000000,pan=stereo|c0=c0|c1=c0"

SIGNALS = {
    "pink noise, pulsing": (_NOISE.replace("{colour}", "pink"), (-20, -40, -60, -80)),
    "white noise, pulsing": (_NOISE.replace("{colour}", "white"), (-20, -40, -60, -80)),
    "chord": (_CHORD, (-20, -40, -60)),
    "speech": (_SPEECH, (-20, -40, -60)),
    "hum and hiss of a line": (_LINE, (-60, -70)),
    "last bit": (_LINE, (-93,)),
    "digital silence": ("anullsrc=r={rate}:cl=stereo", (-120,)),
}

ENCODERS = {
    "LAME, 64 kbit/s": ("mpeg", ("-c:a", "libmp3lame", "-b:a", "64k")),
    "LAME, 128 kbit/s": ("mpeg", ("-c:a", "libmp3lame", "-b:a", "128k")),
    "LAME, 128 kbit/s, no joint stereo": ("mpeg", ("-c:a", "libmp3lame", "-b:a", "128k", "-joint_stereo", "0")),
    "LAME, 320 kbit/s": ("mpeg", ("-c:a", "libmp3lame", "-b:a", "320k")),
    "LAME, VBR 4": ("mpeg", ("-c:a", "libmp3lame", "-q:a", "4")),
    "LAME, 32 kbit/s, mono, 22.05 kHz": ("mpeg", ("-c:a", "libmp3lame", "-b:a", "32k", "-ac", "1", "-ar", "22050")),
    "Shine, 128 kbit/s": ("mpeg", ("-c:a", "libshine", "-b:a", "128k")),
    "FFmpeg AAC, 64 kbit/s": ("aac", ("-c:a", "aac", "-b:a", "64k")),
    "FFmpeg AAC, 128 kbit/s": ("aac", ("-c:a", "aac", "-b:a", "128k")),
    "FFmpeg AAC, 256 kbit/s": ("aac", ("-c:a", "aac", "-b:a", "256k")),
    "libopus, 96 kbit/s": ("ogg", ("-c:a", "libopus", "-b:a", "96k", "-page_duration", "200000")),
    "libvorbis, 128 kbit/s": ("ogg", ("-c:a", "libvorbis", "-b:a", "128k", "-page_duration", "200000")),
}

CONTAINERS = {
    "mpeg": ("-write_xing", "0", "-id3v2_version", "0", "-f", "mp3"),
    "aac": ("-f", "adts"),
    "ogg": ("-f", "ogg"),
}

PROGRAMME_DBFS, QUIET_DBFS = -45, -55
"""Louder is programme, lower is not, in the table of gains."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, libraries = Path(name), Libraries()
        signals = list(_signals(folder))
        gains, told = [], []
        for encoder in [each for each in ENCODERS if all(word in each for word in sys.argv[1:])]:
            form, options = ENCODERS[encoder]
            of_programme, of_quiet, empty, errors, cost = [], [], {}, [], []
            for title, wav in signals:
                stream = folder / "stream"
                _ffmpeg("-i", str(wav), *options, *CONTAINERS[form], str(stream))
                loudness = _loudness(stream)
                data = stream.read_bytes()
                begun = time.process_time()
                heard = libraries.stream(form).hear(data)
                cost.append((time.process_time() - begun) / SECONDS * 100)
                errors.append(abs((heard.level_dbfs or 0.0) - max(loudness, -120.0)))
                if form != "ogg":
                    frames = list(_frames(form, data))[8:-8]
                    look = mp3_is_empty if form == "mpeg" else aac_is_empty
                    empty[title] = sum(look(each) is True for each in frames) / len(frames)
                    gain = median(_gain(form, each) for each in frames)
                    if loudness > PROGRAMME_DBFS:
                        of_programme.append(gain)
                    elif loudness < QUIET_DBFS and empty[title] < 1:
                        of_quiet.append(gain)
            if form != "ogg":
                silence, dither = empty["digital silence"], empty["last bit, -93 dBFS"]
                rest = max(share for title, share in empty.items() if "silence" not in title and "last" not in title)
                gains.append(
                    f"| {encoder} | {min(of_programme):.0f} to {max(of_programme):.0f} | {min(of_quiet):.0f} to "
                    f"{max(of_quiet):.0f} | {silence:.0%} | {dither:.0%} | {rest:.0%} |"
                )
            told.append(f"| {encoder} | {max(errors):.1f} dB | {median(cost):.2f} % |")
    print("| encoder | gain of programme | gain of what is quieter than -55 dBFS | frames empty: digital silence | "
          "noise of the last bit | anything else, at most |\n|---|---|---|---|---|---|")  # fmt: skip
    print("\n".join(gains))
    print("\n| encoder | level told, off by at most | of a core |\n|---|---|---|")
    print("\n".join(told))


def _signals(folder: Path) -> Iterator[tuple[str, Path]]:
    for name, (source, levels) in SIGNALS.items():
        raw, wav = folder / "raw.wav", folder / "level.wav"
        filled = source.replace("{rate}", str(RATE)).replace("{speech}", SPEECH)
        graph = ("-filter_complex", filled) if "[" in filled else ("-f", "lavfi", "-i", filled)
        _ffmpeg(*graph, "-t", str(SECONDS), "-c:a", "pcm_f32le", "-ar", str(RATE), str(raw))
        loudness = _loudness(raw)
        for level in levels:
            wav = folder / f"{name}{level}.wav"
            louder = level - loudness if loudness > -120 else 0.0
            _ffmpeg("-i", str(raw), "-af", f"volume={louder}dB", "-c:a", "pcm_s16le", str(wav))
            yield (f"{name}, {level} dBFS" if loudness > -120 else name), wav


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True)


def _loudness(file: Path) -> float:
    """Of all of it, decoded by ffmpeg."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(file), "-f", "f32le", "-"]
    samples = memoryview(subprocess.run(command, check=True, capture_output=True).stdout).cast("f")
    loudness = Loudness()
    loudness.add(samples, SECONDS)
    return loudness.level_dbfs


def _frames(form: str, data: bytes) -> Iterator[bytes]:
    framer, at = MpegAudioFramer() if form == "mpeg" else AdtsFramer(), 0
    while at + 9 < len(data) and (header := framer.read_header(data, at)):
        yield data[at : at + header.length]
        at += header.length


def _gain(form: str, frame: bytes) -> int:
    """global_gain of the first granule and channel."""
    if form == "mpeg":
        mono = frame[3] >> 6 == 3
        before = (9 + 9 if mono else 9 + 11) if frame[1] >> 3 & 3 == 3 else (9 if mono else 10)
        at = before + 21  # part2_3_length, big_values
        return _bits(frame[4:36], at, 8)
    body = frame[7:39]
    if _bits(body, 0, 3) == 0:
        return _bits(body, 7, 8)
    short = _bits(body, 9, 2) == 2
    sections = _bits(body, 12, 4 if short else 6)
    groups = 1 + 7 - _bits(body, 16, 7).bit_count() if short else 1
    at = 23 if short else 19
    mask = _bits(body, at, 2)
    return _bits(body, at + 2 + (groups * sections if mask == 1 else 0), 8)


def _bits(data: bytes, at: int, count: int) -> int:
    return int.from_bytes(data, "big") >> (len(data) * 8 - at - count) & ((1 << count) - 1)


if __name__ == "__main__":
    main()
