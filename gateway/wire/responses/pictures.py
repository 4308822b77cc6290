"""The built-in tool ``image_generation``: a function for the chat, and orders for this gateway's picture routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from gateway.wire.answer_cost import AnswerCost
from gateway.wire.field_checks import Check, a_model_name, a_string, an_integer, an_object, one_of, wrong_value
from gateway.wire.responses.answer import TOOL_OF_PICTURES

DEFAULT_MODEL = "gpt-image-2"
"""What makes pictures where neither the tool nor the configuration names a model."""

_OF_ITEMS = ("size", "quality", "background", "output_format", "revised_prompt")

_CHECKED: Mapping[str, Check] = {
    "model": a_model_name,
    "action": one_of("auto", "generate", "edit"),
    "partial_images": an_integer(0, 3),
    "input_image_mask": an_object,
}
_OWN = frozenset({"type", *_CHECKED})
"""Fields of the tool that are no fields of the Images API."""


@dataclass(frozen=True, slots=True)
class PictureTool:
    """The tool as it was offered. ``fields``: those that go to the Images API as they are. ``mask``: its link."""

    model: str | None
    action: str
    partial_images: int
    mask: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """One call of the tool. ``edit``: the newest picture of the conversation is to be changed."""

    prompt: str
    edit: bool


def read_picture_tool(tool: Mapping[str, Any], where: str) -> PictureTool:
    """Raises ClientError 400 with ``param`` naming the field."""
    for name, check in _CHECKED.items():
        if (value := tool.get(name)) is not None:
            check(value, f"{where}.{name}")
    mask = tool.get("input_image_mask") or {}
    link = mask.get("image_url")
    if link is not None:
        a_string(link, f"{where}.input_image_mask.image_url")
    elif mask:
        raise wrong_value(f"{where}.input_image_mask", "it must have an 'image_url'")
    return PictureTool(
        model=tool.get("model"),
        action=tool.get("action") or "auto",
        partial_images=tool.get("partial_images") or 0,
        mask=link,
        fields={name: value for name, value in tool.items() if name not in _OWN and value is not None},
    )


def picture_function(tool: PictureTool) -> dict[str, Any]:
    """The tool as a chat is offered it."""
    properties: dict[str, Any] = {
        "prompt": {"type": "string", "description": "What the picture shows, in full."},
    }
    if tool.action == "auto":
        words = "True to change the newest picture of the conversation instead of making a new one."
        properties["edit"] = {"type": "boolean", "description": words}
    parameters = {"type": "object", "properties": properties, "required": ["prompt"]}
    description = "Makes a picture, or changes one, and shows it to the user."
    function = {"name": TOOL_OF_PICTURES, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def order_of(arguments: str, tool: PictureTool) -> PictureOrder:
    """What a call orders. What is no JSON is the prompt itself."""
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        given = {"prompt": arguments}
    if not isinstance(given, dict):
        given = {"prompt": arguments}
    prompt = given.get("prompt")
    edit = tool.action == "edit" or (tool.action == "auto" and given.get("edit") is True)
    return PictureOrder(prompt if isinstance(prompt, str) else arguments, edit)


def images_fields(order: PictureOrder, tool: PictureTool, model: str, sources: list[str]) -> dict[str, Any]:
    """The order as a request to the Images API; an edit if there is a picture to change.

    ``sources``: links of the conversation's pictures, newest last.
    """
    fields = {**tool.fields, "model": model, "prompt": order.prompt, "n": 1}
    if order.edit and sources:
        fields["image"] = [sources[-1]]
        if tool.mask is not None:
            fields["mask"] = tool.mask
    return {**fields, "response_format": "b64_json"}


def pictures_in(messages: list[Any]) -> list[str]:
    """The links of the pictures in a chat's messages, oldest first."""
    links = []
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            picture = part.get("image_url") if isinstance(part, dict) else None
            if isinstance(picture, dict) and isinstance(link := picture.get("url"), str):
                links.append(link)
    return links


def made_item(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an item says of its picture. ``document``: a whole answer of the Images API, or the last event of its
    stream; None if it has no picture.
    """
    data = document.get("data", [document])
    picture = data[0] if data and (data[0].get("b64_json") or data[0].get("url")) else None
    if picture is None:
        return None
    beside = {**document, **picture}
    known = {name: beside[name] for name in _OF_ITEMS if beside.get(name) is not None}
    return {**known, "result": picture.get("b64_json") or picture.get("url")}


@dataclass(slots=True)
class PicturesTotal:
    """What the pictures of one response came to. ``cost``: US dollars; None as soon as one is not known."""

    cost: Decimal | None = Decimal(0)
    usage: dict[str, int] = field(default_factory=dict)

    def add(self, cost: str | None, usage: Any) -> None:
        """One more picture. ``usage``: as the Images API tells it."""
        self.cost = None if self.cost is None or cost is None else self.cost + Decimal(cost)
        if isinstance(usage, Mapping):
            details = usage.get("input_tokens_details")
            for name in ("input_tokens", "output_tokens", "total_tokens"):
                self.usage[name] = self.usage.get(name, 0) + _number(usage.get(name))
            for name in ("text_tokens", "image_tokens"):
                told = details.get(name) if isinstance(details, Mapping) else 0
                self.usage[name] = self.usage.get(name, 0) + _number(told)

    def with_chat(self, chat: AnswerCost | None) -> AnswerCost | None:
        """The cost of both, if it is to be told."""
        if chat is None:
            return None
        if chat.usd is None or self.cost is None:
            return AnswerCost(None)
        return AnswerCost(f"{(Decimal(chat.usd) + self.cost).normalize():f}")

    @property
    def more(self) -> dict[str, Any]:
        """The fields of the response that tell their usage."""
        if not self.usage:
            return {}
        tokens = {name: self.usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")}
        details = {name: self.usage[name] for name in ("text_tokens", "image_tokens")}
        image_gen = {**tokens, "input_tokens_details": details}
        return {"tool_usage": {"image_gen": image_gen, "web_search": {"num_requests": 0}}}


def _number(value: Any) -> int:
    return value if type(value) is int else 0
