"""``POST /v1/messages``: Anthropic's Messages API over any chat model; ``/v1/messages/count_tokens`` beside it."""

from __future__ import annotations

import orjson

from gateway.core.json_weight import is_slow
from gateway.core.types import VirtualKey
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.chat import ChatOrders, read_chat
from gateway.endpoints.json_body import read_long
from gateway.endpoints.preference import preferred
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.exchange import Exchange
from gateway.runtime.off_loop import off_loop
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.chat_request import ChatRequest
from gateway.wire.client_json import loads_object
from gateway.wire.default_model import with_default_model
from gateway.wire.messages.errors import ANTHROPIC_ERRORS
from gateway.wire.messages.presenter import MessageFacts, MessagePresenter
from gateway.wire.messages.request import MESSAGES_PATH, MessagesRequest, read_request
from gateway.wire.named_ids import NamedId
from gateway.wire.tokens import count_input

_COUNTED_HERE = (
    (b"x-gateway-attempts", b"0"),
    (b"x-gateway-note", b"counted here, by a vocabulary of OpenAI's: an estimate"),
)

Asked = tuple[MessagesRequest, ChatRequest, list[NamedId]]
"""A request, the same as a chat, and what that names by an id."""


class MessagesEndpoint:
    """The handler of ``POST /v1/messages``."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._orders = ChatOrders(admission)

    async def __call__(self, request: Request, client: Client) -> None:
        client.error_form = ANTHROPIC_ERRORS
        services = self._admission.services
        (asked, chat, ids), key = await _read(self._admission, request)
        chat_operation, route = await self._orders.operation(chat, ids, key, tells_cost=False)
        route = preferred(request, route)
        message = MessageFacts(f"msg_{services.new_id()}", chat.model, asked.stops, asked.offered)
        remarks = [f"ignored: {', '.join(asked.ignored)}"] if asked.ignored else []
        operation = TranslatedOperation(
            chat_operation,
            lambda: MessagePresenter(message),
            route=MESSAGES_PATH,
            tells_cost=services.snapshot.cost_in_answers,
            remarks=lambda: remarks,
        )
        again = is_sdk_retry(request)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=chat.model)
        request.counted = True
        await exchange.run()
        request.error = exchange.refusal


class CountTokensEndpoint:
    """The handler of ``POST /v1/messages/count_tokens``: counted here, at no cost and without an upstream."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def __call__(self, request: Request, client: Client) -> None:
        client.error_form = ANTHROPIC_ERRORS
        admission = self._admission
        (_, chat, _), key = await _read(admission, request, counting=True)
        admission.route(chat.model, key, unlisted="chat")
        with admission.limited(key):
            tokens = await off_loop(count_input, chat.body, admission.services.tokenizer.count)
        await client.respond(200, _COUNTED_HERE, orjson.dumps({"input_tokens": tokens}))


async def _read(admission: Admission, request: Request, *, counting: bool = False) -> tuple[Asked, VirtualKey]:
    """What is asked, and the key that asks. ``counting``: its tokens are all that is asked for.

    Raises the errors of the key, of the body and of its fields.
    """
    services = admission.services
    key = admission.authenticate(request)
    body = await read_body(request, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
    slow = is_slow(body)

    def read(body: bytes) -> Asked:
        document = with_default_model(loads_object(body), services.snapshot.default_models, "chat")
        asked = read_request(document, counting=counting)
        return (asked, *read_chat(asked.chat, slow=slow))

    asked = await read_long(services, key.name, body, read, slow=slow)
    request.model = asked[1].model
    return asked, admission.recheck(request, key)
