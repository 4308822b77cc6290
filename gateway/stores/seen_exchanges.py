"""Exchanges as they are looked at one by one: what came in, how it ended, and what each attempt came to.

The engines read the same columns; what is made of a row of them is said here, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from gateway.core.types import Confidence, State

MOST_SEEN = 1_001
"""Exchanges that one look returns at most: a page of a thousand, and one more that tells whether there is another."""

FILTERED_NS = 31 * 24 * 3600 * 1_000_000_000
"""How far back a look goes that is for one key or one request id: no index has them, so each row is read."""

SeenState = Literal["open", State]

CAME_IN = "i.id, i.at_ns, i.key, i.team, i.route, i.model, i.request_id, i.paid_by, i.reserved"
"""Columns of an intent ``i``, in the order that ``seen_exchange`` takes them."""


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """One attempt at an upstream. ``credential``: the name of the upstream's key, never the key.

    ``outcome``: in one word, such as ``ok`` or ``rate_limited``; ``phase``: how far it had come (``core.types.Phase``).
    ``cost``: nano-dollars it is booked at upstream, and ``reason`` why. ``task_id``: of the task it made; None if it
    made none.
    """

    upstream: str
    endpoint: str
    credential: str
    outcome: str
    phase: int
    cost: int
    reason: str
    task_id: str | None


@dataclass(frozen=True, slots=True)
class SeenExchange:
    """One request as the books have it, corrections applied. Times are Unix nanoseconds, money is nano-dollars.

    ``at_ns``: when it came in. ``model``: as requested. ``paid_by``: the exchange that paid for what this one was
    given; None for one of its own. ``reserved``: what it might have cost at most.
    ``state``: ``open`` while it runs, or as far as the books know; all that follows is None, 0 or empty then.
    ``settled_ns``: when it was settled, before any correction. ``status``: the HTTP status its client was given.
    ``upstream``, ``endpoint``, ``task_id``: of its last attempt, or of who was found to have done the work; None where
    there is none. ``input_tokens`` includes ``cached_input_tokens``.
    ``charged``: what the key pays; ``upstream_cost``: of all attempts; ``confidence``: of ``charged``.
    ``answered_model``: what the upstream said it was, if not what it was asked for.
    ``corrected``: why its outcome is known after all, in words for the operator; None if it was not corrected.
    """

    id: str
    at_ns: int
    key: str
    team: str | None
    route: str
    model: str
    request_id: str
    paid_by: str | None
    reserved: int
    state: SeenState = "open"
    settled_ns: int | None = None
    status: int | None = None
    upstream: str | None = None
    endpoint: str | None = None
    task_id: str | None = None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    charged: int = 0
    upstream_cost: int = 0
    confidence: Confidence | None = None
    answered_model: str | None = None
    corrected: str | None = None
    attempts: tuple[SeenAttempt, ...] = ()


def seen_exchange(came_in: Sequence[Any], ended: Sequence[Any] | None) -> SeenExchange:
    """The exchange of two rows. ``came_in``: the columns CAME_IN. ``ended``: None while it is open; else the fields of
    SeenExchange from ``state`` on, in their order, with the attempts as the books have them, JSON.
    """
    if ended is None:
        return SeenExchange(*came_in)
    *values, attempts = ended
    fields = (*came_in, *values, tuple(map(_attempt, orjson.loads(attempts))))
    return SeenExchange(*fields)


def _attempt(fields: Mapping[str, Any]) -> SeenAttempt:
    return SeenAttempt(
        fields["upstream"],
        fields["endpoint"],
        fields["credential"],
        fields["outcome"],
        fields["phase"],
        fields["cost"],
        fields["reason"],
        fields["task_id"],
    )
