"""Lines of access.log and playlist.log, as Icecast writes them (captures L01, L03; quirk 87).

access.log is the "combined" format that log analysers know, and the seconds a connection lasted; a line is written when
it ends, and its time is that of the end. Here everything clients send is made fit for one line.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from castd.http.masking import masked_target, masked_url
from castd.log import escape

if TYPE_CHECKING:
    from castd.http.messages import Request

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def access_line(request: Request, user: str, status: int, sent_bytes: int, seconds: float, wall: float) -> str:
    """One request, answered.

    Args:
        user: who signed in, "" if nobody did.
        sent_bytes: heads included, as Icecast counts them.
        seconds: from the request to the end.
        wall: seconds since 1970, of the end.
    """
    target = _quotable(masked_target(request.path, request.query))
    referer, agent = _quotable(masked_url(request.header("referer"))), _quotable(request.agent)
    return (
        f"{request.address} - {quote(user, safe='') or '-'} [{_date(wall)}] "
        f'"{_quotable(request.method)} {target} HTTP/{request.version}" '
        f'{status} {sent_bytes} "{referer or "-"}" "{agent or "-"}" {int(seconds)}'
    )


def playlist_line(mount: str, listeners: int, title: str, wall: float) -> str:
    """A title that begins."""
    return f"{_date(wall)}|{escape(mount).replace('|', '%7C')}|{listeners}|{escape(title)}"


def _date(wall: float) -> str:
    """Such as 22/Nov/2026:16:04:33 +0000; strftime's %b would be in the language of the machine."""
    moment = datetime.fromtimestamp(wall).astimezone()
    return f"{moment:%d}/{MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S %z}"


def _quotable(text: str) -> str:
    """Text between double quotes."""
    return escape(text.replace("\\", "\\\\").replace('"', '\\"'))
