"""ID3v2.4 tags that tell, within a stream, what is heard from a moment on (https://id3.org/id3v2.4.0-frames).

Apple's "Timed Metadata for HTTP Live Streaming" has them in MPEG transport streams; "Carriage of ID3
Timed Metadata in the Common Media Application Format" in MP4. mutagen writes them.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import quote

from mutagen.id3 import ID3, TALB, TIT2, TPE1, WXXX

_UTF_8 = 3
_RESERVED = "!#$%&'()*+,/:;=?@[]~"


class Event(NamedTuple):
    """A tag at its moment.

    Attributes:
        time: media time, in samples of the track.
        id: below 2^32. Players take two with the same one for the same; where there are no ids, it is left out.
        data: the tag.
    """

    time: int
    id: int
    data: bytes


def tag(title: str = "", artist: str = "", album: str = "", url: str = "") -> bytes:
    """A tag with what is not empty.

    Args:
        title: as all texts, made safe by castd.wire.text.one_line.
        artist: of the title.
        album: likewise.
        url: anything; what no URL may contain is percent-encoded.
    """
    frames: Any = ID3()  # type: ignore[no-untyped-call]
    for frame, text in ((TIT2, title), (TPE1, artist), (TALB, album)):
        if text:
            frames.add(frame(encoding=_UTF_8, text=text))
    if url:
        frames.add(WXXX(encoding=_UTF_8, desc="", url=quote(url, safe=_RESERVED)))  # type: ignore[no-untyped-call]
    file = BytesIO()
    frames.save(file, v1=0, padding=lambda _: 0)
    return file.getvalue()
