"""The words and the images of a chat's messages, in the forms in which clients send them.

The message that is the order is read to the letter, since what is not understood there would be missing from the
picture. Earlier messages may have any shape: every image in them is found, everything else is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.core.errors import ClientError, not_made_here
from gateway.core.images.types import SourceImage
from gateway.wire.field_checks import a_string, an_object, missing, wrong_type
from gateway.wire.picture_parts import pictures_of_answer
from gateway.wire.source_images import image_from_text, image_from_value, image_text

_TEXTS = ("text", "input_text", "output_text")
_PICTURES = ("image_url", "input_image", "output_image", "image", "source", "file", "input_file", "image_file")
"""Types of content parts: OpenAI's in chat and Responses, Anthropic's, and those of clients that mix them."""

_KNOWN = "a content part with an image"

# Every part of these stops where another match could begin, so a text however long is read once.
_MARKDOWN = re.compile(
    r"!\[[^\[\]\n]{0,1000}\]\(\s*<?(data:image/[^)>!\[]+|https?://[^)>\s\[]{1,8192})>?(?:\s+\"[^\"\n\[]*\")?\s*\)", re.I
)
_TAG = re.compile(r"<img\b[^<>]*?\bsrc\s*=\s*[\"']([^\"'<>]+)[\"'][^<>]*>", re.I)
_LINK = re.compile(r"\[[^\[\]\n]{0,1000}\]\(\s*<?(https?://[^)>\s\[]{1,8192})>?\s*\)")
_BARE = re.compile(r"https?://[^\s<>()\"']+", re.I)
_PICTURE_FILE = re.compile(r"\.(?:png|jpe?g|webp|gif|avif)(?:[?#]|$)", re.I)


class Said(NamedTuple):
    """What a message says: its words, and its images in order."""

    words: str
    images: list[SourceImage]


def read_order(message: dict[str, Any], param: str) -> Said:
    """A message that is an order, or belongs to one.

    ``param``: the path of its field.

    Raises ClientError 400 naming the part at fault.
    """
    words: list[str] = []
    images: list[SourceImage] = []
    for where, part in _parts(message.get("content"), f"{param}.content"):
        kind = part.get("type")
        if kind in _TEXTS:
            text, drawn = _without_images(_member(part, "text", where))
            words.append(text)
            images += (image_from_text(one, where) for one in drawn)
        elif isinstance(kind, str) and kind in _PICTURES:
            images.append(_image(part, kind, where))
        elif _held(part) is not None:
            images.append(_image(part, str(_held(part)), where))
        else:  # of another vendor's type: what holds an image is one, and everything else says nothing
            images += _pictures_of(part)
    images += (image_from_value(item, where, _KNOWN) for item, where in _beside(message, param))
    return Said("\n".join(words), images)


def images_within(message: Any) -> list[SourceImage]:
    """The images of any message, an assistant's too: what cannot be read as one is passed over."""
    if not isinstance(message, dict):
        return []
    images: list[SourceImage] = []
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            images += _readable(_shown(text))
        elif isinstance(part, dict) and (kind := _held(part)) is not None:
            images += _readable([part[kind]])
        elif isinstance(part, dict):
            images += _pictures_of(part)
    images += _readable([item for item, _ in _beside(message, "")])
    return images


def _parts(content: Any, param: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if content is None:
        return
    if type(content) is str:
        yield param, {"type": "text", "text": content}
        return
    if type(content) is not list:
        raise wrong_type(param, "a string or an array of content parts", content)
    for place, part in enumerate(content):
        where = f"{param}[{place}]"
        an_object(part, where)
        if part.get("type") is None:
            raise missing(f"{where}.type")
        yield where, part


def _held(part: dict[str, Any]) -> str | None:
    """The member of a part that holds an image, for any type of part."""
    return next((name for name in _PICTURES if part.get(name) not in (None, "")), None)


def _image(part: dict[str, Any], kind: str, where: str) -> SourceImage:
    """The image of a content part: in a member of the part's own name, of another's, or in the part itself."""
    if part.get("file_id") is not None and _held(part) is None:
        raise not_made_here("file", str(part["file_id"]), f"{where}.file_id")
    holder = kind if part.get(kind) not in (None, "") else _held(part)
    if holder is None:
        inner = {
            name: value for name, value in part.items() if name in ("url", "data", "b64_json", "file_data", "base64")
        }
        if not inner:
            raise missing(f"{where}.{'image_url' if kind in ('input_image', 'output_image') else kind}")
        holder, value = next(iter(inner.items()))
    else:
        value = part[holder]
    where = f"{where}.{holder}"
    if type(value) is dict:
        if value.get("file_id") is not None and len(value.keys() - {"file_id", "filename", "format", "detail"}) == 0:
            raise not_made_here("file", str(value["file_id"]), f"{where}.file_id")
        if holder == "image_url" and value.get("url") is None:
            raise missing(f"{where}.url")
        members = {name: member for name, member in value.items() if name in _MEMBERS}
        return image_from_text(*image_text(members or value, where, _KNOWN))
    return image_from_value(value, where, _KNOWN)


_MEMBERS = frozenset({"image_url", "url", "b64_json", "data", "image", "file_data", "source"})
"""The members of a part's inner object that may hold the image; what else clients put there describes it."""


def _beside(message: dict[str, Any], param: str) -> Iterator[tuple[Any, str]]:
    """The images beside a message's content (``images``, as OpenRouter and Ollama have them), each with its path."""
    beside = message.get("images")
    for place, item in enumerate(beside if isinstance(beside, list) else []):
        if isinstance(item, dict) and isinstance(item.get("image_url"), str | dict):
            yield item["image_url"], f"{param}.images[{place}].image_url"
        elif isinstance(item, str | dict):
            yield item, f"{param}.images[{place}]"


def _without_images(text: str) -> tuple[str, list[str]]:
    """A user's text without the images it shows in markdown or HTML, and their addresses. Links stay words."""
    found: list[str] = []

    def taken(match: re.Match[str]) -> str:
        found.append(match[1])
        return ""

    if "](" in text or "<img" in text.lower():
        text = _TAG.sub(taken, _MARKDOWN.sub(taken, text))
    return text.strip() if found else text, found


def _shown(text: str) -> list[str]:
    """The addresses of the images that a text shows or links to, in order."""
    rest, found = _without_images(text)
    if found:
        return found
    links = [match[1] for match in _LINK.finditer(rest)] or [match[0] for match in _BARE.finditer(rest)]
    alone = len(links) == 1 and rest.strip() == links[0]
    return [link for link in links if alone or _PICTURE_FILE.search(link)]


def _pictures_of(part: dict[str, Any]) -> Iterator[SourceImage]:
    """The images in the fields of any part (``inline_data``, ``media``, …)."""
    return _readable([made.b64 or made.url for made in pictures_of_answer(part)])


def _readable(values: list[Any]) -> Iterator[SourceImage]:
    for value in values:
        try:
            yield image_from_value(value, "messages", _KNOWN)
        except ClientError:
            continue


def _member(part: dict[str, Any], name: str, param: str) -> str:
    if part.get(name) is None:
        raise missing(f"{param}.{name}")
    a_string(part[name], f"{param}.{name}")
    member: str = part[name]
    return member
