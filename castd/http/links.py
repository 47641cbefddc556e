"""Links to this server in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config import Config
    from castd.http.messages import Request


def public_url(config: Config, request: Request) -> str:
    """What links begin with, no slash at the end: the configured hostname, else the URL the client reached us by.

    Where a trusted proxy says what clients call us, that counts: it knows scheme, port and prefix, too. Icecast
    always uses http, <hostname> and its first port; here the default, "localhost", which is no use to anybody far
    away, gives way to the request's Host.
    """
    hostname, unfit = config.server.hostname, "off" if request.scheme == "https" else "on"
    fit = [each.port for each in config.listen if each.tls != unfit]
    port = fit[0] if fit else config.listen[0].port
    if request.forwarded_host or hostname == "localhost" or not port:
        return request.base_url
    usual = {"http": 80, "https": 443}.get(request.scheme)
    return f"{request.scheme}://{hostname}" if port == usual else f"{request.scheme}://{hostname}:{port}"
