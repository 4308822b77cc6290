"""What a request may cost at most: the sum of its subrequests' bounds, raised where a dearer target serves one."""

from __future__ import annotations

from typing import Any, cast

from gateway.core.types import Endpoint, Target, Upstream
from gateway.exchange.cost_bounds import CostBounds

PIAPI = Upstream("piapi", "piapi", (Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443),), ())
CHEAP, DEAR, DARK = Target(PIAPI, "cheap"), Target(PIAPI, "dear"), Target(PIAPI, "dark")
COSTS = {"cheap": 10, "dear": 25, "dark": None}


class Part:
    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        cost = COSTS[target.model]
        return None if cost is None else cost + (0 if exact else 1)

    def cost_reason(self, target: Target) -> str:
        return f"because of {target.model}"


def bounds(parts: int, *, exact: bool = True) -> CostBounds:
    return CostBounds(cast("Any", [Part() for _ in range(parts)]), exact=exact)


def test_the_whole_is_the_sum_of_its_parts() -> None:
    two = bounds(2)
    assert two.why() == ""
    assert (two.served_by(CHEAP), two.held, two.why()) == (20, [10, 10], "because of cheap")
    assert bounds(1, exact=False).served_by(CHEAP) == 11


def test_a_dearer_target_raises_its_own_part_only_and_nothing_is_held_for_it_yet() -> None:
    two = bounds(2)
    two.served_by(CHEAP)
    assert two.raised(1, DEAR) == ([10, 25], 35)
    assert two.held == [10, 10]
    two.held[:] = [10, 25]
    assert two.raised(1, CHEAP) == ([10, 25], 35)  # what may have been bought there stays


def test_what_has_no_price_has_no_bound() -> None:
    one = bounds(1)
    assert (one.served_by(DARK), one.held) == (None, [0])
    assert one.raised(0, DARK) == ([0], None)
