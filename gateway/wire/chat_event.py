"""The data of a chat stream's events as upstreams really send them: JSON, what is nearly JSON, and signs of life."""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.wire.nesting import too_deep
from gateway.wire.sse import Event, encode_event, is_terminator
from gateway.wire.writable import loads_lenient

_NAMES_OF_LIFE = frozenset({"ping", "pong", "heartbeat", "heart_beat", "keepalive", "keep_alive", "keep-alive"})
_EVENTS_OF_LIFE = frozenset(name.encode() for name in _NAMES_OF_LIFE)
_WORDS_OF_LIFE = re.compile(
    rb"\s*(?::.*|[\[(<\"']?\s*(?:(?:OPENROUTER )?PROCESSING|PING|PONG|HEART[-_ ]?BEAT|KEEP[-_ ]?ALIVE|START|"
    rb"WAIT(?:ING)?|NOOP|OK)\s*[\])>\"']?)[\s.!]*",
    re.IGNORECASE | re.DOTALL,
)
"""Data that is no JSON: a comment that a relay wrapped up as data, or a word that says that the upstream works."""

_PREFIX = b"data:"


def parsed_strictly(data: bytes) -> Any:
    """The JSON in ``data``. Raises ValueError if there is none, or if it is nested too deeply to be written again."""
    if too_deep(data):
        raise ValueError("nested too deeply")
    return orjson.loads(data)


def parsed_leniently(data: bytes) -> Any:
    """What ``data`` means that no strict reader takes: ``{}`` for a sign of life, else the document.

    Its texts may hold lone surrogates and its numbers may be infinite or NaN; ``wire/writable.py`` mends both.
    Raises ValueError for data that is neither JSON nor a known form.
    """
    if _WORDS_OF_LIFE.fullmatch(data[:256]) is not None:
        return {}
    return loads_lenient(data)


def unwrapped(event: Event) -> Event:
    """The event whose data begins with ``data:`` once more, as some relays write it, without that."""
    data = event.data
    while data.startswith(_PREFIX):
        data = data[len(_PREFIX) :].strip()
    return event if data is event.data else Event(data, event.event, encode_event(data, event.event))


def readable(event: Event) -> Event:
    """The event in UTF-8: U+FFFD stands for bytes that are none, on which a client's decoder would fail."""
    try:
        event.data.decode()
    except UnicodeDecodeError:
        data = event.data.decode("utf-8", "replace").encode()
        return Event(data, event.event, encode_event(data, event.event))
    return event


def is_sign_of_life(document: dict[str, Any]) -> bool:
    """Whether a JSON object says only that the upstream still works, such as ``{"type": "ping"}``."""
    return any(
        isinstance(word := document.get(name), str) and word.lower() in _NAMES_OF_LIFE
        for name in ("type", "event", "object", "status")
    )


def is_event_of_life(name: bytes | None) -> bool:
    """Whether an event's name says so; whatever data it has is passed over."""
    return name is not None and name.lower() in _EVENTS_OF_LIFE


def completes_a_stream(event: Event) -> bool:
    """Whether an event without its blank line, at the end of a stream that was closed properly, is whole."""
    if is_terminator(event.data):
        return True
    try:
        return isinstance(parsed_strictly(event.data), dict)
    except ValueError:
        return False
