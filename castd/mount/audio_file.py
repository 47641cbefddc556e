"""Audio files that are heard before a stream or in its place: their bytes, over and over, and what they are."""

from __future__ import annotations

from pathlib import Path
from secrets import randbits
from typing import IO, TYPE_CHECKING

from castd.mount.shape import recognised_shape
from castd.wire import tags
from castd.wire.framer import Opaque
from castd.wire.ogg_pages import Page, PageCutter
from castd.wire.sniff import Sniffer

if TYPE_CHECKING:
    from castd.mount.shape import Shape
    from castd.wire.framer import Framer

READ_BYTES = 8 * 1024
"""Of the file at a time: half a second of 128 kbit/s."""


class Unplayable(ValueError):
    """The file cannot stand in; the message completes "it ..."."""


class FileLoop:
    """A file's bytes, over and over. Its methods wait for the disk.

    Each turn of an Ogg file is a link of a chain (RFC 3533 §4), which needs a serial number that no other has: its
    pages are given new ones.

    Attributes:
        content_type: for listeners.
        shape: of its stream.
        title: what its tags say, once in each turn; None after it was taken, and for Ogg, whose headers say it.
        ended: this turn is over.
        framer: makes one for its format.

    Raises:
        OSError: it cannot be read.
        Unplayable: it is in no format castd can time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._cutter: PageCutter | None = None
        self._mask = 0
        self.title: tags.Tags | None = None
        self.ended = False
        self.rewind()
        try:
            self.shape, self.content_type = self._probe()
            if self.shape.format == "ogg":
                self._cutter = PageCutter()
            self.rewind()
        except BaseException:
            self.close()
            raise

    def rewind(self) -> None:
        """Begin the next turn, with the file that has the name now."""
        self.close()
        self._file = self._path.open("rb")
        self.ended = False
        self._mask = randbits(32)
        if self._cutter is not None:
            self._cutter = PageCutter()
            return
        start = self._file.read(tags.MUTAGEN_BYTES)
        self.title = tags.id3(start) if start.startswith(b"ID3") else tags.Tags()
        self._file.seek(0)

    def read(self) -> bytes:
        """The next bytes of this turn; none, and `ended`, at its end; none, too, where a page is not whole yet."""
        assert self._file is not None
        data = self._file.read(READ_BYTES)
        if not data:
            self.ended = True
        if self._cutter is None:
            return data
        pages = self._cutter.feed(data) if data else self._cutter.finish()
        return b"".join(self._relabelled(page) for page in pages)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _relabelled(self, data: bytes) -> bytes:
        page = Page.read(data)
        serial = page.serial ^ self._mask
        return Page(
            page.header_type, page.granule_position, serial, page.sequence, page.segment_table, page.body
        ).write()

    def _probe(self) -> tuple[Shape, str]:
        assert self._file is not None
        self._file.seek(_tag_bytes(self._file))
        sniffer = Sniffer("")
        verdict = None
        while verdict is None and (data := self._file.read(READ_BYTES)):
            verdict = sniffer.feed(data)
        verdict = verdict or sniffer.finish()
        if verdict is None or isinstance(verdict.framer, Opaque):
            raise Unplayable("it is neither MP3, AAC (ADTS), Ogg nor WebM")
        shape = recognised_shape(verdict)
        self.framer: type[Framer] = type(verdict.framer)
        heads = [run.head for run in verdict.runs if run.head is not None]
        while shape.has_heads and not heads and (data := self._file.read(READ_BYTES)):
            heads = [run.head for run in verdict.framer.feed(data) if run.head is not None]
        return (shape.with_head(heads[0]) if heads else shape), verdict.content_type


def whole_frames(path: Path, most: int) -> tuple[bytes, Shape]:
    """A file's frames or pages, without its tags; waits for the disk.

    Args:
        most: bytes it may have.

    Raises:
        OSError: it cannot be read.
        Unplayable: it is in no format castd can time, or too long.
    """
    loop = FileLoop(path)
    try:
        framer = loop.framer()
        frames = bytearray()
        while not loop.ended:
            frames += b"".join(run.data for run in framer.feed(loop.read()))
            if len(frames) > most:
                raise Unplayable(f"it is longer than {most} bytes")
        frames += b"".join(run.data for run in framer.finish())
        return bytes(frames), loop.shape
    finally:
        loop.close()


def _tag_bytes(file: IO[bytes]) -> int:
    """How long the ID3v2 tag at the start is (id3.org, 2.4.0 §3.1); the file is read from its start afterwards."""
    header = file.read(10)
    file.seek(0)
    if len(header) < 10 or not header.startswith(b"ID3"):
        return 0
    size = 0
    for byte in header[6:]:
        size = size << 7 | byte & 0x7F
    return size + len(header)
