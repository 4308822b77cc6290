"""The fields of POST /v1/chat/completions that this gateway acts on, checked, and the body sent upstream.

Every other field is the upstream's to judge: a field, a content part, a value newer than this file goes there as it
came, and the upstream's 400 is the answer. No field chooses a host, a key, a header or a callback of this gateway,
under any name; those by which some upstreams choose another model or place are withheld from an upstream unless
it is configured to get them.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from gateway.core import long_lists, long_texts
from gateway.core.types import ALL_WISHES, STEERING_FIELDS, Wish
from gateway.wire.field_checks import (
    Check,
    a_boolean,
    a_model_name,
    an_integer,
    an_object,
    missing,
    wrong_type,
    wrong_value,
)
from gateway.wire.usual_chat import UnusualPart, unusual_part
from gateway.wire.writable import dump_json

_LONG = 4 << 20
"""Bytes from which on a request is not written in one call: of less it takes 3 ms at most."""

CHAT_PATH = "/v1/chat/completions"
MAX_CHOICES = 128

# PiAPI's callback goes to no upstream under any configuration: it would be called on behalf of the gateway's own key.
_CALLBACK = "webhook_config"
_WITHHELD = (*STEERING_FIELDS, _CALLBACK)
_CONFIG = "config"
_CALLBACK_IN_CONFIG = f"{_CONFIG}.{_CALLBACK}"  # where PiAPI's tasks have it


@dataclass(slots=True)
class ChatRequest:
    """A request that has been checked.

    ``include_usage``: whether the client asked for a usage chunk.
    ``continuous_usage``: whether it asked for usage in every chunk (vLLM's ``continuous_usage_stats``).
    ``n``: how many choices.
    ``max_output_tokens``: the client's bound for each choice; None without one.
    ``body``: the request as sent; it is shared by all attempts and never changed.
    ``size``: bytes of the request, or more.
    ``slow``: whether others would wait while it is worked on, for its size or the number of its members.
    ``withheld``: the names in it that go to no upstream but to those that are configured to get them.
    ``long_texts``: whether a text in it may be megabytes long.
    ``unusual``: what is unlike most requests in it, as the client sent it.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    body: dict[str, Any]
    unusual: UnusualPart
    withheld: tuple[str, ...] = ()
    continuous_usage: bool = False
    size: int = 0
    slow: bool = False
    long_texts: bool = False
    _written: list[bytes] = field(default_factory=list, init=False, repr=False)  # not that of a request made from this

    def written(self) -> list[bytes]:
        """The body as JSON but for the fields that an upstream gets in its own way (``_OWN_WAY``), in pieces, the first
        of which is the bracket. It is written once for all attempts.

        Raises orjson.JSONEncodeError if it is nested too deeply.
        """
        if not self._written:
            fields = {name: value for name, value in self.body.items() if name not in _OWN_WAY}
            if self.size < _LONG:
                pieces = [orjson.dumps(fields)]
            else:
                pieces = long_texts.written(fields) if self.long_texts else long_lists.written(fields, self.size)
            self._written = [pieces[0][:1], pieces[0][1:], *pieces[1:]]
        return self._written


def parse_chat_request(
    body: dict[str, Any], size: int = 0, *, slow: bool = False, long_texts: bool = False
) -> ChatRequest:
    """Check a client's request. Null stands for an absent field.

    ``size``: bytes of the body that it was read from; 0 to count them. ``slow``, ``long_texts``: as in ``ChatRequest``.

    ``stream_options`` without ``stream`` are left out: clients send them always, and a whole answer has its usage.

    Raises ClientError 400 with ``param`` naming the field and ``code`` one of ``missing_required_parameter``,
    ``invalid_type``, ``invalid_value``.
    """
    for name, check in _CHECKED.items():
        if name in body and (value := body[name]) is not None:
            check(value, name)
        elif name in _REQUIRED:
            raise missing(name)
    stream = body.get("stream") or False
    options = body.get("stream_options")
    if options is not None and not stream:
        body = {name: value for name, value in body.items() if name != "stream_options"}
    unusual = unusual_part(body)
    limits = [body[name] for name in _LIMITS if name in body and body[name] is not None]
    return ChatRequest(
        model=body["model"],
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        n=body.get("n") or 1,
        max_output_tokens=max(limits) if limits else None,
        body=body,
        unusual=unusual,
        withheld=() if unusual.usual else _withheld(body),
        continuous_usage=bool(options and options.get("continuous_usage_stats")),
        size=size or len(dump_json(body)),
        slow=slow,
        long_texts=long_texts,
    )


def without_withheld(request: ChatRequest, passed: Set[str]) -> tuple[ChatRequest, str | None]:
    """The request as an upstream may get it, and the note for the client that names what was left out; None if nothing
    was.

    ``passed``: the fields that the upstream is configured to get although they steer.
    """
    if not request.withheld:
        return request, None
    left_out = [name for name in request.withheld if name not in passed or name == _CALLBACK]
    body = {name: value for name, value in request.body.items() if name not in left_out}
    if _CALLBACK_IN_CONFIG in left_out:
        kept = {name: value for name, value in body.pop(_CONFIG).items() if name != _CALLBACK}
        body |= {_CONFIG: kept} if kept else {}
    named = [name for name in left_out if name == _CALLBACK_IN_CONFIG or request.body[name] is not None]
    return replace(request, body=body), f"ignored: {', '.join(named)}" if named else None


def _withheld(body: dict[str, Any]) -> tuple[str, ...]:
    names = tuple(name for name in _WITHHELD if name in body)
    config = body.get(_CONFIG)
    return (*names, _CALLBACK_IN_CONFIG) if type(config) is dict and _CALLBACK in config else names


def upstream_body(request: ChatRequest, model: str, wishes: frozenset[Wish] = ALL_WISHES) -> bytes:
    """The body for an upstream: streamed, with a usage chunk at the end, unless it is known to refuse that.

    ``model``: the upstream's name of the model.
    ``wishes``: what to ask for even if the client did not; the rest stays as the client sent it.
    """
    fields: dict[str, Any] = {"model": model}
    for name in _STREAMING:
        if name in request.body:
            fields[name] = request.body[name]
    if Wish.STREAM in wishes:
        fields["stream"] = True
    if Wish.STREAM_OPTIONS in wishes:
        fields["stream_options"] = {**(request.body.get("stream_options") or {}), "include_usage": True}
    rest = request.written()
    if rest[1:] == [b"}"]:
        return orjson.dumps(fields)
    # Two objects become one: no name is in both. To join megabytes lets other threads run, as all of it is bytes.
    return b"".join((orjson.dumps(fields)[:-1], b",", *rest[1:]))


def unknown_fields(request: ChatRequest) -> list[str]:
    """The fields of the request that neither OpenAI's chat completions nor Claude's models have, but for those that are
    withheld in any case.
    """
    names = request.body.keys() - CHAT_PARAMETERS
    return sorted(name for name in names if name not in _WITHHELD and request.body[name] is not None)


def _stream_options(value: Any, param: str) -> None:
    an_object(value, param)
    if value.get("include_usage") is not None:
        a_boolean(value["include_usage"], f"{param}.include_usage")


def _messages(value: Any, param: str) -> None:
    if type(value) is not list:
        raise wrong_type(param, "an array", value)
    if not value:
        raise wrong_value(param, "it must hold at least one message")
    if {*map(type, value)} != {dict}:
        for position, message in enumerate(value):
            an_object(message, f"{param}[{position}]")


_STREAMING = ("stream", "stream_options")
_OWN_WAY = frozenset({"model", *_STREAMING})
_LIMITS = ("max_completion_tokens", "max_tokens")
_REQUIRED = ("model", "messages")
_CHECKED: dict[str, Check] = {
    "model": a_model_name,
    "messages": _messages,
    "n": an_integer(1, MAX_CHOICES),
    "max_completion_tokens": an_integer(1),
    "max_tokens": an_integer(1),
    "stream": a_boolean,
    "stream_options": _stream_options,
}
"""The fields that the gateway acts on itself."""

CHAT_PARAMETERS = frozenset(
    {
        *_CHECKED,
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "metadata"),
        *("modalities", "moderation", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier"),
        *("seed", "service_tier", "stop", "store", "temperature", "tool_choice", "tools", "top_logprobs", "top_p"),
        *("user", "verbosity", "web_search_options"),
        # Extended thinking through OpenAI's protocol: https://docs.anthropic.com/en/api/openai-sdk
        "thinking",
        # A sampling parameter of Anthropic's Messages API that OpenAI's does not have.
        "top_k",
    }
)
"""The fields whose meaning is known: OpenAI's (the parameters of ``chat.completions.create`` in openai-python 3.54) and
two more, which Claude models take. What they cost is known, too, and that an order for an image can do without them."""
