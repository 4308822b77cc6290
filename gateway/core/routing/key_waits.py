"""How long until a key of a route may be used again, for what a client is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.routing.upstream_state import UpstreamStates
from gateway.core.routing.used_keys import UsedKeys
from gateway.core.types import Target

UNFUNDED_FOR = 60.0
"""Seconds that a client is told at least to stay away from an account that is said to be used up, while the key rests
for seconds only because nothing has confirmed it."""


def key_waits(
    targets: Sequence[Target], states: UpstreamStates, used: UsedKeys, now: float, asker: str
) -> Mapping[str, float]:
    """Slug → seconds after which its cause may have passed: a rate limit, or an account that is used up.

    ``used``: what the exchange knows of the keys it tried. ``asker``: the member whose request it is.
    """
    limited, unfunded = [], []
    for index, target in enumerate(targets):
        pool = states[target.upstream.name].pool
        exhausted = pool.exhaustion(target.model, now, used.closed(index), asker=asker)
        if exhausted is not None and exhausted.reason in ("busy", "rate_limited"):
            limited.append(max(exhausted.soonest, 1.0) if exhausted.reason == "busy" else exhausted.soonest)
        of_all = pool.exhaustion(target.model, now, asker=asker)
        if of_all is not None and of_all.reason == "unfunded":
            unfunded.append(of_all.soonest if of_all.confirmed else max(of_all.soonest, UNFUNDED_FOR))
    return {"rate_limited": min(limited, default=1.0), "key_unfunded": min(unfunded, default=1.0)}
