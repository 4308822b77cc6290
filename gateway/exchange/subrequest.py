"""One walk along a route: plan, attempt, plan again, until something was delivered or nothing is left to try.

A chat has one subrequest. An order for several images has one for each piece of work that is bought by itself; they run
side by side under one reservation and one settlement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from gateway.core.errors import GatewayError, ResultUnavailable
from gateway.core.outcomes.shown_words import in_the_clients_words
from gateway.core.outcomes.table import client_error
from gateway.core.routing.learned_routing import LearnedRouting
from gateway.core.routing.route_table import AttemptPlan, FailoverPlan, Stop, Wait
from gateway.core.types import (
    ASYNCHRONOUS,
    CostClass,
    Outcome,
    Phase,
    Route,
    Target,
    VirtualKey,
)
from gateway.exchange.accounting import OUR_MISTAKE, Account
from gateway.exchange.arrangement import learn_of
from gateway.exchange.attempt import Attempt
from gateway.exchange.client import Client
from gateway.exchange.job import ExchangeJob
from gateway.exchange.operation import OperationPart as OperationPart
from gateway.exchange.services import Services, Snapshot
from gateway.exchange.timers import Waits
from gateway.runtime.off_loop import off_loop
from gateway.translate.commands import Conversation
from gateway.upstream.result_fetch import FetchAllowance

READ_ON_BYTES = 1 << 20
"""How much of a token-billed stream is read on for its usage after its client left (decision 002)."""


SHORTEST_REST = 0.3
"""Seconds between two polls at least, however many wakeups come."""


class ClientGone(Exception):
    """The client closed its connection."""


class DrainOver(Exception):
    """The gateway is shutting down and the drain time is over."""


class ExchangeContext(Protocol):
    """What the subrequests of one exchange share: the exchange.

    ``deadline``: the time of the client's loop.
    ``job``: the one whose work it is; None for a client's own connection.
    ``fetching``: what fetches of images for this answer may still take; None before the first.
    ``routings``: what is known of each of its parts; empty where nothing is learned.
    """

    services: Services
    snapshot: Snapshot
    route: Route
    key: VirtualKey
    client: Client
    account: Account
    deadline: float
    sdk_retry: bool
    job: ExchangeJob | None
    fetching: FetchAllowance | None
    routings: Sequence[LearnedRouting]

    def may_cost(self, subrequest: int, target: Target) -> bool:
        """Whether the budgets let a subrequest, by its number, be served by ``target``; what that may cost is
        reserved.
        """
        ...

    async def affords(self, subrequest: int, target: Target) -> bool:
        """The same of budgets that several gateways share, where the store is asked."""
        ...

    async def respond(self, status: int, body: bytes) -> None:
        """Answer the client now, whole; the work goes on without it."""
        ...


_DENIED = Outcome("budget_denied", Phase.UNSENT)
_TAKEN_OVER = Outcome("taken_over", Phase.UNSENT)


class Subrequest:
    """One piece of work of an exchange, attempted along the route until it is served or nothing is left to try.

    ``number``: which of the exchange's subrequests it is. ``conversation``: the newest, after success the one that
    served. ``committed``: it has sent the client something meaningful, so that no other attempt may follow.
    ``emit_now``: ``emit`` without waiting, by the client's own; False before that, and where it must be waited for.
    """

    __slots__ = (
        "_exchange",
        "_failover_plan",
        "_failovers",
        "_in_line",
        "_loop",
        "_number",
        "_part",
        "_plan",
        "_read_on_left",
        "_responded",
        "_waits",
        "_wakeup",
        "_waking",
        "committed",
        "conversation",
        "emit_now",
    )

    def __init__(self, exchange: ExchangeContext, part: OperationPart, number: int = 0) -> None:
        self._exchange = exchange
        self._part = part
        self._number = number
        self._loop = exchange.client.loop
        self._waits = Waits(self._loop, exchange.services.clock)
        self._plan: AttemptPlan | None = None
        self._failover_plan: FailoverPlan | None = None
        self._failovers = 0
        self._read_on_left = READ_ON_BYTES
        self._responded = False
        self._in_line = False
        self._wakeup: str | None = None
        self._waking: AbstractContextManager[None] | None = None
        self.conversation: Conversation | None = None
        self.committed = False
        self.emit_now: Callable[[bytes], bool] = _not_yet

    @property
    def bought(self) -> bool:
        """Whether what is under way was bought, so that it runs to its end even if its client leaves."""
        return self._plan is not None and not self._in_line and self._plan.target.cost_class is CostClass.PAID

    def interrupt(self, reason: Exception) -> None:
        """Stop soon; ``run`` raises ``reason`` once the books are in order."""
        self._waits.interrupt(reason)

    def retire(self) -> None:
        """Let go of what refers back, so that reference counting frees all at once."""
        self._waits.retire()
        if self._plan is None:
            del self._exchange

    async def run(self) -> GatewayError | None:
        """Attempt until one succeeds (None) or nothing is left to try (what the client is told).

        Raises ClientGone, DrainOver.
        """
        around = self._exchange
        failover_plan = self._failover_plan = FailoverPlan(
            around.route,
            states=around.snapshot.states,
            deadline=around.deadline,
            sdk_retry=around.sdk_retry,
            randomness=around.services.randomness,
            work=self._part,
            asker=around.key.name,
            learned=around.routings[self._number] if around.routings else None,
        )
        while True:
            step = self._next(failover_plan)
            if isinstance(step, Stop):
                return step.error
            if isinstance(step, Wait):
                with self._waits:
                    await asyncio.sleep(step.seconds)
                continue
            if around.services.budgets.shared is not None and not await around.affords(self._number, step.target):
                failover_plan.report(step, _DENIED, self._loop.time())
                continue
            if around.job is not None and not await around.job.held():
                failover_plan.report(step, _TAKEN_OVER, self._loop.time())
                continue
            attempt, outcome = self._begin(step), OUR_MISTAKE
            try:
                in_turn = step.target.operation in ASYNCHRONOUS
                outcome = await (self._run_in_turn(attempt, step) if in_turn else attempt.run())
            except (ClientGone, DrainOver) as stop:
                outcome = self._stopped(stop, attempt)
            finally:
                outcome = self._end(attempt, step, outcome)
            if outcome.phase >= Phase.UNKNOWN and attempt.conversation.counts_slowly:
                await off_loop(attempt.conversation.estimate)
            if outcome.ok or self._responded:
                return None  # a client that has its answer is told nothing more, and nothing is bought for it again
            self._raise_stop(outcome)
            if self._may_have_a_task(outcome):
                return client_error(outcome, CostClass.PAID, model=around.route.named)

    async def ended(self) -> GatewayError | ClientGone | DrainOver | None:
        """``run`` for a subrequest beside others: how it ended is returned, not raised."""
        try:
            return await self.run()
        except (ClientGone, DrainOver) as end:
            return end

    def _next(self, failover_plan: FailoverPlan) -> AttemptPlan | Wait | Stop:
        """What the failover plan says, as far as the budgets have room for it."""
        around = self._exchange
        while True:
            if around.client.gone:
                raise ClientGone  # before a key is taken, or anything is bought, in vain
            step = failover_plan.next(self._loop.time())
            if not isinstance(step, AttemptPlan) or around.may_cost(self._number, step.target):
                return step
            failover_plan.report(step, _DENIED, self._loop.time())

    def _begin(self, plan: AttemptPlan) -> Attempt:
        around = self._exchange
        self._plan = plan
        if around.routings and (avoided := around.routings[self._number].avoided) is not None:
            around.account.begun_elsewhere(plan, avoided)
        self.conversation = conversation = self._part.converse_with(plan.target, plan.endpoint, plan.without)
        conversation.asked_with = plan.credential.name
        attempt = Attempt(plan, conversation, around.services, caller=self, waits=self._waits, deadline=around.deadline)
        around.account.begin(plan, conversation, attempt, self._number)
        return attempt

    def _end(self, attempt: Attempt, plan: AttemptPlan, outcome: Outcome) -> Outcome:
        """An attempt is over. Returns how it ended, as the client is told."""
        failover_plan = self._failover_plan
        assert failover_plan is not None
        self._plan = None
        if self._waking is not None:
            self._stop_waking()
        around = self._exchange
        if around.routings:
            learn_of(around.services, self._part, plan.target, plan.endpoint, outcome, seconds=attempt.waited)
        if not outcome.ok:
            outcome = self._in_context(outcome, plan.target)
        try:
            failover_plan.report(plan, outcome, self._loop.time())
        finally:
            news = failover_plan.failovers[self._failovers :]
            self._failovers += len(news)
            self._exchange.account.end(attempt, outcome, news)
        return outcome

    async def _run_in_turn(self, attempt: Attempt, plan: AttemptPlan) -> Outcome:
        """Run an attempt that makes a task, once the key's account may run another.

        A task's own deadline begins with its turn. Nothing is bought for a client that left before it came.
        """
        upstream = plan.target.upstream
        entered = self._exchange.services.task_limiter.slot(upstream, plan.credential, self._exchange.key.name)
        self._in_line = True
        try:
            async with asyncio.timeout_at(self._exchange.deadline):
                with self._waits:
                    await entered.__aenter__()
        except TimeoutError:
            return Outcome("deadline", Phase.UNSENT, detail="other tasks of the account left no room in time")
        finally:
            self._in_line = False
        try:
            if self._exchange.client.gone:
                raise ClientGone
            if self._exchange.job is not None and not await self._exchange.job.held():
                return _TAKEN_OVER
            self._waits.deadline = self._loop.time() + upstream.tasks.deadline
            return await attempt.run()
        finally:
            await entered.__aexit__(None, None, None)

    def _may_have_a_task(self, outcome: Outcome) -> bool:
        """Whether a task was created and did not fail: then nothing is bought again, even if its end is not known."""
        known = self.conversation is not None and self.conversation.task_id is not None
        return known and outcome.phase is not Phase.REJECTED

    def _in_context(self, outcome: Outcome, target: Target) -> Outcome:
        """The driver does not know what the client has seen, and by which name it asked; the subrequest does."""
        if outcome.message is not None:
            words = in_the_clients_words(outcome.message, target.model, self._exchange.route.named)
            outcome = replace(outcome, message=words)
        if self.committed and outcome.phase is not Phase.FORWARDED:
            slug = "stream_too_long" if outcome.slug == "deadline" else outcome.slug
            return replace(outcome, slug=slug, phase=Phase.FORWARDED)
        return outcome

    def _stopped(self, stop: ClientGone | DrainOver, attempt: Attempt) -> Outcome:
        """How an attempt ended that was interrupted."""
        if isinstance(stop, DrainOver):
            return Outcome("drain_cut", Phase.FORWARDED if self.committed else attempt.phase)
        if self.committed:
            stalled = self._exchange.client.stalled
            return Outcome("client_stalled" if stalled else "client_gone_stream", Phase.FORWARDED)
        return Outcome("client_gone_wait" if attempt.sent else "client_gone_early", attempt.phase)

    def _raise_stop(self, outcome: Outcome) -> None:
        if outcome.slug.startswith("client_") or self._exchange.client.gone:
            raise ClientGone
        if outcome.slug == "drain_cut":
            raise DrainOver

    # What the attempt passes on to the client

    @property
    def started(self) -> bool:
        return self._exchange.client.started

    async def emit(self, data: bytes, meaningful: bool) -> None:
        around = self._exchange
        if around.client.gone:
            self._read_on_left -= len(data)
            if self._read_on_left < 0 and not self.bought:
                raise ClientGone
        if meaningful and not self.committed:
            around.account.first_content()
            if self._failover_plan is not None and self._plan is not None:
                self._failover_plan.answering(self._plan, self._loop.time())
            self.committed = True
            self.emit_now = around.client.write_now
        await around.client.emit(data, meaningful)

    # What the conversation asks for besides

    async def fetch(self, url: str) -> bytes:
        around = self._exchange
        services = around.services
        if around.fetching is None:
            around.fetching = services.images.allowance()
        try:
            return await services.images.fetch(url, around.fetching)
        except ResultUnavailable as trouble:
            services.log.warning("image_not_fetched", request_id=around.client.request_id, problem=str(trouble))
            raise

    async def keep(self, data: bytes) -> str:
        around = self._exchange
        services = around.services
        try:
            return await services.images.keep(data, around.client.host, around.key.name)
        except ResultUnavailable as trouble:
            services.log.error("image_not_kept", request_id=around.client.request_id, problem=str(trouble))
            raise

    async def record(self, task_id: str) -> None:
        assert self._plan is not None
        try:
            await self._exchange.account.record_task(self._plan, task_id)
        except GatewayError as trouble:
            # It is bought: to give up now would lose the image as well. The log keeps what the ledger could not.
            self._exchange.services.log.error("task_not_recorded", task_id=task_id, problem=trouble.message)

    async def respond(self, status: int, body: bytes) -> None:
        self._responded = True
        await self._exchange.respond(status, body)

    def charge(self) -> str | None:
        return self._exchange.account.charge_of(self._number)

    async def rest(self, seconds: float, wakeup: str | None) -> None:
        if wakeup is None:
            await asyncio.sleep(seconds)
            return
        wakeups = self._exchange.services.wakeups
        if wakeup != self._wakeup:  # from the first rest on: what comes earlier comes again
            self._stop_waking()
            self._wakeup = wakeup
            self._waking = wakeups.register(wakeup)
            self._waking.__enter__()
        await asyncio.sleep(
            min(SHORTEST_REST, seconds)
        )  # wakeups come from outside: they must not make us poll without end
        await wakeups.wait(wakeup, max(0.0, seconds - SHORTEST_REST))

    def _stop_waking(self) -> None:
        if self._waking is not None:
            self._waking.__exit__(None, None, None)
            self._waking = self._wakeup = None


def _not_yet(data: bytes) -> bool:
    """Before the first content: that brings the head with it, which may have to be waited for."""
    return False
