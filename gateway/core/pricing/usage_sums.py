"""Usages as a whole: whether their counts can be true, and several of them added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter

from gateway.core.types import Confidence, Usage

MOST_TOKENS = 1_000_000_000
"""The most tokens or images of one answer that are believed; an upstream's figure above it is ignored."""

_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "confidence")
_counts_of = attrgetter(*_COUNTS)


def is_plausible(count: object) -> bool:
    return type(count) is int and 0 <= count <= MOST_TOKENS


def believable(usage: Usage) -> bool:
    """Whether every count is a plausible natural number; an upstream's figures are checked like any input."""
    for count in _counts_of(usage):  # noqa: SIM110  # at every request: a generator takes twice as long
        if type(count) is not int or not 0 <= count <= MOST_TOKENS:
            return False
    return True


def together(usages: Sequence[Usage]) -> Usage:
    """One usage of several; it is measured if all of them are."""
    measured = all(usage.confidence == "measured" for usage in usages)
    confidence: Confidence = "measured" if measured else "estimated"
    return Usage(confidence=confidence, **{name: sum(getattr(one, name) for one in usages) for name in _COUNTS})
