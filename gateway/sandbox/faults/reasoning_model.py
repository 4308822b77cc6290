"""A reasoning model of OpenAI's, which refuses what models before it took, in OpenAI's words.

It answers well what asks for none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.faults.playback import ScenarioContext, play_honestly, play_reply
from gateway.sandbox.wire.answers import Json, json_reply
from gateway.sandbox.wire.steps import Step


def refuses_max_tokens(context: ScenarioContext) -> Iterator[Step]:
    """Only ``max_tokens`` is refused."""
    body = _json(context)
    return _answered(context, _of_max_tokens() if body.get("max_tokens") is not None else None)


def reasoning_model(context: ScenarioContext) -> Iterator[Step]:
    """All that GPT-6 refuses on /v1/chat/completions: ``max_tokens``, ``stop``, a temperature, function tools."""
    return _answered(context, _refusal(_json(context)))


def _answered(context: ScenarioContext, refusal: Json | None) -> Iterator[Step]:
    if refusal is None:
        yield from play_honestly(context)
    else:
        yield from play_reply(context, json_reply(400, refusal))


def _refusal(body: Json) -> Json | None:
    if body.get("max_tokens") is not None:
        return _of_max_tokens()
    if body.get("stop") is not None:
        return _error(
            "Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter"
        )
    temperature = body.get("temperature")
    if temperature is not None and temperature != 1:
        words = (
            f"Unsupported value: 'temperature' does not support {temperature} with this model. "
            "Only the default (1) value is supported."
        )
        return _error(words, "temperature", "unsupported_value")
    if body.get("tools") and body.get("reasoning_effort") != "none":
        words = (
            f"Function tools with reasoning_effort are not supported for {body.get('model')} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        return _error(words, "reasoning_effort", None)
    return None


def _of_max_tokens() -> Json:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    return _error(words, "max_tokens", "unsupported_parameter")


def _error(message: str, param: str, code: str | None) -> Json:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return {"error": error, "sandbox": "a simulated refusal"}


def _json(context: ScenarioContext) -> Json:
    try:
        body: Any = orjson.loads(context.request.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
