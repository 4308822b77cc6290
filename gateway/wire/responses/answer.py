"""The response object of OpenAI's Responses API, its items and its usage.

Every field that the API has is there, as its SDKs and strict readers of the Open Responses specification expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.core.errors import GatewayError
from gateway.core.types import Usage
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.folded_arguments import as_value
from gateway.wire.writable import dump_json

TOOL_OF_PICTURES = "image_generation"
"""The type of OpenAI's tool that makes pictures, and what a chat calls it."""

_STOPPED = {"code": "server_error", "message": "The gateway was stopped while this response was made."}

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]

ENDED: frozenset[Status] = frozenset({"completed", "incomplete", "failed", "cancelled"})

UNDER_WAY: frozenset[Status] = frozenset({"queued", "in_progress"})

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""A chat's finish reasons that leave a response incomplete, and why."""

_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response says of what was asked, where nothing was."""


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What is known of a response before its answer.

    ``id``: begins with ``resp_``; the ids of its items are made of it. ``created_at``: Unix seconds.
    ``asked``: the fields that repeat what was asked. ``now``: Unix seconds.
    ``offered``: the names of the tools. ``spaced``: of those in a namespace the chat's name → namespace and name.
    ``searches``: the names of searches of tools. ``own``: those of tools that this gateway carries out itself.
    ``compacts``: the text is a summary, which is sealed. ``summarized``: thoughts are to stand in a summary.
    """

    id: str
    created_at: int
    model: str
    asked: Mapping[str, Any]
    now: Callable[[], float]
    offered: frozenset[str] = frozenset()
    spaced: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    searches: Set[str] = frozenset()
    own: Set[str] = frozenset()
    compacts: bool = False
    summarized: bool = False

    def named(self, name: str) -> dict[str, str]:
        """The name of a tool and, if it is in one, its namespace. ``name``: the chat's."""
        spaced = self.spaced.get(name)
        return {"name": name} if spaced is None else {"name": spaced[1], "namespace": spaced[0]}

    def item_id(self, kind: str, place: int) -> str:
        """The id of the item at this place. ``kind``: its prefix, such as ``msg``."""
        return f"{kind}_{self.id.removeprefix('resp_')}{place:02x}"


@dataclass(slots=True)
class ResponseState:
    """How far a response has come."""

    status: Status = "in_progress"
    output: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    reason: str | None = None
    model: str = ""
    service_tier: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


def response_object(facts: ResponseFacts, state: ResponseState) -> dict[str, Any]:
    """The response as it stands."""
    asked = {**_DEFAULTS, **{name: value for name, value in facts.asked.items() if value is not None}}
    if state.service_tier is not None:
        asked["service_tier"] = state.service_tier
    return {
        "id": facts.id,
        "object": "response",
        "created_at": facts.created_at,
        "status": state.status,
        "completed_at": int(facts.now()) if state.status == "completed" else None,
        "error": state.error,
        "incomplete_details": {"reason": state.reason} if state.reason is not None else None,
        "model": state.model or facts.model,
        "output": list(state.output),
        **asked,
        "usage": state.usage,
        **state.more,
    }


def usage_object(usage: Usage, cost: AnswerCost | None) -> dict[str, Any]:
    """The usage as Responses tell it. Only orjson can write it (wire/answer_cost.py)."""
    told = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return told if cost is None else cost.in_usage(told)


def error_object(error: GatewayError) -> dict[str, Any]:
    """What a failed response says of its error."""
    return {"code": error.code or error.type, "message": error.message}


def broken_off(response: dict[str, Any]) -> dict[str, Any]:
    """A response that was being made when the gateway was stopped, as it is afterwards: failed."""
    return {**response, "status": "failed", "error": _STOPPED, "output": left_off(response["output"])}


def left_off(output: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The items, of which no more will come."""
    return [
        {**item, "status": "incomplete"} if item.get("status") in ("in_progress", "generating") else item
        for item in output
    ]


def ending_of(finish_reason: str | None) -> tuple[Status, str | None]:
    """How a response ended by its chat's finish reason: its status and, if it is incomplete, why."""
    reason = _INCOMPLETE.get(finish_reason or "")
    return ("completed", None) if reason is None else ("incomplete", reason)


def message_item(id: str, status: str, content: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": list(content)}


def text_part(text: str, annotations: Sequence[Any] = (), logprobs: Sequence[Any] = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}


def refusal_part(refusal: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": refusal}


def reasoning_item(id: str, status: str, words: str | None, *, summarized: bool) -> dict[str, Any]:
    """A reasoning item. ``words``: None for one that has just begun."""
    item: dict[str, Any] = {"id": id, "type": "reasoning", "status": status, "summary": []}
    if not summarized:
        item["content"] = []
    if words is not None:
        part = {"type": "summary_text" if summarized else "reasoning_text", "text": words}
        item["summary" if summarized else "content"] = [part]
    return item


def call_item(
    id: str, status: str, kind: str, call_id: str, named: Mapping[str, Any], arguments: str
) -> dict[str, Any]:
    """A call of a function or of a custom tool (``kind``). ``named``: its name and, if it is in one, its namespace."""
    item = {"id": id, "status": status, "call_id": call_id, **named}
    if kind == "custom":
        return {**item, "type": "custom_tool_call", "input": arguments}
    return {**item, "type": "function_call", "arguments": arguments}


def search_item(id: str, status: str, call_id: str, arguments: str) -> dict[str, Any]:
    """A call for a search of tools, which the client carries out."""
    item = {"id": id, "type": "tool_search_call", "status": status, "call_id": call_id, "execution": "client"}
    return {**item, "arguments": as_value(arguments)}


def picture_item(id: str, link: str) -> dict[str, Any] | None:
    """A picture that a chat made, which stands in a response as one that was generated; None for a mere link."""
    head, _, data = link.partition(";base64,")
    if not head.startswith("data:image/") or not data:
        return None
    kind = head.removeprefix("data:image/")
    return {"id": id, "type": "image_generation_call", "status": "completed", "result": data, "output_format": kind}


def made_picture_item(id: str, status: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A picture that this gateway makes. ``fields``: what is known of it."""
    return {"id": id, "type": "image_generation_call", "status": status, "result": None, **fields}


def citation(note: Mapping[str, Any]) -> dict[str, Any]:
    """A chat's citation of a page as an annotation."""
    inner = note.get("url_citation")
    told = inner if isinstance(inner, dict) else note
    return {
        "type": "url_citation",
        "start_index": _number(told.get("start_index")),
        "end_index": _number(told.get("end_index")),
        "title": str(told.get("title") or ""),
        "url": str(told.get("url") or ""),
    }


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def as_stored(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The JSON of a response, or of items."""
    return dump_json(value, heavy=True)
