"""The failover plan: the order in which one exchange tries targets, endpoints and keys.

``FailoverPlan.next`` says what to attempt, and ``report`` tells it how that ended. The plan knows which targets,
endpoints and keys this exchange may still try; what is known across exchanges (breakers, pauses of keys, retry budgets)
is in ``UpstreamStates``, which it reads and updates.

    next ──▶ AttemptPlan ──▶ report ──▶ next ──▶ … ──▶ Stop   (or the exchange ends with what an upstream delivered)
      └────▶ Wait ──────────────▲

An attempt uses a target, one of its upstream's endpoints, and one of its keys. No such combination is tried twice, with
three exceptions: a kept-alive connection that broke before an answer is tried once more on a fresh one, a key that was
rate limited may be used again once its pause is over, and an upstream that refused what only the gateway asked for is
asked again without it (``refused_wishes.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gateway.core.chance import Randomness
from gateway.core.errors import GatewayError
from gateway.core.outcomes.table import (
    RULES,
    Permission,
    Scope,
    Verdict,
    client_error,
    permission,
    price_at_stake,
    verdict,
)
from gateway.core.routing.credentials import BUSY_AGAIN_IN, Exhausted
from gateway.core.routing.final_error import SLUG_OF_REASON, final_error, no_upstream_key, not_on_this_route
from gateway.core.routing.key_pauses import Reason
from gateway.core.routing.key_waits import key_waits
from gateway.core.routing.refused_wishes import Concessions, WishesOf, no_wishes
from gateway.core.routing.steps import AttemptPlan, Failover, Stop, Wait
from gateway.core.routing.upstream_state import UpstreamState, UpstreamStates
from gateway.core.routing.used_keys import UsedKeys
from gateway.core.types import (
    CostClass,
    Credential,
    Endpoint,
    Outcome,
    Phase,
    Route,
    Target,
    Wish,
)

MOST_DIALS = 4
"""Attempts that sent nothing do not count against ``attempts``, but there are no more of them than this."""

ATTEMPTS_OF_A_RESEND = 2
"""The most attempts for a request that an SDK sends again, since its retries multiply the gateway's."""

LONGEST_HOLD = 5.0
"""Seconds, in all, that a client waits at most for a key to become free."""

LONGEST_HOLD_WHEN_BUSY = 2.0
WORTH_TRYING = 1.0
"""Seconds that must be left until the deadline for another attempt."""

WORTH_BUYING = 5.0
"""Seconds that must be left until the deadline to buy a paid item again whose first result did not arrive."""


class FailoverPlan:
    """The failover plan of one exchange along ``route``, under the policy of ``states``.

    ``deadline``: on the scale of ``now``.
    ``sdk_retry``: whether an SDK sends this request again.
    ``operations``: those the caller can carry out.
    ``stake``: nano-dollars that a request to a paid target costs at most; None if unknown.
    ``wishes``: what the request asks of a target beyond the client's.
    ``asker``: the member (virtual key) whose request it is, to be set before the first step: what its requests meet is
    held against nothing for all the others.
    """

    asker: str = ""
    attempts = 0

    # How an exchange begins, of which nothing has failed yet
    _skipped: tuple[str, str] | None = None
    _current: AttemptPlan | None = None
    _last: AttemptPlan | None = None
    _again: AttemptPlan | None = None
    _over: Verdict | None = None
    _bought_again = False
    _held = 0.0
    _held_busy = 0.0

    def __init__(
        self,
        route: Route,
        *,
        states: UpstreamStates,
        deadline: float,
        sdk_retry: bool,
        randomness: Randomness,
        operations: Collection[str],
        stake: Callable[[Target], int | None] = price_at_stake,
        wishes: WishesOf = no_wishes,
    ) -> None:
        policy = states.policy
        keyed = [one for one in route.targets if one.upstream.endpoints and len(states[one.upstream.name].pool)]
        self._targets = [target for target in keyed if target.operation in operations]
        self._other_operations = len(keyed) > len(self._targets)
        self._model = route.named
        self._states = states
        self._deadline = deadline
        self._rng = randomness
        self._stake = stake
        self._concessions = Concessions(wishes, states)
        self._affordable_doubt = policy.unknown_outcome_up_to
        self._attempts_left = min(policy.attempts, ATTEMPTS_OF_A_RESEND) if sdk_retry else policy.attempts
        self._dials_left = MOST_DIALS

        self._closed_targets: set[int] = set()
        self._closed_endpoints: set[tuple[int, str]] = set()
        self._keys = UsedKeys()
        self._told_to_wait: dict[tuple[str, str], float] = {}  # upstream and model → when it may be asked again
        self._visited: set[str] = set()
        self._tried: set[tuple[str, str]] = set()
        self._owing: dict[
            str, bool
        ] = {}  # upstream where another try is a retry → whether a reliable, untried host is exempt
        self._overdrawn: set[str] = set()

        self._outcomes: list[tuple[Outcome, CostClass]] = []
        self._exhausted: dict[int, Exhausted] = {}
        self.failovers: list[Failover] = []

    def next(self, now: float) -> AttemptPlan | Wait | Stop:
        """What to do now. After an ``AttemptPlan``, ``report`` must be called first."""
        if self._current is not None or self._over is Verdict.DONE:
            raise RuntimeError("the attempt under way was not reported, or the exchange is done")
        self._exhausted.clear()
        self._skipped = None
        if self._over is Verdict.STOP or not self._has_room(now):
            return Stop(self._error(now))
        plan = self._once_more(now) or self._first_open(now, fail_open=False) or self._first_open(now, fail_open=True)
        if plan is not None:
            return self._start(plan)
        seconds = self._worth_waiting(now)
        return Stop(self._error(now)) if seconds is None else Wait(seconds)

    def answering(self, plan: AttemptPlan, now: float) -> None:
        """Record that the attempt has brought its first content, so that an upstream that works again is known to work
        before a long answer ends. Optional; once for each attempt.
        """
        state = self._state(plan.target)
        began = plan.ticket.began
        state.pool.answering(plan.credential, plan.target.model, now, asker=self.asker, began=began)
        state.health.answering(plan.ticket, now)

    def report(self, plan: AttemptPlan, outcome: Outcome, now: float) -> Verdict:
        """Record how an attempt ended: its key is given back, and failures are held against what caused them.

        To be called once for each ``AttemptPlan``.
        """
        if plan is not self._current:
            raise RuntimeError("not the attempt under way")
        self._current = None
        self._last = plan
        cost_class = plan.target.cost_class
        state = self._state(plan.target)
        state.pool.release(plan.credential)
        if (doubt := self._report_key(state, plan, outcome, now)) is not None:
            self._states.doubt(plan.target.upstream, plan.credential, doubt)
        state.health.report(plan.ticket, plan.credential, outcome, now, self._rng)
        if plan.is_retry:
            state.budget.end()
        self._outcomes.append((outcome, cost_class))
        self._concessions.report(plan.target, plan.without, outcome, now)
        if outcome.phase is Phase.UNSENT:
            self._dials_left -= 1
        elif not plan.gives_up(outcome.wish):  # what a wish of our own causes costs the client none of its attempts
            self._attempts_left -= 1
        return self._decide(plan, outcome, cost_class, now)

    def _decide(self, plan: AttemptPlan, outcome: Outcome, cost_class: CostClass, now: float) -> Verdict:
        buy_again = self._may_buy_again(plan.target, outcome, cost_class, now)
        self._bought_again = self._bought_again or buy_again
        decision = verdict(outcome, cost_class, buy_again=buy_again)
        if decision is Verdict.FRESH_CONNECTION and plan.fresh_connection:
            decision = Verdict.NEXT_ENDPOINT
        if decision is Verdict.AS_ASKED and not plan.gives_up(outcome.wish):
            decision = Verdict.NEXT_ENDPOINT
        name = plan.target.upstream.name
        rule = RULES[outcome.slug]
        if rule.costs_budget and outcome.phase is not Phase.UNSENT:
            self._owing[name] = rule.against is not Scope.NOTHING or decision is Verdict.FRESH_CONNECTION
        else:
            self._owing.pop(name, None)
        if rule.against is Scope.ORIGIN and outcome.retry_after is not None:
            self._told_to_wait[name, plan.target.model] = now + outcome.retry_after
        match decision:
            case Verdict.DONE | Verdict.STOP:
                self._over = decision
            case Verdict.FRESH_CONNECTION | Verdict.AS_ASKED:
                self._again = plan
            case Verdict.NEXT_CREDENTIAL:
                same = self._indexes_of(plan.target.upstream.name)
                self._closed_targets.update(self._keys.close(plan, outcome, same))
            case Verdict.NEXT_ENDPOINT:
                self._close_endpoint(plan, outcome)
            case Verdict.NEXT_TARGET:
                self._closed_targets.add(plan.index)
        return decision

    def _may_buy_again(self, target: Target, outcome: Outcome, cost_class: CostClass, now: float) -> bool:
        """Whether a paid item that may have been bought may be bought once more: it must be cheap, and time must be
        left.
        """
        if self._bought_again or permission(outcome, cost_class) is not Permission.BY_PRICE:
            return False
        stake = self._stake(target)
        return stake is not None and stake <= self._affordable_doubt and now + WORTH_BUYING <= self._deadline

    def _report_key(self, state: UpstreamState, plan: AttemptPlan, outcome: Outcome, now: float) -> Reason | None:
        """Record an outcome with its key. Returns the doubt that a free read of the key is to settle, if any."""
        model, began = plan.target.model, plan.ticket.began
        return state.pool.report(plan.credential, model, outcome, now, self._rng, asker=self.asker, began=began)

    def _close_endpoint(self, plan: AttemptPlan, outcome: Outcome) -> None:
        whole_host = RULES[outcome.slug].against is Scope.ENDPOINT
        for index in self._indexes_of(plan.target.upstream.name) if whole_host else (plan.index,):
            self._closed_endpoints.add((index, plan.endpoint.url))

    def _indexes_of(self, upstream: str) -> list[int]:
        return [index for index, target in enumerate(self._targets) if target.upstream.name == upstream]

    def _state(self, target: Target) -> UpstreamState:
        return self._states[target.upstream.name]

    def _has_room(self, now: float) -> bool:
        if self._attempts_left <= 0 or self._dials_left <= 0:
            return False
        return now < self._deadline if self._last is None else now + WORTH_TRYING <= self._deadline

    def _once_more(self, now: float) -> AttemptPlan | None:
        """The same attempt on a fresh connection, or as the client asked, if the last outcome called for it."""
        again, self._again = self._again, None
        if again is None:
            return None
        state = self._state(again.target)
        wish = self._outcomes[-1][0].wish
        if wish is not None:
            return self._as_asked(again, wish, state, now)
        if self._is_retry(again.target, again.endpoint, state, now) and not state.budget.affords(now):
            self._close_endpoint(again, self._outcomes[-1][0])
            return None
        state.pool.hold(again.credential)
        return self._plan_attempt(again.index, again.endpoint, again.credential, now, fresh=True)

    def _as_asked(self, again: AttemptPlan, wish: Wish, state: UpstreamState, now: float) -> AttemptPlan:
        """The same attempt without ``wish``. Where that means silence until the answer is whole, at a host without a
        wall, if there is one.
        """
        endpoint = again.endpoint
        if wish is Wish.STREAM and endpoint.wall is not None:
            others = self._endpoints(again.index, again.target, state, now, fail_open=False)
            endpoint = next((one for one in others if one.wall is None), endpoint)
        state.pool.hold(again.credential)
        return self._plan_attempt(again.index, endpoint, again.credential, now, fresh=again.fresh_connection)

    def _first_open(self, now: float, *, fail_open: bool) -> AttemptPlan | None:
        """The first attempt still possible.

        ``fail_open``: also through open breakers, for when there is no other.
        """
        for index, target in enumerate(self._targets):
            if index in self._closed_targets or target.upstream.name in self._overdrawn:
                continue
            if self._told_to_wait and self._must_wait(target, now):
                continue
            state = self._state(target)
            endpoints = self._endpoints(index, target, state, now, fail_open=fail_open)
            if not endpoints:
                self._skip(target, "endpoints_ejected")
                continue
            endpoint = self._affordable(endpoints, target, state, now)
            if endpoint is None:
                self._overdrawn.add(target.upstream.name)
                continue
            used = self._keys.tried(index) if fail_open else self._keys.closed(index)
            taken = state.pool.take(target.model, now, self._rng, used, asker=self.asker, last_resort=fail_open)
            if isinstance(taken, Credential):
                return self._plan_attempt(index, endpoint, taken, now, fresh=target.cost_class is CostClass.PAID)
            if taken is not None:
                self._exhausted.setdefault(index, taken)
                self._skip(target, "keys_busy" if taken.reason == "busy" else SLUG_OF_REASON[taken.reason])
        return None

    def _endpoints(
        self, index: int, target: Target, state: UpstreamState, now: float, *, fail_open: bool
    ) -> list[Endpoint]:
        if fail_open:
            endpoints = state.health.every_endpoint(target.model, now)
        else:
            endpoints = state.health.endpoints(target.model, target.cost_class, now, self.asker)
        endpoints = self._concessions.ordered(endpoints, target, now)
        if not self._closed_endpoints:
            return endpoints
        return [one for one in endpoints if (index, one.url) not in self._closed_endpoints]

    def _affordable(
        self, endpoints: Sequence[Endpoint], target: Target, state: UpstreamState, now: float
    ) -> Endpoint | None:
        """The first endpoint; once the retry budget is used up, the first endpoint that would not count as a retry."""
        if target.upstream.name not in self._owing or state.budget.affords(now):
            return endpoints[0]
        return next((one for one in endpoints if not self._is_retry(target, one, state, now)), None)

    def _is_retry(self, target: Target, endpoint: Endpoint, state: UpstreamState, now: float) -> bool:
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

    def _skip(self, target: Target, reason: str) -> None:
        if self._skipped is None:
            self._skipped = (target.upstream.name, reason)

    def _plan_attempt(
        self, index: int, endpoint: Endpoint, credential: Credential, now: float, *, fresh: bool
    ) -> AttemptPlan:
        target = self._targets[index]
        name = target.upstream.name
        state = self._state(target)
        is_retry = bool(self._owing) and self._is_retry(target, endpoint, state, now)
        self._tried.add((name, endpoint.url))
        if name not in self._visited:
            self._visited.add(name)
            state.budget.request(now)
        if is_retry:
            state.budget.begin(now)
        ticket = state.health.begin(endpoint, target.model, now, self.asker)
        without = self._concessions.without(target, now)
        return AttemptPlan(target, endpoint, credential, fresh, self.attempts + 1, index, is_retry, ticket, without)

    def _start(self, plan: AttemptPlan) -> AttemptPlan:
        self.attempts += 1
        self._current = plan
        to = plan.target.upstream.name
        if self._last is not None:
            if self._last.target.upstream.name != to or self._last.endpoint.url != plan.endpoint.url:
                reason = self._outcomes[-1][0].slug
                self.failovers.append(Failover(self._last.target.upstream.name, to, reason))
        elif self._skipped is not None and self._skipped[0] != to:
            self.failovers.append(Failover(self._skipped[0], to, self._skipped[1]))
        return plan

    def _worth_waiting(self, now: float) -> float | None:
        """Seconds to wait for a key; None if no key will be free soon enough."""
        soonest: float | None = None
        busy = False
        for exhausted in self._exhausted.values():
            if exhausted.reason == "busy" and self._held_busy < LONGEST_HOLD_WHEN_BUSY:
                soonest, busy = BUSY_AGAIN_IN, True
                break
            if exhausted.reason == "rate_limited" and (soonest is None or exhausted.soonest < soonest):
                soonest = max(exhausted.soonest, 0.01)
        if soonest is None or self._held + soonest > LONGEST_HOLD or now + soonest + WORTH_TRYING > self._deadline:
            return None
        self._held += soonest
        self._held_busy += soonest if busy else 0.0
        return soonest

    def _error(self, now: float) -> GatewayError:
        """The error the client is sent when no attempt is left."""
        if self._outcomes or self._exhausted:
            exhausted = [(why, self._targets[index].cost_class) for index, why in self._exhausted.items()]
            over = self._over is Verdict.STOP
            waits = key_waits(self._targets, self._states, self._keys, now, self.asker)
            return final_error(self._outcomes, exhausted, model=self._model, over=over, waits=waits)
        if not self._targets:
            return not_on_this_route(self._model) if self._other_operations else no_upstream_key(self._model)
        return client_error(Outcome("deadline", Phase.UNSENT), CostClass.TOKENS, model=self._model)
