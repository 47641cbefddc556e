"""What followers of events cost, beside listeners of a stream: `python -m tests.bench.events [NUMBER]`.

One castd, one mount at 128 kbit/s, a title a second. Its CPU seconds are read from /proc while nobody is there, while
so many follow events, and while as many listen; the figures are of one run, and only their ratio says much.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import trio

from tests.e2e.media import make
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.server import Castd, live, set_title

SECONDS = 15.0


def cpu_seconds(pid: int) -> float:
    """proc(5): utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(castd: Castd, path: str, number: int) -> tuple[float, int]:
    """CPU in per cent of a core, and bytes received, with so many clients of a path."""
    received = 0
    port = int(castd.address.rpartition(":")[2])

    async def take(stream: trio.SocketStream) -> None:
        nonlocal received
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while data := await stream.receive_some(65536):
                received += len(data)

    async def titles() -> None:
        count = 0
        while True:
            count += 1
            await set_title(castd, "/mp3", f"Artist {count} - Title {count}")
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(take, await trio.open_tcp_stream("127.0.0.1", port))
        nursery.start_soon(titles)
        await trio.sleep(3)
        before, received = cpu_seconds(castd.pid), 0
        await trio.sleep(SECONDS)
        percent = 100 * (cpu_seconds(castd.pid) - before) / SECONDS
        nursery.cancel_scope.cancel()
    return percent, received


async def main(number: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        media = await trio.to_thread.run_sync(make, folder)
        async with Castd(folder / "castd", limits="max_unread_heads = 20000") as castd:
            async with publish(media["mp3"], castd, "/mp3", folder / "encoder.log"):
                await live(castd, "/mp3")
                for what, path, clients in (
                    ("nobody", "/", 0),
                    ("followers", "/api/v1/mounts/mp3/events", number),
                ):
                    percent, received = await measure(castd, path, clients)
                    print(f"{clients:6} {what:10} {percent:6.2f} % of a core, {received / SECONDS / 1e3:9.1f} kB/s")
            async with publish(media["mp3"], castd, "/mp3", folder / "encoder.log"):
                await live(castd, "/mp3")
                percent, received = await measure(castd, "/mp3", number)
                print(f"{number:6} {'listeners':10} {percent:6.2f} % of a core, {received / SECONDS / 1e3:9.1f} kB/s")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
