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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from gateway.core.errors import GatewayError, gateway_overloaded, internal_error, server_shutting_down
from gateway.core.headers import Headers, note_headers
from gateway.core.limits.key_limits import Lease, LimitRefusal
from gateway.core.types import ASYNCHRONOUS, CostClass, Route, Target, VirtualKey
from gateway.exchange.accounting import Account
from gateway.exchange.client import Client
from gateway.exchange.cost_bounds import CostBounds
from gateway.exchange.services import Services, Snapshot
from gateway.exchange.subrequest import ClientGone as ClientGone
from gateway.exchange.subrequest import DrainOver as DrainOver
from gateway.exchange.subrequest import ExchangeContext, OperationPart, Subrequest
from gateway.runtime.off_loop import off_loop
from gateway.server.request import STATUS_CLIENT_GONE
from gateway.translate.commands import Conversation

READ_ON_SECONDS = 2.0
READ_ON_AT_ONCE = 200
"""How long a token-billed stream is read on for its usage after its client left (decision 002)."""

ERROR_TIMEOUT = 5.0
"""Seconds a client has to take its error; one that does not read is cut off."""


class Operation(Protocol):
    """What the client asked, frozen."""

    @property
    def route(self) -> str:
        """The route's path, as metrics and books name it."""
        ...

    @property
    def stream(self) -> bool: ...

    @property
    def bare(self) -> bool: ...  # whether the answer is a sound or a text, around which nothing may stand

    @property
    def prepares(self) -> bool:
        """Whether there is anything to ``prepare``."""
        ...

    async def prepare(self) -> None:
        """What takes long and must be done before anything is bought, once the request has been let in.

        Raises ClientError.
        """
        ...

    @property
    def parts(self) -> Sequence[OperationPart]:
        """What is to be brought, a subrequest for each; at least one."""
        ...

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        """The whole answer from those that succeeded, in order; of a stream its last bytes, None if none are due.

        ``charge``: says what the key is charged for it, in US dollars; None if that is not known.
        """
        ...

    def rough_input_tokens(self) -> int:
        """A quick estimate, for the tokens-a-minute limit."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the client is to be told in ``x-gateway-note``, beside what the conversations note; it may grow."""
        ...


class Exchange:
    """One request's life. Make one, ``await run()``, forget it.

    ``sdk_retry``: whether the client's SDK says that it sends this request again.
    ``asked``: the model as the client named it.
    ``on_response``: called if the client is answered before the work is over.
    """

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
        on_response: Callable[[], None] | None = None,
    ) -> None:
        self._services = services
        self._snapshot: Snapshot = services.snapshot
        self._operation = operation
        self._stream = operation.stream
        self._route = route
        self._key = key
        self._client = client
        self._sdk_retry = sdk_retry
        self._asked = asked
        self._loop = client.loop
        self._admission: Lease | None = None
        self._read_on_timer: asyncio.TimerHandle | None = None
        self._account = Account(services, operation, route, key, client.request_id)
        self._subrequests: list[Subrequest] = []
        self._brought: list[Subrequest] = []
        self._stop: Exception | None = None
        self._parts: Sequence[OperationPart] = ()
        self._bounds: CostBounds  # from ``_reserve`` on
        self._responded = False
        self._on_response = on_response

    async def run(self) -> None:
        """Serve the client. What goes wrong is delivered to it, not raised; only our own mistakes are raised."""
        services = self._services
        services.metrics.enter(self._operation.route)
        try:
            try:
                self._admit()
                services.gate.enter(self)
                self._client.watch(self._client_left)
                if self._operation.prepares:
                    await self._operation.prepare()
                    if self._client.gone:
                        self._account.settle(STATUS_CLIENT_GONE)
                        return
                await self._reserve()
            except GatewayError as error:
                self._account.settle(error.status, error)
                await self._client.error(error, self._headers())
                return
            await self._serve()
        finally:
            self._end()

    @property
    def refusal(self) -> GatewayError | None:
        """What it was refused with, if nothing was attempted: the line of that is left to the caller."""
        return self._account.refusal

    def shut_down(self) -> None:
        """The drain time is over: stop what runs."""
        self._interrupt(DrainOver())

    def _admit(self) -> None:
        gate = self._services.gate
        if gate.draining:
            raise server_shutting_down()
        if gate.full:
            raise gateway_overloaded()
        tokens = self._operation.rough_input_tokens() if self._key.tpm is not None else 0
        answer = self._services.limits.admit(self._key, tokens, self._loop.time())
        if isinstance(answer, LimitRefusal):
            raise answer.error()
        self._admission = answer

    async def _reserve(self) -> None:
        """Reserve on the budgets, in one step, and commit the intent row: from here on the books know of this request,
        even if the process is killed.
        """
        services, account, key = self._services, self._account, self._key
        at_ns = services.clock.wall_ns()
        self._parts = self._operation.parts
        exact = services.budgets.limited(key, self._route.named, at_ns, self._asked)
        bounds = self._bounds = CostBounds(self._parts, exact=exact)
        most = bounds.served_by(self._route.targets[0]) if self._route.targets else 0
        account.reservation = services.budgets.reserve(
            account.record.id, key, self._route.named, most, at_ns, self._asked, route=self._route, why=bounds.why
        )
        account.bounds, account.unpriced = (bounds.held, most is None) if exact else (None, False)
        account.reserved = True  # even if the await is cut off: the row may have been committed
        began = services.clock.monotonic()
        try:
            await services.ledger.reserve(account.intent(at_ns, len(self._parts)))
        except GatewayError:
            account.reserved = False
            raise
        finally:
            services.metrics.ledger_wait("intent", services.clock.monotonic() - began)

    async def _serve(self) -> None:
        client, bare = self._client, self._operation.bare
        client.hold(
            stream=self._stream,
            heartbeat=self._snapshot.nonstream_heartbeat,
            headers=self._headers_of_bare if bare else self._headers,
            bare=bare,
            label=self._label if bare else None,
        )
        error: GatewayError | None
        try:
            error = await self._walk()
        except ClientGone:
            self._account.settle(STATUS_CLIENT_GONE)
            return
        except DrainOver:
            error = server_shutting_down(again=not self._account.sent)
        if error is not None:
            reservation = self._account.reservation
            error = self._services.budgets.final_error(
                error, reservation, self._key, self._route.named, self._bounds.why
            )
            cost = self._account.settle(error.status, error)
            if not self._responded:
                await self._tell_error(error, _cost_header(cost))
            return
        served = [conversation for subrequest in self._brought if (conversation := subrequest.conversation) is not None]
        conclude = partial(self._operation.conclude, served, self._account.charge)
        heavy = not self._stream and any(one.heavy for one in served)
        answer = await off_loop(conclude) if heavy else conclude()
        cost = self._account.settle(STATUS_CLIENT_GONE if client.gone else 200)
        if self._responded:
            return
        if answer is not None and self._stream:
            await client.emit(answer, meaningful=True)
            answer = None
        await client.complete(answer, _cost_header(cost))

    async def _tell_error(self, error: GatewayError, headers: Headers) -> None:
        try:
            async with asyncio.timeout(ERROR_TIMEOUT):
                await self._client.fail(error, headers)
        except TimeoutError:
            self._client.abort()

    async def _walk(self) -> GatewayError | None:
        """Walk all subrequests. None if any brought something; those that brought nothing are then forgotten."""
        context = ExchangeContext(
            services=self._services,
            snapshot=self._snapshot,
            route=self._route,
            key=self._key,
            client=self._client,
            account=self._account,
            deadline=self._loop.time() + self._patience(),
            sdk_retry=self._sdk_retry,
            respond=self._respond,
            loop=self._loop,
            may_cost=self._may_cost,
        )
        self._subrequests = [Subrequest(context, part, number) for number, part in enumerate(self._parts)]
        if self._stop is not None:
            self._interrupt(self._stop)
        if len(self._subrequests) == 1:
            error = await self._subrequests[0].run()
            if error is None:
                self._brought = self._subrequests
            return error
        tasks = self._services.tasks
        running = [tasks.spawn(subrequest.ended(), "subrequest") for subrequest in self._subrequests]
        try:
            await asyncio.wait(running)  # all of them: what one buys is not lost by another's mistake
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)  # each keeps its books in order first
        return self._together([_result(one) for one in running])

    def _may_cost(self, subrequest: int, target: Target) -> bool:
        """Reserve what a dearer target than the first may cost; False if the budgets have not so much left."""
        reservation = self._account.reservation
        if target is self._route.targets[0] or reservation is None:
            return True
        bounds, most = self._bounds.raised(subrequest, target)
        if not self._services.budgets.top_up(reservation, most, self._services.clock.wall_ns()):
            self._bounds.dearest = target
            return False
        self._bounds.held[:] = bounds  # the account has them, too
        return True

    def _together(self, results: Sequence[GatewayError | ClientGone | DrainOver | None]) -> GatewayError | None:
        """What several subrequests came to: what any of them brought is an answer."""
        self._brought = [
            subrequest for subrequest, result in zip(self._subrequests, results, strict=True) if result is None
        ]
        if self._brought:
            return None
        for result in results:
            if isinstance(result, (ClientGone, DrainOver)):
                raise result
        errors = [result for result in results if isinstance(result, GatewayError)]
        # What may have been bought must not be bought again because another subrequest failed harmlessly.
        doubts = (error for error in errors if error.code == "upstream_outcome_unknown")
        final = (error for error in errors if not error.should_retry)
        return next(doubts, None) or next(final, errors[0])

    async def _respond(self, status: int, body: bytes) -> None:
        """Answer the client now, while the work goes on: from here on the request is over for all but the books."""
        self._responded = True
        await self._client.complete(body, status=status)
        self._release_admission()
        if self._on_response is not None:
            self._on_response()

    def _client_left(self) -> None:
        """The connection broke. What was bought runs on; what is billed by usage is ended, soon or at once."""
        gate = self._services.gate
        if any(subrequest.bought for subrequest in self._subrequests):
            for subrequest in (one for one in self._subrequests if not one.bought):
                subrequest.interrupt(ClientGone())
            return
        if any(subrequest.committed for subrequest in self._subrequests) and gate.reading_on < READ_ON_AT_ONCE:
            gate.reading_on += 1
            self._read_on_timer = self._loop.call_later(READ_ON_SECONDS, self._give_up)
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
        targets = self._route.targets
        if not targets:
            return 0.0
        timeouts = targets[0].upstream.timeouts
        if self._stream and targets[0].cost_class is CostClass.TOKENS:
            return timeouts.stream_total
        deadlines = [target.upstream.tasks.deadline for target in targets if target.operation in ASYNCHRONOUS]
        return max([timeouts.total, *deadlines]) if deadlines else timeouts.total

    def _headers(self) -> Headers:
        conversations = [subrequest.conversation for subrequest in self._brought or self._subrequests]
        notes = [*self._operation.notes, *[one.note for one in conversations if one is not None]]
        limits = self._services.limits.headers(self._key, self._loop.time())
        return (*self._account.headers(), *limits, *note_headers(notes))

    def _headers_of_bare(self) -> Headers:
        talk = self._subrequests[0].conversation
        return self._headers() if talk is None else (*self._headers(), *talk.headers)

    def _label(self) -> bytes | None:
        """The content type of what is neither events nor a document."""
        return None if (talk := self._subrequests[0].conversation) is None else talk.content_type

    def _release_admission(self) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            self._services.limits.release(admission, self._account.tokens_used(), self._loop.time())

    def _end(self) -> None:
        """Give everything back. Runs exactly once; what a mistake of ours left unsettled is settled here."""
        services = self._services
        try:
            self._account.settle(500)
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
            self._subrequests, self._brought = [], []
            self._client.release()


def _cost_header(cost: bytes | None) -> Headers:
    return () if cost is None else ((b"x-gateway-cost-usd", cost),)


def _result(
    subrequest: asyncio.Task[GatewayError | ClientGone | DrainOver | None],
) -> GatewayError | ClientGone | DrainOver | None:
    """How a subrequest ended. A mistake of ours was logged as the task's and counts as bringing nothing."""
    return subrequest.result() if subrequest.exception() is None else internal_error()
