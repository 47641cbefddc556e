"""Links to this server in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config import Config
    from castd.http.messages import Request


def public_url(config: Config, request: Request) -> str:
    """Scheme and authority for links: the configured hostname, else where the client reached us.

    Icecast always uses <hostname> and its first port; here the default, "localhost", which is no use to anybody far
    away, gives way to the request's Host.
    """
    hostname, port = config.server.hostname, config.listen[0].port
    if hostname == "localhost" or not port:
        return request.base_url
    return f"http://{hostname}" if port == 80 else f"http://{hostname}:{port}"
