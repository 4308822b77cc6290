"""``POST /v1/responses``: asked as a chat, answered as a response."""

from __future__ import annotations

from gateway.core.types import VirtualKey
from gateway.endpoints.admission import is_sdk_retry
from gateway.endpoints.preference import preferred
from gateway.endpoints.responses.background import Background, Following
from gateway.endpoints.responses.desk import Answering, ResponsesDesk
from gateway.endpoints.responses.pictures import Leg, Pictures
from gateway.endpoints.responses.relay import ResponsesRelay
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.client import Client as ExchangeClient
from gateway.exchange.exchange import Exchange
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.pictures import PictureTool
from gateway.wire.responses.request import RESPONSES_PATH


class CreateResponse:
    """The handler of the route. ``background``: runs what is not waited for. ``pictures``: makes those ordered.
    ``relay``: answers what an upstream's own route is for.
    """

    def __init__(self, desk: ResponsesDesk, background: Background, pictures: Pictures, relay: ResponsesRelay) -> None:
        self._desk = desk
        self._relay = relay
        self._background = background
        self._pictures = pictures

    async def __call__(self, request: Request, client: Client) -> None:
        form = client.error_form = ResponsesErrors()
        desk = self._desk
        services = desk.admission.services
        document, key = await desk.document(request)
        if self._relay.takes(document, key):
            await self._relay.answer(request, client, document, key, form)
            return
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
            tells_cost=services.snapshot.cost_in_answers,
            remarks=answering.remarks,
        )
        route = preferred(request, route)
        request.counted = True
        if asked.request.background:
            follow = None if tool is None else self._following(answering, tool, key)
            await self._background.answer(request, client, answering, operation, route, key, follow)
            return
        form.failed = operation.failed
        again = is_sdk_retry(request)
        leg = None if tool is None else self._pictures.leg(client, answering)
        exchange = Exchange(services, operation, route, key, leg or client, sdk_retry=again, asked=asked.request.model)
        await exchange.run()
        request.error = exchange.refusal
        if leg is not None and tool is not None:
            await self._pictures.follow(leg, client, answering, tool, key)

    def _following(self, answering: Answering, tool: PictureTool, key: VirtualKey) -> Following:
        """What makes the pictures that a response in the background orders."""

        def leg(client: ExchangeClient) -> Leg:
            return self._pictures.leg(client, answering)

        async def follow(leg: Leg, client: ExchangeClient) -> None:
            await self._pictures.follow(leg, client, answering, tool, key)

        return Following(leg, follow)
