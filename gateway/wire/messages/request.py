"""A request of Anthropic's Messages API, read as a chat.

It is checked where this gateway acts on it; a field that is newer than this file goes to the upstream as it came. What
a chat cannot carry over is refused by name, and what has no effect is noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import invalid_request
from gateway.wire.field_checks import (
    Check,
    a_boolean,
    a_model_name,
    a_string,
    an_array,
    an_integer,
    an_object,
    each,
    missing,
    wrong_value,
)
from gateway.wire.messages.blocks import chat_messages, unknown_in
from gateway.wire.messages.tools import chat_choice, chat_tools

MESSAGES_PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"


def _messages(value: Any, param: str) -> None:
    an_array(value, param)
    if not value:
        raise wrong_value(param, "it must hold at least one message")
    for place, message in enumerate(value):
        an_object(message, f"{param}[{place}]")


_CHECKED: Mapping[str, Check] = {
    "model": a_model_name,
    "messages": _messages,
    "max_tokens": an_integer(0),  # 0 fills Anthropic's cache and writes nothing
    "stream": a_boolean,
    "stop_sequences": each(a_string),
    "metadata": an_object,
    "thinking": an_object,
    "output_config": an_object,
    "output_format": an_object,
}
"""What the gateway acts on itself."""

_WITHOUT_EFFECT = (
    *("billing_policy", "cache_control", "context_management", "diagnostics", "fallback_credit_token", "fallbacks"),
    *("inference_geo", "metadata", "speed", "user_profile_id", "workspace_id"),
)
"""Fields that mean nothing to a chat and can be done without."""

_IMPOSSIBLE = {
    "mcp_servers": "Anthropic's own servers would call them.",
    "container": "Containers are kept at Anthropic.",
    "thread": "Threads are kept at Anthropic.",
    "compaction": "Anthropic's own models make such a summary.",
}

_NOT_PASSED = frozenset(
    {*_CHECKED, *_WITHOUT_EFFECT, *_IMPOSSIBLE, "system", "tools", "tool_choice", "service_tier", "n", "stream_options"}
)
"""Every other field is a chat's as well, or not known here."""

_TIERS = {"auto": "auto", "standard_only": "default"}

_CANNOT_REASON = re.compile(r"(?:openai/)?(?:chatgpt-4o|gpt-4o|gpt-4\.[15]|gpt-4(?:-|$)|gpt-3\.5)")
"""The names, in small letters, of OpenAI's models that refuse an effort."""

_THINKING = ("enabled", "adaptive", "disabled")
_EFFORTS = ((4096, "low"), (16384, "medium"))
"""Budgets of thinking, in tokens, and the effort of a model that is not given budgets, up to there."""


@dataclass(slots=True)
class MessagesRequest:
    """A request that has been checked.

    ``chat``: the document of the same as a chat. ``stops``: the sequences that end an answer. ``ignored``: what has no
    effect.
    """

    model: str
    stream: bool
    chat: dict[str, Any]
    stops: tuple[str, ...]
    ignored: list[str]

    @property
    def offered(self) -> frozenset[str]:
        """The names of its tools."""
        return frozenset(tool["function"]["name"] for tool in self.chat.get("tools", ()))


def read_request(body: dict[str, Any], *, counting: bool = False) -> MessagesRequest:
    """A request as a chat. Null stands for an absent field. ``counting``: its tokens are all that is asked for.

    Raises ClientError 400 with ``param`` naming the field that is wrong, or that a chat has no place for.
    """
    check_request(body, counting=counting)
    _refuse_impossible(body)
    ignored: set[str] = {name for name in _WITHOUT_EFFECT if body.get(name)}
    chat = {name: value for name, value in body.items() if name not in _NOT_PASSED and value is not None}
    chat["model"] = body["model"]
    chat["messages"] = chat_messages(body, ignored)
    if body.get("stream"):
        chat["stream"] = True
    _bound(chat, body)
    if body.get("tools"):
        chat["tools"] = chat_tools(body["tools"], ignored)
    if body.get("tool_choice") is not None:
        choice = chat_choice(body["tool_choice"], ignored)
        if chat.get("tools"):
            chat |= choice
    if (tier := body.get("service_tier")) is not None:
        chat["service_tier"] = _TIERS.get(tier, tier) if isinstance(tier, str) else tier
    _think(chat, body, ignored)
    _shape(chat, body, ignored)
    return MessagesRequest(
        body["model"],
        bool(body.get("stream")),
        chat,
        tuple(body.get("stop_sequences") or ()),
        sorted(ignored),
    )


def check_request(body: Mapping[str, Any], *, counting: bool = False) -> None:
    """Check what is acted on, be it relayed or asked as a chat. ``counting``: as above.

    Raises ClientError 400 with ``param`` naming the field.
    """
    required = ("model", "messages") if counting else ("model", "messages", "max_tokens")
    for name, check in _CHECKED.items():
        if (value := body.get(name)) is not None:
            check(value, name)
        elif name in required:
            raise missing(name)


def _refuse_impossible(body: Mapping[str, Any]) -> None:
    for name, why in _IMPOSSIBLE.items():
        if body.get(name):
            raise invalid_request(
                f"Unsupported parameter: '{name}'. {why}",
                param=name,
                code="unsupported_parameter",
            )
    if body.get("n") not in (None, 1):
        raise invalid_request(
            "Unsupported parameter: 'n'. A message is one answer.", param="n", code="unsupported_parameter"
        )


def _is_claude(model: str) -> bool:
    return "claude" in model.lower()


def _bound(chat: dict[str, Any], body: Mapping[str, Any]) -> None:
    """OpenAI's newer models know the bound of the output by another name; Claude's, asked by chat, by its own."""
    if (most := body.get("max_tokens")) is not None:
        if most == 0:
            raise wrong_value("max_tokens", "it must be at least 1 for a model that is asked as a chat")
        chat["max_tokens" if _is_claude(body["model"]) else "max_completion_tokens"] = most
    if stops := body.get("stop_sequences"):
        chat["stop"] = stops


def _think(chat: dict[str, Any], body: Mapping[str, Any], ignored: set[str]) -> None:
    """Claude models take ``thinking`` by chat as well; of others an effort can be asked that comes near the budget.

    Claude Code names an effort to every model; one that cannot reason would refuse the whole request for it.
    """
    thinking = body.get("thinking")
    effort = (body.get("output_config") or {}).get("effort")
    if effort is not None and _CANNOT_REASON.match(body["model"].lower()):
        ignored.add("output_config.effort")
    elif effort is not None:
        chat["reasoning_effort"] = effort
    ignored.update(unknown_in("output_config", body.get("output_config") or {}, ("effort", "format")))
    if thinking is None:
        return
    if thinking.get("type") is None:
        raise missing("thinking.type")
    if _is_claude(body["model"]):
        chat["thinking"] = thinking
        return
    ignored.update(unknown_in("thinking", thinking, ("type", "budget_tokens")))
    if thinking["type"] not in _THINKING:
        ignored.add("thinking")
    elif thinking["type"] == "enabled" and effort is None:
        budget = thinking.get("budget_tokens")
        if type(budget) is not int:
            raise (
                missing("thinking.budget_tokens")
                if budget is None
                else wrong_value("thinking.budget_tokens", "it must be an integer")
            )
        chat["reasoning_effort"] = next((name for most, name in _EFFORTS if budget <= most), "high")


def _shape(chat: dict[str, Any], body: Mapping[str, Any], ignored: set[str]) -> None:
    """The form of the answer: a schema."""
    where = "output_config.format" if (body.get("output_config") or {}).get("format") is not None else "output_format"
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if form is None:
        return
    an_object(form, where)
    if form.get("type") != "json_schema":
        raise wrong_value(f"{where}.type", "it must be json_schema")
    if form.get("schema") is None:
        raise missing(f"{where}.schema")
    ignored.update(unknown_in(where, form, ("type", "schema")))
    schema = {"name": "answer", "schema": form["schema"], "strict": True}
    chat["response_format"] = {"type": "json_schema", "json_schema": schema}
