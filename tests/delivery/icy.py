"""ICY as a player reads it."""

from __future__ import annotations


def deinterleave(body: bytes, metaint: int) -> tuple[bytes, list[str | None]]:
    """Split a listener's bytes.

    Returns:
        The audio, and of each whole block its text, None for an empty one.
    """
    if not metaint:
        return body, []
    audio, blocks, at = b"", list[str | None](), 0
    while at < len(body):
        audio += body[at : at + metaint]
        at += metaint
        if at < len(body):
            size = body[at] * 16
            text = body[at + 1 : at + 1 + size]
            if len(text) == size:
                blocks.append(text.rstrip(b"\0").decode() if size else None)
            at += 1 + size
    return audio, blocks
