"""Events as upstreams frame them, and what they send between them."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.fuzz.drawing import Draw

_CONTROL = re.compile(r"((?<!\\)(?:\\\\)*)\\(t|u000b)")
_HALF = re.compile("[\ud800-\udfff]")

_ERRORS: tuple[Any, ...] = (
    {"error": {"message": "It broke", "type": "server_error", "code": "server_error"}},
    {"error": {"message": "It broke", "code": 502}, "choices": []},
    {"error": "It broke"},
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"object": "error", "message": "It broke", "type": "InternalServerError", "code": 500},
    [{"error": {"code": 503, "message": "It broke", "status": "UNAVAILABLE"}}],
    {"code": 500, "message": "It broke", "data": None},
    {
        "id": "gen-1",
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        "error": {"code": "server_error", "message": "Provider disconnected"},
    },
)

_NONSENSE = (
    b"{nonsense",
    b"hello there",
    b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    b'{"choices":[{"index":0,"delta":{"content":"lost',
    b"undefined",
    b'{"choices":[{"index":0,"delta":{"content":"x"}}]} trailing',
    b"{'choices': [{'index': 0}]}",
)

_PINGS = (
    b"data: : keepalive@@", b'data: {"type":"ping"}@@', b"data: null@@", b"data: {}@@", b"event: ping@@",
    b'event: ping@data: {"type": "ping"}@@', b"event: ping@data: 17@@", b": keep-alive@@", b":@", b"@",
    b'data: {"choices":null}@@', b'data: {"id":"x","choices":null}@@', b'data: {"choices":[]}@@', b"data:@@",
    b"data@@", b'data: {"choices":[null]}@@', b": OPENROUTER PROCESSING@@", b"data: : OPENROUTER PROCESSING@@",
    b"event: keepalive@data: @@", b'data: {"id":"x","object":"chat.completion.chunk"}@@', b"data: []@@",
    b"data: true@@", b'data: "ping"@@', b"retry: 100@@", b"id: 3@@", b'event: metadata@data: {"took": 3}@@',
    b'data: {"type":"heartbeat","time":1}@@', b'data: {"x_new":{"a":[1]}}@@', b'data: {"choices":{}}@@',
    b'data: {"choices":[{}]}@@', b'data: {"choices":[{"index":0,"delta":{}}]}@@', b"data: 1.5@@",
    b'data: {"object":"ping","choices":[]}@@', b"event: heartbeat@data: tick@@", b'data: data: {"type":"ping"}@@',
    b'data: {"code":200,"message":"success"}@@', b'data: {"status":"processing"}@@', b'data: {"error":null}@@',
    b'data: {"id":"x","object":"chat.completion.chunk","choices":[],"usage":null}@@',
    b'data: {"choices":[],"error":{}}@@',
)  # fmt: skip
"""What says nothing but that the upstream still works; ``@`` stands for a line's end."""


def ping(draw: Draw, end: bytes) -> bytes:
    return draw.of(_PINGS).replace(b"@", end)


class Framing:
    """One upstream's way to write events."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.end = draw.mostly(b"\n", b"\r\n", b"\r", odd=0.25)
        self._field = draw.mostly(b"data: ", b"data:", b"data:  ", b"data: data: ", b"data: data:", odd=0.25)
        self._ascii = draw.chance(0.4)
        self._separators = draw.one_of((",", ":"), (", ", ": "))
        self._bare_controls = draw.chance(0.05)
        self._bare_halves = draw.chance(0.3)
        self._lines = draw.chance(0.04)
        self._before = draw.mostly("", "event", "id", "comment", "retry", "mixed", odd=0.15)
        self._count = 0

    @property
    def plain(self) -> bool:
        """Whether an event is one line of data."""
        return not self._lines and not self._before

    def beginning(self) -> bytes:
        return self._draw.mostly(
            b"", b"\xef\xbb\xbf", self.end, b": hello" + self.end * 2, b"retry: 1" + self.end, odd=0.15
        )

    def event(self, document: Any) -> bytes:
        if self._lines:
            text = self._dumped(document, indent=1)
            return self._lead() + b"".join(b"data: " + line + self.end for line in text.split(b"\n")) + self.end
        return self._lead() + self._field + self._dumped(document) + self.end * 2

    def half(self, document: Any) -> bytes:
        """The beginning of an event, cut within its document."""
        text = self._dumped(document)
        return b"data: " + text[: self._draw.number(0, len(text) - 1)]

    def terminator(self) -> bytes:
        draw = self._draw
        field = draw.mostly(b"data: ", b"data:", b"data: data: ")
        word = draw.mostly(b"[DONE]", b"[done]", b"[none]", b"[DONE] ", b" [DONE]", odd=0.2)
        before = draw.mostly(b"", b"event: done" + self.end, odd=0.05)
        after = draw.mostly(self.end * 2, self.end, b"", odd=0.15)
        return before + field + word + after

    def error(self) -> bytes:
        document = self._draw.of(_ERRORS)
        named = self._draw.chance(0.2) or document == {"message": "It broke"}
        name = b"event: error" + self.end if named else b""
        return name + b"data: " + self._dumped(document) + self.end * 2

    def nonsense(self) -> bytes:
        return b"data: " + self._draw.of(_NONSENSE) + self.end * 2

    def _lead(self) -> bytes:
        self._count += 1
        kind = self._draw.one_of("", "event", "id", "comment") if self._before == "mixed" else self._before
        return {
            "": b"",
            "event": b"event: message" + self.end,
            "id": b"id: %d" % self._count + self.end,
            "comment": b": a comment" + self.end,
            "retry": b"retry: 5" + self.end,
        }[kind]

    def _dumped(self, document: Any, indent: int | None = None) -> bytes:
        separators = None if indent else self._separators
        text = json.dumps(document, ensure_ascii=self._ascii, separators=separators, indent=indent)
        if not self._ascii and not self._bare_halves and _HALF.search(text) is not None:
            text = json.dumps(document, ensure_ascii=True, separators=separators, indent=indent)
        if self._bare_controls:
            text = _CONTROL.sub(lambda found: found[1] + {"t": "\t", "u000b": "\x0b"}[found[2]], text)
        return text.encode("utf-8", "surrogatepass")
