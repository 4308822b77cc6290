"""Answers before they are played: one body, or a stream of events, and what each is worth.

An honest answer is a ``Reply`` or an ``EventStream``. A scenario turns it into steps (steps.py), which a connection
carries out: so every scenario is a pure function, and a fault is nothing but an unusual list of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from gateway.sandbox.wire.http import Headers

Role = Literal["api", "proxy", "backup"]
ROLES: tuple[Role, ...] = ("api", "proxy", "backup")
"""``api``: PiAPI behind a simulated Cloudflare. ``proxy``: PiAPI without it. ``backup``: an OpenAI-like provider."""

EventKind = Literal["role", "content", "finish", "usage", "done", "other"]

Json = Mapping[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Sale:
    """What an answer sells if it is delivered whole. ``flat``: priced by the answer or image, not by tokens.

    ``input_tokens`` include ``cached_tokens``, ``written_tokens`` (to the cache), ``image_tokens`` and
    ``audio_tokens`` (those of images and of sound sent in); output includes ``spoken_tokens``.
    ``lifetime``: how long the cache keeps what was written. ``calls``: searches. ``tier``: that it was served in.
    ``points``: what a task took, 10,000,000 are one dollar; None for a model without a known price.
    ``nano``: what it costs in nano-dollars, where that is neither by tokens of a chat nor by pictures.
    """

    model: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    flat: bool = False
    image_tokens: int = 0
    points: int | None = None
    written_tokens: int = 0
    audio_tokens: int = 0
    spoken_tokens: int = 0
    calls: int = 0
    tier: str = ""
    lifetime: Literal["30m", "1h", "12h"] = "30m"
    nano: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: ``data`` is its payload (JSON, or ``[DONE]``), ``name`` its ``event:`` field."""

    data: bytes
    kind: EventKind = "other"
    tokens: int = 0
    images: int = 0
    name: bytes = b""

    def edited(self, **fields: Any) -> Event:
        """The same event with top-level fields of its JSON replaced."""
        return replace(self, data=orjson.dumps({**orjson.loads(self.data), **fields}))


DONE = Event(b"[DONE]", "done")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with one body. ``headers`` come beside those every answer has. ``piece``: bytes of the chunks in which
    it is sent; 0 for all of it at once.
    """

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: Headers = ()
    sale: Sale | None = None
    piece: int = 0


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer in events. ``whole`` is the same answer as one body, for a provider that ignores ``stream``."""

    events: Iterable[Event]
    whole: Reply
    sale: Sale | None = None


Answer = Reply | EventStream


def json_reply(status: int, content: Any, *, headers: Headers = (), sale: Sale | None = None) -> Reply:
    return Reply(status, orjson.dumps(content), headers=headers, sale=sale)


@dataclass(frozen=True, slots=True)
class Framing:
    """How events look on the wire. Every setting means the same to a correct parser (WHATWG HTML §9.2.6)."""

    newline: bytes = b"\n"
    space: bool = True
    many_lines: bool = False
    before: bytes = b""

    def encode(self, event: Event) -> bytes:
        """The bytes of one event, its closing empty line included."""
        field = b"data: " if self.space else b"data:"
        payload = event.data
        if self.many_lines and payload[:1] == b"{":
            payload = orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2)
        lines = [field + line for line in payload.split(b"\n")] if self.many_lines else [field + payload]
        if event.name:
            lines.insert(0, b"event: " + event.name)
        return self.before + self.newline.join([*lines, b"", b""])


PLAIN = Framing()
"""One ``data:`` line an event, as OpenAI and PiAPI frame theirs."""
