"""One walk along a route: plan, attempt, plan again, until something was delivered or nothing is left to try.

A chat has one subrequest. An order for several images has one for each piece of work that is bought by itself; they run
side by side under one reservation and one settlement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.core.errors import GatewayError, ResultUnavailable
from gateway.core.outcomes.shown_words import in_the_clients_words
from gateway.core.outcomes.table import client_error
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.routing.route_table import AttemptPlan, FailoverPlan, Stop, Wait
from gateway.core.types import (
    ASYNCHRONOUS,
    NO_WISHES,
    CostClass,
    Endpoint,
    Outcome,
    Phase,
    Route,
    Target,
    VirtualKey,
    Wish,
)
from gateway.exchange.accounting import OUR_MISTAKE, Account
from gateway.exchange.attempt import Attempt
from gateway.exchange.client import Client
from gateway.exchange.services import Services, Snapshot
from gateway.runtime.interruption import Interrupter
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


class OperationPart(Protocol):
    """What one subrequest is to bring."""

    @property
    def supports(self) -> frozenset[str]:
        """The kinds of target operation a conversation exists for."""
        ...

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        """A fresh conversation for one attempt.

        ``without``: what it must not ask for of its own accord.
        """
        ...

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        """Nano-dollars this work can cost at most if ``target`` serves it, None if its price is unknown.

        ``exact``: whether input is to be counted, which takes long, or a quick guess will do.
        """
        ...

    def cost_reason(self, target: Target) -> str:
        """What its ``cost_bound`` at ``target`` is made of, in words for the client; may be empty."""
        ...

    def stake(self, target: Target) -> int | None:
        """Nano-dollars this work costs at most on a paid target, None if that is not known."""
        ...

    def wishes(self, target: Target) -> OwnWishes:
        """What a conversation with ``target`` asks for beyond the client's request."""
        ...


@dataclass(slots=True)
class ExchangeContext:
    """What the subrequests of one exchange share.

    ``deadline``: the time of ``loop``. ``respond``: answers the client whole.

    ``may_cost``: whether the budgets let a subrequest, by its number, be served by a target; what that may cost is
    reserved.
    ``fetching``: what fetches of images for this answer may still take; None before the first.
    """

    services: Services
    snapshot: Snapshot
    route: Route
    key: VirtualKey
    client: Client
    account: Account
    deadline: float
    sdk_retry: bool
    respond: Callable[[int, bytes], Awaitable[None]]
    loop: asyncio.AbstractEventLoop
    may_cost: Callable[[int, Target], bool]
    fetching: FetchAllowance | None = None


class Subrequest:
    """One piece of work of an exchange, attempted along the route until it is served or nothing is left to try.

    ``number``: which of the exchange's subrequests it is. ``conversation``: the newest, after success the one that
    served. ``committed``: it has sent the client something meaningful, so that no other attempt may follow.
    """

    def __init__(self, context: ExchangeContext, part: OperationPart, number: int = 0) -> None:
        self._context = context
        self._part = part
        self._number = number
        self._loop = context.loop
        self._interrupter = Interrupter(context.loop)
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

    @property
    def bought(self) -> bool:
        """Whether what is under way was bought, so that it runs to its end even if its client leaves."""
        return self._plan is not None and not self._in_line and self._plan.target.cost_class is CostClass.PAID

    def interrupt(self, reason: Exception) -> None:
        """Stop soon; ``run`` raises ``reason`` once the books are in order."""
        self._interrupter.interrupt(reason)

    def retire(self) -> None:
        """Let go of what refers back, so that reference counting frees all at once."""
        self._interrupter.retire()
        if self._plan is None:
            del self._context

    async def run(self) -> GatewayError | None:
        """Attempt until one succeeds (None) or nothing is left to try (what the client is told).

        Raises ClientGone, DrainOver.
        """
        around = self._context
        failover_plan = self._failover_plan = FailoverPlan(
            around.route,
            states=around.snapshot.states,
            deadline=around.deadline,
            sdk_retry=around.sdk_retry,
            randomness=around.services.randomness,
            operations=self._part.supports,
            stake=self._part.stake,
            wishes=self._part.wishes,
        )
        failover_plan.asker = around.key.name
        while True:
            if around.client.gone:
                raise ClientGone  # before a key is taken, or anything is bought, in vain
            step = failover_plan.next(self._loop.time())
            if isinstance(step, Stop):
                return step.error
            if isinstance(step, Wait):
                await self._interrupter.wait(asyncio.sleep(step.seconds))
                continue
            if not around.may_cost(self._number, step.target):
                failover_plan.report(step, Outcome("budget_denied", Phase.UNSENT), self._loop.time())
                continue
            outcome = await self._attempt(failover_plan, step)
            if outcome.ok or self._responded:
                return None  # a client that has its answer is told nothing more, and nothing is bought for it again
            if outcome.slug.startswith("client_") or around.client.gone:
                raise ClientGone
            if outcome.slug == "drain_cut":
                raise DrainOver
            if self._may_have_a_task(outcome):
                return client_error(outcome, CostClass.PAID, model=around.route.named)

    async def ended(self) -> GatewayError | ClientGone | DrainOver | None:
        """``run`` for a subrequest beside others: how it ended is returned, not raised."""
        try:
            return await self.run()
        except (ClientGone, DrainOver) as end:
            return end

    async def _attempt(self, failover_plan: FailoverPlan, plan: AttemptPlan) -> Outcome:
        around = self._context
        self._plan = plan
        self.conversation = self._part.converse_with(plan.target, plan.endpoint, plan.without)
        self.conversation.asked_with = plan.credential.name
        attempt = Attempt(
            plan,
            self.conversation,
            around.services,
            sink=self,
            interrupter=self._interrupter,
            deadline=around.deadline,
            errands=self,
        )
        around.account.begin(plan, self.conversation, attempt, self._number)
        outcome = OUR_MISTAKE
        try:
            in_turn = plan.target.operation in ASYNCHRONOUS
            outcome = await (self._run_in_turn(attempt, plan) if in_turn else attempt.run())
        except ClientGone:
            outcome = self._left_by_client(attempt)
        except DrainOver:
            outcome = Outcome("drain_cut", Phase.FORWARDED if self.committed else attempt.phase)
        finally:
            self._plan = None
            if self._waking is not None:
                self._stop_waking()
            if not outcome.ok:
                outcome = self._in_context(outcome, plan.target)
            try:
                failover_plan.report(plan, outcome, self._loop.time())
            finally:
                news = failover_plan.failovers[self._failovers :]
                self._failovers += len(news)
                around.account.end(attempt, outcome, news)
        if outcome.phase >= Phase.UNKNOWN and self.conversation.counts_slowly:
            await off_loop(self.conversation.estimate)
        return outcome

    async def _run_in_turn(self, attempt: Attempt, plan: AttemptPlan) -> Outcome:
        """Run an attempt that makes a task, once the key's account may run another.

        A task's own deadline begins with its turn. Nothing is bought for a client that left before it came.
        """
        upstream = plan.target.upstream
        entered = self._context.services.task_limiter.slot(upstream, plan.credential, self._context.key.name)
        self._in_line = True
        try:
            async with asyncio.timeout_at(self._context.deadline):
                await self._interrupter.wait(entered.__aenter__())
        except TimeoutError:
            return Outcome("deadline", Phase.UNSENT, detail="other tasks of the account left no room in time")
        finally:
            self._in_line = False
        try:
            if self._context.client.gone:
                raise ClientGone
            attempt.timers.deadline = self._loop.time() + upstream.tasks.deadline
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
            words = in_the_clients_words(outcome.message, target.model, self._context.route.named)
            outcome = replace(outcome, message=words)
        if self.committed and outcome.phase is not Phase.FORWARDED:
            slug = "stream_too_long" if outcome.slug == "deadline" else outcome.slug
            return replace(outcome, slug=slug, phase=Phase.FORWARDED)
        return outcome

    def _left_by_client(self, attempt: Attempt) -> Outcome:
        if self.committed:
            stalled = self._context.client.stalled
            return Outcome("client_stalled" if stalled else "client_gone_stream", Phase.FORWARDED)
        return Outcome("client_gone_wait" if attempt.sent else "client_gone_early", attempt.phase)

    # The driver's sink: what the conversation has for the client

    @property
    def started(self) -> bool:
        return self._context.client.started

    async def emit(self, data: bytes, meaningful: bool) -> None:
        around = self._context
        if around.client.gone:
            self._read_on_left -= len(data)
            if self._read_on_left < 0 and not self.bought:
                raise ClientGone
        if meaningful and not self.committed:
            around.account.first_content()
            if self._failover_plan is not None and self._plan is not None:
                self._failover_plan.answering(self._plan, self._loop.time())
            self.committed = True
        await around.client.emit(data, meaningful)

    def emit_now(self, data: bytes) -> bool:
        """The short way: content has gone out before and the client takes it."""
        around = self._context
        return self.committed and not around.client.gone and around.client.write_now(data)

    # The driver's errands

    async def fetch(self, url: str) -> bytes:
        around = self._context
        services = around.services
        if around.fetching is None:
            around.fetching = services.images.allowance()
        try:
            return await services.images.fetch(url, around.fetching)
        except ResultUnavailable as trouble:
            services.log.warning("image_not_fetched", request_id=around.client.request_id, problem=str(trouble))
            raise

    async def keep(self, data: bytes) -> str:
        around = self._context
        services = around.services
        try:
            return await services.images.keep(data, around.client.host, around.key.name)
        except ResultUnavailable as trouble:
            services.log.error("image_not_kept", request_id=around.client.request_id, problem=str(trouble))
            raise

    async def record(self, task_id: str) -> None:
        assert self._plan is not None
        try:
            await self._context.account.record_task(self._plan, task_id)
        except GatewayError as trouble:
            # It is bought: to give up now would lose the image as well. The log keeps what the ledger could not.
            self._context.services.log.error("task_not_recorded", task_id=task_id, problem=trouble.message)

    async def respond(self, status: int, body: bytes) -> None:
        self._responded = True
        await self._context.respond(status, body)

    def charge(self) -> str | None:
        return self._context.account.charge_of(self._number)

    async def rest(self, seconds: float, wakeup: str | None) -> None:
        if wakeup is None:
            await asyncio.sleep(seconds)
            return
        wakeups = self._context.services.wakeups
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
