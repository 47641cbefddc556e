"""An IP link that loses, delays and reorders packets, between two network namespaces of our own: what tc-netem(8) does,
for kernels without it.

Each namespace has one end of the link, a TUN device (Linux, Documentation/networking/tuntap.rst); the packets pass
through a task of ours. Nothing of it is to be seen outside, and nothing stays: namespaces end with their descriptors.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import trio

HUB = "10.99.0.1"
"""Where castd is."""

CLONE_NEWNET = 0x40000000  # sched.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C  # linux/sockios.h
IFF_UP = 1

PACKET_BYTES = 65536

OWN_NETWORK = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Weather:
    """How the link is now, the same in both directions.

    Attributes:
        loss: share of the packets.
        delay: seconds.
        jitter: seconds by which the delay of a packet is more or less; packets overtake each other by it.
        black_holes: addresses of hosts to and from which nothing comes through.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    black_holes: set[str] = field(default_factory=set)


class Namespace:
    """A network of its own, with its loopback; sockets made in it stay in it.

    Raises:
        OSError: we may not have one (EPERM), or the kernel has none.
    """

    def __init__(self) -> None:
        ours = os.open(OWN_NETWORK, os.O_RDONLY)
        try:
            _checked(_libc.unshare(CLONE_NEWNET))
            self._fd = os.open(OWN_NETWORK, os.O_RDONLY)
            _checked(_libc.setns(ours, CLONE_NEWNET))
        finally:
            os.close(ours)
        with self.entered():
            _set_up("lo", "127.0.0.1", "255.0.0.0")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in it; whatever happens in the block must not wait."""
        ours = os.open(OWN_NETWORK, os.O_RDONLY)
        try:
            _checked(_libc.setns(self._fd, CLONE_NEWNET))
            try:
                yield
            finally:
                _checked(_libc.setns(ours, CLONE_NEWNET))
        finally:
            os.close(ours)

    @property
    def prefix(self) -> list[str]:
        """What a command is put behind that shall run in it (nsenter(1), of util-linux)."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._fd}"]

    async def connect(self, address: str, port: int, *, source: str = "") -> trio.SocketStream:
        """A TCP connection from it."""
        with self.entered():
            sock = trio.socket.socket()
        if source:
            await sock.bind((source, 0))
        await sock.connect((address, port))
        return trio.SocketStream(sock)

    def device(self, addresses: list[str]) -> int:
        """Make a TUN device with these addresses; its other side, where its packets are read and written."""
        with self.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            with self.entered():
                fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
                for number, address in enumerate(addresses):
                    _set_up(f"tun0:{number}" if number else "tun0", address, "255.255.255.0")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def close(self) -> None:
        os.close(self._fd)


def _checked(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _set_up(device: str, address: str, mask: str) -> None:
    """Give a device of this thread's namespace an address (netdevice(7))."""
    name = device.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, mask)):
            told = struct.pack("16sHH4s8x8x", name, socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(sock, request, told)
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP))


class Link:
    """Two namespaces and the link between them, for as long as the block.

    Args:
        hosts: addresses at its far end, as if each were a host's.
        seed: of what is left to chance.

    Attributes:
        hub: with castd, at HUB.
        far: with everybody else.
        lost, delayed, passed: packets so far.

    Raises:
        OSError: see Namespace; or there is no /dev/net/tun.
    """

    def __init__(self, hosts: list[str], seed: int = 1) -> None:
        self.weather = Weather()
        self.lost = self.delayed = self.passed = 0
        self._chance = random.Random(seed)
        with ExitStack() as stack:
            self.hub = Namespace()
            stack.callback(self.hub.close)
            self.far = Namespace()
            stack.callback(self.far.close)
            self._ends = self.hub.device([HUB]), self.far.device(hosts)
            stack.pop_all()

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        hub, far = self._ends
        self._nursery.start_soon(self._carry, hub, far)
        self._nursery.start_soon(self._carry, far, hub)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(kind, error, traceback)
        finally:
            for end in self._ends:
                os.close(end)
            self.hub.close()
            self.far.close()

    async def _carry(self, begin: int, end: int) -> None:
        """The packets of one direction."""
        while True:
            await trio.lowlevel.wait_readable(begin)
            packet = os.read(begin, PACKET_BYTES)
            weather = self.weather
            if packet[0] >> 4 != 4:  # IPv6 looks for neighbours
                continue
            hosts = {socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])}  # RFC 791 §3.1
            if hosts & weather.black_holes or self._chance.random() < weather.loss:
                self.lost += 1
            elif weather.delay or weather.jitter:
                self.delayed += 1
                late = weather.delay + self._chance.uniform(-weather.jitter, weather.jitter)
                self._nursery.start_soon(self._deliver_later, packet, end, max(0.0, late))
            else:
                self._deliver(packet, end)

    async def _deliver_later(self, packet: bytes, end: int, seconds: float) -> None:
        await trio.sleep(seconds)
        self._deliver(packet, end)

    def _deliver(self, packet: bytes, end: int) -> None:
        try:
            os.write(end, packet)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):  # a queue is full: it is lost
                raise
            self.lost += 1
        else:
            self.passed += 1
