"""How many times the price of one picture a task may come to by options that are not known here.

A task goes to PiAPI as its client wrote it. An option that is newer than the catalogue may ask for more of what is paid
for: ``num_images: 4``, ``frame_count: 99``, ``duration: "10s"``. What such a name says is enough for a reservation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

MOST_TIMES = 10_000
"""A greater number is no order that an upstream would take."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_OF_AMOUNTS = frozenset(
    {"n", "num", "number", "count", "amount", "quantity", "batch", "frame", "frames", "images", "pictures", "samples"}
    | {"outputs", "variations", "videos", "clips", "repeat", "repeats", "duration", "seconds", "minutes", "length"}
)
_OF_NO_AMOUNTS = frozenset({"step", "steps", "inference", "seed", "token", "tokens", "rate", "scale", "id", "index"})
_NUMBER = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)")


def most_times(given: Mapping[str, Any], known: Collection[str] = ()) -> int:
    """The factor, at least 1. ``given``: a task's input. ``known``: the fields whose price is known."""
    times = 1
    for name, value in _fields({name: value for name, value in given.items() if name not in known}):
        words = {word.lower() for word in _WORD.findall(name)}
        if words & _OF_AMOUNTS and not words & _OF_NO_AMOUNTS:
            times = min(times * max(1, _whole(value)), MOST_TIMES)
    return times


def _fields(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    unseen: list[Any] = [given]
    while unseen:
        value = unseen.pop()
        if isinstance(value, list):
            unseen += value
        elif isinstance(value, dict):
            yield from value.items()
            unseen += value.values()


def _whole(value: object) -> int:
    """A number, or one at the beginning of a text, rounded up; 1 for anything else."""
    if isinstance(value, str):
        match = _NUMBER.match(value)
        value = float(match[1]) if match else 1
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return 1
    return -int(-min(max(value, 1), MOST_TIMES) // 1)
