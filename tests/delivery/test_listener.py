"""One listener, one send at a time, the kernel taking any number of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.delivery.listener import Listener
from castd.mount.mount import Mount
from castd.mount.party import Goodbye
from tests.delivery.fakes import FakeSocket
from tests.delivery.icy import deinterleave
from tests.mount.fakes import Encoder, HandClock, frames_of, settings


def playing(frames: int = 20) -> tuple[Mount, Encoder]:
    mount = Mount("/m", settings(ring_bytes=65_536), HandClock().clock)
    encoder = Encoder(mount)
    mount.sources.append(encoder.source)
    mount._begin(encoder.source)
    encoder.feed(frames)
    return mount, encoder


def test_all_in_one_send() -> None:
    mount, encoder = playing()
    socket = FakeSocket()
    listener = Listener(mount, socket, position=400 * 4, pending=b"HTTP head ")
    assert listener.serve()
    assert bytes(socket.received[:10]) == b"HTTP head "
    assert [number for _, number in frames_of(bytes(socket.received[10:]))] == list(range(4, 20))
    encoder.feed(1)
    assert listener.serve()
    assert listener.serve()
    assert socket.sends == 2, "nothing new, nothing sent"
    assert listener.bytes_sent == len(socket.received)


@given(st.lists(st.integers(0, 3000), min_size=5, max_size=60), st.sampled_from([0, 17, 256, 1000]))
def test_short_sends_lose_and_repeat_nothing(rooms: list[int], metaint: int) -> None:
    """With and without ICY, owed bytes, and a ring that wraps: the peer gets every byte once, in order."""
    mount, encoder = playing(frames=150)  # the ring has wrapped: 60,000 of 65,536 bytes
    position = mount.ring.head
    socket = FakeSocket(room=0)
    listener = Listener(mount, socket, position=position, pending=b"head;", metaint=metaint)
    for index, room in enumerate(rooms):
        if index % 3 == 0:
            encoder.feed(2)
        if index % 5 == 0:
            mount.set_title(f"title {index}")
        socket.room = room
        listener.serve()
    socket.room = None
    assert listener.serve()
    assert listener.bytes_sent == len(socket.received)
    assert bytes(socket.received[:5]) == b"head;"
    audio, titles = deinterleave(bytes(socket.received[5:]), metaint)
    assert audio == mount.ring.read(position, mount.ring.head)
    if metaint:
        told = [text for text in titles if text is not None]
        assert told == sorted(set(told), key=told.index), "no title is told twice"


def test_first_block_always_carries_a_title_then_only_news() -> None:
    mount, encoder = playing()
    socket = FakeSocket()
    listener = Listener(mount, socket, position=mount.ring.head, metaint=400)
    encoder.feed(3)
    listener.serve()
    mount.set_title("Ärtist - Sông", url="http://x/")
    encoder.feed(2)
    listener.serve()
    audio, titles = deinterleave(bytes(socket.received), 400)
    assert len(frames_of(audio)) == 5
    # the third block stands before byte 1200, where the new title begins
    assert titles == ["StreamTitle='';", None, "StreamTitle='Ärtist - Sông';StreamUrl='http://x/';", None]


def test_a_title_is_told_where_its_audio_is() -> None:
    """The burst keeps the titles of its time (quirk 48)."""
    mount, encoder = playing(frames=4)
    mount.set_title("first")
    encoder.feed(4)
    mount.set_title("second")
    encoder.feed(4)
    socket = FakeSocket()
    Listener(mount, socket, position=400 * 4, metaint=800).serve()
    _, titles = deinterleave(bytes(socket.received), 800)
    assert titles == ["StreamTitle='first';", "StreamTitle='second';", None]


@pytest.mark.parametrize("metaint", [0, 300])
@pytest.mark.parametrize("sent", [0, 1, 299, 300, 301, 700])
def test_finishing_copies_the_rest_of_a_frame(metaint: int, sent: int) -> None:
    mount, _ = playing()
    socket = FakeSocket(room=sent)
    listener = Listener(mount, socket, position=0, metaint=metaint)
    listener.serve()
    listener.finish_at(1600)
    assert listener.position == 1600
    socket.room = len(listener.pending)
    assert not listener.serve()
    audio, _ = deinterleave(bytes(socket.received), metaint)
    assert [number for _, number in frames_of(audio)] == [0, 1, 2, 3]


def test_the_end_is_once() -> None:
    mount, _ = playing()
    socket, told = FakeSocket(), []
    listener = Listener(mount, socket, position=0)
    mount.join(listener)
    listener.on_gone.append(lambda each: told.append((each.gone, socket.closed)))
    listener.end(Goodbye.KICKED)
    listener.end(Goodbye.LEFT)
    assert told == [(Goodbye.KICKED, False)]
    assert socket.closed
    assert not mount.listeners
