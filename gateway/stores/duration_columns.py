"""A histogram of durations as the columns of a row, the same for every engine."""

from __future__ import annotations

import orjson

from gateway.core.routing.durations import Histogram


def columns_of(found: Histogram) -> tuple[float, int, str, str]:
    """``at, seen, ended, censored``; the last two as JSON."""
    return found.at, found.seen, _weights(found.ended), _weights(found.censored)


def _weights(weights: dict[int, float]) -> str:
    return orjson.dumps({str(bucket): weight for bucket, weight in weights.items()}).decode()


def histogram_of(at: float, seen: int, ended: str, censored: str) -> Histogram | None:
    """From these columns; None for a row that is not as it was written."""
    try:
        sides = [
            {int(bucket): float(weight) for bucket, weight in orjson.loads(one).items()} for one in (ended, censored)
        ]
    except (ValueError, TypeError, AttributeError):
        return None
    return Histogram(at, seen, *sides)
