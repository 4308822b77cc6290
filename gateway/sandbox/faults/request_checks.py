"""An upstream that looks at every field of a chat as OpenAI does, and refuses what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.faults.playback import ScenarioContext, play_honestly, play_reply
from gateway.sandbox.wire.answers import Reply
from gateway.sandbox.wire.errors import error_reply
from gateway.sandbox.wire.steps import Step

_FIELDS = frozenset(
    {
        *(
            "audio",
            "frequency_penalty",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "max_completion_tokens",
        ),
        *("max_tokens", "messages", "metadata", "modalities", "model", "n", "parallel_tool_calls", "prediction"),
        *(
            "presence_penalty",
            "prompt_cache_key",
            "reasoning_effort",
            "response_format",
            "seed",
            "service_tier",
            "stop",
        ),
        *("store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user"),
        *("verbosity", "web_search_options"),
    }
)
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_HIGHEST_TEMPERATURE = 2


def strict_fields(context: ScenarioContext) -> Iterator[Step]:
    """OpenAI's 400 for the first field that is unknown or wrong, in its words; the honest answer if there is none."""
    problem = _problem(orjson.loads(context.request.body))
    yield from play_honestly(context) if problem is None else play_reply(context, problem)


def _problem(body: Any) -> Reply | None:
    if not isinstance(body, dict):
        return None  # the honest answer says what is wrong
    for name in body:
        if name not in _FIELDS:
            return _refusal("unknown_parameter", f"Unknown parameter: '{name}'.", name)
    temperature = body.get("temperature")
    if temperature is not None and type(temperature) not in (int, float):
        return _refusal("invalid_type", "Invalid type for 'temperature': expected a decimal.", "temperature")
    if temperature is not None and temperature > _HIGHEST_TEMPERATURE:
        words = "Invalid 'temperature': decimal above maximum value. Expected a value <= 2."
        return _refusal("decimal_above_max_value", words, "temperature")
    messages = body.get("messages")
    for position, message in enumerate(messages if isinstance(messages, list) else ()):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _ROLES:
            words = f"Invalid value: {role!r}. Supported values are: {', '.join(_ROLES)}."
            return _refusal("invalid_value", words, f"messages[{position}].role")
    return None


def _refusal(code: str, words: str, param: str) -> Reply:
    return error_reply(400, code=code, message=f"Sandbox: {words}", param=param)
