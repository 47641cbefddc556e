"""Is the server on this machine alive? Asked from outside it, by `castd healthcheck`, for containers and monitors.

It needs neither trio nor credentials: one GET of /healthz, answered by the same loop that serves listeners.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from castd.errors import ConfigError

if TYPE_CHECKING:
    from castd.config import Listen

TIMEOUT_SECONDS = 3.0
"""For connecting, and for each part of the answer; Docker's and Kubernetes' own are longer or can be."""

PATH = "/healthz"

EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server is found that listens on all of them."""


def health_url(listen: Sequence[Listen]) -> str:
    """The URL to ask, from the first of the configured addresses that can be asked.

    Raises:
        ConfigError: there is none: the port is the system's choice, or only proxies may connect.
    """
    for each in listen:
        if each.port and not each.proxy_protocol:
            host = EVERY_ADDRESS.get(each.host, each.host)
            scheme = "https" if each.tls == "on" else "http"
            return f"{scheme}://{f'[{host}]' if ':' in host else host}:{each.port}{PATH}"
    raise ConfigError("no [[listen]] with a fixed port and without proxy_protocol: say where to ask with --url")


def ailment(url: str) -> str:
    """Ask a server how it is.

    Args:
        url: http or https; without a path, /healthz is asked. Certificates are not verified: they are for the name that
            listeners use, and nothing is told here.

    Returns:
        What is wrong with it, "" if nothing.

    Raises:
        ConfigError: the URL is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigError(f"{url}: no http or https URL")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=_unverified())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", parts.path or PATH, headers={"User-Agent": "castd-healthcheck"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if status == 200 else f"{url}: status {status}"


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
