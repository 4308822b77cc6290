"""Reading a chat with an image model as an order for images."""

from __future__ import annotations

from collections.abc import Mapping, Set
from difflib import get_close_matches
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.wire.chat_request import CHAT_PARAMETERS, ChatRequest, unknown_fields
from gateway.wire.chat_sources import images_within, read_order
from gateway.wire.field_checks import wrong_value
from gateway.wire.images_request import FLUX_FIELDS, MAX_PROMPT
from gateway.wire.source_images import MAX_IMAGES, too_many_images

CHAT_FLUX_FIELDS = frozenset(FLUX_FIELDS) - {"seed"}
"""Flux's fields that a chat with a Flux model may have. ``seed`` is a field of chat itself, and many clients always
send it."""


def flux_fields(body: dict[str, Any], own: Set[str] = frozenset()) -> dict[str, Any]:
    """Remove Flux's fields from a chat request's body, which is changed, and return them; null counts as not given.

    ``own``: further fields of the model, of which those that any chat may have stay.
    """
    names = (CHAT_FLUX_FIELDS | (own - CHAT_PARAMETERS)) & body.keys()
    return {name: value for name in names if (value := body.pop(name)) is not None}


def asks_for_images(body: Mapping[str, Any]) -> bool:
    """Whether a chat's client reads images beside the content (``modalities: ["image", "text"]``), as OpenRouter's
    do.
    """
    modalities = body.get("modalities")
    return isinstance(modalities, list) and "image" in modalities


def images_from_chat(
    request: ChatRequest, flux: Mapping[str, Any] | None = None, *, one_source: bool = False, wordless: bool = False
) -> ImagesRequest:
    """The order for one image: the text of the last user message is the prompt, its images are the source images.

    ``flux``: Flux's own fields; None for none.
    ``one_source``: the model works on one image only.
    ``wordless``: the model needs no prompt.

    A message without an image is about the newest image before it, one that a user sent or that the model made: it
    would be lost otherwise. The words of earlier messages are ignored: joined to the prompt they would make one that
    the user did not write. Chat's other fields have no meaning here and are ignored, since chat clients send them with
    every request. What no chat has is refused: the order is made here, so no upstream would say that it is misspelt.

    Raises ClientError 400 naming ``messages`` or the part at fault, ``n`` if more than one choice is asked for, or an
    unknown field.
    """
    for name in unknown_fields(request):
        raise _unknown(name)
    if request.n != 1:
        raise wrong_value("n", "a chat with an image model has one choice; ask /v1/images/generations for several")
    messages = request.body["messages"]
    last = max((place for place, one in enumerate(messages) if one.get("role") == "user"), default=-1)
    prompt, images = read_order(messages[last], f"messages[{last}]") if last >= 0 else ("", [])
    if not images and last > 0:
        images = _newest_before(messages[:last], one_source=one_source)
    if not prompt.strip() and not (wordless and images):
        raise wrong_value("messages", "the last user message must have text, which is the prompt")
    if len(prompt) > MAX_PROMPT:
        raise wrong_value("messages", f"the last user message, the prompt, must have at most {MAX_PROMPT} characters")
    if len(images) > MAX_IMAGES:
        raise too_many_images("messages")
    return ImagesRequest(
        kind="edit" if images else "generation",
        model=request.model,
        prompt=prompt if prompt.strip() else "",
        stream=request.stream,
        images=tuple(images),
        flux=flux or {},
    )


_MAKERS = ("assistant", "tool", "function")
"""Roles whose messages hold images that were made in the conversation."""


def _newest_before(messages: list[dict[str, Any]], *, one_source: bool) -> list[SourceImage]:
    """The images of the newest message that has any: all that a user sent together, the last that a model or a tool
    made. Instructions may show images as examples, so theirs are no input.
    """
    for message in reversed(messages):
        role = message.get("role")
        if role in ("user", *_MAKERS) and (images := images_within(message)):
            return images[-1:] if one_source or role in _MAKERS else images
    return []


def _unknown(name: str) -> ClientError:
    shown = shorten(name)
    near = get_close_matches(shown, sorted(CHAT_PARAMETERS | CHAT_FLUX_FIELDS), n=3)
    if name in CHAT_FLUX_FIELDS:
        advice = " Only Flux models take it."
    else:
        advice = f" Near it: {', '.join(near)}." if near else " An order for an image is made of what is known only."
    return invalid_request(f"Unknown parameter: '{shown}'.{advice}", param=shown, code="unknown_parameter")
