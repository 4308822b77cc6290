"""Server-sent events: a parser and a writer, as the WHATWG HTML standard defines them (section 9.2).

Lines end at LF, CR LF or CR and nowhere else: U+2028, U+0085 or a vertical tab inside JSON is content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

DONE = b"data: [DONE]\n\n"
ENOUGH_TO_TELL = len(b"\xef\xbb\xbfevent:")
"""Bytes, after blanks, from which on it is clear whether an answer begins like events."""

BARE_EVENT = len(b"data: \r\n\r\n")
"""Bytes an event has around its data if it has nothing else."""

_BOM = b"\xef\xbb\xbf"
_MOST_BLANKS = 1 << 12
_MOST_DATA_LINES = 1 << 16
"""Lines of data that one event may have: each is kept, and takes many times its bytes."""

_FIELD = b"data:"
_LF = 0x0A
_COLON = 0x3A
_FIRST_FIELD = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n \t]*(?::|(?:data|event|id|retry)[:\r\n])")
_ID_FIELD = re.compile(rb"(?:\A|[\r\n])id[:\r\n]")
_LINE_END = re.compile(rb"\r\n?|\n")
# PiAPI's documentation says its streams end in "data:[none]"; those of all others end in "[DONE]".
_TERMINATORS = frozenset({b"[done]", b"[none]"})


class Event(NamedTuple):
    """One dispatched event.

    ``data``: the data lines joined by LF; may be empty.
    ``event``: the event's name; None if it has none.
    ``raw``: the bytes as received, from the event's first field to its blank line inclusive.

    The raws of a stream joined are the stream, less its byte order mark, its stray blank lines and the bytes between
    events (comments, blocks without data). Where a CR LF was split by chunks after its CR had completed an event, the
    LF begins the next raw.
    """

    data: bytes
    event: bytes | None
    raw: bytes


class Comment(NamedTuple):
    """A comment line that stood outside an event; a comment inside an event stays in that event's ``raw``."""

    text: bytes


class EventTooBig(Exception):
    """An event has more bytes than allowed.

    ``before``: the events that were complete ahead of it in the same chunk.
    """

    def __init__(self, limit: int, before: list[Event | Comment], unit: str = "bytes") -> None:
        super().__init__(f"an event is bigger than {limit} {unit}")
        self.limit = limit
        self.before = before


class SSEParser:
    """An incremental parser; the stream may be cut into pieces anywhere.

    ``event_limit``: the most bytes one event may have on the wire.
    ``silent``: lines so far that say nothing: blank ones that end no event with data, and fields other than data.

    It holds at most one unfinished event, hence at most ``event_limit`` bytes and the chunk just fed. After
    ``EventTooBig`` the parser must not be used again.
    """

    __slots__ = ("_after_cr", "_at_start", "_begun", "_buffer", "_data", "_event", "_limit", "_line", "silent")

    def __init__(self, event_limit: int = 1 << 20) -> None:
        self._limit = event_limit
        self._buffer = bytearray()  # from the first field of the event being received, or from an unfinished line
        self._line = 0  # where in the buffer the unfinished line starts
        self._begun = False  # whether a field of the event being received has been seen
        self._data: list[bytes] = []
        self._event: bytes | None = None
        self._after_cr = False  # the last line ended in a CR at the very end of a chunk: an LF next belongs to it
        self.silent = 0
        self._at_start = True  # no byte seen yet, or only a part of a byte order mark

    @property
    def held(self) -> int:
        """Bytes of the event that has begun and not ended."""
        return len(self._buffer)

    @property
    def incomplete(self) -> bytes:
        """The bytes of an event or line that has begun and not ended; at the end of the stream: what was cut off.

        By the standard, an event without its blank line is not dispatched, even if it looks complete.
        """
        if self._begun or len(self._buffer) > self._line:
            return bytes(self._buffer)
        return b""

    @property
    def between_events(self) -> bool:
        """Whether the next byte begins an event or a comment: nothing of either is held."""
        return not (self._buffer or self._after_cr)

    def lets_pass(self, data: bytes) -> bool:
        """Whether ``data`` begins and ends with an event, and its events may be taken without this parser as long as
        each is one line of data and a blank line. Nearly all data is so.
        """
        if (
            data.startswith(b"data:")
            and data.endswith(b"\n\n")
            and not (self._buffer or self._after_cr)
            and b"\r" not in data
            and len(data) <= self._limit
        ):
            self._at_start = False
            return True
        return False

    def feed(self, data: bytes) -> list[Event | Comment]:
        """Take the next bytes. Returns the events they complete, in order. Raises EventTooBig."""
        if self.lets_pass(data) and (events := _plain_events(data)) is not None:
            return events
        if self._at_start:
            data = self._without_bom(data)
        if not data:
            return []
        return self._parse(data)

    def _without_bom(self, data: bytes) -> bytes:
        """Drop a leading byte order mark; hold back bytes that may become one."""
        data = bytes(self._buffer) + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._buffer[:] = data
            return b""
        self._at_start = False
        self._buffer.clear()
        return data.removeprefix(_BOM)

    def _parse(self, data: bytes) -> list[Event | Comment]:
        # A whole chunk is read in place; only what is left over is copied into the buffer.
        source: bytes | bytearray = data
        line, search = self._line, len(self._buffer)
        if self._buffer:
            self._buffer += data
            source = self._buffer
        if self._after_cr and source[line] == _LF:
            line = search = line + 1
        found: list[Event | Comment] = []
        start = 0
        for end, after in _line_ends(source, search, b"\r" in data):
            if end == line:
                self._blank_line(source, start, after, found)
                start = after
            elif self._begun or source[line] != _COLON:
                self._begun = True
                self._field(source, line, end)
            else:
                found.append(Comment(_value(_part(source, line, end), 1)))
                start = after
            line = after
        self._after_cr = source.endswith(b"\r")
        if source is data:
            self._buffer += data[start:]
        else:
            del self._buffer[:start]
        self._line = line - start
        if len(self._buffer) > self._limit:
            raise EventTooBig(self._limit, found)
        if len(self._data) > _MOST_DATA_LINES:
            raise EventTooBig(_MOST_DATA_LINES, found, "lines")
        return found

    def _blank_line(self, source: bytes | bytearray, start: int, after: int, found: list[Event | Comment]) -> None:
        """Dispatch the event in ``source[start:after]`` if it has data, and start the next."""
        if after - start > self._limit:
            raise EventTooBig(self._limit, found)
        if self._data:
            found.append(Event(b"\n".join(self._data), self._event, _part(source, start, after)))
            self._data = []
        else:
            self.silent += 1
        self._event = None
        self._begun = False

    def _field(self, source: bytes | bytearray, start: int, end: int) -> None:
        """Record one line of an event. ``id`` and ``retry`` matter only to clients that reconnect; comments are
        ignored.
        """
        if source.startswith(b"data:", start, end):
            begin = start + 5
            self._data.append(_part(source, begin + source.startswith(b" ", begin, end), end))
            return
        line = _part(source, start, end)
        if line == b"data":
            self._data.append(b"")
        else:
            self.silent += 1
            if line.startswith(b"event:"):
                self._event = _value(line, 6) or None


def _plain_events(data: bytes) -> list[Event | Comment] | None:
    """The events of a chunk in which each is one data line and a blank line; None if there is anything else."""
    events: list[Event | Comment] = []
    for line in data[:-2].split(b"\n\n"):
        event = plain_event(line + b"\n\n")
        if event is None:
            return None
        events.append(event)
    return events


def plain_event(raw: bytes) -> Event | None:
    """The event of one line of data that ``raw`` is, up to its blank line; None if it is anything else."""
    begin = 6 if raw.startswith(b"data: ") else 5
    if (begin == 5 and not raw.startswith(_FIELD)) or raw.find(b"\n") != len(raw) - 2:
        return None
    return Event(raw[begin:-2], None, raw)


def _line_ends(source: bytes | bytearray, search: int, any_cr: bool) -> Iterator[tuple[int, int]]:
    """Where each line that ends after ``search`` ends, without and with its line end."""
    if any_cr:
        for match in _LINE_END.finditer(source, search):
            yield match.span()
        return
    # Looking for LF alone is several times as fast, and most streams have no CR.
    while (end := source.find(b"\n", search)) >= 0:
        search = end + 1
        yield end, search


def _part(source: bytes | bytearray, start: int, end: int) -> bytes:
    """A part of what has come, copied once: it may be a picture."""
    if type(source) is bytes:
        return source[start:end]
    with memoryview(source) as view:
        return bytes(view[start:end])


def _value(line: bytes, colon_end: int) -> bytes:
    """The text after a colon, less one space."""
    return line[colon_end + 1 :] if line.startswith(b" ", colon_end) else line[colon_end:]


def encode_event(data: bytes, event: bytes | None = None) -> bytes:
    """The bytes of one event. Line ends in ``data`` (any of the three) become separate data lines.

    ``event``: its name; None for none. Raises ValueError if it holds a line end.
    """
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    if event is None:
        return b"".join((b"data: ", data, b"\n\n"))  # copied once: it may be a picture
    if b"\n" in event or b"\r" in event:
        raise ValueError("an event's name is one line")
    return b"event: " + event + b"\ndata: " + data + b"\n\n"


def begins_like_events(beginning: bytes) -> bool:
    """Whether an answer with this beginning is a stream of events, under any label."""
    return _FIRST_FIELD.match(beginning) is not None


def begins_like_json(beginning: bytes) -> bool:
    """Whether an answer with this beginning is a JSON document, under any label; no field begins like one."""
    return beginning.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")


class FirstBytes:
    """The first bytes of an answer that is called a stream of events, until they tell whether it is one.

    ``data``: those bytes. ``told``: whether they tell.
    """

    __slots__ = ("data", "told")

    def __init__(self) -> None:
        self.data = b""
        self.told = False

    def is_json(self, piece: bytes) -> bool:
        """Take the next piece. Returns whether the answer is a JSON document instead."""
        if not self.data and piece.startswith(_FIELD):
            self.told = True
            return False
        self.data += piece
        rest = self.data.strip()
        # A few blanks, or a part of a byte order mark, may yet become anything.
        self.told = len(self.data) >= _MOST_BLANKS or not _BOM.startswith(rest)
        return self.told and begins_like_json(self.data)


def has_id(event: Event) -> bool:
    """Whether an event has an ``id`` field."""
    return len(event.raw) - len(event.data) > BARE_EVENT and _ID_FIELD.search(event.raw) is not None


def is_terminator(data: bytes) -> bool:
    """Whether an event's data says that the stream is complete: ``[DONE]`` or ``[none]``, in any case."""
    word = data.strip()
    return len(word) == 6 and word.lower() in _TERMINATORS
