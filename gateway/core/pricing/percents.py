"""The percentages of a budget at which an alert is told, as people write them."""

from __future__ import annotations


def percents(value: object) -> tuple[int, ...]:
    """``80``, ``[50, 80]`` or the text ``50,80`` (also ``80%``) → percentages in order, each once.

    Raises ValueError, saying what a valid value is.
    """
    parts: list[object] = list(value) if isinstance(value, list) else [value]
    if isinstance(value, str):
        parts = [_number(part.strip().removesuffix("%").rstrip()) for part in value.split(",")]
    found = [part for part in parts if type(part) is int and 1 <= part <= 100]
    if not found or len(found) < len(parts):
        raise ValueError("expected a percentage from 1 to 100, or several, such as 80 or [50, 80]")
    return tuple(sorted(set(found)))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else None
