"""A tolerant client: reads what a gateway wrote by the standard of server-sent events, and nothing of the gateway's."""

from __future__ import annotations

import json
import re
from typing import Any

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Half a character, a whole one beyond 16 bits, or what stands for one that is broken: all the same to the oracle, since
# a folded answer may mend a character that came in halves, or replace what JSON cannot hold (issue, part 3).
_WIDE = re.compile("[\ud800-\udfff\ufffd\U00010000-\U0010ffff]+")


def events(data: bytes) -> list[bytes]:
    """The data of each event, as the WHATWG standard dispatches them."""
    found: list[bytes] = []
    lines: list[bytes] = []
    for line in _LINE_END.split(data.removeprefix(b"\xef\xbb\xbf"))[:-1]:
        if not line:
            if lines:
                found.append(b"\n".join(lines))
            lines = []
        elif line == b"data" or line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return found


def unwrapped(data: bytes) -> bytes:
    """An event's data less the ``data:`` that some relays write twice."""
    while data.startswith(b"data:"):
        data = data[5:].strip()
    return data


def parsed(data: bytes) -> Any:
    """The JSON in an event, NaN and half characters included; None if there is none."""
    try:
        return json.loads(unwrapped(data).decode("utf-8", "surrogatepass"), strict=False)
    except ValueError:
        return None


def plainly(text: Any) -> Any:
    """A text, or a JSON value with its texts, in which every unusual character is the same."""
    if isinstance(text, str):
        return _WIDE.sub("□", text)
    if isinstance(text, list):
        return [plainly(inner) for inner in text]
    if isinstance(text, dict):
        return {plainly(name): plainly(value) for name, value in text.items()}
    if isinstance(text, float) and (text != text or abs(text) == float("inf")):
        return None
    return text


def choices_of(document: Any) -> list[dict[str, Any]]:
    """The choices of a chunk; one that stands alone, without an array, is one."""
    choices = document.get("choices") if isinstance(document, dict) else None
    if isinstance(choices, dict):
        choices = [choices]
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def has_choices(document: Any) -> bool:
    """Whether it is a chunk with a choice that says something."""
    return any(choice.keys() - {"index", "delta"} or choice.get("delta") for choice in choices_of(document))


def reason_of(choice: dict[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) and reason.lower() not in ("", "null", "none") else None
