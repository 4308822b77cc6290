"""What OpenAI asks of a chat request's fields: their types and bounds, and which fields there are at all.

Each refusal is in OpenAI's words, so that software that reads them can be tried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.sandbox.chat.format_rules import check_format, check_tools
from gateway.sandbox.chat.history_rules import check_messages, check_says_json
from gateway.sandbox.chat.reasoning_rules import check_reasoning
from gateway.sandbox.chat.rule_words import Refusal, missing, need_items, wrong_type
from gateway.sandbox.wire.answers import Json, Role

_Check = Callable[[str, Any], None]

OPENAI_FAMILIES = ("chat-latest", "gpt-", "chatgpt-", "o1", "o3", "o4")
"""Beginnings of the names of OpenAI's own models; only they refuse fields that OpenAI does not know."""


def check_request(body: Json, role: Role, *, any_fields: bool = False) -> None:
    """Raises Refusal for the first field of a chat that OpenAI would refuse.

    ``role``: the backup, which stands for OpenAI itself, also refuses fields that it does not know; PiAPI passes them.
    ``any_fields``: it does not, as OpenRouter, and tools may be of any type.
    """
    check_fields(body, any_tools=any_fields)
    if role == "backup" and not any_fields and str(body["model"]).startswith(OPENAI_FAMILIES):
        check_names(body)
    check_reasoning(body, strict=role == "backup")


def check_fields(body: Json, *, any_tools: bool = False) -> None:
    """Raises Refusal for a field of the wrong type, out of bounds, or at odds with another one."""
    if not isinstance(body.get("model"), str):
        raise Refusal("you must provide a model parameter", None)
    if "messages" not in body:
        raise missing("messages")
    check_messages(body["messages"])
    for name, check in _CHECKS.items():
        if body.get(name) is not None:
            check(name, body[name])
    check_format(body.get("response_format"))
    check_tools(body, any_types=any_tools)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refusal("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise Refusal("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        words = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise Refusal(words, "max_tokens", "invalid_parameter_combination")
    if (body.get("response_format") or {}).get("type") == "json_object":
        check_says_json(body["messages"])


def check_names(body: Json) -> None:
    """Raises Refusal for a field that OpenAI does not have."""
    for name in body:
        if name not in _KNOWN:
            raise Refusal(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def _number(low: float, high: float) -> _Check:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(name, "a decimal", value)
        _check_bounds(name, value, low, high, "decimal")

    return check


def _whole(low: int, high: int) -> _Check:
    def check(name: str, value: Any) -> None:
        if type(value) is not int:
            raise wrong_type(name, "an integer", value)
        _check_bounds(name, value, low, high, "integer")

    return check


def _check_bounds(name: str, value: float, low: float, high: float, kind: str) -> None:
    if value < low:
        words = f"Invalid '{name}': {kind} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise Refusal(words, name, f"{kind}_below_min_value")
    if value > high:
        words = f"Invalid '{name}': {kind} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise Refusal(words, name, f"{kind}_above_max_value")


def _of(kind: type, expected: str) -> _Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            raise wrong_type(name, expected, value)

    return check


def _stop(name: str, value: Any) -> None:
    if isinstance(value, str):
        return
    for place, one in enumerate(need_items(value, name, "one of a string or an array of strings", most=4)):
        if not isinstance(one, str):
            raise wrong_type(f"{name}[{place}]", "a string", one)


_MOST, _ANY = 2**63 - 1, 2**64  # JSON has no greater ones here
_TEXT, _TRUTH, _OBJECT = _of(str, "a string"), _of(bool, "a boolean"), _of(dict, "an object")

_CHECKS: Mapping[str, _Check] = {
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "max_completion_tokens": _whole(1, _ANY),
    "max_tokens": _whole(1, _ANY),
    "n": _whole(1, 128),
    "seed": _whole(-_MOST - 1, _MOST),
    "top_logprobs": _whole(0, 20),
    "stop": _stop,
    "logprobs": _TRUTH,
    "parallel_tool_calls": _TRUTH,
    "store": _TRUTH,
    "stream": _TRUTH,
    "audio": _OBJECT,
    "logit_bias": _OBJECT,
    "metadata": _OBJECT,
    "stream_options": _OBJECT,
    "web_search_options": _OBJECT,
    "modalities": _of(list, "an array of strings"),
    "prompt_cache_key": _TEXT,
    "reasoning_effort": _TEXT,
    "safety_identifier": _TEXT,
    "service_tier": _TEXT,
    "user": _TEXT,
    "verbosity": _TEXT,
}

_KNOWN = frozenset(
    {*_CHECKS, "function_call", "functions", "messages", "model", "moderation", "prediction", "prompt_cache_options"}
    | {"prompt_cache_retention", "response_format", "tool_choice", "tools"}
)
