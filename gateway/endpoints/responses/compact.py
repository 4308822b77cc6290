"""``POST /v1/responses/compact``: a conversation, summed up by the model into one item that later requests may send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.types import Route, Usage, VirtualKey
from gateway.endpoints.admission import is_sdk_retry
from gateway.endpoints.responses.desk import Document, ResponsesDesk
from gateway.endpoints.responses.failover import beside, together
from gateway.endpoints.responses.relay import ResponsesRelay
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.exchange import Exchange
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.responses_relay import COMPACTION
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_pieces import pieces_of
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.responses.answer import usage_object
from gateway.wire.responses.compaction import COMPACT, compacted
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.request import RESPONSES_PATH
from gateway.wire.writable import dump_json

COMPACT_PATH = RESPONSES_PATH + "/compact"


class CompactResponse:
    """The handler of the route."""

    def __init__(self, desk: ResponsesDesk, relay: ResponsesRelay) -> None:
        self._desk = desk
        self._relay = relay

    async def __call__(self, request: Request, client: Client) -> None:
        form = client.error_form = ResponsesErrors()
        services = self._desk.admission.services
        document, key = await self._desk.document(request)
        relayed = await self._relay.read(request, document, key, COMPACTION)
        chat = await beside(relayed, form, partial(self._as_chat, request, document, key))
        operation, route = together(relayed, chat)
        request.counted = True
        again, asked = is_sdk_retry(request), request.model or ""
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=asked)
        try:
            await exchange.run()
        finally:
            if relayed is not None:
                self._relay.note(relayed, key)
        request.error = exchange.refusal

    async def _as_chat(
        self, request: Request, document: Document, key: VirtualKey
    ) -> tuple[TranslatedOperation, Route]:
        """The chat that sums up. Raises ClientError for what no chat can have."""
        desk = self._desk
        services = desk.admission.services
        asked = await desk.asked(request, replace(document, fields=_whole(document.fields)))
        chat = await desk.as_chat(asked, key)
        messages = [*chat.chat.body["messages"], {"role": "user", "content": COMPACT}]
        summing_up = parse_chat_request({**chat.chat.body, "messages": messages}, chat.chat.size, slow=chat.chat.slow)
        route = desk.route(summing_up.model, key, COMPACT_PATH)
        chat_operation, route = await desk.orders.operation(summing_up, (), key, tells_cost=False, route=route)
        created, items = services.clock.wall_ns() // 1_000_000_000, [*chat.before, *chat.items]
        operation = TranslatedOperation(
            chat_operation,
            lambda: _CompactionPresenter(chat.id, created, items),
            route=COMPACT_PATH,
            tells_cost=services.snapshot.cost_in_answers,
            remarks=lambda: [f"ignored: {', '.join(chat.ignored)}"] if chat.ignored else [],
        )
        return operation, route


class _CompactionPresenter:
    """The writer of a compaction, which is always whole. ``items``: what was summed up."""

    def __init__(self, id: str, created: int, items: Sequence[dict[str, Any]]) -> None:
        self._id = id
        self._created = created
        self._items = items

    def whole(self, completion: dict[str, Any], usage: Usage, cost: AnswerCost | None) -> bytes:
        """The compaction."""
        message = completion["choices"][0].get("message") or {}
        summary = "".join(piece.text for piece in pieces_of(message) if piece.kind == "text")
        output = compacted(self._items, summary, self._id)
        told = {"id": self._id, "object": "response.compaction", "created_at": self._created, "output": output}
        return dump_json({**told, "usage": usage_object(usage, cost)}, heavy=True)

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        return b""

    def alive(self) -> bytes:
        return b""

    def end(self, usage: Usage, cost: AnswerCost | None) -> bytes:
        return b""

    def failed(self, error: GatewayError) -> bytes:
        return b""


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    """The request without what only an answer has: it is summed up without tools, in plain text."""
    kept = {name: value for name, value in body.items() if name not in _OF_ANSWERS}
    return {**kept, "store": False}


_OF_ANSWERS = frozenset(
    {"stream", "background", "store", "tools", "tool_choice", "parallel_tool_calls", "text", "top_logprobs", "include"}
)
