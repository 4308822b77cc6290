"""The failover plan: the order in which one exchange tries targets, endpoints and keys.

``FailoverPlan.next`` says what to attempt, and ``report`` tells it how that ended. What is known across exchanges
(breakers, pauses of keys, retry budgets) is in ``UpstreamStates``, which the plan reads and updates; which targets,
endpoints and keys this exchange may still try is in ``Failures``, which the first failed attempt makes.

    next ──▶ AttemptPlan ──▶ report ──▶ next ──▶ … ──▶ Stop   (or the exchange ends with what an upstream delivered)
      └────▶ Wait ──────────────▲

An attempt uses a target, one of its upstream's endpoints, and one of its keys. No such combination is tried twice, with
three exceptions: a kept-alive connection that broke before an answer is tried once more on a fresh one, a key that was
rate limited may be used again once its pause is over, and an upstream that refused what only the gateway asked for is
asked again without it (``refused_wishes.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from gateway.core.chance import Randomness
from gateway.core.errors import GatewayError
from gateway.core.outcomes.table import Permission, Verdict, client_error, permission, verdict
from gateway.core.routing.credentials import BUSY_AGAIN_IN, Exhausted
from gateway.core.routing.failures import Failures
from gateway.core.routing.final_error import SLUG_OF_REASON, final_error, no_upstream_key, not_on_this_route
from gateway.core.routing.key_waits import key_waits
from gateway.core.routing.learned_routing import LearnedRouting
from gateway.core.routing.refused_wishes import Concessions, OwnWishes
from gateway.core.routing.steps import AttemptPlan, Failover, Stop, Wait
from gateway.core.routing.upstream_state import UpstreamState, UpstreamStates
from gateway.core.routing.used_keys import UsedKeys
from gateway.core.types import (
    NO_WISHES,
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


class Work(Protocol):
    """What is to be served, as a failover plan needs to know it."""

    @property
    def supports(self) -> Collection[str]:
        """The operations that the caller can carry out."""
        ...

    def stake(self, target: Target) -> int | None:
        """Nano-dollars that it costs at most on a paid target; None if unknown."""
        ...

    def wishes(self, target: Target) -> OwnWishes:
        """What is asked of a target beyond the client's request."""
        ...


class FailoverPlan:
    """The failover plan of one exchange along ``route``, under the policy of ``states``.

    ``deadline``: on the scale of ``now``.
    ``sdk_retry``: whether an SDK sends this request again.
    ``learned``: what is known of how long it takes; None where nothing is learned.
    ``asker``: the member (virtual key) whose request it is: what its requests meet is held against nothing for all the
    others.
    ``attempts``: how many were made. ``failovers``: the changes of upstream or endpoint among them.
    """

    attempts = 0
    failovers: Sequence[Failover] = ()

    # How an exchange begins, of which nothing has failed yet
    _failures: Failures | None = None
    _concessions: Concessions | None = None
    _exhausted: Mapping[int, Exhausted] = MappingProxyType({})
    _skipped: tuple[str, str] | None = None
    _current: AttemptPlan | None = None
    _last: AttemptPlan | None = None
    _again: AttemptPlan | None = None
    _over: Verdict | None = None
    _bought_again = False
    _dials_left = MOST_DIALS
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
        work: Work,
        asker: str = "",
        learned: LearnedRouting | None = None,
    ) -> None:
        attempts = states.policy.attempts
        self._attempts_left = min(attempts, ATTEMPTS_OF_A_RESEND) if sdk_retry else attempts
        self._other_operations = False
        targets: list[Target] = []
        for target in route.targets:
            if not (target.upstream.endpoints and target.upstream.credentials):
                continue
            if target.operation in work.supports:
                targets.append(target)
            else:
                self._other_operations = True
        self._targets = route.targets if len(targets) == len(route.targets) else tuple(targets)
        self._model = route.named
        self._states = states
        self._deadline = deadline
        self._rng = randomness
        self._work = work
        self._learned = learned
        self.asker = asker

    def next(self, now: float) -> AttemptPlan | Wait | Stop:
        """What to do now. After an ``AttemptPlan``, ``report`` must be called first."""
        if self._current is not None or self._over is Verdict.DONE:
            raise RuntimeError("the attempt under way was not reported, or the exchange is done")
        self._exhausted = FailoverPlan._exhausted
        self._skipped = None
        if self._over is Verdict.STOP or not self._has_room(now):
            return Stop(self._error(now))
        plan = self._once_more(now) if self._again is not None else None
        if plan is None:
            plan = self._first_open(now, fail_open=False) or self._first_open(now, fail_open=True)
        if plan is None:
            seconds = self._worth_waiting(now)
            return Stop(self._error(now)) if seconds is None else Wait(seconds)
        self.attempts += 1
        self._current = plan
        if self._last is not None or self._skipped is not None:
            self._note_failover(plan)
        return plan

    def answering(self, plan: AttemptPlan, now: float) -> None:
        """Record that the attempt has brought its first content, so that an upstream that works again is known to work
        before a long answer ends. Optional; once for each attempt.
        """
        state = self._states.by_name[plan.target.upstream.name]
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
        target = plan.target
        state = self._states.by_name[target.upstream.name]
        state.pool.release(plan.credential)
        began = plan.ticket.began
        doubt = state.pool.report(plan.credential, target.model, outcome, now, self._rng, asker=self.asker, began=began)
        if doubt is not None:
            self._states.doubt(target.upstream, plan.credential, doubt)
        state.health.report(plan.ticket, plan.credential, outcome, now, self._rng)
        if plan.is_retry:
            state.budget.end()
        if self._concessions is not None or state.refused.places or outcome.wish is not None:
            self._conceding().report(target, plan.without, outcome, now)
        if outcome.ok:
            self._over = Verdict.DONE
            return Verdict.DONE
        return self._failed(plan, outcome, now)

    def _failed(self, plan: AttemptPlan, outcome: Outcome, now: float) -> Verdict:
        if outcome.phase is Phase.UNSENT:
            self._dials_left -= 1
        elif not plan.gives_up(outcome.wish):  # what a wish of our own causes costs the client none of its attempts
            self._attempts_left -= 1
        decision = self._decide(plan, outcome, now)
        if self._failures is None:
            self._failures = Failures(self._targets)
        self._failures.note(plan, outcome, decision, now)
        match decision:
            case Verdict.DONE | Verdict.STOP:
                self._over = decision
            case Verdict.FRESH_CONNECTION | Verdict.AS_ASKED:
                self._again = plan
        return decision

    def _decide(self, plan: AttemptPlan, outcome: Outcome, now: float) -> Verdict:
        cost_class = plan.target.cost_class
        buy_again = self._may_buy_again(plan.target, outcome, cost_class, now)
        self._bought_again = self._bought_again or buy_again
        decision = verdict(outcome, cost_class, buy_again=buy_again)
        if decision is Verdict.FRESH_CONNECTION and plan.fresh_connection:
            return Verdict.NEXT_ENDPOINT
        if decision is Verdict.AS_ASKED and not plan.gives_up(outcome.wish):
            return Verdict.NEXT_ENDPOINT
        return decision

    def _may_buy_again(self, target: Target, outcome: Outcome, cost_class: CostClass, now: float) -> bool:
        """Whether a paid item that may have been bought may be bought once more: it must be cheap, and time must be
        left.
        """
        if self._bought_again or permission(outcome, cost_class) is not Permission.BY_PRICE:
            return False
        stake = self._work.stake(target)
        affordable = stake is not None and stake <= self._states.policy.unknown_outcome_up_to
        return affordable and now + WORTH_BUYING <= self._deadline

    def _conceding(self) -> Concessions:
        if self._concessions is None:
            self._concessions = Concessions(self._work.wishes, self._states)
        return self._concessions

    def _without(self, target: Target, state: UpstreamState, now: float) -> frozenset[Wish]:
        """What not to ask ``target`` for, since it is known to refuse it."""
        if self._concessions is None and not state.refused.places:
            return NO_WISHES
        return self._conceding().without(target, now)

    def _has_room(self, now: float) -> bool:
        if self._attempts_left <= 0 or self._dials_left <= 0:
            return False
        return now < self._deadline if self._last is None else now + WORTH_TRYING <= self._deadline

    def _once_more(self, now: float) -> AttemptPlan | None:
        """The same attempt on a fresh connection, or as the client asked, since the last outcome called for it."""
        again, self._again = self._again, None
        assert again is not None
        assert self._failures is not None
        state = self._states.by_name[again.target.upstream.name]
        endpoint, fresh = again.endpoint, again.fresh_connection
        wish = self._failures.last.wish
        if wish is None:
            fresh = True
            if self._failures.is_retry(again.target, endpoint, state, now) and not state.budget.affords(now):
                self._failures.close_endpoint(again, self._failures.last)
                return None
        elif wish is Wish.STREAM and endpoint.wall is not None:
            # Without a stream there is silence until the answer is whole: at a host without a wall, if there is one.
            others = self._endpoints(again.index, again.target, state, now, fail_open=False)
            endpoint = next((one for one in others if one.wall is None), endpoint)
        state.pool.hold(again.credential)
        return self._plan_attempt(again.index, endpoint, again.credential, now, fresh=fresh)

    def _first_open(self, now: float, *, fail_open: bool) -> AttemptPlan | None:
        """The first attempt still possible.

        ``fail_open``: also through open breakers, for when there is no other.
        """
        failures = self._failures
        used: Collection[str] = ()
        for index, target in enumerate(self._targets):
            if failures is not None and failures.rule_out(index, target, now):
                continue
            state = self._states.by_name[target.upstream.name]
            endpoints = self._endpoints(index, target, state, now, fail_open=fail_open)
            if not endpoints:
                self._skip(target, "endpoints_ejected")
                continue
            endpoint: Endpoint | None = endpoints[0]
            if failures is not None:
                endpoint = failures.affordable(endpoints, target, state, now)
                used = failures.keys.tried(index) if fail_open else failures.keys.closed(index)
            if endpoint is None:
                continue
            closed = used
            if target.upstream is not state.upstream:  # what it is asked for may be known to one key alone
                closed = {*used, *state.pool.besides(target.upstream.credentials)}
            taken = state.pool.take(target.model, now, self._rng, closed, asker=self.asker, last_resort=fail_open)
            if isinstance(taken, Credential):
                return self._plan_attempt(index, endpoint, taken, now, fresh=target.cost_class is CostClass.PAID)
            if taken is not None:
                self._exhausted = {**self._exhausted, index: self._exhausted.get(index, taken)}
                self._skip(target, "keys_busy" if taken.reason == "busy" else SLUG_OF_REASON[taken.reason])
        return None

    def _endpoints(
        self, index: int, target: Target, state: UpstreamState, now: float, *, fail_open: bool
    ) -> Sequence[Endpoint]:
        endpoints: Sequence[Endpoint]
        if fail_open:
            endpoints = state.health.every_endpoint(target.model, now)
        else:
            endpoints = state.health.endpoints(target.model, target.cost_class, now, self.asker)
        if self._concessions is not None or state.refused.places:
            endpoints = self._conceding().ordered(endpoints, target, now)
        if self._learned is not None and len(endpoints) > 1:
            endpoints = self._walls_last(self._learned, endpoints, target, state, now)
        return endpoints if self._failures is None else self._failures.left(index, endpoints)

    def _walls_last(
        self,
        learned: LearnedRouting,
        endpoints: Sequence[Endpoint],
        target: Target,
        state: UpstreamState,
        now: float,
    ) -> Sequence[Endpoint]:
        """First those that will not give up on the answer; but what is out of use, or slow at present, stays behind."""
        walled = learned.walled(endpoints, target)
        if not walled:
            return endpoints
        health, model = state.health, target.model
        ordered = sorted(endpoints, key=lambda one: (*health.doubts(one, model, now), one.url in walled))
        if self._last is None:
            learned.note(ordered, target)
        return ordered

    def _skip(self, target: Target, reason: str) -> None:
        if self._skipped is None:
            self._skipped = (target.upstream.name, reason)

    def _plan_attempt(
        self, index: int, endpoint: Endpoint, credential: Credential, now: float, *, fresh: bool
    ) -> AttemptPlan:
        target, failures = self._targets[index], self._failures
        state = self._states.by_name[target.upstream.name]
        is_retry = failures is not None and failures.is_retry(target, endpoint, state, now)
        if failures is None or not failures.visited(target.upstream.name):
            state.budget.request(now)
        if is_retry:
            state.budget.begin(now)
        ticket = state.health.begin(endpoint, target.model, now, self.asker)
        without = self._without(target, state, now)
        return AttemptPlan(target, endpoint, credential, fresh, self.attempts + 1, index, is_retry, ticket, without)

    def _note_failover(self, plan: AttemptPlan) -> None:
        to, last = plan.target.upstream.name, self._last
        if last is not None:
            assert self._failures is not None
            before, reason = last.target.upstream.name, self._failures.last.slug
            moved = before != to or last.endpoint.url != plan.endpoint.url
        else:
            assert self._skipped is not None
            before, reason = self._skipped
            moved = before != to
        if moved:
            self.failovers = (*self.failovers, Failover(before, to, reason))

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
        failures = self._failures
        if failures is not None or self._exhausted:
            exhausted = [(why, self._targets[index].cost_class) for index, why in self._exhausted.items()]
            used = UsedKeys() if failures is None else failures.keys
            return final_error(
                () if failures is None else failures.outcomes,
                exhausted,
                model=self._model,
                over=self._over is Verdict.STOP,
                waits=key_waits(self._targets, self._states, used, now, self.asker),
            )
        if not self._targets:
            return not_on_this_route(self._model) if self._other_operations else no_upstream_key(self._model)
        return client_error(Outcome("deadline", Phase.UNSENT), CostClass.TOKENS, model=self._model)
