"""``POST /v1/responses``: asked as a chat, answered as a response."""

from __future__ import annotations

from gateway.endpoints.admission import is_sdk_retry
from gateway.endpoints.responses.background import Background
from gateway.endpoints.responses.desk import Answering, ResponsesDesk
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.exchange import Exchange
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.request import RESPONSES_PATH


class CreateResponse:
    """The handler of the route. ``background``: runs what is not waited for."""

    def __init__(self, desk: ResponsesDesk, background: Background) -> None:
        self._desk = desk
        self._background = background

    async def __call__(self, request: Request, client: Client) -> None:
        form = client.error_form = ResponsesErrors()
        desk = self._desk
        services = desk.admission.services
        asked, key = await desk.read(request)
        chat = await desk.as_chat(asked, key)
        chat_operation, route = await desk.orders.operation(chat.chat, (), key, tells_cost=False)
        answering = Answering(desk, asked, chat, key, client.loop, streamed=chat.chat.stream)
        operation = TranslatedOperation(
            chat_operation,
            answering.presenter,
            route=RESPONSES_PATH,
            tells_cost=services.snapshot.cost_in_answers,
            remarks=answering.remarks,
        )
        request.counted = True
        if asked.request.background:
            await self._background.answer(request, client, answering, operation, route, key)
            return
        form.failed = operation.failed
        again = is_sdk_retry(request)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=asked.request.model)
        await exchange.run()
        request.error = exchange.refusal
