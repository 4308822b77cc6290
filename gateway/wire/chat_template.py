"""Reading the plain chunks of a stream without parsing them.

Nearly all chunks of a stream are byte for byte the same except for one text: ``{…"choices":[{"index":0,"delta":
{"content":"`` text ``"},…}]}``, and for OpenAI's padding, which hides the text's length. Once one of them has been
parsed and found plain, the next ones with the same bytes around a JSON text can only mean the same, with that text.
"""

from __future__ import annotations

from typing import Any

import orjson

_FIELDS = frozenset({b"data: ", b"data:"})
_BEGINNINGS = (b'":"', b'": "')
_PADDING = (b'"obfuscation":"', b'"obfuscation": "')
_LAST = b'"}'
_TEXTS = frozenset({"content", "refusal", "reasoning_content", "reasoning"})
_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # of padding
_NOTHING = ("", "")


class ContentTemplate:
    """The bytes that the plain chunks of one stream share with the chunk that was parsed last.

    ``index``: the choice whose text they carry.
    """

    __slots__ = ("_after", "_before", "_between", "_event_before", "_last", "index")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know no pattern any more: what a chunk says beside its text may differ from what was last said."""
        self._before = b""
        self._after = b""
        self._last = b""  # what follows the padding; empty without one
        self._event_before = b""
        self._between = b""
        self.index = 0

    def learn(self, data: bytes, chunk: dict[str, Any], raw: bytes = b"", *, any_text: bool = False) -> None:
        """Use ``chunk``, parsed from ``data``, as the pattern if it is plain: one choice, one text, no finish
        reason. Else know none.

        ``raw``: the event that ``data`` came in, which has nothing else.
        ``any_text``: whether the text may be another than the content: of reasoning, a refusal, a call's arguments.
        """
        self.forget()
        name, text = _only_text(chunk, any_text=any_text)
        if not text:
            return
        quoted = b'"%b"' % name.encode()
        start = data.find(quoted) + len(quoted)
        start += 2 if data.startswith(b':"', start) else 3
        end = data.find(b'"', start)
        while end > 0 and data[end - 1 : end] == b"\\":
            end = data.find(b'"', end + 1)
        before, after, last = data[:start], data[end:], b""
        # The name must be there once and spelt out, or the text might be another field's.
        if data.count(quoted) != 1 or not before.endswith(_BEGINNINGS) or b"\\" in before or b"\\" in after:
            return
        if _json_text(data[start:end]) != text:
            return
        around = after.removesuffix(_LAST).rstrip(_LETTERS)
        if around.endswith(_PADDING):
            after, last = around, _LAST
        self._before, self._after, self._last = before, after, last
        self.index = chunk["choices"][0].get("index", 0)
        field, found, ending = raw.partition(data)
        if found and field in _FIELDS and ending == b"\n\n":
            self._event_before = field + before
            self._between = after + ending + self._event_before

    def texts(self, events: bytes) -> tuple[str, int] | None:
        """The joined text, and the number, of events that all match the pattern and are whole; None if any does not,
        or cannot be read this way.
        """
        before, after = self._event_before, self._after
        if not before or not events.startswith(before) or not events.endswith(b"\n\n"):
            return None
        start, stop = len(before), len(events) - 2
        if events.find(b"\n") == stop:
            text = self._text_in(events, start, stop)
            return None if text is None else (text, 1)
        if self._last or not events.endswith(after, start, stop):
            return None
        pieces = events[start : stop - len(after)].split(self._between)
        raw = b"".join(pieces)
        # A character that was split between two events is none in either, nor is an escape.
        if not raw.isascii() or b"" in pieces or b"\\" in raw:
            return None
        text = _json_text(raw)
        return None if text is None else (text, len(pieces))

    def text(self, data: bytes) -> str | None:
        """The text of a chunk that matches the pattern; None if it does not match or cannot be read this way."""
        before = self._before
        if not before or not data.startswith(before):
            return None
        return self._text_in(data, len(before), len(data))

    def _text_in(self, data: bytes, start: int, stop: int) -> str | None:
        """The text that begins at ``start``, of a chunk that ends at ``stop``."""
        after, last = self._after, self._last
        if not last:
            end = stop - len(after)
            if end <= start or not data.startswith(after, end):
                return None
        else:
            end = data.find(after, start, stop)
            if end <= start or data[end + len(after) : stop].lstrip(_LETTERS) != last:
                return None
        return _json_text(data[start:end])


def _only_text(chunk: dict[str, Any], *, any_text: bool) -> tuple[str, str]:
    """The name of the text that is all that a chunk says, and the text; two empty ones if there is none.

    ``any_text``: False for a text of the content only.
    """
    choices = chunk["choices"]
    if len(choices) != 1 or chunk.get("usage") is not None:
        return _NOTHING
    choice = choices[0]
    if choice.get("finish_reason") or choice.get("logprobs"):
        return _NOTHING
    name, value = _only_field(choice.get("delta"))
    if any_text and name == "tool_calls":
        call = value[0] if type(value) is list and len(value) == 1 else None
        name, value = _only_field(call.get("function") if type(call) is dict else None)
        known = name == "arguments"
    else:
        known = name == "content" or (any_text and name in _TEXTS)
    return (name, value) if known and type(value) is str else _NOTHING


def _only_field(fields: object) -> tuple[str, Any]:
    """The only field that says something beside a role."""
    said = [(name, value) for name, value in fields.items() if value and name != "role"] if type(fields) is dict else []
    return said[0] if len(said) == 1 else _NOTHING


def _json_text(written: bytes) -> str | None:
    """The text that is written so between the quotation marks of JSON; None if none is."""
    try:
        text: str = orjson.loads(b'"' + written + b'"')
    except orjson.JSONDecodeError:
        return None
    return text
