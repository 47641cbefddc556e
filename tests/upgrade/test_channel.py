"""castd.upgrade.channel: messages with descriptors, whole or not at all."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from castd.upgrade.channel import DESCRIPTORS, Channel, ChannelError
from castd.upgrade.messages import End, Go, MountTold, Ready, Refused, Taken


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    one, other = socket.socketpair()
    channel = Channel(one, 0.2)
    yield channel, other
    channel.close()
    other.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_messages_and_descriptors_arrive(ends: tuple[Channel, socket.socket]) -> None:
    channel, sock = ends
    other = Channel(sock, 0.2)
    read, write = os.pipe()
    channel.send(End(), [write] * DESCRIPTORS)
    channel.send(Go())
    _, passed = other.receive(End)
    assert len(passed) == DESCRIPTORS
    os.write(passed[-1], b"x")
    assert os.read(read, 1) == b"x"
    assert not any(os.get_inheritable(each) for each in passed)
    assert isinstance(other.receive(Go)[0], Go)
    for each in (*passed, read, write):
        os.close(each)


def test_a_refusal_says_why(ends: tuple[Channel, socket.socket]) -> None:
    channel, sock = ends
    Channel(sock, 0.2).send(Refused("the sky is falling"))
    with pytest.raises(ChannelError, match="refused: the sky is falling"):
        channel.receive(Ready)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "did not answer as it should: timed out"),
        (struct.pack("!II", 1 << 31, 0), "sent too much"),
        (struct.pack("!II", 4, 0) + b"\xc1\xc1\xc1\xc1", "did not answer as it should"),
        (struct.pack("!II", 100, 0) + b"abc", "did not answer as it should: timed out"),
    ],
)
def test_nonsense_is_an_error(ends: tuple[Channel, socket.socket], sent: bytes, why: str) -> None:
    channel, sock = ends
    sock.sendall(sent)
    with pytest.raises(ChannelError, match=why):
        channel.receive(Taken)


def test_another_message_is_an_error_and_its_descriptors_are_closed(ends: tuple[Channel, socket.socket]) -> None:
    channel, sock = ends
    before = descriptors()
    Channel(sock, 0.2).send(End(), [0, 0, 0])
    with pytest.raises(ChannelError, match="sent End where"):
        channel.receive(MountTold)
    assert descriptors() == before


def test_a_hang_up_is_an_error(ends: tuple[Channel, socket.socket]) -> None:
    channel, sock = ends
    sock.close()
    with pytest.raises(ChannelError, match="hung up"):
        channel.receive(Ready)
    with pytest.raises(ChannelError, match="was not reached"):
        channel.send(Go())
