"""Reading the plain chunks of a stream without parsing them.

Nearly all chunks of a stream are byte for byte the same except for one text: ``{…"choices":[{"index":0,"delta":
{"content":"`` text ``"},…}]}``. Once one of them has been parsed and found plain, the next ones with the same bytes
around a text without escapes can only mean the same, with that text.
"""

from __future__ import annotations

from typing import Any

_MARK = b'"content":"'
_FIELDS = frozenset({b"data: ", b"data:"})


class ContentTemplate:
    """The bytes that the plain chunks of one stream share.

    ``index``: the choice whose text they carry.
    """

    __slots__ = ("_after", "_before", "_between", "_event_after", "_event_before", "index")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._event_before = b""  # the same, with what makes an event of them; empty where that is not as usual
        self._event_after = b""
        self._between = b""
        self.index = 0

    def learn(self, data: bytes, chunk: dict[str, Any], raw: bytes = b"") -> None:
        """Use ``chunk``, parsed from ``data``, as the pattern if it is plain: one choice, one text, no finish
        reason.

        ``raw``: the event that ``data`` came in, which has nothing else.
        """
        choices = chunk["choices"]
        if len(choices) != 1 or chunk.get("usage") is not None:
            return
        choice = choices[0]
        delta = choice.get("delta")
        if choice.get("finish_reason") or choice.get("logprobs") or not delta or delta.keys() != {"content"}:
            return
        text = delta["content"]
        if type(text) is not str or not text:
            return
        # The mark must be there once, or the text it leads to might be another field's.
        place = data.find(_MARK) + len(_MARK)
        end = place + len(text.encode())
        if (
            place < len(_MARK)
            or data.count(_MARK) != 1
            or data[place:end] != text.encode()
            or data[end : end + 1] != b'"'
        ):
            return
        self._before, self._after, self.index = data[:place], data[end:], choice.get("index", 0)
        field, found, rest = raw.partition(data)
        usual = found and field in _FIELDS and rest == b"\n\n"
        self._event_before = field + self._before if usual else b""
        self._event_after = self._after + rest
        self._between = self._event_after + self._event_before

    def texts(self, events: bytes) -> tuple[str, int] | None:
        """The joined text, and the number, of events that all match the pattern and are whole; None if any does not,
        or cannot be read this way.
        """
        before, after = self._event_before, self._event_after
        if not before or not events.startswith(before) or not events.endswith(after):
            return None
        raw = events[len(before) : len(events) - len(after)]
        if not raw or len(before) + len(after) >= len(events):
            return None
        count = 1
        if b"\n" in raw:
            pieces = raw.split(self._between)
            raw, count = b"".join(pieces), len(pieces)
            # A character that was split between two events is none in either.
            if not raw.isascii() or b"" in pieces:
                return None
        if b'"' in raw or b"\\" in raw:
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        return (text, count) if text.isprintable() else None

    def text(self, data: bytes) -> str | None:
        """The text of a chunk that matches the pattern; None if it does not match or cannot be read this way."""
        before, after = self._before, self._after
        if not before or not data.startswith(before) or not data.endswith(after):
            return None
        raw = data[len(before) : len(data) - len(after)]
        if not raw or b'"' in raw or b"\\" in raw or len(before) + len(after) >= len(data):
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() else None
