"""``POST /v1/messages``: Anthropic's Messages API; ``/v1/messages/count_tokens`` beside it.

A request is relayed to the model's targets that have that API themselves, and asked as a chat of all others. So it may
go from one kind to the other until the first word has come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import orjson

from gateway.core.errors import ClientError
from gateway.core.headers import Headers
from gateway.core.json_weight import is_slow
from gateway.core.routing.route_operations import MESSAGES, serving
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.chat import ChatOrders, read_chat
from gateway.endpoints.json_body import read_long
from gateway.endpoints.message_operation import RelayedMessage, relayed_message
from gateway.endpoints.message_threads import pinned, remember
from gateway.endpoints.paid_chats import PaidChat, PaidChats, is_paid
from gateway.endpoints.preference import preferred
from gateway.endpoints.relayed_or_chat import RelayedOrChat
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.exchange import Exchange
from gateway.exchange.token_count import CountedUpstream
from gateway.images.resumed_apis import of_message
from gateway.jobs.waiting import Waiting
from gateway.responses.places import ResponsePlaces
from gateway.runtime.off_loop import off_loop
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.messages_relay import MessagesRelay
from gateway.wire.client_json import loads_object
from gateway.wire.default_model import with_default_model
from gateway.wire.messages.counting import count_message
from gateway.wire.messages.errors import AnthropicErrors
from gateway.wire.messages.headers import passed_headers
from gateway.wire.messages.presenter import MessageFacts, MessagePresenter
from gateway.wire.messages.relayed import ids_in_message, relayed_request
from gateway.wire.messages.request import MESSAGES_PATH, MessagesRequest, check_request, read_request
from gateway.wire.relay_request import RelayRequest
from gateway.wire.tokens import count_input

T = TypeVar("T")

_COUNTED_HERE = (b"x-gateway-note", b"counted here, by a vocabulary of OpenAI's: an estimate")


class _Asked(NamedTuple):
    """A request that has been checked.

    ``document``: as it came. ``relayed``: as it is relayed. ``headers``: of the client's that go with it then.
    """

    document: dict[str, Any]
    relayed: RelayRequest
    headers: Headers
    route: Route
    key: VirtualKey

    @property
    def may_be_relayed(self) -> bool:
        return "messages" in self.route.operations

    async def aside(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; of a long request off the loop."""
        return await off_loop(work) if self.relayed.slow else work()


async def _read(admission: Admission, places: ResponsePlaces, request: Request, *, counting: bool = False) -> _Asked:
    """What is asked. ``counting``: its tokens are all that is asked for.

    Raises the errors of the key, of the body, of its fields, of the model and of ids that are not the key's.
    """
    services = admission.services
    key = admission.authenticate(request)
    body = await read_body(request, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
    slow = is_slow(body)

    def read(body: bytes) -> tuple[dict[str, Any], RelayRequest]:
        document = with_default_model(loads_object(body), services.snapshot.default_models, "chat")
        check_request(document, counting=counting)
        return document, relayed_request(document, len(body), slow=slow)

    document, relayed = await read_long(services, key.name, body, read, slow=slow)
    request.model = relayed.model
    headers = passed_headers(request.every(b"anthropic-version"), request.every(b"anthropic-beta"))
    key = admission.recheck(request, key)
    route = serving(admission.route(relayed.model, key, unlisted="chat"), MESSAGES, "messages")
    asked = _Asked(document, relayed, headers, route, key)
    if not asked.may_be_relayed:
        return asked
    ids = await asked.aside(lambda: list(ids_in_message(document)))
    return asked._replace(route=await pinned(route, ids, key, places)) if ids else asked


class _ForAnthropics:
    """A handler whose clients are Anthropic's: they look for its error bodies, and for its name of the request's id."""

    def dress(self, client: Client) -> None:
        client.error_form = AnthropicErrors(client.request_id)
        client.own_headers(((b"request-id", client.request_id.encode()),))


class MessagesEndpoint(_ForAnthropics):
    """The handler of ``POST /v1/messages``."""

    def __init__(self, admission: Admission, places: ResponsePlaces, waiting: Waiting) -> None:
        self._admission = admission
        self._places = places
        self._orders = ChatOrders(admission)
        self._paid = PaidChats(admission, waiting)

    async def __call__(self, request: Request, client: Client) -> None:
        self.dress(client)
        asked = await _read(self._admission, self._places, request)
        operation, route = await self._operation(asked)
        route = preferred(request, route)
        if is_paid(route):
            chat = _paid_chat(asked, operation)
            await self._paid.answer(request, client, operation, route, asked.key, chat)
            return
        services, again = self._admission.services, is_sdk_retry(request)
        exchange = Exchange(services, operation, route, asked.key, client, sdk_retry=again, asked=asked.relayed.model)
        request.counted = True
        await exchange.run()
        request.error = exchange.refusal
        if isinstance(operation, RelayedMessage) and isinstance(operation.newest, MessagesRelay):
            remember(operation.newest, asked.key, self._places)

    async def _operation(self, asked: _Asked) -> tuple[RelayedMessage | TranslatedOperation | RelayedOrChat, Route]:
        """The request as an operation, and the targets that can serve it.

        Raises the errors of what a chat cannot carry over, unless the request can be relayed.
        """
        if not asked.may_be_relayed:
            return await self._as_chat(asked)
        relayed = relayed_message(self._admission.services, asked.relayed, asked.route, asked.headers)
        await asked.aside(relayed.work_out)
        by_relay = [target for target in asked.route.targets if target.operation == "messages"]
        if len(by_relay) == len(asked.route.targets):
            return relayed, asked.route
        try:
            translated, as_chat = await self._as_chat(asked)
        except ClientError:
            return relayed, replace(asked.route, targets=tuple(by_relay))
        priced = iter(as_chat.targets)
        targets = [one if one.operation == "messages" else next(priced) for one in asked.route.targets]
        return RelayedOrChat(relayed, translated), replace(asked.route, targets=tuple(targets))

    async def _as_chat(self, asked: _Asked) -> tuple[TranslatedOperation, Route]:
        """The request as a chat, and its targets that serve chats, at the prices of what is asked for."""
        services = self._admission.services

        def read() -> tuple[MessagesRequest, Any]:
            read = read_request(asked.document)
            return read, read_chat(read.chat, slow=asked.relayed.slow)

        as_chat, (chat, ids) = await asked.aside(read)
        others = tuple(target for target in asked.route.targets if target.operation != "messages")
        route = asked.route if len(others) == len(asked.route.targets) else replace(asked.route, targets=others)
        operation, route = await self._orders.operation(chat, ids, asked.key, tells_cost=False, route=route)
        message = MessageFacts(f"msg_{services.new_id()}", chat.model, as_chat.stops, as_chat.offered)
        remarks = [f"ignored: {', '.join(as_chat.ignored)}"] if as_chat.ignored else []
        translated = TranslatedOperation(
            operation,
            lambda: MessagePresenter(message),
            route=MESSAGES_PATH,
            tells_cost=services.snapshot.cost_in_answers,
            remarks=lambda: remarks,
            remembered=of_message(message, tells_cost=services.snapshot.cost_in_answers),
        )
        return translated, route


def _paid_chat(asked: _Asked, operation: RelayedMessage | TranslatedOperation | RelayedOrChat) -> PaidChat:
    """What a message is known by that is paid for apiece, and what is remembered of it."""
    model, document, slow = asked.relayed.model, asked.document, asked.relayed.slow
    if not isinstance(operation, TranslatedOperation):
        return PaidChat(model, document, slow)
    return PaidChat(model, document, slow, operation.images, operation.remembered)


class CountTokensEndpoint(_ForAnthropics):
    """The handler of ``POST /v1/messages/count_tokens``: counted by an upstream with that API, for free, or here."""

    def __init__(self, admission: Admission, places: ResponsePlaces) -> None:
        self._admission = admission
        self._places = places

    async def __call__(self, request: Request, client: Client) -> None:
        self.dress(client)
        admission = self._admission
        asked = await _read(admission, self._places, request, counting=True)
        upstream = CountedUpstream(admission.services, asked.key.name)
        async with admission.limited(asked.key):
            answer = await upstream.ask(asked.route, asked.relayed, asked.headers) if asked.may_be_relayed else None
            if answer is not None:
                request.upstream = upstream.name
                told = ((b"x-gateway-upstream", upstream.name.encode()), upstream.attempts_header)
                await client.respond(200, told, answer)
                return
            tokens = await off_loop(self._count, asked)
        await client.respond(200, (upstream.attempts_header, _COUNTED_HERE), orjson.dumps({"input_tokens": tokens}))

    def _count(self, asked: _Asked) -> int:
        """Raises the errors of what a chat cannot carry over, unless the request could be relayed."""
        count = self._admission.services.tokenizer.count
        if asked.may_be_relayed:
            return count_message(asked.relayed.fields, count)
        chat, _ = read_chat(read_request(asked.document, counting=True).chat, slow=asked.relayed.slow)
        return count_input(chat.body, count)
