"""What one exchange knows of its failed attempts: which targets, endpoints and keys are left, and what is a retry."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.outcomes.table import RULES, Scope, Verdict
from gateway.core.routing.steps import AttemptPlan
from gateway.core.routing.upstream_state import UpstreamState
from gateway.core.routing.used_keys import UsedKeys
from gateway.core.types import CostClass, Endpoint, Outcome, Phase, Target


class Failures:
    """The failed attempts of one exchange along ``targets``; made with the first. Targets go by their index.

    ``outcomes``: of the attempts, in order. ``keys``: those that were tried.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self.outcomes: list[tuple[Outcome, CostClass]] = []
        self.keys = UsedKeys()
        self._targets = targets
        self._closed_targets: set[int] = set()
        self._closed_endpoints: set[tuple[int, str]] = set()
        self._told_to_wait: dict[tuple[str, str], float] = {}  # upstream and model → when it may be asked again
        self._tried: set[tuple[str, str]] = set()
        self._overdrawn: set[str] = set()
        # upstream where another try is a retry → whether a reliable, untried host is exempt
        self._owing: dict[str, bool] = {}

    @property
    def last(self) -> Outcome:
        return self.outcomes[-1][0]

    def note(self, plan: AttemptPlan, outcome: Outcome, decision: Verdict, now: float) -> None:
        """Record a failed attempt, and rule out what is not to be tried after it."""
        name = plan.target.upstream.name
        rule = RULES[outcome.slug]
        self.outcomes.append((outcome, plan.target.cost_class))
        self._tried.add((name, plan.endpoint.url))
        if rule.costs_budget and outcome.phase is not Phase.UNSENT:
            self._owing[name] = rule.against is not Scope.NOTHING or decision is Verdict.FRESH_CONNECTION
        else:
            self._owing.pop(name, None)
        if rule.against is Scope.ORIGIN and outcome.retry_after is not None:
            self._told_to_wait[name, plan.target.model] = now + outcome.retry_after
        match decision:
            case Verdict.NEXT_CREDENTIAL:
                self._closed_targets.update(self.keys.close(plan, outcome, self._indexes_of(name)))
            case Verdict.NEXT_ENDPOINT:
                self.close_endpoint(plan, outcome)
            case Verdict.NEXT_TARGET:
                self._closed_targets.add(plan.index)

    def close_endpoint(self, plan: AttemptPlan, outcome: Outcome) -> None:
        """Rule out the endpoint of an attempt: for its target, or for all if the host is at fault."""
        whole_host = RULES[outcome.slug].against is Scope.ENDPOINT
        for index in self._indexes_of(plan.target.upstream.name) if whole_host else (plan.index,):
            self._closed_endpoints.add((index, plan.endpoint.url))

    def rule_out(self, index: int, target: Target, now: float) -> bool:
        """Whether the target is not to be tried now."""
        if index in self._closed_targets or target.upstream.name in self._overdrawn:
            return True
        return bool(self._told_to_wait) and self._must_wait(target, now)

    def left(self, index: int, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those of a target's endpoints that may still be tried."""
        if not self._closed_endpoints:
            return endpoints
        return [one for one in endpoints if (index, one.url) not in self._closed_endpoints]

    def visited(self, upstream: str) -> bool:
        """Whether an attempt was made at this upstream."""
        return any(name == upstream for name, _ in self._tried)

    def affordable(
        self, endpoints: Sequence[Endpoint], target: Target, state: UpstreamState, now: float
    ) -> Endpoint | None:
        """The first endpoint; once the retry budget is used up, the first endpoint that would not count as a retry.
        Without one the upstream is ruled out.
        """
        if target.upstream.name not in self._owing or state.budget.affords(now):
            return endpoints[0]
        endpoint = next((one for one in endpoints if not self.is_retry(target, one, state, now)), None)
        if endpoint is None:
            self._overdrawn.add(target.upstream.name)
        return endpoint

    def is_retry(self, target: Target, endpoint: Endpoint, state: UpstreamState, now: float) -> bool:
        """Whether an attempt there repeats what failed at this upstream before.

        Leaving a host that is known to be at fault for one that works and was not asked yet repeats nothing
        (``docs/decisions/005``).
        """
        name = target.upstream.name
        if name not in self._owing:
            return False
        elsewhere = self._owing[name] and (name, endpoint.url) not in self._tried
        return not (elsewhere and state.health.reliable(endpoint, target.model, now))

    def _must_wait(self, target: Target, now: float) -> bool:
        """Whether the upstream asked this exchange not to come back with this model yet. That is ignored where no other
        target can serve the request: then the upstream's untried host is the last resort.
        """
        asked = (target.upstream.name, target.model)
        return now < self._told_to_wait.get(asked, now) and any(
            (one.upstream.name, one.model) != asked for one in self._targets
        )

    def _indexes_of(self, upstream: str) -> list[int]:
        return [index for index, target in enumerate(self._targets) if target.upstream.name == upstream]
