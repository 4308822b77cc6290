"""A settlement as flat fields: what the books and the spill file keep of a request's record, under the names of their
columns. Files of earlier versions have the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from gateway.core.exchange_record import AttemptRecord, BookedPrice, ExchangeRecord
from gateway.core.types import Usage

_PLACES = {
    "id": "id",
    "at_ns": "settled_ns",
    "state": "state",
    "upstream": "upstream",
    "endpoint": "endpoint",
    "credential": "credential",
    "input_tokens": "usage.input_tokens",
    "cached_input_tokens": "usage.cached_input_tokens",
    "output_tokens": "usage.output_tokens",
    "images": "usage.images",
    "charged": "charged",
    "upstream_cost": "upstream_cost",
    "confidence": "confidence",
    "status": "status",
    "task_id": "task_id",
    "answered_model": "answered_model",
    "cache_write_tokens": "usage.cache_write_tokens",
    "reasoning_tokens": "usage.reasoning_tokens",
}
"""The name of each field → where the record has it."""

_values = attrgetter(*_PLACES.values())


def attempt_fields(record: ExchangeRecord) -> list[dict[str, Any]]:
    """What the books keep of each attempt."""
    return [
        {
            "upstream": attempt.upstream,
            "endpoint": attempt.endpoint,
            "credential": attempt.credential,
            "outcome": attempt.outcome,
            "phase": attempt.phase,
            "cost": attempt.cost,
            "reason": attempt.reason,
            "task_id": attempt.task_id,
        }
        for attempt in record.attempts
    ]


def settled_fields(record: ExchangeRecord) -> dict[str, Any]:
    """All that is kept of how a request ended."""
    booked = record.booked
    price = None if booked is None else booked._asdict()
    fields = dict(zip(_PLACES, _values(record), strict=True))
    return fields | {"attempts": attempt_fields(record), "price": price}


def settled_record(fields: Mapping[str, Any]) -> ExchangeRecord:
    """The record that has these fields, without its intent. Raises TypeError for a field that is not known, KeyError
    for one that is missing.
    """
    given = dict(fields)
    price = given.pop("price", None)
    attempts = [one if isinstance(one, AttemptRecord) else AttemptRecord(**one) for one in given.pop("attempts")]
    counts = {name: given.pop(name) for name, place in _PLACES.items() if place.startswith("usage.") and name in given}
    return ExchangeRecord(
        settled_ns=given.pop("at_ns"),
        usage=Usage(**counts),
        attempts=attempts,
        booked=price if price is None or isinstance(price, BookedPrice) else BookedPrice(**price),
        **given,
    )
