"""``POST /v1/responses``: asked as a chat and answered as a response, or relayed to targets that have the route."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from gateway.core.errors import ClientError, GatewayError
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.admission import is_sdk_retry
from gateway.endpoints.preference import preferred
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.responses.background import Background, Following
from gateway.endpoints.responses.desk import Answering, Document, ResponsesDesk
from gateway.endpoints.responses.failover import RelayedOrChat
from gateway.endpoints.responses.pictures import Leg, Pictures
from gateway.endpoints.responses.relay import Relayed, ResponsesRelay, last_event
from gateway.endpoints.responses.running import Foreground, Running
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.client import Client as ExchangeClient
from gateway.exchange.exchange import Exchange
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.pictures import PictureTool
from gateway.wire.responses.request import RESPONSES_PATH


@dataclass(slots=True)
class _AsChat:
    """A request as a chat. ``tool``: the one that makes pictures, if it is offered."""

    answering: Answering
    operation: TranslatedOperation
    route: Route
    tool: PictureTool | None
    background: bool


class CreateResponse:
    """The handler of the route. ``background``: runs what is not waited for. ``pictures``: makes those ordered.
    ``relay``: reads what an upstream's own route is for. ``running``: what is being made.
    """

    def __init__(
        self,
        desk: ResponsesDesk,
        background: Background,
        pictures: Pictures,
        relay: ResponsesRelay,
        running: Running,
    ) -> None:
        self._desk = desk
        self._running = running
        self._relay = relay
        self._background = background
        self._pictures = pictures

    async def __call__(self, request: Request, client: Client) -> None:
        form = client.error_form = ResponsesErrors()
        document, key = await self._desk.document(request)
        relayed = await self._relay.read(request, document, key)
        if relayed is None:
            await self._answer(request, client, form, key, None, await self._as_chat(request, client, document, key))
            return
        chat: _AsChat | None = None
        if relayed.pin is not None:
            form.left_out = f"What it goes on from is kept by '{relayed.pin[0]}' alone, so no other target was asked."
        elif relayed.others and document.fields.get("background"):
            form.left_out = "The model's other targets were not asked: 'background' is the upstream's own there."
        elif relayed.others:
            try:
                chat = await self._as_chat(request, client, document, key)
            except ClientError as error:
                form.left_out = _why_left_out(error)
        try:
            await self._answer(request, client, form, key, relayed, chat)
        finally:
            self._relay.note(relayed, key)

    async def _as_chat(self, request: Request, client: Client, document: Document, key: VirtualKey) -> _AsChat:
        """The request as a chat. Raises ClientError for what no chat can have."""
        desk = self._desk
        asked = await desk.asked(request, document)
        chat = await desk.as_chat(asked, key)
        if (tool := chat.tools.pictures) is not None:
            self._pictures.check(tool, key)
        chat_operation, route = await desk.orders.operation(chat.chat, (), key, tells_cost=False)
        answering = Answering(desk, asked, chat, key, client.loop, streamed=chat.chat.stream)
        operation = TranslatedOperation(
            chat_operation,
            answering.presenter,
            route=RESPONSES_PATH,
            tells_cost=desk.admission.services.snapshot.cost_in_answers,
            remarks=answering.remarks,
        )
        return _AsChat(answering, operation, route, tool, asked.request.background)

    async def _answer(
        self,
        request: Request,
        client: Client,
        form: ResponsesErrors,
        key: VirtualKey,
        relayed: Relayed | None,
        chat: _AsChat | None,
    ) -> None:
        """Run the exchange. One of ``relayed`` and ``chat`` is given, or both."""
        services = self._desk.admission.services
        request.counted = True
        if chat is not None and chat.background:
            follow = None if chat.tool is None else self._following(chat.answering, chat.tool, key)
            route = preferred(request, chat.route)
            await self._background.answer(request, client, chat.answering, chat.operation, route, key, follow)
            return
        again = is_sdk_retry(request)
        leg: Leg | None = None
        operation, route = _together(relayed, chat)
        route = preferred(request, route)
        form.failed = partial(last_event, operation) if isinstance(operation, RelayOperation) else operation.failed
        if chat is not None and chat.tool is not None:
            leg = self._pictures.leg(client, chat.answering)
        asked = request.model or ""
        exchange = Exchange(services, operation, route, key, leg or client, sdk_retry=again, asked=asked)
        kept = None if chat is None else Foreground(key.name, chat.answering, self._running, client.loop)
        try:
            await exchange.run()
            request.error = exchange.refusal
            if chat is not None and chat.tool is not None and leg is not None:
                await self._pictures.follow(leg, client, chat.answering, chat.tool, key)
        finally:
            if kept is not None:
                kept.end(gone=client.gone)

    def _following(self, answering: Answering, tool: PictureTool, key: VirtualKey) -> Following:
        """What makes the pictures that a response in the background orders."""

        def leg(client: ExchangeClient) -> Leg:
            return self._pictures.leg(client, answering)

        async def follow(leg: Leg, client: ExchangeClient) -> None:
            await self._pictures.follow(leg, client, answering, tool, key)

        return Following(leg, follow)


def _together(
    relayed: Relayed | None, chat: _AsChat | None
) -> tuple[RelayOperation | RelayedOrChat | TranslatedOperation, Route]:
    """What is asked, and of whom: first of the targets that have the route."""
    if relayed is None:
        assert chat is not None
        return chat.operation, chat.route
    if chat is None:
        return relayed.operation, relayed.route
    targets = (*relayed.route.targets, *chat.route.targets)
    return RelayedOrChat(relayed.operation, chat.operation), replace(chat.route, targets=targets)


def _why_left_out(error: GatewayError) -> str:
    place = "" if error.param is None else f"{error.param}: "
    return f"The model's other targets are asked by a chat, which this request cannot be: {place}{error.message}"
