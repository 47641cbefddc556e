"""The ring gives back what was put in, wherever it wraps and however it grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castd.mount.ring import SMALLEST, Ring


@given(st.lists(st.one_of(st.integers(1, 70_000), st.just(-1)), max_size=25))
def test_holds_the_newest_bytes(sizes: list[int]) -> None:
    """Appends of any size (-1 grows the ring): every position still held reads as it was written."""
    ring, written = Ring(SMALLEST), b""
    for index, size in enumerate(sizes):
        if size < 0:
            ring.grow(ring.capacity + 10_000)
        else:
            piece = bytes([index % 251]) * min(size, ring.capacity - 1) + b"|"
            ring.append(piece)
            written += piece
        assert ring.head == len(written)
        assert ring.read(ring.tail, ring.head) == written[ring.tail :]
        middle = (ring.tail + ring.head) // 2
        assert ring.read(middle, ring.head) == written[middle:]
    ring.close()


def test_views_are_in_place_and_at_most_two() -> None:
    ring = Ring(SMALLEST)
    ring.append(b"a" * (SMALLEST - 10))
    assert [bytes(view) for view in ring.views(0, 3)] == [b"aaa"]
    ring.append(b"b" * 30)
    assert [len(view) for view in ring.views(SMALLEST - 20, ring.head)] == [20, 20]
    assert [len(view) for view in ring.views(SMALLEST - 20, SMALLEST)] == [20]
    assert ring.views(ring.head, ring.head) == []
    ring.close()


def test_smallest_ring_holds_the_largest_ogg_page() -> None:
    ring = Ring(1)
    page = b"OggS" + bytes(65_307 - 4)
    ring.append(page)
    assert ring.read(0, len(page)) == page
    ring.close()
