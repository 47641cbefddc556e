"""What Icecast's admin commands have in common: arguments, errors and answers, in its form and words (captures
D22-D60).

Each command answers in XML; under its name with `.xsl` after it, the same as a page.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from castd.errors import ClientError
from castd.http.messages import ANY_ORIGIN, NO_CACHE, Response
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call, Handler
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry


def named_mount(registry: Registry, call: Call) -> Mount:
    """The mount a command is about.

    Raises:
        ClientError: 400: it names none, or one that is not there.
    """
    if not call.mount:
        raise ClientError(400, "Unknown admin request")
    mount = registry.get(call.mount)
    if mount is None:
        raise ClientError(400, "Source does not exist")
    return mount


def required(request: Request, name: str) -> str:
    """An argument of the query.

    Raises:
        ClientError: 400: it is not there.
    """
    value = request.argument(name)
    if value is None:
        raise ClientError(400, "Missing parameter")
    return one_line(value)


def answer(message: str, *, success: bool = True) -> Response:
    """What a command has done."""
    root = ElementTree.Element("iceresponse")
    ElementTree.SubElement(root, "message").text = message
    ElementTree.SubElement(root, "return").text = str(int(success))
    return xml_response(root)


def xml_response(root: ElementTree.Element) -> Response:
    """A document in Icecast's form (capture D23)."""
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=False)
    return Response(200, b'<?xml version="1.0"?>\n' + body + b"\n", "text/xml; charset=utf-8", (NO_CACHE, ANY_ORIGIN))


def as_page(command: Handler) -> Handler:
    """The same command, its answer shown as a page: each element a row, those with rows of their own a table."""

    async def shown(exchange: Exchange, call: Call) -> Response | None:
        response = await command(exchange, call)
        if response is None or not response.content_type.startswith("text/xml"):
            return response
        root = ElementTree.fromstring(response.body)
        title = escape(root.findtext("message") or "castd")
        body = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{title}</title><body>{_table(root)}</body></html>"
        )
        return Response(response.status, body.encode(), "text/html; charset=utf-8", response.headers)

    return shown


def _table(element: ElementTree.Element) -> str:
    rows = [
        f"<tr><th scope=row>{escape(' '.join((each.tag, *each.attrib.values())))}"
        f"<td>{_table(each) if len(each) else escape(each.text or '')}"
        for each in element
    ]
    return f"<table>{''.join(rows)}</table>"
