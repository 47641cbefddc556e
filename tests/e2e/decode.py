"""What a stream decodes to, by ffmpeg."""

from __future__ import annotations

from dataclasses import dataclass

import trio

HERTZ = 48_000


@dataclass(frozen=True, slots=True)
class Decoded:
    """Sound: how many seconds, the loudest sample of 1, and every error line."""

    seconds: float
    peak: float
    errors: tuple[str, ...]


async def decode(stream: bytes) -> Decoded:
    """Decode a stream from its first byte; ffmpeg finds out what it is."""
    output = ["-f", "s16le", "-ac", "1", "-ar", str(HERTZ), "pipe:1"]
    result = await trio.run_process(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", "pipe:0", *output],
        stdin=stream,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    samples = memoryview(result.stdout).cast("h")
    errors = tuple(result.stderr.decode(errors="replace").splitlines())
    return Decoded(len(samples) / HERTZ, max(map(abs, samples), default=0) / 32768, errors)
