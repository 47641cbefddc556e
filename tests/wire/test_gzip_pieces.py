"""gzip in pieces."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from castd.wire.gzip_pieces import Piece, gzipped


@given(texts=st.lists(st.binary(max_size=2000), max_size=8))
def test_any_sequence_of_pieces_is_one_stream(texts: list[bytes]) -> None:
    pieces = [Piece(each) for each in texts]
    for some in (pieces, pieces[::-1], pieces[1:], pieces * 2):
        whole = b"".join(each.data for each in some)
        assert gzip.decompress(gzipped(some)) == whole
        # as browsers do it: one member, and nothing behind it
        decompressor = zlib.decompressobj(wbits=31)
        assert decompressor.decompress(gzipped(some)) == whole
        assert decompressor.eof
        assert not decompressor.unused_data
