"""``POST /v1/responses``: asked as a chat and answered as a response, or relayed to targets that have the route."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from gateway.core.types import Route, VirtualKey
from gateway.endpoints.admission import is_sdk_retry
from gateway.endpoints.responses.background import Background, Following
from gateway.endpoints.responses.desk import Answering, Document, ResponsesDesk
from gateway.endpoints.responses.failover import beside, last_events, together
from gateway.endpoints.responses.pictures import Leg, Pictures
from gateway.endpoints.responses.relay import Relayed, ResponsesRelay
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
        as_chat = partial(self._as_chat, request, client, document, key)
        chat = await beside(relayed, form, as_chat, waited_for=not document.fields.get("background"))
        try:
            await self._answer(request, client, form, key, relayed, chat)
        finally:
            if relayed is not None:
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
            await self._background.answer(request, client, chat.answering, chat.operation, chat.route, key, follow)
            return
        again = is_sdk_retry(request)
        leg: Leg | None = None
        operation, route = together(relayed, None if chat is None else (chat.operation, chat.route))
        form.failed = last_events(operation)
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
