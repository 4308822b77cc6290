"""The images a client sends in: the bytes of a form, or a link, a data URL or base64 text in JSON.

Links are checked for their form only; the upstream follows them, not the gateway.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from gateway.core.errors import ClientError, not_made_here
from gateway.core.images.types import SourceImage
from gateway.wire.base64_text import standard_base64
from gateway.wire.field_checks import missing, unknown, wrong_type, wrong_value
from gateway.wire.image_bytes import MAX_PIXELS, converted_dimensions, converted_type, dimensions, image_type

MAX_IMAGES = 16
"""OpenAI's bound for an edit's images; the mask does not count."""

MAX_LINK = 8192
"""Characters. Signed links of object stores have up to about 2,000."""

FORMATS = "PNG, JPEG, WebP, GIF or AVIF"
"""The formats that are taken, in words."""

_LINK = re.compile(r"https?://[^/?#\s][^\s]*", re.IGNORECASE)
_DATA_URL_HEAD = re.compile(r"data:[^,]{0,200};\s*base64\s*,", re.IGNORECASE)  # RFC 2397
_HOLDERS = ("image_url", "url", "b64_json", "data", "image", "file_data", "source")
"""The members under which clients put an image into an object, the likelier first."""

_DESCRIBING = frozenset({"type", "detail", "media_type", "mime_type", "filename", "name", "index"})
"""Members that say something about an image beside it; its bytes say the same."""


def image_from_bytes(data: bytes, param: str) -> SourceImage:
    """The image in a file; its type is read from the bytes, not from the client's headers.

    Raises ClientError 400 for a format that is not taken, for a header without a size, and for more than
    ``MAX_PIXELS``.
    """
    kind = image_type(data)
    odd = converted_type(data) if kind is None else None
    if odd == "heic":
        raise wrong_value(param, f"HEIC is not read here; it must be an image: {FORMATS}")
    if kind is None and odd is None:
        raise wrong_value(param, f"it must be an image: {FORMATS}")
    size = dimensions(data) if kind is not None else converted_dimensions(data)
    name = kind or odd or ""
    if size is None:
        raise wrong_value(param, f"its {name.upper()} header is broken or cut off")
    width, height = size
    if width * height > MAX_PIXELS:
        raise wrong_value(param, f"its {width}x{height} pixels are more than the {MAX_PIXELS} allowed")
    return SourceImage(data, content_type=f"image/{name}", width=width, height=height)


def image_from_text(text: str, param: str) -> SourceImage:
    """The image of a link, a data URL, or base64 text alone. Raises ClientError 400 for any other text."""
    text = text.strip(" \t\r\n")
    if text[:5].lower() == "data:":
        head = _DATA_URL_HEAD.match(text)
        if head is None:
            raise wrong_value(param, "a data URL must be of the form data:image/png;base64,…")
        return image_from_bytes(_decoded(text[head.end() :], param), param)
    if "://" not in text[:16]:  # which has no place in base64
        return image_from_bytes(_decoded(text, param), param)
    if len(text) > MAX_LINK:
        raise wrong_value(param, f"a link must have at most {MAX_LINK} characters")
    if _LINK.fullmatch(text) is None or not text.isprintable():
        raise wrong_value(param, "it must be a link (https:// or http://), a data URL, or base64 of an image")
    return SourceImage(url=text)


def image_from_value(value: Any, param: str, known: str) -> SourceImage:
    """The image of a text, or of an object around one, in any of the forms that clients send.

    ``known``: whose fields are known, for the message about another one.

    Raises ClientError 400 naming the member at fault; ``file_id`` names a file that is not here.
    """
    return image_from_text(*image_text(value, param, known))


def image_text(value: Any, param: str, known: str) -> tuple[str, str]:
    """The text of one image, and the path of the field it stands in. See ``image_from_value``."""
    for _ in range(4):
        if type(value) is str:
            return value, param
        if type(value) is not dict:
            raise wrong_type(param, "a string or an object", value)
        held = [name for name in _HOLDERS if value.get(name) is not None]
        holder = next((name for name in held if value[name] != ""), held[0] if held else None)
        for name in value:
            if name == "file_id" and holder is None:
                raise not_made_here("file", str(value[name]), f"{param}.file_id")
            if name not in _HOLDERS and name not in _DESCRIBING and name != "file_id":
                raise unknown(f"{param}.{name}", known)
        if holder is None:
            raise missing(f"{param}.{next((name for name in _HOLDERS if name in value), 'image_url')}")
        value, param = value[holder], f"{param}.{holder}"
    raise wrong_type(param, "a string", value)


def too_many_images(param: str) -> ClientError:
    return wrong_value(param, f"at most {MAX_IMAGES} images can be sent")


def _decoded(text: str, param: str) -> bytes:
    """The bytes of base64 in any of its spellings."""
    plain = standard_base64(text)
    try:
        if plain is not None:
            return binascii.a2b_base64(plain, strict_mode=True)
    except ValueError:
        pass
    raise wrong_value(param, "it must be a link, a data URL, or valid base64 of an image")
