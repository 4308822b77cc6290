"""A request of OpenAI's Responses API, read as a chat.

It is checked where this gateway acts on it; a field that is newer than this file goes to the upstream as it came. What
a chat cannot carry over is refused by name, and what has no effect is noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import invalid_request, not_made_here
from gateway.wire.field_checks import (
    Check,
    a_boolean,
    a_model_name,
    a_string,
    an_integer,
    an_object,
    each,
    missing,
    one_of,
    wrong_value,
)
from gateway.wire.responses.answer import TOOL_OF_PICTURES
from gateway.wire.responses.compaction import COMPACT
from gateway.wire.responses.items import COMPACTION_TRIGGER, as_items, chat_messages, tools_in
from gateway.wire.responses.tools import ChatTools, chat_choice

RESPONSES_PATH = "/v1/responses"

_CHECKED: Mapping[str, Check] = {
    "model": a_model_name,
    "stream": a_boolean,
    "store": a_boolean,
    "background": a_boolean,
    "previous_response_id": a_string,
    "max_output_tokens": an_integer(1),
    "top_logprobs": an_integer(0, 20),
    "max_tool_calls": an_integer(0),
    "parallel_tool_calls": a_boolean,
    "include": each(a_string),
    "metadata": an_object,
    "reasoning": an_object,
    "text": an_object,
    "stream_options": an_object,
    "truncation": one_of("auto", "disabled"),
}
"""What the gateway acts on itself, or tells again in its answer."""

_REPEATED = (
    *("background", "frequency_penalty", "instructions", "max_output_tokens", "max_tool_calls", "metadata"),
    *("parallel_tool_calls", "presence_penalty", "previous_response_id", "prompt_cache_key", "prompt_cache_retention"),
    *("safety_identifier", "service_tier", "store", "temperature", "tool_choice", "tools", "top_logprobs", "top_p"),
    *("truncation", "user"),
)
"""Fields that the answer repeats as they were asked."""

_LOGPROBS = "message.output_text.logprobs"

_WITHOUT_EFFECT = (
    *("access_programs", "background_options", "client_metadata", "context_management", "image", "max_tool_calls"),
)
"""Fields that mean nothing to a chat and can be done without."""

_NOT_PASSED = frozenset(
    {
        *(_CHECKED.keys() - {"model"}),
        *_WITHOUT_EFFECT,
        *("input", "instructions", "conversation", "prompt", "tools", "tool_choice", "messages", "n"),
    }
)
"""Every other field is a chat's as well, or not known here."""

_OF_TEXT = frozenset({"format", "verbosity"})
_OF_STREAMS = frozenset({"include_obfuscation", "include_usage"})
_OF_REASONING = frozenset({"effort", "summary", "generate_summary", "context", "mode"})


@dataclass(slots=True)
class ResponsesRequest:
    """A request that has been checked.

    ``items``: its own input. ``asked``: the fields that the answer repeats. ``body``: as it was sent.
    ``chat``: it as a chat, without messages and tools. ``ignored``: what has no effect.
    ``summarized``: it asks for a summary of the model's thoughts.
    """

    model: str
    stream: bool
    store: bool
    background: bool
    previous: str | None
    items: list[Any]
    asked: dict[str, Any]
    body: dict[str, Any]
    chat: dict[str, Any]
    ignored: list[str]
    summarized: bool


@dataclass(slots=True)
class ChatDocument:
    """A request as the document of a chat.

    ``ignored``: what has no effect. ``compacts``: it asks for a summary of itself, and for no answer.
    """

    body: dict[str, Any]
    tools: ChatTools
    ignored: list[str]
    compacts: bool = False


def read_request(body: dict[str, Any], *, keeps: bool = True) -> ResponsesRequest:
    """Check a request. Null stands for an absent field. ``keeps``: whether answers are kept here at all.

    Raises ClientError 400 with ``param`` naming the field.
    """
    for name, check in _CHECKED.items():
        if (value := body.get(name)) is not None:
            check(value, name)
        elif name == "model":
            raise missing(name)
    _refuse_what_cannot_be(body)
    items = as_items(body.get("input"))
    previous, instructions = body.get("previous_response_id"), body.get("instructions")
    if not items and previous is None and not instructions:
        raise missing("input")
    background = bool(body.get("background"))
    store = keeps and body.get("store") is not False
    if background and not store:
        raise wrong_value(
            "background", "an answer that is made in the background is kept, so 'store' must not be false"
        )
    chat, ignored = _as_chat(body)
    return ResponsesRequest(
        model=body["model"],
        stream=bool(body.get("stream")),
        store=store,
        background=background,
        previous=previous,
        items=items,
        asked=_asked(body, store=store),
        body=body,
        chat=chat,
        ignored=ignored,
        summarized=_summary(body) is not None,
    )


def fields_that_count(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that an upstream may see, or that name what is kept here."""
    return {name: value for name, value in body.items() if name not in _WITHOUT_EFFECT}


def chat_document(request: ResponsesRequest, before: Sequence[Any], items: Sequence[Any]) -> ChatDocument:
    """The request as the document of a chat.

    ``before``: the items of the responses that it goes on from. ``items``: its own, references resolved.
    Raises ClientError 400 for a tool or an item that no chat can have.
    """
    placed = [*((item, "previous_response_id") for item in before)]
    placed += [(item, f"input[{place}]") for place, item in enumerate(items)]
    compacts = bool(items) and isinstance(items[-1], dict) and items[-1].get("type") == COMPACTION_TRIGGER
    if compacts:
        placed[-1] = ({"role": "user", "content": COMPACT}, placed[-1][1])
    body, tools = request.body, ChatTools(request.model)
    if body.get("tools") is not None and not compacts:
        tools.add(body["tools"], "tools")
    for more, where in () if compacts else tools_in(placed):
        tools.add(more, where)
    messages, left_out = chat_messages(placed, body.get("instructions"), request.model)
    if not messages:
        raise missing("input")
    ignored = [*request.ignored, *tools.ignored, *sorted(left_out)]
    chosen = {} if compacts else _chosen(body, tools.tools)
    return ChatDocument({**request.chat, **chosen, "messages": messages}, tools, ignored, compacts)


def _refuse_what_cannot_be(body: Mapping[str, Any]) -> None:
    if body.get("prompt") is not None:
        raise _unsupported("prompt", "Templates of prompts are kept at OpenAI; send the text itself as 'input'.")
    if (conversation := body.get("conversation")) is not None:
        id = conversation.get("id") if isinstance(conversation, dict) else conversation
        if isinstance(id, str):
            raise not_made_here("conversation", id, "conversation")
        raise _unsupported("conversation", "Conversations are not kept here: go on by 'previous_response_id'.")
    if body.get("messages") is not None:
        raise _unsupported("messages", "In the Responses API they are called 'input'.")
    if body.get("n") not in (None, 1):
        raise _unsupported("n", "A response is one answer.")


def _unsupported(param: str, instead: str) -> Exception:
    return invalid_request(f"Unsupported parameter: '{param}'. {instead}", param=param, code="unsupported_parameter")


def _as_chat(body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The request as a chat without messages and tools, and what has no effect."""
    chat = {name: value for name, value in body.items() if name not in _NOT_PASSED and value is not None}
    ignored = [name for name in _WITHOUT_EFFECT if body.get(name) and not _has_effect(name, body)]
    if body.get("stream") or body.get("background"):
        chat["stream"] = True
    if (most := body.get("max_output_tokens")) is not None:
        chat["max_completion_tokens"] = most
    _shape(chat, body)
    _reason(chat, body, ignored)
    _include(chat, body, ignored)
    if body.get("truncation") == "auto":
        ignored.append("truncation")
    if (body.get("stream_options") or {}).get("include_obfuscation"):
        ignored.append("stream_options.include_obfuscation")
    ignored += [f"stream_options.{name}" for name in body.get("stream_options") or {} if name not in _OF_STREAMS]
    return chat, ignored


def _chosen(body: Mapping[str, Any], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The tools, and which of them may be called. Chats without tools take neither a choice nor its manner."""
    choice = body.get("tool_choice")
    if choice is not None:
        choice, tools = chat_choice(choice, tools)
    if not tools:
        return {} if choice in (None, "auto", "none") else {"tool_choice": choice}
    chosen = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": body.get("parallel_tool_calls")}
    return {name: value for name, value in chosen.items() if value is not None}


def _has_effect(name: str, body: Mapping[str, Any]) -> bool:
    """Whether a field bounds the tool that this gateway carries out itself."""
    tools = body.get("tools")
    offered = isinstance(tools, list) and any(
        isinstance(one, dict) and one.get("type") == TOOL_OF_PICTURES for one in tools
    )
    return name == "max_tool_calls" and offered


def _shape(chat: dict[str, Any], body: Mapping[str, Any]) -> None:
    """``text``: the form of the answer."""
    text = body.get("text") or {}
    if (verbosity := text.get("verbosity")) is not None:
        chat["verbosity"] = verbosity
    _refuse_newer("text", text, _OF_TEXT)
    form = text.get("format")
    if form is None:
        return
    an_object(form, "text.format")
    kind = form.get("type")
    if kind is None:
        raise missing("text.format.type")
    if kind == "json_schema":
        for name in ("name", "schema"):
            if form.get(name) is None:
                raise missing(f"text.format.{name}")
        schema = {name: value for name, value in form.items() if name != "type" and value is not None}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif kind != "text" or form.keys() != {"type"}:
        chat["response_format"] = {**form}


def _reason(chat: dict[str, Any], body: Mapping[str, Any], ignored: list[str]) -> None:
    reasoning = body.get("reasoning") or {}
    if (effort := reasoning.get("effort")) is not None:
        chat["reasoning_effort"] = effort
    ignored += [f"reasoning.{name}" for name in ("context", "mode") if reasoning.get(name) is not None]
    _refuse_newer("reasoning", reasoning, _OF_REASONING)


def _refuse_newer(where: str, wishes: Mapping[str, Any], known: Set[str]) -> None:
    for name, value in wishes.items():
        if name not in known and value is not None:
            raise _unsupported(f"{where}.{name}", "A chat has no such wish.")


def _include(chat: dict[str, Any], body: Mapping[str, Any], ignored: list[str]) -> None:
    included = body.get("include") or []
    if body.get("top_logprobs"):
        chat["top_logprobs"] = body["top_logprobs"]
    if body.get("top_logprobs") or _LOGPROBS in included:
        chat["logprobs"] = True
    ignored += [f"include {name}" for name in dict.fromkeys(included) if name != _LOGPROBS]


def _summary(body: Mapping[str, Any]) -> Any:
    reasoning = body.get("reasoning") or {}
    return reasoning.get("summary") or reasoning.get("generate_summary")


def _asked(body: Mapping[str, Any], *, store: bool) -> dict[str, Any]:
    asked = {name: body[name] for name in _REPEATED if body.get(name) is not None}
    asked["store"] = store
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    asked["reasoning"] = {"effort": None, "summary": None, **reasoning}
    asked["text"] = {"format": {"type": "text"}, "verbosity": "medium"} | {
        name: value for name, value in text.items() if value is not None
    }
    if isinstance(asked.get("tools"), list):
        asked["tools"] = [_repeated(tool) for tool in asked["tools"]]
    return asked


def _repeated(tool: Any) -> Any:
    """A tool as the answer tells it again; what is none is refused where the tools are read."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}
