"""Targets: what comes first on a connection, and the fields of requests and replies."""

from __future__ import annotations

import pytest

from castd.access.address import Trust, derive, network
from castd.access.authorise import _decode_basic
from castd.access.links import holder
from castd.access.networks import GlobTable, networks, share
from castd.access.sign_ins import _cookie
from castd.config.names import mount_name
from castd.errors import ClientError
from castd.http.conditions import Validators, http_date, outcome, part_is_of_this
from castd.http.masking import masked_target, masked_url
from castd.http.messages import Request, decode_path, decode_text, parse_query, quote_mount
from castd.http.ranges import requested_part
from castd.ingest.icecast import describe, read_metaint
from castd.wire.icecast_head import HeadLimits, split_head
from castd.wire.proxy_protocol import (
    V2_MAX_BYTES,
    NotProxyProtocol,
    ProxyHeader,
    split_header,
    write_v1,
    write_v2,
)
from castd.wire.reply_head import MAX_HEAD_BYTES, NotAReply, ReplyHead, find_reply_head
from castd.wire.shoutcast import MAX_PASSWORD_LINE, login, password_line, refusal, split_fields
from tests.fuzz.harness import pieces, split_off, target
from tests.fuzz.texts import check_line

LIMITS = HeadLimits(16 * 1024, 100)
VALIDATORS = Validators('"5f3a-1c"', 1_700_000_000)


def request_of(data: bytes, *names: str) -> Request:
    """A request whose fields of these names are the lines of an input."""
    lines = decode_text(data).split("\n")
    headers = dict(zip(names, lines, strict=False))
    return Request("GET", "/live", {}, headers, "1.1", "192.0.2.1", "127.0.0.1:8000")


def check_status(error: ClientError, *statuses: int) -> None:
    """A refusal is one of those documented."""
    assert error.status in statuses


@target
def icecast_head(data: bytes) -> None:
    """Only ClientError is raised; a head is HTTP's, bounded, the same at any cuts; the rest is as it came."""
    how, data = split_off(data)

    def first_answer(fed: list[bytes]) -> tuple[bytes, bytes] | int | None:
        received, left = b"", data
        for piece in fed:
            received, left = received + piece, left[len(piece) :]
            try:
                split = split_head(received, LIMITS)
            except ClientError as error:
                return error.status
            if split is not None:
                return split[0], split[1] + left
        return None

    answer = first_answer(list(pieces(how, data)))
    if not isinstance(answer, tuple):
        assert answer in (None, 400, 414, 431, 505)
        return
    assert answer == first_answer([data])
    head, rest = answer
    assert data.endswith(rest)
    assert head.endswith(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    assert len(lines) <= LIMITS.fields + 1
    assert not any(b"\n" in line for line in lines)
    method, target_, version = lines[0].split(b" ")
    assert method
    assert target_.isascii()
    assert version in (b"HTTP/1.0", b"HTTP/1.1")


@target
def shoutcast_head(data: bytes) -> None:
    """Only ClientError is raised; passwords are printable lines, fields are clean ones, the rest is as it came."""
    greeting = password_line(data)
    if greeting is None:
        return
    password, rest = greeting
    assert password.isprintable()
    assert 0 < len(password) <= MAX_PASSWORD_LINE
    assert data.endswith(rest)
    meant = login(password)
    assert meant.secrets
    assert 0 <= meant.stream_id < 10_000
    try:
        fields = split_fields(rest, max_bytes=LIMITS.bytes, max_fields=LIMITS.fields)
    except ClientError as error:
        check_status(error, 431)
        refusal(error.status, error.reason).decode().splitlines()
        return
    if fields is not None:
        assert len(fields[0]) <= LIMITS.fields
        assert rest.endswith(fields[1])
        for value in fields[0].values():
            check_line(value)


@target
def proxy_header(data: bytes) -> None:
    """Only NotProxyProtocol is raised, at any cuts; a header is taken to the byte, and can be written again."""
    how, data = split_off(data)
    received, found = b"", None
    try:
        for piece in pieces(how, data):
            received += piece
            if found := split_header(received):
                break
            assert len(received) < V2_MAX_BYTES
    except NotProxyProtocol:
        with pytest.raises(NotProxyProtocol):
            split_header(data)
    if found is None:
        return
    header, size = found
    assert 0 < size <= len(received)
    assert split_header(data) == found
    assert split_header(data[:size]) == found
    assert split_header(data[: size - 1]) is None
    again = write_v2(header)
    assert split_header(again + b"x") == (header, len(again))
    plain = ProxyHeader(header.src_addr, header.src_port, header.dst_addr, header.dst_port)
    line = write_v1(plain)
    assert split_header(line) == (plain, len(line))


@target
def reply_head(data: bytes) -> None:
    """Only NotAReply is raised; a head is within its bound, the rest is as it came; the same at any cuts."""
    how, data = split_off(data)

    def first_answer(fed: list[bytes]) -> tuple[ReplyHead, bytes] | str | None:
        received, left = b"", data
        for piece in fed:
            received, left = received + piece, left[len(piece) :]
            try:
                found = find_reply_head(received)
            except NotAReply as error:
                return str(error)
            if found is not None:
                return found[0], found[1] + left
        return None

    answer = first_answer(list(pieces(how, data)))
    assert answer == first_answer([data])
    if isinstance(answer, tuple):
        head, rest = answer
        assert data.endswith(rest)
        assert len(data) - len(rest) <= MAX_HEAD_BYTES
        assert 0 <= head.status <= 999
        assert all(name == name.lower() for name in head.headers)
        try:
            described = describe(lambda name: head.headers.get(name, ""))
            read_metaint(head.headers.get("icy-metaint", ""))
        except ClientError as error:
            check_status(error, 400, 415)
            return
        for line in (described.content_type, described.name, described.description, described.genre, described.url):
            check_line(line)


@target
def urls(data: bytes) -> None:
    """Only the documented errors are raised; what is a path or a mount's name keeps its one spelling."""
    text = decode_text(data)
    path, _, query = text.partition("?")
    try:
        decoded = decode_path(path)
        assert decoded.startswith("/")
        assert "/../" not in f"{decoded}/"
    except ClientError as error:
        check_status(error, 400)
    try:
        name = mount_name(path)
        assert mount_name(name) == name == mount_name(quote_mount(name))
        assert len(name.encode()) <= 255
    except ValueError:
        pass
    arguments = parse_query(query)
    assert sum(map(len, arguments.values())) <= len(query.encode())
    for shown in (masked_target(path, arguments), masked_url(text)):
        assert len(shown) <= 2 * 1024 + 1
    request = Request("GET", path, arguments, {}, "1.1", "192.0.2.1", "127.0.0.1:8000", raw_query=query)
    assert request.argument("absent") is None
    try:
        assert holder(request, "the key", "/live", 1_700_000_000.0) is None  # nobody guesses a signature
    except ClientError as error:
        check_status(error, 403)


@target
def conditions(data: bytes) -> None:
    """Nothing is raised, whatever the conditions; the answer is one of three."""
    names = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "if-range")
    request = request_of(data, *names)
    assert outcome(request, VALIDATORS) in (200, 304, 412)
    assert part_is_of_this(request, VALIDATORS, 1_800_000_000.0) in (True, False)
    for value in request.headers.values():
        date = http_date(value)
        assert date is None or isinstance(date, int)


@target
def ranges(data: bytes) -> None:
    """Only a 416 is raised; a part lies within the whole."""
    how, data = split_off(data)
    whole = how * 1000
    try:
        part = requested_part(decode_text(data), whole)
    except ClientError as error:
        check_status(error, 416)
        return
    if part is not None:
        assert 0 <= part.start < part.start + part.size <= whole


@target
def addresses(data: bytes) -> None:
    """Nothing is raised, whatever proxies say; the client has an address, scheme, host and path that links may hold."""
    how, data = split_off(data)
    field = ("x-forwarded-for", "forwarded", "x-real-ip", "")[how % 4]
    names = (field, "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix")
    request = request_of(data, *names)
    trusted = Trust((network("192.0.2.0/24"), network("2001:db8::/32")), field)
    client = derive(trusted, "192.0.2.1", request.headers)
    assert share(client.address)
    network(client.address)
    assert client.scheme in ("http", "https")
    assert client.host.isascii()
    assert len(client.prefix) <= 200
    assert client.fault.isprintable()
    assert derive(trusted, "203.0.113.9", request.headers).address == "203.0.113.9"


@target
def credentials(data: bytes) -> None:
    """Nothing is raised, whatever is shown to come in."""
    text = decode_text(data)
    user, password = _decode_basic(text)
    assert ":" not in user
    assert len(user) + len(password) <= len(text)
    cookie = _cookie(request_of(data.replace(b"\n", b" "), "cookie"))
    assert len(cookie) <= len(text)
    meant = login(text)
    assert all(len(name) + len(word) <= len(text) for name, word in meant.secrets)


@target
def ban_entries(data: bytes) -> None:
    """Only ValueError is raised for an entry of a list of bans; as a glob it is found, or not, and taken out again."""
    entry, _, agent = decode_text(data[:1024]).partition("\n")
    try:
        assert networks(entry)
    except ValueError:
        pass
    table = GlobTable[int]()
    table.add(entry[:256], 1)
    found = list(table.matching(agent))
    assert found in ([], [1])
    table.remove(entry[:256], 1)
    assert len(table) == 0
