"""The life of a request: admit → plan → attempt* → settle.

    admit    draining? too much in flight? the key's limits? then the intent row, committed before anything is bought
    plan     the itinerary says which target, endpoint and key come next (core/routing.py)
    attempt  one conversation with one endpoint (attempt.py); its outcome goes back to the itinerary
    settle   what the key pays and what we owe goes to the ledger, then to the metrics; always, exactly once

Settling awaits nothing, so no cancellation and no disconnect can come between.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from gateway.accounting import OUR_MISTAKE, Account
from gateway.attempt import Attempt
from gateway.core.limits import Admission, Refusal
from gateway.core.routing import Go, Itinerary, Stop, Wait
from gateway.core.types import CostClass, Endpoint, Outcome, Phase, Route, Target, VirtualKey
from gateway.delivery import Client, Delivery, Headers
from gateway.errors import GatewayError, gateway_overloaded, server_shutting_down
from gateway.interruption import Interrupter
from gateway.services import Services, Snapshot
from gateway.translate.commands import Conversation

READ_ON_SECONDS = 2.0
READ_ON_BYTES = 1 << 20
READ_ON_AT_ONCE = 200
"""How long a token-billed stream is read on for its usage after its client left (decision 002)."""


STATUS_CLIENT_GONE = 499
"""What the books and metrics call a request whose client left (nginx's number)."""

FAREWELL = 5.0
"""Seconds a client has to take its last words; one that does not read is cut off."""


class ClientGone(Exception):
    """The client closed its connection."""


class DrainOver(Exception):
    """The gateway is shutting down and the drain time is over."""


class Operation(Protocol):
    """What the client asked, frozen."""

    @property
    def route(self) -> str:
        """The route's path, as metrics and books name it."""
        ...

    @property
    def stream(self) -> bool: ...

    @property
    def supports(self) -> frozenset[str]:
        """The kinds of target operation a conversation exists for."""
        ...

    def converse_with(self, target: Target, endpoint: Endpoint) -> Conversation:
        """A fresh conversation for one attempt."""
        ...

    def rough_input_tokens(self) -> int:
        """A quick estimate, for the tokens-a-minute limit."""
        ...


class Exchange:
    """One request's life. Make one, ``await run()``, forget it."""

    def __init__(
        self,
        services: Services,
        operation: Operation,
        route: Route,
        key: VirtualKey,
        client: Client,
        *,
        request_id: str,
        sdk_retry: bool,
    ) -> None:
        self._services = services
        self._snapshot: Snapshot = services.snapshot
        self._operation = operation
        self._route = route
        self._key = key
        self._client = client
        self._request_id = request_id
        self._sdk_retry = sdk_retry
        self._loop = asyncio.get_running_loop()
        self._interrupter = Interrupter()
        self._admission: Admission | None = None
        self._go: Go | None = None
        self._itinerary: Itinerary | None = None
        self._read_on_timer: asyncio.TimerHandle | None = None
        self._read_on_left = READ_ON_BYTES
        self._account = Account(services, operation, route, key, request_id)
        self._conversation: Conversation | None = None
        self._delivery: Delivery | None = None

    async def run(self) -> None:
        """Serve the client. What goes wrong is delivered to it, not raised; only our own mistakes are raised."""
        services = self._services
        services.metrics.enter(self._operation.route)
        try:
            try:
                self._admit()
                services.gate.enter(self)
                self._client.watch(self._client_left)
                await self._reserve()
            except GatewayError as error:
                self._account.settle(error.status)
                await self._client.error(error, self._headers())
                return
            await self._serve()
        finally:
            self._end()

    def shut_down(self) -> None:
        """The drain time is over: stop what runs."""
        self._interrupter.interrupt(DrainOver())

    def _admit(self) -> None:
        gate = self._services.gate
        if gate.draining:
            raise server_shutting_down()
        if gate.full:
            raise gateway_overloaded()
        tokens = self._operation.rough_input_tokens() if self._key.tpm is not None else 0
        answer = self._services.limits.admit(self._key, tokens, self._loop.time())
        if isinstance(answer, Refusal):
            raise answer.error()
        self._admission = answer

    async def _reserve(self) -> None:
        """Commit the intent row: from here on the books know of this request, whatever happens to the process."""
        self._account.reserved = True  # even if this await is cut off: the row may have been committed
        try:
            await self._services.ledger.reserve(self._account.intent())
        except GatewayError:
            self._account.reserved = False
            raise

    async def _serve(self) -> None:
        delivery = Delivery(
            self._client,
            stream=self._operation.stream,
            heartbeat=self._snapshot.nonstream_heartbeat,
            headers=self._headers,
            tasks=self._services.tasks,
        )
        self._delivery = delivery
        try:
            error = await self._try_targets()
        except ClientGone:
            self._account.settle(STATUS_CLIENT_GONE)
            delivery.abandon()
            return
        except DrainOver:
            error = server_shutting_down(again=not self._account.sent)
        if error is not None:
            self._account.settle(error.status)
            await self._say_farewell(delivery, error)
            return
        cost = self._account.settle(STATUS_CLIENT_GONE if self._client.gone else 200)
        conversation = self._conversation
        assert conversation is not None
        await delivery.complete(conversation.answer, () if cost is None else ((b"x-gateway-cost-usd", cost),))

    async def _say_farewell(self, delivery: Delivery, error: GatewayError) -> None:
        try:
            async with asyncio.timeout(FAREWELL):
                await delivery.fail(error)
        except TimeoutError:
            self._client.abort()

    async def _try_targets(self) -> GatewayError | None:
        """Attempt until one succeeds (None) or nothing is left to try (what the client is told)."""
        now = self._loop.time()
        deadline = now + self._patience()
        itinerary = self._itinerary = Itinerary(
            self._route.targets,
            model=self._route.model,
            policy=self._snapshot.failover,
            states=self._snapshot.states,
            deadline=deadline,
            sdk_retry=self._sdk_retry,
            randomness=self._services.randomness,
            operations=self._operation.supports,
        )
        while True:
            step = itinerary.next(self._loop.time())
            if isinstance(step, Stop):
                return step.error
            if isinstance(step, Wait):
                await self._interrupter.wait(asyncio.sleep(step.seconds))
                continue
            outcome = await self._attempt(itinerary, step, deadline)
            if outcome.ok:
                return None
            if outcome.slug.startswith("client_") or self._client.gone:
                raise ClientGone
            if outcome.slug == "drain_cut":
                raise DrainOver

    async def _attempt(self, itinerary: Itinerary, go: Go, deadline: float) -> Outcome:
        services = self._services
        self._go = go
        self._conversation = self._operation.converse_with(go.target, go.endpoint)
        attempt = Attempt(
            go,
            self._conversation,
            pool=services.pool,
            sink=self,
            interrupter=self._interrupter,
            deadline=deadline,
            clock=services.clock,
            tasks=services.tasks,
        )
        self._account.begin(go, self._conversation, attempt)
        outcome = OUR_MISTAKE
        try:
            outcome = await attempt.run()
        except ClientGone:
            outcome = self._left_by_client(attempt)
        except DrainOver:
            outcome = Outcome("drain_cut", Phase.FORWARDED if self._committed else attempt.phase)
        finally:
            self._go = None
            outcome = self._in_context(outcome)
            try:
                itinerary.report(go, outcome, self._loop.time())
            finally:
                self._account.end(outcome, itinerary.failovers)
        return outcome

    def _in_context(self, outcome: Outcome) -> Outcome:
        """The driver does not know what the client has seen; the exchange does."""
        if not outcome.ok and self._committed and outcome.phase is not Phase.FORWARDED:
            slug = "stream_too_long" if outcome.slug == "deadline" else outcome.slug
            return replace(outcome, slug=slug, phase=Phase.FORWARDED)
        return outcome

    def _left_by_client(self, attempt: Attempt) -> Outcome:
        if self._committed:
            return Outcome("client_stalled" if self._client.stalled else "client_gone_stream", Phase.FORWARDED)
        return Outcome("client_gone_wait" if attempt.sent else "client_gone_early", attempt.phase)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        """The driver's sink: what the conversation has for the client."""
        assert self._delivery is not None
        if self._client.gone:
            self._read_on_left -= len(data)
            if self._read_on_left < 0 and not self._bought:
                raise ClientGone
        if meaningful and not self._committed:
            self._account.first_content()
            if self._itinerary is not None and self._go is not None:
                self._itinerary.answering(self._go, self._loop.time())
        await self._delivery.emit(data, meaningful)

    def emit_now(self, data: bytes) -> bool:
        """The driver's sink, the short way: content has gone out before and the client takes it."""
        return self._committed and not self._client.gone and self._client.write_now(data)

    def _client_left(self) -> None:
        """The connection broke. What was bought runs on; what is billed by usage is ended, soon or at once."""
        if self._bought:
            return
        gate = self._services.gate
        if self._committed and gate.reading_on < READ_ON_AT_ONCE:
            gate.reading_on += 1
            self._read_on_timer = self._loop.call_later(READ_ON_SECONDS, self._interrupter.interrupt, ClientGone())
        else:
            self._interrupter.interrupt(ClientGone())

    @property
    def _bought(self) -> bool:
        return self._go is not None and self._go.target.cost_class is CostClass.PAID

    @property
    def _committed(self) -> bool:
        return self._delivery is not None and self._delivery.committed

    def _patience(self) -> float:
        """Seconds for all attempts together; the first target's upstream sets them."""
        targets = self._route.targets
        if not targets:
            return 0.0
        timeouts = targets[0].upstream.timeouts
        if self._operation.stream and targets[0].cost_class is CostClass.TOKENS:
            return timeouts.stream_total
        return timeouts.total

    def _headers(self) -> Headers:
        return (*self._account.headers(), *self._limit_headers())

    def _limit_headers(self) -> Headers:
        return self._services.limits.headers(self._key, self._loop.time())

    def _end(self) -> None:
        """Give everything back. Runs exactly once, whatever happened; what was not settled by now is settled here."""
        services = self._services
        try:
            self._account.settle(500)
        finally:
            if self._read_on_timer is not None:
                self._read_on_timer.cancel()
                services.gate.reading_on -= 1
            if self._admission is not None:
                services.limits.release(self._admission, self._account.tokens_used(), self._loop.time())
            services.gate.leave(self)
            services.metrics.leave(self._operation.route)
            # What follows refers back to this exchange: without it, reference counting frees all of it at once.
            self._interrupter.retire()
            self._delivery = None
