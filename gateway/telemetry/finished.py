"""The end of a request, as the metrics are told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.types import CostReason, Usage

UpstreamCost = tuple[str, str, CostReason, int]
"""Upstream, model, reason, nano-dollars."""


@dataclass(slots=True)
class FinishedExchange:
    """The end of one request, as observers get it. Times are seconds.

    ``charged``: nano-dollars the key pays.
    ``upstream``: the one that served it; None if none was asked.
    ``model``, ``key``, ``team``: None if unknown or none.
    ``unpriced``: whether the work done has no known price, so that ``charged`` is not, or not wholly, its cost.
    ``duration``: from its arrival to its end; None if it was refused before it had come whole.
    ``time_to_first_token``: from the request's arrival to the first meaningful bytes; None if there were none.
    ``overhead``: the gateway's own time, without waiting for upstreams; None if not measured.
    """

    route: str
    model: str | None
    upstream: str | None
    status: int
    key: str | None
    team: str | None
    charged: int
    upstream_costs: Sequence[UpstreamCost]
    usage: Usage
    duration: float | None
    time_to_first_token: float | None = None
    overhead: float | None = None
    unpriced: bool = False
