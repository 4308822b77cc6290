"""``POST /v1/chat/completions``: a request becomes an Operation, and the exchange does the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope

from gateway.core.types import Endpoint, Route, Target, VirtualKey
from gateway.endpoints.auth import Authenticator
from gateway.endpoints.body import ClientGone, read_body
from gateway.endpoints.downstream import Downstream
from gateway.endpoints.refusal import Refusal
from gateway.errors import GatewayError, model_not_allowed, model_not_found
from gateway.exchange import STATUS_CLIENT_GONE, Exchange
from gateway.ports import Clock
from gateway.services import Services
from gateway.translate.chat_to_chat import PATH, ChatConversation
from gateway.wire.chat_request import ChatRequest, parse_chat_request
from gateway.wire.client_json import loads_object
from gateway.wire.tokens import count_input, rough_tokens


@dataclass(slots=True)
class ChatOperation:
    """What a chat client asked. ``size``: bytes of the request. ``count``: counts a text's tokens."""

    request: ChatRequest
    size: int
    count: Callable[[str], int]
    clock: Clock
    redact: Callable[[bytes], bytes]
    supports: frozenset[str] = frozenset({"chat"})
    route: str = PATH
    _input_tokens: int | None = None

    @property
    def stream(self) -> bool:
        return self.request.stream

    def converse_with(self, target: Target, endpoint: Endpoint) -> ChatConversation:
        return ChatConversation(
            self.request,
            target,
            endpoint,
            wall_seconds=self.clock.wall_ns() / 1_000_000_000,
            count=self.count,
            input_tokens=self.input_tokens,
            redact=self.redact,
        )

    def rough_input_tokens(self) -> int:
        return rough_tokens(self.size)

    def input_tokens(self) -> int:
        """Counted once, however many attempts ask."""
        if self._input_tokens is None:
            self._input_tokens = count_input(self.request.body, self.count)
        return self._input_tokens


class ChatEndpoint:
    """What answers the route."""

    def __init__(self, services: Services, authenticator: Callable[[], Authenticator]) -> None:
        self._services = services
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, client: Downstream) -> None:
        refusal = Refusal(self._services, PATH)
        try:
            key = refusal.key = self._authenticator().authenticate(scope["headers"])
            body = await read_body(
                scope, receive, self._services.snapshot.body_limit, budget=self._services.bodies, owner=key.name
            )
            request = parse_chat_request(loads_object(body))
            refusal.model = request.model
            route = self._route(request.model, key)
        except ClientGone:
            refusal.count(STATUS_CLIENT_GONE)
            raise
        except GatewayError as error:
            refusal.count(error.status)
            raise
        services = self._services
        operation = ChatOperation(
            request, len(body), services.tokenizer.count, services.clock, services.log.redactor.data
        )
        await Exchange(
            services, operation, route, key, client, request_id=client.request_id, sdk_retry=is_sdk_retry(scope)
        ).run()

    def _route(self, model: str, key: VirtualKey) -> Route:
        routes = self._services.snapshot.routes
        route = routes.find(model)
        if route is None:
            raise model_not_found(model)
        if not routes.allowed(key.models, model):
            raise model_not_allowed(model)
        return route


def is_sdk_retry(scope: Scope) -> bool:
    """Whether an OpenAI SDK says that it sends this request again (``x-stainless-retry-count`` ≥ 1)."""
    for name, value in scope["headers"]:
        if name == b"x-stainless-retry-count":
            return bool(value.isdigit() and value.strip(b"0"))  # a number however long, and not zero
    return False
