"""``POST /v1/responses``: asked as a chat, answered as a response."""

from __future__ import annotations

from starlette.types import Receive, Scope

from gateway.endpoints.admission import is_sdk_retry
from gateway.endpoints.responses.background import Background
from gateway.endpoints.responses.desk import Answering, ResponsesDesk
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.exchange import Exchange
from gateway.server.downstream import Downstream
from gateway.server.request_facts import facts_of
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.request import RESPONSES_PATH


class CreateResponse:
    """The handler of the route. ``background``: runs what is not waited for."""

    def __init__(self, desk: ResponsesDesk, background: Background) -> None:
        self._desk = desk
        self._background = background

    async def __call__(self, scope: Scope, receive: Receive, client: Downstream) -> None:
        form = client.error_form = ResponsesErrors()
        desk = self._desk
        services = desk.admission.services
        facts = facts_of(scope)
        asked, key = await desk.read(scope, receive)
        request = asked.request
        chat = await desk.as_chat(asked, key)
        chat_operation, route = await desk.orders.operation(chat.chat, (), key, tells_cost=False)
        answering = Answering(desk, asked, chat, key, streamed=chat.chat.stream)
        operation = TranslatedOperation(
            chat_operation,
            answering.presenter,
            route=RESPONSES_PATH,
            tells_cost=services.snapshot.cost_in_answers,
            remarks=answering.remarks,
        )
        facts.counted = True
        if request.background:
            await self._background.answer(client, answering, operation, route, key, facts, stream=request.stream)
            return
        form.failed = operation.failed
        again = is_sdk_retry(scope)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=request.model)
        await exchange.run()
        facts.error = exchange.refusal
