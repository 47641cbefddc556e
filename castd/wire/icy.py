"""ICY in-band metadata, both directions. It has no standard; this is what recorded clients and servers do.

After every `metaint` bytes of audio stands a block: one byte giving the length of the text in units of 16 bytes, then
the text, padded with NUL:

    StreamTitle='Artist - Song';StreamUrl='http://example.org/';

A length of 0 says that nothing changed. There is no escaping: apostrophes go out as they are, and a field ends at `';`.
Players differ in which one they take, so castd sends that pair at the ends of its fields only, and when it reads takes
the last that can be meant. Text is UTF-8 today and was ISO 8859-1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EMPTY = b"\0"
"""The block that says nothing changed."""

MAX_TEXT_BYTES = 255 * 16
"""As long as the length byte can say."""

MAX_METAINT = 16 << 20
"""Bytes between blocks. Servers use 8,192 to 64,000; one that names more than this is not to be believed."""

_TITLE, _URL, _END = b"StreamTitle='", b"StreamUrl='", b"';"

_CONTROLS = {code: " " for code in (*range(0x20), *range(0x7F, 0xA0))}

# What would end the field, or look to a player that searches for a field's name like the start of another one.
_ENDS_FIELD = re.compile(r"'(?=;)|(?<=StreamTitle=)'|(?<=StreamUrl=)'", re.IGNORECASE)

# The end of the title where another field follows. Besides StreamUrl, relays of advertisers' servers send their own.
_NEXT_FIELD = re.compile(r"';\s*(?=StreamUrl=|[A-Za-z_]\w*=')")
_URL_FIELD = re.compile(r"StreamUrl='(.*?)(?:';|'?\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fields:
    """What a block says.

    Attributes:
        title: as sent, but for control characters, which are spaces here. Untrusted.
        url: "" if there is none. Untrusted.
    """

    title: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class InlineTitle:
    """A block met in a stream.

    Attributes:
        position: bytes of audio before it since the stream began.
        fields: what it says.
    """

    position: int
    fields: Fields


def block(title: str, url: str = "") -> bytes:
    """The block for this title, length byte first; never fails.

    Args:
        title: cut at a character if it is too long. Of each `';` in it the apostrophe becomes U+2019.
        url: left out if empty, or if it does not fit: half an address is none.
    """
    url_field = _URL + _encode(url) + _END if url else b""
    if len(_TITLE + _END + url_field) > MAX_TEXT_BYTES:
        url_field = b""
    room = MAX_TEXT_BYTES - len(_TITLE + _END + url_field)
    # Valid UTF-8 but for a character cut in two at the end, which "ignore" drops.
    cut_title = _encode(title)[:room].decode("utf-8", "ignore").encode()
    text = _TITLE + cut_title + _END + url_field
    units = -(-len(text) // 16)
    return bytes([units]) + text.ljust(units * 16, b"\0")


def parse(text: bytes) -> Fields | None:
    """Read a block's text (without the length byte); None if it is empty or does not begin with StreamTitle=.

    The title reaches to the last `';` before the next field or the end, so `It's Bob's; 'quoted'; x` is whole.
    """
    if not text.startswith(_TITLE):
        return None
    text = text.rstrip(b"\0")
    try:
        line = text.decode()
    except UnicodeDecodeError:
        line = text.decode("latin-1")
    rest = line[len(_TITLE) :]
    if following := _NEXT_FIELD.search(rest):
        title = rest[: following.start()]
        url = _URL_FIELD.search(rest, following.end())
    else:
        end = rest.rfind("';")
        title = rest[:end] if end >= 0 else rest.removesuffix("'")
        url = None
    return Fields(title.translate(_CONTROLS), url[1].translate(_CONTROLS) if url else "")


class IcyDemuxer:
    """Takes the blocks out of the stream of a source that sends them (it names its interval in `icy-metaint`).

    Args:
        metaint: bytes of audio between blocks, 1 to MAX_METAINT.

    Attributes:
        audio_bytes: bytes of audio given out so far.
        ignored_blocks: non-empty blocks so far that did not begin with StreamTitle=.

    Raises:
        ValueError: metaint is out of bounds (the source's fault: answer it with a 400).
    """

    def __init__(self, metaint: int) -> None:
        if not 1 <= metaint <= MAX_METAINT:
            raise ValueError(f"icy-metaint must be 1 to {MAX_METAINT} bytes, not {metaint}")
        self.audio_bytes = 0
        self.ignored_blocks = 0
        self._metaint = metaint
        self._audio_left = metaint  # before the next block
        self._text_left = 0  # of the block that is being read, if any
        self._text = bytearray()  # at most MAX_TEXT_BYTES

    def feed(self, data: bytes) -> list[bytes | InlineTitle]:
        """Take the next bytes of the stream, cut anywhere.

        Returns:
            Audio and titles in the order they came. A block that says nothing, or is damaged, leaves no trace.
        """
        found: list[bytes | InlineTitle] = []
        at = 0
        while at < len(data):
            if self._text_left:
                piece = data[at : at + self._text_left]
                self._text += piece
                self._text_left -= len(piece)
                at += len(piece)
                if not self._text_left:
                    found += self._finish_block()
            elif self._audio_left:
                piece = data[at : at + self._audio_left]
                self._audio_left -= len(piece)
                self.audio_bytes += len(piece)
                at += len(piece)
                found.append(piece)
            else:
                self._text_left = data[at] * 16
                self._audio_left = self._metaint
                at += 1
        return found

    def _finish_block(self) -> list[InlineTitle]:
        fields = parse(bytes(self._text))
        self._text.clear()
        if fields is None:
            self.ignored_blocks += 1
            return []
        return [InlineTitle(self.audio_bytes, fields)]


def _encode(value: str) -> bytes:
    """A field's value; lone surrogates, which UTF-8 cannot say, become question marks."""
    value = _ENDS_FIELD.sub("\N{RIGHT SINGLE QUOTATION MARK}", value.translate(_CONTROLS))
    if value.startswith(";"):
        value = " " + value  # the field's own apostrophe stands before it
    return value.encode("utf-8", "replace")
