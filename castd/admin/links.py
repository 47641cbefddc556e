"""Links to this server in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config import Config
    from castd.http.messages import Request


def public_url(config: Config, request: Request) -> str:
    """What links begin with, no slash at the end: the configured hostname, else the URL the client reached us by.

    Where a trusted proxy says what clients call us, that counts: it knows scheme, port and prefix, too.
    Icecast always uses <hostname> and its first port; here the default, "localhost", which is no use to anybody far
    away, gives way to the request's Host.
    """
    hostname, port = config.server.hostname, config.listen[0].port
    if request.forwarded_host or hostname == "localhost" or not port:
        return request.base_url
    return f"http://{hostname}" if port == 80 else f"http://{hostname}:{port}"
