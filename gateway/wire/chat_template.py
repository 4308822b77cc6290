"""Reading the plain events of a stream without parsing them.

Nearly all events of a stream are byte for byte the same except for one text: ``data: {…"choices":[{"index":0,"delta":
{"content":"`` text ``"},…}]}``, and for OpenAI's padding, which hides the text's length. Once one of them has been
parsed and found plain, the next ones with the same bytes around a JSON text can only mean the same, with that text. The
text may be an answer's, a refusal's, that of its reasoning, or of the arguments of a call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

_BLANK_LINES = frozenset({b"\n\n", b"\r\n\r\n"})
_COLONS = frozenset({b":", b": "})
_PADDING = (b'"obfuscation":"', b'"obfuscation": "')
_END_OF_PADDING = b'"}'
_TEXTS = frozenset({"content", "refusal", "reasoning_content", "reasoning"})
_QUOTED = {name: b'"%b"' % name.encode() for name in (*_TEXTS, "arguments")}


class PlainText(NamedTuple):
    """What the text of a plain chunk is of.

    ``choice``: its index. ``name``: the field of its delta, or "arguments". ``call``: the call whose arguments they
    are, as it came.
    """

    choice: int
    name: str
    call: dict[str, Any] | None = None


class ContentTemplate:
    """The bytes that the plain events of one stream share with the event that was parsed last.

    ``known``: whether there are any.
    """

    __slots__ = ("_closing", "_middle", "_opening", "_start", "_stop", "known")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know no pattern any more: what a chunk says beside its text may differ from what was last said."""
        self.known = False
        self._opening = b""  # all before the text, with its quotation mark, and
        self._closing = b""  # all behind it or, where there is padding, behind that
        self._middle = b""  # what stands between text and padding; empty without padding
        self._start = self._stop = 0  # where the text of an event stands, with its quotation marks

    def learn(self, raw: bytes, data: bytes, chunk: dict[str, Any]) -> PlainText | None:
        """Use an event as the pattern if its chunk is plain: one choice, one text, no finish reason, no usage. Else
        know none.

        ``raw``: the event. ``data``: its data. ``chunk``: parsed from that.

        Returns what the text is of; None if there is no pattern.
        """
        if self.known:
            self.forget()
        plain, text = _only_text(chunk)
        begin = 6 if raw.startswith(b"data: ") else 5
        blank_line = raw[begin + len(data) :]
        if plain is None or blank_line not in _BLANK_LINES or raw[:5] != b"data:":
            return None
        name = _QUOTED[plain.name]
        colon = data.find(name) + len(name)
        start = data.find(b'"', colon)
        end = data.find(b'"', start + 1)
        while end > 0 and data[end - 1 : end] == b"\\":
            end = data.find(b'"', end + 1)
        before, after = data[: start + 1], data[end:]
        # The name must be there once and spelt out, or the text might be another field's.
        if data[colon:start] not in _COLONS or data.count(name) != 1 or b"\\" in before or b"\\" in after:
            return None
        if _json_of(data[start : end + 1]) != text:
            return None
        self.known = True
        self._opening = raw[:begin] + before
        self._middle = _before_padding(after) if b'"obfuscation"' in after else b""
        self._closing = (_END_OF_PADDING if self._middle else after) + blank_line
        self._start, self._stop = len(self._opening) - 1, 1 - len(self._closing)
        return plain

    def texts(self, events: bytes) -> list[str] | None:
        """The texts of events that all match the pattern and are whole; None if any does not, or cannot be read so."""
        opening, closing = self._opening, self._closing
        if not (self.known and events.startswith(opening) and events.endswith(closing)):
            return None
        start, stop = self._start, self._stop
        if len(events) < 2 * (start - stop):
            text = self._padded_text(events) if self._middle else _json_of(events[start:stop])
            return [text] if text else None
        written = events[len(opening) : -len(closing)].split(closing + opening)
        # No text of JSON holds a line end. So the ones put between two texts here stand outside of any: if a text were
        # broken the array could not be read, and if one were more than a text there would be more in it.
        texts = self._without_padding(written) if self._middle else _json_of(b'["%b"]' % b'"\n,"'.join(written))
        if texts is None or len(texts) != len(written) or "" in texts:
            return None
        return texts if {*map(type, texts)} == {str} else None

    def _padded_text(self, event: bytes) -> Any:
        """The text of one event, which is whole and has padding; None or empty if it has none."""
        middle, start, stop = self._middle, len(self._opening) - 1, len(event) - len(self._closing)
        end = event.find(middle, start + 1, stop)
        padding = event[end + len(middle) : stop]
        if end < 0 or (padding and not padding.isalnum()):
            return None
        return _json_of(event[start : end + 1])

    def _without_padding(self, written: list[bytes]) -> list[Any] | None:
        """The texts in ``written``, each of which is followed by its padding; None if one is not."""
        rows = b'"]\n,["'.join(written)
        if rows.count(self._middle) != len(written):
            return None
        pairs = _json_of(b'[["%b"]]' % rows.replace(self._middle, b'"\n,"'))
        if pairs is None or not all(type(pair) is list and len(pair) == 2 and type(pair[1]) is str for pair in pairs):
            return None
        padding = "".join([pair[1] for pair in pairs])
        return [pair[0] for pair in pairs] if not padding or (padding.isascii() and padding.isalnum()) else None

    def run(self, data: bytes, at: int) -> int:
        """Where the events end that begin at ``at``, follow one another and look like the pattern; 0 if none does."""
        if not (self.known and data.startswith(self._opening, at)):
            return 0
        closing = self._closing
        between = closing + self._opening  # what stands between one event's text or padding and the next one's text
        last = data.rfind(between, at)
        end = data.find(closing, last + len(between) if last >= 0 else at + len(self._opening))
        if end < 0:  # the last only begins like it
            return last + len(closing) if last >= 0 else 0
        return end + len(closing)


def _before_padding(after: bytes) -> bytes:
    """What stands between a text and the padding, which is the last field of the chunk itself; empty without padding.

    ``after``: all that follows the text.
    """
    start = after.rfind(b'"', 0, -len(_END_OF_PADDING)) + 1
    padding = after[start : -len(_END_OF_PADDING)]
    before = after[:start]
    padded = after.endswith(_END_OF_PADDING) and before.endswith(_PADDING) and (not padding or padding.isalnum())
    return before if padded else b""


def _only_text(chunk: dict[str, Any]) -> tuple[PlainText | None, str]:
    """The text that is all that a chunk says, and what it is of; None if there is no such text."""
    choices = chunk["choices"]
    if len(choices) != 1 or chunk.get("usage") is not None:
        return None, ""
    choice = choices[0]
    if choice.get("finish_reason") or choice.get("logprobs"):
        return None, ""
    index, call = choice.get("index", 0), None
    name, value = _only_field(choice.get("delta"))
    known = name in _TEXTS
    if name == "tool_calls":
        call = value[0] if type(value) is list and len(value) == 1 else None
        name, value = _only_field(call.get("function") if type(call) is dict else None)
        known = name == "arguments"
    if not known or type(value) is not str:
        return None, ""
    return PlainText(index, name, call), value


def _only_field(fields: object) -> tuple[str, Any]:
    """The only field that says something beside a role."""
    said = [field for field in fields.items() if field[1] and field[0] != "role"] if type(fields) is dict else ()
    return said[0] if len(said) == 1 else ("", None)


def _json_of(data: bytes) -> Any:
    """What a JSON text says; None if it is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
