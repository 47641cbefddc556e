"""Links of a chained Ogg stream made into one logical stream, for players that stop where a link ends.

A link that continues the one before, in codec and parameters, loses its header pages and its end; its other pages get
the serial number, sequence and granule positions (RFC 3533 §6) with which they go on. Late joiners get the newest
link's headers, under that serial number, so that the comments are those of what they hear. A link that does not fit
begins a stream of its own, behind an empty page that ends the one before.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from castd.wire.framer import Entry, Head, Run
from castd.wire.ogg import FLICKS, GranuleClock
from castd.wire.ogg_codecs import identify
from castd.wire.ogg_headers import Link
from castd.wire.ogg_pages import EOS, NO_PACKET_ENDS, Page, PageCutter

_WRAP = 0xFFFFFFFF


class LogicalState(msgspec.Struct):
    """The logical stream that goes on, for another process; see _Logical."""

    serial: int
    sequence: int
    clock: tuple[int, int]
    identification: bytes
    parameters: bytes
    joined_from: int | None


class UnchainerState(msgspec.Struct):
    """That, None if there is none, and the header pages held."""

    logical: LogicalState | None
    held: list[bytes]


class _Logical:
    """The logical stream that goes on.

    Attributes:
        serial: its serial number.
        sequence: of its next page.
        clock: counts its sound.
        identification: the first header packet of the link whose pages are its own now.
        parameters: what a link must have equal to be a part of it.
        joined_from: serial number of that link; None while none is.
    """

    def __init__(self, serial: int, sequence: int, identification: bytes, parameters: bytes) -> None:
        self.serial = serial
        self.sequence = sequence
        self.parameters = parameters
        self.clock = GranuleClock(by_packets=True)
        self.go_on(serial, identification)

    def go_on(self, serial: int | None, identification: bytes) -> None:
        """The next link's pages follow."""
        self.joined_from, self.identification = serial, identification
        codec = identify(identification)
        self._rate = codec.sample_rate
        # a decoder that goes on skips nothing; what it skips at first counts, too (RFC 7845 §4.2)
        self.clock.start(replace(codec, pre_skip=0))

    @classmethod
    def of(cls, state: LogicalState) -> _Logical:
        logical = cls(state.serial, state.sequence, state.identification, state.parameters)
        logical.clock.go_on_from(state.clock)
        logical.joined_from = state.joined_from
        return logical

    def state(self) -> LogicalState:
        return LogicalState(
            self.serial, self.sequence, self.clock.state(), self.identification, self.parameters, self.joined_from
        )

    @property
    def granule(self) -> int:
        return self.clock.flicks * self._rate // FLICKS

    def rewritten(self, page: Page) -> bytes:
        self.clock.advance(page)
        granule = NO_PACKET_ENDS if page.granule_position == NO_PACKET_ENDS else self.granule
        return self._numbered(replace(page, header_type=page.header_type & ~EOS, granule_position=granule))

    def end(self) -> bytes:
        """An empty last page (RFC 3533 §6: it "may be a nil page")."""
        return self._numbered(Page(EOS, self.granule, self.serial, 0, b"", b""))

    def _numbered(self, page: Page) -> bytes:
        data = replace(page, serial=self.serial, sequence=self.sequence).write()
        self.sequence = (self.sequence + 1) & _WRAP
        return data


class Unchainer:
    """Rewrites the runs of a mount, whatever sources they come from.

    Attributes:
        joined: links that were made part of the stream before them.
    """

    def __init__(self) -> None:
        self.joined = 0
        self._link = Link()
        self._held: list[bytes] = []  # header pages of the link that begins, until it is known what becomes of them
        self._logical: _Logical | None = None
        self._head: Head | None = None

    @classmethod
    def of(cls, state: UnchainerState) -> Unchainer:
        """One as it was elsewhere."""
        unchainer = cls()
        unchainer._logical = _Logical.of(state.logical) if state.logical else None
        for data in state.held:
            unchainer._pass(data)
        return unchainer

    def state(self) -> UnchainerState:
        """For another process."""
        return UnchainerState(self._logical.state() if self._logical else None, self._held)

    def rewrite(self, run: Run) -> Run:
        """One run of whole pages.

        Returns:
            It with other pages, perhaps with none, and the head for those who join behind it.
        """
        pages, starts, size, at = list[bytes](), {}, 0, 0
        for data in PageCutter().feed(run.data):
            starts[at] = size
            at += len(data)
            passed = self._pass(data)
            pages += passed
            size += sum(map(len, passed))
        entries = tuple(Entry(starts[each.offset], each.time) for each in run.entries if each.offset in starts)
        head = (self._head or run.head) if run.head else None
        return replace(run, data=b"".join(pages), entries=entries, head=head)

    def break_off(self) -> None:
        """Another source's pages follow: a link whose headers were not complete stays so."""
        self._link, self._held = Link(), []
        if self._logical is not None:
            self._logical.joined_from = None

    def _pass(self, data: bytes) -> list[bytes]:
        page, before = Page.read(data), list[bytes]()
        if page.bos and not self._link.admits(page):
            self._link, self._held = Link(), []
        link = self._link
        if link.gathering and (page.bos or link.serial is not None):
            is_header = link.gather(page, data)
            if is_header:
                self._held.append(data)
            if not self._link.gathering:
                before = self._decide()
            if is_header:
                return before
        logical = self._logical
        if logical is None or page.serial != logical.joined_from:
            return [*before, data]
        return [*before, logical.rewritten(page)]

    def _decide(self) -> list[bytes]:
        """What is to be put before the first page of data of a link."""
        link, held, logical = self._link, self._held, self._logical
        self._held = []
        parameters = link.parameters if link.complete else b""
        if logical is not None and parameters == logical.parameters:
            logical.go_on(link.serial, link.identification)
            self.joined += 1
            pages = [replace(Page.read(each), serial=logical.serial).write() for each in held]
            self._head = replace(link.head(), data=b"".join(pages), unchained=logical.serial)
            return []
        ending = [] if logical is None else [logical.end()]
        self._head = self._logical = None
        if not parameters or link.serial is None:
            return [*ending, *held]
        serial = link.serial
        if logical is not None and logical.serial == serial:  # encoders that count from the same number each time
            serial = (serial + 1) & _WRAP
        pages = [replace(Page.read(each), serial=serial).write() for each in held]
        self._logical = _Logical(serial, Page.read(pages[-1]).sequence + 1, link.identification, parameters)
        self._logical.joined_from = link.serial
        self._head = replace(link.head(), data=b"".join(pages), unchained=serial)
        return [*ending, *pages]
