"""``POST /v1/messages``: Anthropic's Messages API over any chat model; ``/v1/messages/count_tokens`` beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
from starlette.types import Receive, Scope

from gateway.core.json_weight import is_slow
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.chat import ChatOrders
from gateway.endpoints.json_body import read_long
from gateway.endpoints.ownership import ids_to_check
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.exchange import Exchange
from gateway.images.orders import ImageOrders
from gateway.runtime.off_loop import off_loop
from gateway.server.body import read_body
from gateway.server.downstream import Downstream
from gateway.server.request_facts import facts_of
from gateway.wire.chat_request import ChatRequest, parse_chat_request
from gateway.wire.client_json import loads_object
from gateway.wire.default_model import with_default_model
from gateway.wire.messages.errors import ANTHROPIC_ERRORS
from gateway.wire.messages.presenter import MessageFacts, MessagePresenter
from gateway.wire.messages.request import MESSAGES_PATH, MessagesRequest, read_request
from gateway.wire.named_ids import NamedId
from gateway.wire.tokens import count_input

_COUNTED_HERE = ((b"x-gateway-note", b"counted here, by a vocabulary of OpenAI's: an estimate"),)


class MessagesEndpoint:
    """The handler of ``POST /v1/messages``. ``image_orders``: as in ChatOrders."""

    def __init__(self, admission: Admission, image_orders: Callable[[], ImageOrders]) -> None:
        self._admission = admission
        self._orders = ChatOrders(admission, image_orders)

    async def __call__(self, scope: Scope, receive: Receive, client: Downstream) -> None:
        client.error_form = ANTHROPIC_ERRORS
        admission = self._admission
        services = admission.services
        facts = facts_of(scope)
        key = admission.authenticate(scope)
        began = asyncio.get_running_loop().time()
        body = await read_body(scope, receive, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
        asked, request, ids = await read_long(services, key.name, body, self._parse)
        key = admission.recheck(scope, key, began)
        facts.model = request.model
        chat, route = await self._orders.operation(request, ids, key, tells_cost=False)
        message = MessageFacts(f"msg_{services.new_id()}", request.model, asked.stops, asked.offered)
        operation = TranslatedOperation(
            chat,
            lambda: MessagePresenter(message),
            route=MESSAGES_PATH,
            tells_cost=services.snapshot.cost_in_answers,
            remarks=[f"ignored: {', '.join(asked.ignored)}"] if asked.ignored else [],
        )
        again = is_sdk_retry(scope)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=request.model)
        facts.counted = True
        await exchange.run()
        facts.error = exchange.refusal

    def _parse(self, body: bytes) -> tuple[MessagesRequest, ChatRequest, list[NamedId]]:
        models = self._admission.services.snapshot.default_models
        asked = read_request(with_default_model(loads_object(body), models, "chat"))
        request = parse_chat_request(asked.chat, len(body), slow=is_slow(body))
        return asked, request, ids_to_check(request.body)


class CountTokensEndpoint:
    """The handler of ``POST /v1/messages/count_tokens``: counted here, at no cost and without an upstream."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, client: Downstream) -> None:
        client.error_form = ANTHROPIC_ERRORS
        admission = self._admission
        services = admission.services
        key = admission.authenticate(scope)
        body = await read_body(scope, receive, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
        asked = await read_long(services, key.name, body, self._parse)
        facts_of(scope).model = asked.model
        admission.route(asked.model, key, unlisted="chat")
        tokens = await off_loop(count_input, asked.chat, services.tokenizer.count)
        await client.respond(200, _COUNTED_HERE, orjson.dumps({"input_tokens": tokens}))

    def _parse(self, body: bytes) -> MessagesRequest:
        models = self._admission.services.snapshot.default_models
        return read_request(with_default_model(loads_object(body), models, "chat"), counting=True)
