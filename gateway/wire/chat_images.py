"""Reading a chat with an image model as an order for images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.images.types import ImagesRequest
from gateway.wire.chat_request import ChatRequest
from gateway.wire.field_checks import wrong_value
from gateway.wire.images_request import FLUX_FIELDS, MAX_PROMPT
from gateway.wire.source_images import MAX_IMAGES, image_from_url, too_many_images

CHAT_FLUX_FIELDS = frozenset(FLUX_FIELDS) - {"seed"}
"""Flux's fields that a chat with a Flux model may have. ``seed`` is a field of chat itself, and many clients always
send it."""


def flux_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Remove Flux's fields from a chat request's body, which is changed, and return them; null counts as not given."""
    return {name: value for name in CHAT_FLUX_FIELDS & body.keys() if (value := body.pop(name)) is not None}


def images_from_chat(request: ChatRequest, flux: Mapping[str, Any] | None = None) -> ImagesRequest:
    """The order for one image: the text of the last user message is the prompt, its images are the source images.

    ``flux``: Flux's own fields; None for none.

    Earlier messages are ignored: joined to the prompt they would make one that the user did not write. Chat's other
    fields have no meaning here and are ignored, since chat clients send them with every request.

    Raises ClientError 400 naming ``messages`` or the part at fault, or ``n`` if more than one choice is asked for.
    """
    if request.n != 1:
        raise wrong_value("n", "a chat with an image model has one choice; ask /v1/images/generations for several")
    parts = _last_user_parts(request.body["messages"])
    prompt = "\n".join(part["text"] for _, part in parts if part["type"] == "text")
    if not prompt.strip():
        raise wrong_value("messages", "the last user message must have text, which is the prompt")
    if len(prompt) > MAX_PROMPT:
        raise wrong_value("messages", f"the last user message, the prompt, must have at most {MAX_PROMPT} characters")
    links = [(param, part["image_url"]["url"]) for param, part in parts if part["type"] == "image_url"]
    if len(links) > MAX_IMAGES:
        raise too_many_images("messages")
    images = tuple(image_from_url(url, f"{param}.image_url.url") for param, url in links)
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
        if messages[position]["role"] == "user":
            content = messages[position].get("content") or []
            parts = [{"type": "text", "text": content}] if type(content) is str else content
            return [(f"messages[{position}].content[{place}]", part) for place, part in enumerate(parts)]
    return []
