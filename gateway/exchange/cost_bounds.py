"""What an exchange may cost at most: the bound of each of its subrequests, as its budgets hold it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.types import Target
from gateway.exchange.operation import OperationPart


class CostBounds:
    """The bounds of an exchange's subrequests, in nano-dollars.

    ``exact``: whether a budget is for it, so that input is counted. ``held``: what is held for each subrequest.
    ``dearest``: the target that the budgets were asked for last.
    """

    __slots__ = ("_parts", "dearest", "exact", "held")

    def __init__(self, parts: Sequence[OperationPart], *, exact: bool) -> None:
        self._parts = parts
        self.exact = exact
        self.held: list[int] = []
        self.dearest: Target | None = None

    def served_by(self, target: Target) -> int | None:
        """What the whole request can cost at most if ``target``, which comes first, serves it; None if unknown."""
        self.dearest = target
        most: int | None = 0
        for part in self._parts:
            bound = part.cost_bound(target, exact=self.exact)
            self.held.append(bound or 0)
            most = None if bound is None or most is None else most + bound
        return most

    def raised(self, subrequest: int, target: Target) -> tuple[list[int], int | None]:
        """What would be held if ``target`` served this subrequest, and the sum of it; None if that is unknown."""
        bound = self._parts[subrequest].cost_bound(target, exact=self.exact)
        bounds = [*self.held]
        bounds[subrequest] = max(bounds[subrequest], bound or 0)
        return bounds, None if bound is None else sum(bounds)

    def why(self) -> str:
        """What the bound that was asked of the budgets last is made of; empty where that cannot be said."""
        return "" if self.dearest is None else self._parts[0].cost_reason(self.dearest)
