"""The life of a request: admit → plan → attempt* → settle.

    admit    draining? too much in flight? the key's limits? then the intent row, committed before anything is bought
    plan     the failover plan says which target, endpoint and key come next (core/routing/failover.py)
    attempt  one conversation with one endpoint (attempt.py); its outcome goes back to the failover plan
    settle   what the key pays and what we owe goes to the ledger, then to the metrics; always, exactly once

Planning and attempting happen in subrequests (subrequest.py): one, or several side by side. Settling awaits nothing,
so no cancellation and no disconnect can come between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core.errors import GatewayError, server_shutting_down
from gateway.core.headers import Headers, note_headers
from gateway.core.limits.key_limits import Lease
from gateway.core.route_rules import USUAL
from gateway.core.routing.learned_routing import LearnedRouting
from gateway.core.types import ASYNCHRONOUS, CostClass, Route, Target, VirtualKey
from gateway.exchange.accounting import Account
from gateway.exchange.arrangement import Arrangement, arrange, may_cost_more
from gateway.exchange.client import Client
from gateway.exchange.cost_bounds import CostBounds
from gateway.exchange.job import ExchangeJob
from gateway.exchange.limiting import admit, admit_elsewhere
from gateway.exchange.operation import Operation as Operation
from gateway.exchange.operation import OperationPart
from gateway.exchange.services import Services, Snapshot
from gateway.exchange.side_by_side import result_of, together
from gateway.exchange.subrequest import ClientGone as ClientGone
from gateway.exchange.subrequest import DrainOver as DrainOver
from gateway.exchange.subrequest import Subrequest
from gateway.runtime.off_loop import off_loop
from gateway.server.request import STATUS_CLIENT_GONE
from gateway.upstream.result_fetch import FetchAllowance

READ_ON_SECONDS = 2.0
READ_ON_AT_ONCE = 200
"""How long a token-billed stream is read on for its usage after its client left (decision 002)."""

ERROR_TIMEOUT = 5.0
"""Seconds a client has to take its error; one that does not read is cut off."""


class Exchange:
    """One request's life. Make one, ``await run()``, forget it. Its subrequests share it (subrequest.py).

    ``sdk_retry``: whether the client's SDK says that it sends this request again.
    ``asked``: the model as the client named it.
    ``job``: the one whose work it is; None for a client's own connection.
    """

    __slots__ = (
        *("_admission", "_asked", "_bounds", "_operation", "_parts", "_read_on_timer", "_responded"),
        *("_stop", "_subrequests", "account", "client", "deadline", "fetching", "job", "key", "route", "sdk_retry"),
        *("routings", "services", "snapshot"),
    )

    def __init__(
        self,
        services: Services,
        operation: Operation,
        route: Route,
        key: VirtualKey,
        client: Client,
        *,
        sdk_retry: bool,
        asked: str = "",
        job: ExchangeJob | None = None,
    ) -> None:
        self.services = services
        self.snapshot: Snapshot = services.snapshot
        self.route = route
        self.key = key
        self.client = client
        self.account = Account(services, operation, route, key, client.request_id, client.trace)
        self.deadline = 0.0  # from when it has been let in
        self.sdk_retry = sdk_retry
        self.fetching: FetchAllowance | None = None
        self.routings: Sequence[LearnedRouting] = ()
        self._operation = operation
        self._asked = asked
        self._admission: Lease | None = None
        self._read_on_timer: asyncio.TimerHandle | None = None
        self._subrequests: Sequence[Subrequest] = ()
        self._stop: Exception | None = None
        self._parts: Sequence[OperationPart] = ()
        self._bounds: CostBounds  # from ``_reserve`` on
        self._responded = False
        self.job = job
        if job is not None:
            self.account.record.job = job.id

    async def run(self) -> None:
        """Serve the client. What goes wrong is delivered to it, not raised; only our own mistakes are raised."""
        self.services.metrics.enter(self._operation.route)
        try:
            if not await self._let_in():
                return
            subrequests = self._set_out()
            try:
                error = await (subrequests[0].run() if len(subrequests) == 1 else self._side_by_side())
            except ClientGone:
                self.account.settle(STATUS_CLIENT_GONE)
                return
            except DrainOver:
                error = server_shutting_down(again=not self.account.sent)
            if error is None:
                await self._conclude()
            else:
                await self._fail(error)
        finally:
            self._end()

    async def _let_in(self) -> bool:
        """Whether it may be served; if not, the client has been told."""
        try:
            services, now = self.services, self.client.loop.time()
            tokens = self._operation.rough_input_tokens() if self.key.tpm is not None else 0
            self._admission = admit(services, self.key, tokens, now)
            if self._admission is None:
                self._admission = await admit_elsewhere(services, self, self.key, tokens, now)
            services.gate.enter(self)
            self.client.watch(self._client_left)
            if self._operation.prepares:
                await self._operation.prepare()
                if self.client.gone:
                    self.account.settle(STATUS_CLIENT_GONE)
                    return False
            await self._reserve()
            if self.job is not None:
                await self.job.admitted(self.account.record)
        except GatewayError as error:
            self.account.settle(error.status, error)
            await self.client.error(error, self._headers())
            return False
        return True

    @property
    def sent(self) -> bool:
        """Whether anything may have left for an upstream, or is about to: then it runs on when its client leaves."""
        return self.account.sent or any(subrequest.bought for subrequest in self._subrequests)

    @property
    def refusal(self) -> GatewayError | None:
        """What it was refused with, if nothing was attempted: the line of that is left to the caller."""
        return self.account.refusal

    def shut_down(self) -> None:
        """The drain time is over: stop what runs."""
        self._interrupt(DrainOver())

    async def _reserve(self) -> None:
        """Reserve on the budgets, in one step, and commit the intent row: from here on the books know of this request,
        even if the process is killed.
        """
        services, account, key = self.services, self.account, self.key
        at_ns = services.clock.wall_ns()
        self._parts = self._operation.parts
        arrangement, route = None, self.route
        bought = route.targets and route.targets[0].cost_class is CostClass.PAID
        if bought or route.rules is not USUAL or self.snapshot.prefer != "order":
            arrangement = arrange(services, self.snapshot, route, self._parts)
            self.routings = arrangement.routings
            if not may_cost_more(arrangement.route, route, self._parts):
                self.route = arrangement.route
        exact = services.budgets.limited(key, self.route.named, at_ns, self._asked)
        bounds = self._bounds = CostBounds(self._parts, exact=exact)
        most = bounds.served_by(self.route.targets[0]) if self.route.targets else 0
        account.reservation = services.budgets.reserve(
            account.record.id, key, self.route.named, most, at_ns, self._asked, route=self.route, why=bounds.why
        )
        account.bounds, account.unpriced = (bounds.held, most is None) if exact else (None, False)
        shared = services.budgets.shared
        if arrangement is not None and shared is None:
            way = arrangement.route
            parts = range(len(self._parts))
            self._go(arrangement, room=way is self.route or all(self.may_cost(one, way.targets[0]) for one in parts))
        account.reserved = True  # even if the await is cut off: the row may have been committed
        began, intent = services.clock.monotonic(), account.intent(at_ns, len(self._parts))
        try:
            if shared is None:
                await services.ledger.reserve(intent)
            else:
                await shared.admit(intent, key, self._asked, most, bounds.why)
        except GatewayError:
            account.reserved = False
            raise
        finally:
            services.metrics.ledger_wait("intent", services.clock.monotonic() - began)
        if arrangement is not None and shared is not None:
            self._go(arrangement, room=await self._affords(arrangement.route))

    def _go(self, arrangement: Arrangement, *, room: bool) -> None:
        """Take this way, if the budgets have room for its first target, which may cost more than the usual one."""
        if room:
            self.route = arrangement.route
        elif self.route is not arrangement.route:
            arrangement = Arrangement(self.route, arrangement.routings)
        arrangement.tell(self.services, self.account.record)

    async def _affords(self, route: Route) -> bool:
        if route is self.route:
            return True
        return all([await self.affords(part, route.targets[0]) for part in range(len(self._parts))])

    def _set_out(self) -> Sequence[Subrequest]:
        """What is to be brought, a subrequest for each part of it."""
        client = self.client
        bare = self._operation.bare
        client.hold(
            stream=self._operation.stream,
            heartbeat=self.snapshot.nonstream_heartbeat,
            headers=self._headers,
            bare=bare,
            label=self._label if bare else None,
        )
        self.deadline = client.loop.time() + self._patience()
        self._subrequests = [Subrequest(self, part, number) for number, part in enumerate(self._parts)]
        if self._stop is not None:
            self._interrupt(self._stop)
        return self._subrequests

    async def _conclude(self) -> None:
        """Give the client the whole answer, or the end of its stream."""
        client, operation = self.client, self._operation
        served, heavy = [], False
        for subrequest in self._subrequests:
            if (conversation := subrequest.conversation) is not None:
                served.append(conversation)
                heavy = heavy or (conversation.heavy and not operation.stream)
        if heavy:
            answer = await off_loop(operation.conclude, served, self.account.charge)
        else:
            answer = operation.conclude(served, self.account.charge)
        left = client.gone if self.job is None else self.job.gone
        cost = self.account.settle(STATUS_CLIENT_GONE if left else 200)
        if self._responded:
            return
        if answer is not None and operation.stream:
            await client.emit(answer, meaningful=True)
            answer = None
        await client.complete(answer, _cost_header(cost))

    async def _fail(self, error: GatewayError) -> None:
        """Tell the client of the error, unless it has been answered."""
        reservation = self.account.reservation
        error = self.services.budgets.final_error(error, reservation, self.key, self.route.named, self._bounds.why)
        left = self.job is not None and self.job.gone
        cost = self.account.settle(STATUS_CLIENT_GONE if left else error.status, error)
        if self._responded:
            return
        try:
            async with asyncio.timeout(ERROR_TIMEOUT):
                await self.client.fail(error, _cost_header(cost))
        except TimeoutError:
            self.client.abort()

    async def _side_by_side(self) -> GatewayError | None:
        """Walk several subrequests. None if any brought something; those that brought nothing are then forgotten."""
        subrequests, tasks = self._subrequests, self.services.tasks
        running = [tasks.spawn(subrequest.ended(), "subrequest") for subrequest in subrequests]
        try:
            await asyncio.wait(running)  # all of them: what one buys is not lost by another's mistake
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)  # each keeps its books in order first
        results = [result_of(one) for one in running]
        brought = [subrequest for subrequest, result in zip(subrequests, results, strict=True) if result is None]
        if not brought:
            return together(results)
        for subrequest in subrequests:
            if subrequest not in brought:
                subrequest.retire()
        self._subrequests = brought
        return None

    def may_cost(self, subrequest: int, target: Target) -> bool:
        """Reserve what a dearer target than the first may cost; False if the budgets have not so much left. Where
        several gateways share them, ``affords`` asks.
        """
        budgets, reservation = self.services.budgets, self.account.reservation
        if target is self.route.targets[0] or reservation is None or budgets.shared is not None:
            return True
        bounds, most = self._bounds.raised(subrequest, target)
        if not budgets.top_up(reservation, most, self.services.clock.wall_ns()):
            self._bounds.dearest = target
            return False
        self._bounds.held[:] = bounds  # the account has them, too
        return True

    async def affords(self, subrequest: int, target: Target) -> bool:
        """``may_cost`` of budgets that several gateways share; True for others."""
        account, budgets = self.account, self.services.budgets
        if target is self.route.targets[0] or account.reservation is None or budgets.shared is None:
            return True
        while True:
            bounds, most = self._bounds.raised(subrequest, target)  # others side by side may have raised theirs
            if most is not None and most <= account.reservation.amount:
                break
            if not await budgets.top_up_shared(account.record, account.reservation, most):
                self._bounds.dearest = target
                return False
            if most is None:
                break
        self._bounds.held[:] = bounds
        return True

    async def respond(self, status: int, body: bytes) -> None:
        """Answer the client now, while the work goes on: from here on the request is over for all but the books."""
        self._responded = True
        await self.client.complete(body, status=status)
        self._release_admission()

    def _client_left(self) -> None:
        """The connection broke. What was bought runs on; what is billed by usage is ended, soon or at once."""
        gate = self.services.gate
        if any(subrequest.bought for subrequest in self._subrequests):
            for subrequest in (one for one in self._subrequests if not one.bought):
                subrequest.interrupt(ClientGone())
            return
        if any(subrequest.committed for subrequest in self._subrequests) and gate.reading_on < READ_ON_AT_ONCE:
            gate.reading_on += 1
            self._read_on_timer = self.client.loop.call_later(READ_ON_SECONDS, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._interrupt(ClientGone())

    def _interrupt(self, reason: Exception) -> None:
        """Stop the subrequests; those that have not set out yet will stop at once."""
        self._stop = self._stop or reason
        for subrequest in self._subrequests:
            subrequest.interrupt(reason)

    def _patience(self) -> float:
        """Seconds for all attempts together; the first target's upstream sets them, a task among them its own."""
        targets = self.route.targets
        if not targets:
            return 0.0
        timeouts = targets[0].upstream.timeouts
        if self._operation.stream and targets[0].cost_class is CostClass.TOKENS:
            return timeouts.stream_total
        seconds = timeouts.total
        for target in targets:
            if target.operation in ASYNCHRONOUS:
                seconds = max(seconds, target.upstream.tasks.deadline)
        return seconds

    def _headers(self) -> Headers:
        notes: Sequence[str | None] = self._operation.notes
        own: Headers = ()
        for subrequest in self._subrequests:
            if (conversation := subrequest.conversation) is not None:
                notes = (*notes, conversation.note)
                own = conversation.headers if self._operation.bare else own
        limits = self.services.limits.headers(self.key, self.client.loop.time())
        return (*self.account.headers(), *limits, *note_headers(notes), *own)

    def _headers_of_bare(self) -> Headers:
        talk = self._subrequests[0].conversation
        return self._headers() if talk is None else (*self._headers(), *talk.headers)

    def _label(self) -> bytes | None:
        """The content type of what is neither events nor a document."""
        return None if (talk := self._subrequests[0].conversation) is None else talk.content_type

    def _release_admission(self) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            self.services.limits.release(admission, self.account.tokens_used(), self.client.loop.time())

    def _end(self) -> None:
        """Give everything back. Runs exactly once; what a mistake of ours left unsettled is settled here."""
        services = self.services
        try:
            self.account.settle(500)
        finally:
            if self._read_on_timer is not None:
                self._read_on_timer.cancel()
                services.gate.reading_on -= 1
            self._release_admission()
            services.gate.leave(self)
            services.metrics.leave(self._operation.route)
            # What follows refers back to this exchange: without it, reference counting frees all of it at once.
            for subrequest in self._subrequests:
                subrequest.retire()
            self._subrequests, self._stop = (), None
            self.client.release()


def _cost_header(cost: bytes | None) -> Headers:
    return () if cost is None else ((b"x-gateway-cost-usd", cost),)
