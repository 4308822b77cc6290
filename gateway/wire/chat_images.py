"""Reading a chat with an image model as an order for images."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.types import ImagesRequest
from gateway.wire.chat_request import CHAT_PARAMETERS, ChatRequest, unknown_fields
from gateway.wire.field_checks import a_string, an_object, missing, wrong_type, wrong_value
from gateway.wire.images_request import FLUX_FIELDS, MAX_PROMPT
from gateway.wire.source_images import MAX_IMAGES, image_from_url, too_many_images

CHAT_FLUX_FIELDS = frozenset(FLUX_FIELDS) - {"seed"}
"""Flux's fields that a chat with a Flux model may have. ``seed`` is a field of chat itself, and many clients always
send it."""


def flux_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Remove Flux's fields from a chat request's body, which is changed, and return them; null counts as not given."""
    if CHAT_FLUX_FIELDS.isdisjoint(body):
        return {}
    return {name: value for name in CHAT_FLUX_FIELDS & body.keys() if (value := body.pop(name)) is not None}


def images_from_chat(request: ChatRequest, flux: Mapping[str, Any] | None = None) -> ImagesRequest:
    """The order for one image: the text of the last user message is the prompt, its images are the source images.

    ``flux``: Flux's own fields; None for none.

    Earlier messages are ignored: joined to the prompt they would make one that the user did not write. Chat's other
    fields have no meaning here and are ignored, since chat clients send them with every request. What no chat has is
    refused: the order is made here, so no upstream would say that it is misspelt.

    Raises ClientError 400 naming ``messages`` or the part at fault, ``n`` if more than one choice is asked for, or an
    unknown field.
    """
    for name in unknown_fields(request):
        raise _unknown(name)
    if request.n != 1:
        raise wrong_value("n", "a chat with an image model has one choice; ask /v1/images/generations for several")
    parts = _last_user_parts(request.body["messages"])
    prompt = "\n".join(_text(part, param) for param, part in parts if part.get("type") == "text")
    if not prompt.strip():
        raise wrong_value("messages", "the last user message must have text, which is the prompt")
    if len(prompt) > MAX_PROMPT:
        raise wrong_value("messages", f"the last user message, the prompt, must have at most {MAX_PROMPT} characters")
    links = [_link(part, param) for param, part in parts if part.get("type") == "image_url"]
    if len(links) > MAX_IMAGES:
        raise too_many_images("messages")
    images = tuple(image_from_url(url, param) for url, param in links)
    return ImagesRequest(
        kind="edit" if images else "generation",
        model=request.model,
        prompt=prompt,
        stream=request.stream,
        images=images,
        flux=flux or {},
    )


def _last_user_parts(messages: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The parts of the last user message's content, each with the path of its field; empty without such a message."""
    for position in range(len(messages) - 1, -1, -1):
        if messages[position].get("role") == "user":
            return _parts(messages[position].get("content"), f"messages[{position}].content")
    return []


def _parts(content: Any, param: str) -> list[tuple[str, dict[str, Any]]]:
    if content is None:
        return []
    if type(content) is str:
        return [(param, {"type": "text", "text": content})]
    if type(content) is not list:
        raise wrong_type(param, "a string or an array of content parts", content)
    parts = []
    for place, part in enumerate(content):
        an_object(part, f"{param}[{place}]")
        if part.get("type") is None:
            raise missing(f"{param}[{place}].type")
        parts.append((f"{param}[{place}]", part))
    return parts


def _text(part: dict[str, Any], param: str) -> str:
    return _member(part, "text", param)


def _link(part: dict[str, Any], param: str) -> tuple[str, str]:
    """The address of a part's image, and the path of its field."""
    if part.get("image_url") is None:
        raise missing(f"{param}.image_url")
    an_object(part["image_url"], f"{param}.image_url")
    return _member(part["image_url"], "url", f"{param}.image_url"), f"{param}.image_url.url"


def _member(value: dict[str, Any], name: str, param: str) -> str:
    if value.get(name) is None:
        raise missing(f"{param}.{name}")
    a_string(value[name], f"{param}.{name}")
    member: str = value[name]
    return member


def _unknown(name: str) -> ClientError:
    shown = shorten(name)
    near = get_close_matches(shown, sorted(CHAT_PARAMETERS | CHAT_FLUX_FIELDS), n=3)
    if name in CHAT_FLUX_FIELDS:
        advice = " Only Flux models take it."
    else:
        advice = f" Near it: {', '.join(near)}." if near else " An order for an image is made of what is known only."
    return invalid_request(f"Unknown parameter: '{shown}'.{advice}", param=shown, code="unknown_parameter")
