"""The fields of POST /v1/chat/completions, checked, and the body sent upstream for them.

The fields are OpenAI's (the parameters of ``chat.completions.create`` in openai-python 3.54) and two more, which Claude
models take. Any other top-level field is refused: no field may choose a host, a key, a header or a callback, and
dropping a misspelt parameter silently is worse than an error. The content of messages is data and is passed on as it
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.types import ALL_WISHES, Wish
from gateway.wire.field_checks import (
    Check,
    a_boolean,
    a_model_name,
    a_number,
    a_string,
    a_string_or,
    an_array,
    an_integer,
    an_object,
    an_object_with,
    each,
    missing,
    unknown,
    wrong_value,
)

CHAT_PATH = "/v1/chat/completions"
MAX_CHOICES = 128
_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})


@dataclass(slots=True)
class ChatRequest:
    """A request that has been checked.

    ``include_usage``: whether the client asked for a usage chunk.
    ``n``: how many choices.
    ``max_output_tokens``: the client's bound for each choice; None without one.
    ``body``: the request as sent; it is shared by all attempts and never changed.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    body: dict[str, Any]


def parse_chat_request(body: dict[str, Any]) -> ChatRequest:
    """Check a client's request. Null stands for an absent field.

    Raises ClientError 400 with ``param`` naming the field and ``code`` one of ``missing_required_parameter``,
    ``invalid_type``, ``invalid_value``, ``unknown_parameter``.
    """
    for name, value in body.items():
        check = _FIELDS.get(name)
        if check is None:
            raise unknown(name, "OpenAI's chat completions")
        if value is not None:
            check(value, name)
    for name in ("model", "messages"):
        if body.get(name) is None:
            raise missing(name)
    stream = body.get("stream") or False
    options = body.get("stream_options")
    if options is not None and not stream:
        raise wrong_value("stream_options", "it is only allowed when 'stream' is true")
    limits = [limit for name in ("max_completion_tokens", "max_tokens") if (limit := body.get(name)) is not None]
    return ChatRequest(
        model=body["model"],
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        n=body.get("n") or 1,
        max_output_tokens=max(limits) if limits else None,
        body=body,
    )


def upstream_body(request: ChatRequest, model: str, wishes: frozenset[Wish] = ALL_WISHES) -> bytes:
    """The body for an upstream: streamed, with a usage chunk at the end, unless it is known to refuse that.

    ``model``: the upstream's name of the model.
    ``wishes``: what to ask for even if the client did not; the rest stays as the client sent it.
    """
    body = {**request.body, "model": model}
    if Wish.STREAM in wishes:
        body["stream"] = True
    if Wish.STREAM_OPTIONS in wishes:
        body["stream_options"] = {**(request.body.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(body)


def _stream_options(value: Any, param: str) -> None:
    an_object(value, param)
    for name in ("include_usage", "include_obfuscation"):
        if value.get(name) is not None:
            a_boolean(value[name], f"{param}.{name}")


def _logit_bias(value: Any, param: str) -> None:
    an_object(value, param)
    for token, bias in value.items():
        _bias(bias, f"{param}.{token[:64]}")


def _tool(value: Any, param: str) -> None:
    _named_type(value, param)
    if value["type"] == "function":
        _function_tool(value, param)


def _part(value: Any, param: str) -> None:
    """Check one part of a message's content. Kinds that OpenAI does not know are left to the upstream."""
    _named_type(value, param)
    check = _PARTS.get(value["type"])
    if check is not None:
        check(value, param)


def _tool_call(value: Any, param: str) -> None:
    an_object(value, param)
    if value.get("function") is not None:
        _called_function(value["function"], f"{param}.function")


def _message(value: Any, param: str) -> None:
    _with_role(value, param)
    if value["role"] not in _ROLES:
        raise wrong_value(f"{param}.role", f"it must be one of {', '.join(sorted(_ROLES))}")
    for name, field in value.items():
        if field is not None and (check := _MESSAGE_FIELDS.get(name)) is not None:
            check(field, f"{param}.{name}")


def _messages(value: Any, param: str) -> None:
    an_array(value, param)
    if not value:
        raise wrong_value(param, "it must hold at least one message")
    for position, message in enumerate(value):
        _message(message, f"{param}[{position}]")


_bias = a_number(-100, 100)
_named_type = an_object_with(type=a_string)
_with_role = an_object_with(role=a_string)
_function_tool = an_object_with(function=an_object_with(name=a_string))
_called_function = an_object_with(name=a_string, arguments=a_string)
_strings = each(a_string)

_PARTS: dict[str, Check] = {
    "text": an_object_with(text=a_string),
    "image_url": an_object_with(image_url=an_object_with(url=a_string)),
    "input_audio": an_object_with(input_audio=an_object),
    "file": an_object_with(file=an_object),
    "refusal": an_object_with(refusal=a_string),
}

_MESSAGE_FIELDS: dict[str, Check] = {
    "content": a_string_or(each(_part), "a string or an array of content parts"),
    "refusal": a_string,
    "name": a_string,
    "tool_call_id": a_string,
    "tool_calls": each(_tool_call),
    "function_call": _called_function,
    "audio": an_object,
}

_FIELDS: dict[str, Check] = {
    "audio": an_object,
    "frequency_penalty": a_number(-2, 2),
    "function_call": a_string_or(an_object_with(name=a_string), "a string or an object"),
    "functions": each(an_object_with(name=a_string)),
    "logit_bias": _logit_bias,
    "logprobs": a_boolean,
    "max_completion_tokens": an_integer(1),
    "max_tokens": an_integer(1),
    "messages": _messages,
    "metadata": an_object,
    "modalities": _strings,
    "model": a_model_name,
    "moderation": an_object,
    "n": an_integer(1, MAX_CHOICES),
    "parallel_tool_calls": a_boolean,
    "prediction": an_object,
    "presence_penalty": a_number(-2, 2),
    "prompt_cache_key": a_string,
    "prompt_cache_options": an_object,
    "prompt_cache_retention": a_string,
    "reasoning_effort": a_string,
    "response_format": _named_type,
    "safety_identifier": a_string,
    "seed": an_integer(-(1 << 63), (1 << 63) - 1),
    "service_tier": a_string,
    "stop": a_string_or(_strings, "a string or an array of strings"),
    "store": a_boolean,
    "stream": a_boolean,
    "stream_options": _stream_options,
    "temperature": a_number(0, 2),
    "tool_choice": a_string_or(_named_type, "a string or an object"),
    "tools": each(_tool),
    "top_logprobs": an_integer(0, 20),
    "top_p": a_number(0, 1),
    "user": a_string,
    "verbosity": a_string,
    "web_search_options": an_object,
    # Extended thinking through OpenAI's protocol: https://docs.anthropic.com/en/api/openai-sdk
    "thinking": an_object,
    # A sampling parameter of Anthropic's Messages API that OpenAI's does not have.
    "top_k": an_integer(0),
}

CHAT_PARAMETERS = frozenset(_FIELDS)
"""Every top-level field a client may send."""
