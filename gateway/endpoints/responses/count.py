"""``POST /v1/responses/input_tokens``: how many tokens a request would send; counted here, and asked of no upstream."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.endpoints.responses.desk import ResponsesDesk
from gateway.runtime.off_loop import off_loop
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.request import RESPONSES_PATH
from gateway.wire.tokens import count_input

COUNT_PATH = RESPONSES_PATH + "/input_tokens"

_ANY_MODEL = "gpt-4o"
"""What a request without a model is counted for; the count does not depend on it."""


class CountInputTokens:
    """The handler of the route."""

    def __init__(self, desk: ResponsesDesk) -> None:
        self._desk = desk

    async def __call__(self, request: Request, client: Client) -> None:
        client.error_form = ResponsesErrors()
        desk = self._desk
        asked, key = await desk.read(request, _for_any_model)
        with desk.admission.limited(key):
            chat = (await desk.as_chat(asked, key)).chat
            count = desk.admission.services.tokenizer.count
            tokens = await off_loop(count_input, chat.body, count) if chat.slow else count_input(chat.body, count)
        body = orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})
        await client.respond(200, ((b"x-gateway-attempts", b"0"),), body)


def _for_any_model(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "model": body.get("model") or _ANY_MODEL, "stream": False, "background": False}
