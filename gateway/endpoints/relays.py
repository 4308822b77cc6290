"""The relayed routes: embeddings, completions, moderations, speech, transcriptions, translations.

One handler for all; what differs is in each route's description (wire/relay_routes.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from gateway.core.errors import ClientError, gateway_overloaded
from gateway.core.json_weight import LONG, is_slow
from gateway.core.limits.body_memory import BodyLease
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, OperationName, Route, Target, Wish
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.answer_cache import from_cache
from gateway.endpoints.ownership import refuse_foreign_ids
from gateway.endpoints.preference import preferred
from gateway.exchange.cached_answer import CachedAnswer
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Services
from gateway.runtime.off_loop import off_loop
from gateway.runtime.ports import Clock
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.commands import Conversation
from gateway.translate.context import EVENT_LIMIT, AttemptContext
from gateway.translate.relay import RelayConversation, relay_wishes
from gateway.translate.relay_work import most_work, rough_input
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.client_json import loads_object
from gateway.wire.form_data import parse_form
from gateway.wire.named_ids import ids_in_fields
from gateway.wire.relay_request import RelayRequest, parse_document, parse_relayed_form
from gateway.wire.relay_routes import RELAY_ROUTES, AnswerForm, RelayRoute

RELAY_PATHS: tuple[str, ...] = tuple(RELAY_ROUTES)

CACHED: frozenset[OperationName] = frozenset({"embeddings", "completions", "moderations"})
"""What may be answered from the cache: documents for documents."""

HELD_TIMES = 2
"""How often a recording is in memory while it is sent: as it came, and in the form for the upstream."""


@dataclass(slots=True)
class RelayOperation:
    """A client's request to a relayed route.

    ``count``: counts a text's tokens. ``max_output``, ``context``: of the model, None if not known.
    ``event_limit``: bytes of one event of an upstream's stream.
    ``tells_cost``: the answer's usage is to say what the key is charged.
    ``newest``: the last conversation that was begun.
    ``keep``: is told of the whole answer, and what the key is charged for it.
    """

    request: RelayRequest
    count: Callable[[str], int]
    clock: Clock
    redact: Callable[[bytes], bytes]
    max_output: int | None = None
    context: int | None = None
    event_limit: int = EVENT_LIMIT
    tells_cost: bool = False
    notes: Sequence[str] = ()
    prepares: bool = False
    route: str = field(init=False)
    supports: frozenset[str] = field(init=False)
    newest: RelayConversation | None = None
    keep: Callable[[bytes, str | None], None] | None = None
    _work: RequestedWork | None = None

    def __post_init__(self) -> None:
        self.route = self.request.route.path
        self.supports = frozenset({self.request.route.operation})

    @property
    def bare(self) -> bool:
        return self.request.is_bare

    @property
    def stream(self) -> bool:
        return self.request.answered is not AnswerForm.WHOLE

    async def prepare(self) -> None:
        """Nothing takes long before."""

    @property
    def parts(self) -> tuple[RelayOperation]:
        return (self,)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        context = self.context_of(target, endpoint)
        self.newest = RelayConversation(
            self.request,
            context,
            count=self.count,
            boundary=secrets.token_hex(16),
            without=without,
            max_output=self.max_output,
        )
        return self.newest

    def context_of(self, target: Target, endpoint: Endpoint) -> AttemptContext:
        """What an attempt is given."""
        return AttemptContext(
            target,
            endpoint,
            self.clock.wall_ns() / 1_000_000_000,
            self.redact,
            self.event_limit,
            tells_cost=self.tells_cost,
            context=self.context,
        )

    def wishes(self, target: Target) -> OwnWishes:
        return OwnWishes(relay_wishes(self.request))

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        conversation = conversations[0]
        assert isinstance(conversation, RelayConversation)
        if self.tells_cost and not self.stream:
            conversation.cost = AnswerCost(charge())
        answer = conversation.answer
        if self.keep is not None and answer is not None:
            self.keep(answer, charge())
        return answer

    def stake(self, target: Target) -> int | None:
        """What is billed by usage is never a paid item."""
        return None

    def work_out(self) -> None:
        """Do ahead, off the loop, what takes long with a slow request and is asked for on the loop."""
        self._work = most_work(self.request, context=self.context, max_output=self.max_output)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        if self._work is None:
            self.work_out()
        assert self._work is not None
        return cost_bound((target,), self._work)

    def cost_reason(self, target: Target) -> str:
        return ""

    def rough_input_tokens(self) -> int:
        return rough_input(self.request)


def relay_operation(services: Services, asked: RelayRequest, route: Route, *, tells_cost: bool) -> RelayOperation:
    """A request as an operation under the configuration in force. ``tells_cost``: as in RelayOperation."""
    return RelayOperation(
        asked,
        services.tokenizer.count,
        services.clock,
        services.log.redactor.words,
        max_output=route.max_output,
        context=route.context,
        event_limit=services.snapshot.event_limit,
        tells_cost=tells_cost,
    )


class RelayEndpoint:
    """The handler of one of the routes."""

    def __init__(self, admission: Admission, path: str) -> None:
        self._admission = admission
        self._route: RelayRoute = RELAY_ROUTES[path]
        self._operations: frozenset[OperationName] = frozenset({self._route.operation})

    async def __call__(self, request: Request, client: Client) -> None:
        admission, services = self._admission, self._admission.services
        with ExitStack() as held:
            key = admission.authenticate(request)
            asked, lease = await self._read(request, key.name)
            held.callback(lease.release)
            key = admission.recheck(request, key)
            request.model = asked.model
            route = admission.route(asked.model, key, unlisted=self._route.operation, operations=self._operations)
            route = preferred(request, route)
            if not lease.grow(HELD_TIMES * sum(len(file.data) for file in asked.files)):
                raise gateway_overloaded()
            operation = relay_operation(services, asked, route, tells_cost=services.snapshot.cost_in_answers)
            if route.rules.cache is not None and self._route.operation in CACHED and not operation.stream:
                found = await from_cache(services, request, client, key, route, operation, asked.fields, asked.size)
                if isinstance(found, CachedAnswer):
                    request.counted = True
                    await found.run()
                    request.error = found.refusal
                    return
                operation.keep = found
            exchange = Exchange(
                services,
                operation,
                route,
                key,
                client,
                sdk_retry=is_sdk_retry(request),
                asked=asked.model,
            )
            request.counted = True
            await exchange.run()
            request.error = exchange.refusal

    async def _read(self, request: Request, owner: str) -> tuple[RelayRequest, BodyLease]:
        """The request, and the lease of the memory that it takes until it is answered."""
        services = self._admission.services
        content_type = request.fields.get(b"content-type", b"")
        limit = services.snapshot.upload_limit if self._route.is_form else services.snapshot.body_limit
        body = await read_body(request, limit, budget=services.bodies, owner=owner)
        lease = services.bodies.lease(owner)
        if len(body) <= LONG and (self._route.is_form or not is_slow(body)):
            return self._parse(body, content_type), lease
        if not lease.grow(len(body)):
            raise gateway_overloaded()
        try:
            return await off_loop(self._parse, body, content_type), lease
        except ClientError:
            lease.release()
            raise

    def _parse(self, body: bytes, content_type: bytes) -> RelayRequest:
        defaults = self._admission.services.snapshot.default_models
        if self._route.is_form:
            request = parse_relayed_form(self._route, parse_form(body, content_type), len(body), defaults)
        else:
            request = parse_document(self._route, loads_object(body), len(body), defaults, slow=is_slow(body))
        refuse_foreign_ids(ids_in_fields(request.fields))
        return request
