"""An Images API's answer that came in place of a chat's, put into a chat's words: markdown images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.wire.chat_images import asks_for_images
from gateway.wire.chat_pictures import ChatPictures
from gateway.wire.picture_address import data_url
from gateway.wire.picture_parts import pictures_of_answer
from gateway.wire.sse import Event, encode_event
from gateway.wire.writable import dump_json

_NAMES = ("id", "created", "model", "service_tier", "system_fingerprint")
_IN_MARKDOWN = {ord(char): f"%{ord(char):02X}" for char in "()<> "}
"""Characters that would end a markdown link too early → how they are written inside a URL."""

_TOKENS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
_DETAILS = (
    ("prompt_tokens_details", "input_tokens_details"),
    ("completion_tokens_details", "output_tokens_details"),
)


def event_of_pictures(document: Any, named: Callable[[dict[str, Any]], dict[str, Any]]) -> Event | None:
    """The event of a chat that says what an Images API's event does; None if that brings no picture.

    ``named``: adds the names that the event has not.
    """
    message = _message(document)
    if message is None:
        return None
    data = dump_json(named({**_named(document), "choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}))
    return Event(data, None, encode_event(data))


def as_completion(document: Any, named: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """The completion that says what a whole answer of an Images API does; any other document as it is.

    ``named``: adds the names that the answer has not.
    """
    message = _message(document)
    if message is None:
        return document
    return named({**_named(document), "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def _message(document: object) -> dict[str, Any] | None:
    if type(document) is not dict or type(document.get("choices")) is list:
        return None
    pictures = pictures_of_answer(document)
    if not pictures:
        return None
    lines = []
    for picture in pictures:
        address = picture.url.translate(_IN_MARKDOWN) if picture.url else data_url(picture.b64 or "")
        lines.append(f"![image]({address})")
    return {"role": "assistant", "content": "\n".join(lines)}


def _named(document: dict[str, Any]) -> dict[str, Any]:
    """What the document says beside its pictures, as a chat has it."""
    fields = {name: document[name] for name in _NAMES if document.get(name)}
    usage = document.get("usage")
    if isinstance(usage, dict):
        fields["usage"] = usage_as_chat(usage)
    return fields


def usage_as_chat(usage: dict[str, Any]) -> dict[str, Any]:
    """A ``usage`` with a chat's names for its figures; what it has beside stays."""
    if all(name in usage for name, _ in _TOKENS):
        return usage
    renamed = {theirs: ours for ours, theirs in (*_TOKENS, *_DETAILS) if ours not in usage}
    return {renamed.get(name, name): value for name, value in usage.items()}


def with_images(completion: dict[str, Any], pictures: ChatPictures | None, body: Mapping[str, Any]) -> dict[str, Any]:
    """The completion with its pictures in ``message.images`` as well, if that is where its client reads them.

    ``body``: of the request.
    """
    if pictures is None:
        return completion
    choices = completion.get("choices")
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    if isinstance(message, dict) and not message.get("images") and (images := _beside(pictures, body)):
        message["images"] = images
    return completion


def delta_of_images(pictures: ChatPictures | None, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same for a stream: a chunk without its names; None if there is nothing to add."""
    if pictures is None or pictures.has_images_beside or not (images := _beside(pictures, body)):
        return None
    choice = {"index": 0, "delta": {"images": images}, "logprobs": None, "finish_reason": None}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def _beside(pictures: ChatPictures | None, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    if pictures is None or not asks_for_images(body):
        return []
    images = pictures.result().images
    return [{"type": "image_url", "image_url": {"url": one.url or data_url(one.b64 or "")}} for one in images]
