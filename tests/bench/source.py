"""A paced source in a process of its own: numbered MP3 frames, each at its moment, to one mount or to many.

    python -m tests.bench.source PORT MOUNTS PASSWORD FRAMES_AT_ONCE

Prints the monotonic time of frame 0, in ns, once all mounts are taken. FRAMES_AT_ONCE are in one write, as an encoder's
buffer makes them: four last 0.1 s.
"""

from __future__ import annotations

import base64
import socket
import sys
import time

from tests.support import FRAME_SECONDS, frame


def main() -> None:
    port, mounts, password, at_once = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    secret = base64.b64encode(f"source:{password}".encode()).decode()
    encoders = []
    for number in range(mounts):
        encoder = socket.create_connection(("127.0.0.1", port))
        encoder.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fields = f"Host: x\r\nAuthorization: Basic {secret}\r\nContent-Type: audio/mpeg\r\nice-bitrate: 128"
        encoder.sendall(f"SOURCE /m{number} HTTP/1.0\r\n{fields}\r\n\r\n".encode())
        assert b" 200 " in encoder.recv(1000)
        encoders.append(encoder)
    epoch = time.monotonic_ns()
    print(epoch, flush=True)
    at = 0
    while True:
        data = b"".join(map(frame, range(at, at + at_once)))
        at += at_once
        for number, encoder in enumerate(encoders):
            # a frame is sent when its last sample is recorded; many encoders are not in step with each other
            moment = epoch / 1e9 + (at - at_once + at_once * (number + 1) / mounts) * FRAME_SECONDS
            if (wait := moment - time.monotonic()) > 0.001:
                time.sleep(wait)
            encoder.sendall(data)


if __name__ == "__main__":
    main()
