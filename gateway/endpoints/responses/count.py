"""``POST /v1/responses/input_tokens``: how many tokens a request would send.

They are counted here, and of no upstream asked, but for a request that only a relay can have.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from gateway.core.errors import ClientError
from gateway.core.types import VirtualKey
from gateway.endpoints.responses.desk import Document, ResponsesDesk
from gateway.endpoints.responses.relay import ResponsesRelay
from gateway.runtime.off_loop import off_loop
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.chat_request import ChatRequest
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.request import RESPONSES_PATH
from gateway.wire.tokens import count_input

COUNT_PATH = RESPONSES_PATH + "/input_tokens"

_ANY_MODEL = "gpt-4o"
"""What a request without a model is counted for; the count does not depend on it."""


class CountInputTokens:
    """The handler of the route."""

    def __init__(self, desk: ResponsesDesk, relay: ResponsesRelay) -> None:
        self._desk = desk
        self._relay = relay

    async def __call__(self, request: Request, client: Client) -> None:
        client.error_form = ResponsesErrors()
        desk = self._desk
        document, key = await desk.document(request, _with_any_model)
        async with desk.admission.limited(key):
            relayed = await self._relay.read(request, document, key)
            chat = (
                None
                if relayed is not None and relayed.pin is not None
                else await self._as_chat(request, document, key, refuses=relayed is None)
            )
            if chat is None:
                assert relayed is not None
                await self._relay.count(request, client, relayed)
                return
            count = desk.admission.services.tokenizer.count
            tokens = await off_loop(count_input, chat.body, count) if chat.slow else count_input(chat.body, count)
        body = orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})
        await client.respond(200, ((b"x-gateway-attempts", b"0"),), body)

    async def _as_chat(
        self, request: Request, document: Document, key: VirtualKey, *, refuses: bool
    ) -> ChatRequest | None:
        """The request as a chat. What no chat can have raises ClientError if it ``refuses`` that, else it is None."""
        desk = self._desk
        whole = replace(document, fields={**document.fields, "stream": False, "background": False})
        try:
            return (await desk.as_chat(await desk.asked(request, whole), key)).chat
        except ClientError:
            if refuses:
                raise
            return None


def _with_any_model(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "model": body.get("model") or _ANY_MODEL}
