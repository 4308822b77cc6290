"""The data of a chat stream's events as upstreams really send them: JSON, what is nearly JSON, and signs of life."""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.core.json_weight import MOST_ANSWERED, read_json
from gateway.wire.chat_request import MAX_CHOICES
from gateway.wire.nesting import MAX_DEPTH, too_deep
from gateway.wire.sse import Event, SSEParser, encode_event, is_terminator
from gateway.wire.writable import loads_lenient

_NAMES_OF_LIFE = frozenset({"ping", "pong", "heartbeat", "heart_beat", "keepalive", "keep_alive", "keep-alive"})
_EVENTS_OF_LIFE = frozenset(name.encode() for name in _NAMES_OF_LIFE)
_WORDS_OF_LIFE = re.compile(
    rb"\s*(?:(?::|//|#).*|[\[(<\"']?\s*(?:(?:OPENROUTER )?PROCESSING|PING|PONG|HEART[-_ ]?BEAT|KEEP[-_ ]?ALIVE|START|"
    rb"WAIT(?:ING)?|NOOP|OK)\s*[\])>\"']?|\.)[\s.!0-9]*",
    re.IGNORECASE | re.DOTALL,
)
"""Data that is no JSON: a comment that a relay wrapped up as data, or a word that says that the upstream works. So do
blanks alone."""

_HARMLESS = 2 * MAX_DEPTH
"""Bytes in which no document is nested too deeply, or too heavy, or has more than a few choices too many."""

_HALF = re.compile("[\ud800-\udfff]")
_FIELD = b"data:"
_WRAPPING = re.compile(rb"(?:data:\s*+)++")


class TooMuch(ValueError):
    """An event has more members or choices than any answer: it is not read once more, leniently."""


def parsed_strictly(data: bytes) -> Any:
    """The JSON in ``data``. Raises ValueError if there is none, or if it is nested too deeply to be written again, too
    heavy to be read, or has far too many choices.
    """
    if len(data) <= _HARMLESS:
        return orjson.loads(data)
    if too_deep(data):
        raise ValueError("nested too deeply")
    return _with_few_choices(read_json(data, MOST_ANSWERED))


def _with_few_choices(document: Any) -> Any:
    choices = document.get("choices") if type(document) is dict else None
    if type(choices) is list and len(choices) > MAX_CHOICES:
        raise TooMuch(f"more than {MAX_CHOICES} choices")
    return document


def parsed_leniently(data: bytes, why: ValueError | None = None) -> Any:
    """What ``data`` means that no strict reader takes: ``{}`` for a sign of life, else the document.

    Its texts may hold lone surrogates and its numbers may be infinite or NaN; ``wire/writable.py`` mends both.
    ``why``: what the strict reader said of it. Raises ValueError for data that is neither JSON nor a known form.
    """
    if isinstance(why, TooMuch):
        raise why
    if data.isspace() or _WORDS_OF_LIFE.fullmatch(data[:256]) is not None:
        return {}
    return _with_few_choices(loads_lenient(data))


def unwrapped(event: Event) -> Event:
    """The event whose data begins with ``data:`` once more, as some relays write it, without that."""
    wrapping = _WRAPPING.match(event.data)
    if wrapping is None:
        return event
    data = event.data[wrapping.end() :].rstrip()
    return Event(data, event.event, encode_event(data, event.event))


def readable(event: Event) -> Event:
    """The event in UTF-8, for on bytes that are none a client's decoder would fail: half a character is escaped, so
    that it may meet its other half, and U+FFFD stands for what is no character at all.
    """
    try:
        event.data.decode()
    except UnicodeDecodeError:
        data = _with_halves_escaped(event.data)
        return Event(data, event.event, encode_event(data, event.event))
    return event


def _with_halves_escaped(data: bytes) -> bytes:
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def is_sign_of_life(document: dict[str, Any]) -> bool:
    """Whether a JSON object says only that the upstream still works, such as ``{"type": "ping"}``, or
    ``{"message": "processing"}``.
    """
    if any(
        isinstance(word := document.get(name), str) and word.lower() in _NAMES_OF_LIFE
        for name in ("type", "event", "object", "status")
    ):
        return True
    words = document.get("message")
    return (
        isinstance(words, str)
        and not document.get("error")
        and _WORDS_OF_LIFE.fullmatch(words[:256].encode("utf-8", "replace")) is not None
        and bool(words.strip())
    )


def is_event_of_life(name: bytes | None) -> bool:
    """Whether an event's name says so; its data is passed over."""
    return name is not None and name.lower() in _EVENTS_OF_LIFE


def completes_a_stream(event: Event) -> bool:
    """Whether an event without its blank line, at the end of a stream that was closed properly, is whole."""
    data = unwrapped(event).data
    if is_terminator(data):
        return True
    try:
        return isinstance(loads_lenient(data), dict)
    except ValueError:
        return False


def last_events(parser: SSEParser) -> tuple[list[Event], bool]:
    """The whole event that a stream, closed properly, ended with although its blank line is missing; and whether there
    is the half of one with content instead.

    By the standard such an event is dropped; but many a server forgets that line.
    """
    incomplete = parser.incomplete
    if not incomplete:
        return [], False
    events = [event for event in parser.feed(b"\n\n") if type(event) is Event and completes_a_stream(event)]
    return events, not events and is_cut_content(incomplete)


def is_cut_content(incomplete: bytes) -> bool:
    """Whether the bytes that a stream was closed after are the beginning of an event's data, and of no terminator."""
    for line in incomplete.removeprefix(b"\xef\xbb\xbf").splitlines():
        if line and _FIELD.startswith(line):
            return True  # what it would have been is unknown
        word = line[len(_FIELD) :].strip().lower() if line.startswith(_FIELD) else None
        if word is not None and not (word and b"[done]".startswith(word)):
            return True
    return False
