"""What a client may ask of POST /v1/chat/completions, and the body that asks an upstream for it.

The fields are OpenAI's (the parameters of ``chat.completions.create`` in openai-python 3.54) and two more, which
Claude models take. Anything else at the top level is refused: no field may choose a host, a key, a header or a
callback, and a misspelt parameter that is silently dropped is worse than an error. What stands inside the messages is
data and passes as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import ClientError, invalid_request, shorten

MAX_CHOICES = 128
MAX_MODEL_NAME = 256
"""Characters. Names are kept, logged and shown, so they are held to what the configuration takes for a name."""

_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_JSON_NAMES: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}

Check = Callable[[Any, str], None]


@dataclass(slots=True)
class ChatRequest:
    """A request that has been checked.

    ``include_usage``: whether the client asked for a usage chunk. ``n``: how many choices.
    ``max_output_tokens``: the client's bound for each choice, None without one. ``body``: the request as sent; it is
    shared by all attempts and never changed.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    body: dict[str, Any]


def parse_chat_request(body: dict[str, Any]) -> ChatRequest:
    """Check the request a client sent. Null stands for an absent field.

    Raises ClientError 400 with ``param`` naming the field and ``code`` one of ``missing_required_parameter``,
    ``invalid_type``, ``invalid_value``, ``unknown_parameter``.
    """
    for name, value in body.items():
        check = _FIELDS.get(name)
        if check is None:
            raise _unknown(name)
        if value is not None:
            check(value, name)
    for name in ("model", "messages"):
        if body.get(name) is None:
            raise _missing(name)
    stream = body.get("stream") or False
    options = body.get("stream_options")
    if options is not None and not stream:
        raise _value("stream_options", "it is only allowed when 'stream' is true")
    limits = [limit for name in ("max_completion_tokens", "max_tokens") if (limit := body.get(name)) is not None]
    return ChatRequest(
        model=body["model"],
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        n=body.get("n") or 1,
        max_output_tokens=max(limits) if limits else None,
        body=body,
    )


def upstream_body(request: ChatRequest, model: str) -> bytes:
    """The body for an upstream: its name of the model, always streamed, always with a usage chunk at the end."""
    options = request.body.get("stream_options") or {}
    return orjson.dumps(
        {
            **request.body,
            "model": model,
            "stream": True,
            "stream_options": {**options, "include_usage": True},
        }
    )


def _missing(param: str) -> ClientError:
    return invalid_request(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def _type(param: str, expected: str, value: Any) -> ClientError:
    return invalid_request(
        f"Invalid type for '{param}': expected {expected}, but got {_JSON_NAMES[type(value)]} instead.",
        param=param,
        code="invalid_type",
    )


def _value(param: str, rule: str) -> ClientError:
    return invalid_request(f"Invalid value for '{param}': {rule}.", param=param, code="invalid_value")


def _unknown(name: str) -> ClientError:
    shown = shorten(name)
    return invalid_request(
        f"Unknown parameter: '{shown}'. This gateway passes on the parameters of OpenAI's chat completions only.",
        param=shown,
        code="unknown_parameter",
    )


def _boolean(value: Any, param: str) -> None:
    if type(value) is not bool:
        raise _type(param, "a boolean", value)


def _string(value: Any, param: str) -> None:
    if type(value) is not str:
        raise _type(param, "a string", value)


def _model(value: Any, param: str) -> None:
    _string(value, param)
    if not value:
        raise _value(param, "it must not be empty")
    if len(value) > MAX_MODEL_NAME:
        raise _value(param, f"it must have at most {MAX_MODEL_NAME} characters")
    if " " in value or not value.isprintable():  # every blank but the space is unprintable
        raise _value(param, "it must not hold blanks or characters that cannot be printed")


def _object(value: Any, param: str) -> None:
    if type(value) is not dict:
        raise _type(param, "an object", value)


def _array(value: Any, param: str) -> None:
    if type(value) is not list:
        raise _type(param, "an array", value)


def _integer(low: int, high: int | None = None) -> Check:
    def check(value: Any, param: str) -> None:
        if type(value) is not int:
            raise _type(param, "an integer", value)
        if value < low or (high is not None and value > high):
            raise _value(param, f"it must be at least {low}" + ("" if high is None else f" and at most {high}"))

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any, param: str) -> None:
        if type(value) is not float and type(value) is not int:
            raise _type(param, "a number", value)
        if not (math.isfinite(value) and low <= value <= high):
            raise _value(param, f"it must be a number from {low:g} to {high:g}")

    return check


def _each(check: Check) -> Check:
    def check_all(value: Any, param: str) -> None:
        _array(value, param)
        for position, item in enumerate(value):
            check(item, f"{param}[{position}]")

    return check_all


def _string_or(other: Check, expected: str) -> Check:
    """A string, or what ``other`` accepts; ``expected`` names both."""

    def check(value: Any, param: str) -> None:
        if type(value) is str:
            return
        if type(value) is not list and type(value) is not dict:
            raise _type(param, expected, value)
        other(value, param)

    return check


def _with(**required: Check) -> Check:
    """An object that has these fields."""

    def check(value: Any, param: str) -> None:
        _object(value, param)
        for name, check_field in required.items():
            if value.get(name) is None:
                raise _missing(f"{param}.{name}")
            check_field(value[name], f"{param}.{name}")

    return check


def _stream_options(value: Any, param: str) -> None:
    _object(value, param)
    for name in ("include_usage", "include_obfuscation"):
        if value.get(name) is not None:
            _boolean(value[name], f"{param}.{name}")


def _logit_bias(value: Any, param: str) -> None:
    _object(value, param)
    for token, bias in value.items():
        _bias(bias, f"{param}.{token[:64]}")


def _tool(value: Any, param: str) -> None:
    _named_type(value, param)
    if value["type"] == "function":
        _function_tool(value, param)


def _part(value: Any, param: str) -> None:
    """One part of a message's content; kinds that OpenAI does not know are the upstream's business."""
    _named_type(value, param)
    check = _PARTS.get(value["type"])
    if check is not None:
        check(value, param)


def _tool_call(value: Any, param: str) -> None:
    _object(value, param)
    if value.get("function") is not None:
        _called_function(value["function"], f"{param}.function")


def _message(value: Any, param: str) -> None:
    _with_role(value, param)
    if value["role"] not in _ROLES:
        raise _value(f"{param}.role", f"it must be one of {', '.join(sorted(_ROLES))}")
    for name, field in value.items():
        if field is not None and (check := _MESSAGE_FIELDS.get(name)) is not None:
            check(field, f"{param}.{name}")


def _messages(value: Any, param: str) -> None:
    _array(value, param)
    if not value:
        raise _value(param, "it must hold at least one message")
    for position, message in enumerate(value):
        _message(message, f"{param}[{position}]")


_bias = _number(-100, 100)
_named_type = _with(type=_string)
_with_role = _with(role=_string)
_function_tool = _with(function=_with(name=_string))
_called_function = _with(name=_string, arguments=_string)
_strings = _each(_string)

_PARTS: dict[str, Check] = {
    "text": _with(text=_string),
    "image_url": _with(image_url=_with(url=_string)),
    "input_audio": _with(input_audio=_object),
    "file": _with(file=_object),
    "refusal": _with(refusal=_string),
}

_MESSAGE_FIELDS: dict[str, Check] = {
    "content": _string_or(_each(_part), "a string or an array of content parts"),
    "refusal": _string,
    "name": _string,
    "tool_call_id": _string,
    "tool_calls": _each(_tool_call),
    "function_call": _called_function,
    "audio": _object,
}

_FIELDS: dict[str, Check] = {
    "audio": _object,
    "frequency_penalty": _number(-2, 2),
    "function_call": _string_or(_with(name=_string), "a string or an object"),
    "functions": _each(_with(name=_string)),
    "logit_bias": _logit_bias,
    "logprobs": _boolean,
    "max_completion_tokens": _integer(1),
    "max_tokens": _integer(1),
    "messages": _messages,
    "metadata": _object,
    "modalities": _strings,
    "model": _model,
    "moderation": _object,
    "n": _integer(1, MAX_CHOICES),
    "parallel_tool_calls": _boolean,
    "prediction": _object,
    "presence_penalty": _number(-2, 2),
    "prompt_cache_key": _string,
    "prompt_cache_options": _object,
    "prompt_cache_retention": _string,
    "reasoning_effort": _string,
    "response_format": _named_type,
    "safety_identifier": _string,
    "seed": _integer(-(1 << 63), (1 << 63) - 1),
    "service_tier": _string,
    "stop": _string_or(_strings, "a string or an array of strings"),
    "store": _boolean,
    "stream": _boolean,
    "stream_options": _stream_options,
    "temperature": _number(0, 2),
    "tool_choice": _string_or(_named_type, "a string or an object"),
    "tools": _each(_tool),
    "top_logprobs": _integer(0, 20),
    "top_p": _number(0, 1),
    "user": _string,
    "verbosity": _string,
    "web_search_options": _object,
    # Extended thinking through OpenAI's protocol: https://docs.anthropic.com/en/api/openai-sdk
    "thinking": _object,
    # A sampling parameter of Anthropic's Messages API that OpenAI's does not have.
    "top_k": _integer(0),
}

PARAMETERS = frozenset(_FIELDS)
"""Every top-level field a client may send."""
