"""The keys that one exchange has used up: which ones it must not try again, and when a pool is left.

A request whose key is refused (401, 402, 403) is tried with one more key, once. Were it tried with every key of a pool,
one odd request would speak against all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.core.outcomes.table import RULES, Scope
from gateway.core.routing.steps import AttemptPlan
from gateway.core.types import Outcome

_REFUSALS = frozenset({"key_invalid", "key_unfunded", "key_forbidden"})


class UsedKeys:
    """What an exchange knows of the keys it tried. Targets go by their index in the plan."""

    def __init__(self) -> None:
        self._closed: dict[int, set[str]] = {}
        self._limited: dict[int, set[str]] = {}
        self._switched_at: set[str] = set()

    def closed(self, index: int) -> Collection[str]:
        """The keys that were refused: names."""
        return self._closed.get(index, ())

    def tried(self, index: int) -> Collection[str]:
        """The keys that were refused or rate limited: not to be tried before their pause is over."""
        return self._closed.get(index, set()) | self._limited.get(index, set())

    def close(self, plan: AttemptPlan, outcome: Outcome, same_upstream: Sequence[int]) -> Sequence[int]:
        """Record that another key is to be tried after ``outcome``. Returns the targets at which no other key may be.

        ``same_upstream``: the targets at the plan's upstream.
        """
        if outcome.slug == "rate_limited":  # the pool knows its pause; once that is over the key may be used again
            self._limited.setdefault(plan.index, set()).add(plan.credential.name)
            return ()
        concerned = same_upstream if RULES[outcome.slug].against is Scope.KEY else (plan.index,)
        for index in concerned:
            self._closed.setdefault(index, set()).add(plan.credential.name)
        if outcome.slug not in _REFUSALS:
            return ()
        if self._switched_at:
            return concerned
        self._switched_at.add(plan.target.upstream.name)
        return ()
