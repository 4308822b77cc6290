"""The images a client sends in: the bytes of a form, or a link, a data URL or base64 text in JSON.

Links are checked for their form only; the upstream follows them, not the gateway.
"""

from __future__ import annotations

import binascii
import re

from gateway.core.errors import ClientError
from gateway.core.images.types import SourceImage
from gateway.wire.field_checks import wrong_value
from gateway.wire.image_bytes import MAX_PIXELS, dimensions, image_type

MAX_IMAGES = 16
"""OpenAI's bound for an edit's images; the mask does not count."""

MAX_LINK = 8192
"""Characters. Signed links of object stores have up to about 2,000."""

_LINK = re.compile(r"https?://[^/?#\s][^\s]*", re.IGNORECASE)
_DATA_URL_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)  # RFC 2397
_BLANKS = b" \t\r\n"


def image_from_bytes(data: bytes, param: str) -> SourceImage:
    """The image in a file; its type is read from the bytes, not from the client's headers.

    Raises ClientError 400 for anything but PNG, JPEG, WebP and GIF, for a header without a size, and for more than
    ``MAX_PIXELS``.
    """
    kind = image_type(data)
    if kind is None:
        raise wrong_value(param, "it must be an image: PNG, JPEG, WebP or GIF")
    size = dimensions(data)
    if size is None:
        raise wrong_value(param, f"its {kind.upper()} header is broken or cut off")
    width, height = size
    if width * height > MAX_PIXELS:
        raise wrong_value(param, f"its {width}x{height} pixels are more than the {MAX_PIXELS} allowed")
    return SourceImage(data, content_type=f"image/{kind}", width=width, height=height)


def image_from_url(text: str, param: str) -> SourceImage:
    """The image of a link, or of a data URL. Raises ClientError 400 for any other text."""
    if text[:5].lower() == "data:":
        head = _DATA_URL_HEAD.match(text)
        if head is None:
            raise wrong_value(param, "a data URL must be of the form data:image/png;base64,…")
        return image_from_bytes(_decoded(text[head.end() :], param), param)
    if len(text) > MAX_LINK:
        raise wrong_value(param, f"a link must have at most {MAX_LINK} characters")
    if _LINK.fullmatch(text) is None or not text.isprintable():
        raise wrong_value(param, "it must be a link (https:// or http://) or a data URL")
    return SourceImage(url=text)


def image_from_text(text: str, param: str) -> SourceImage:
    """The image of a link, a data URL, or base64 text alone. Raises ClientError 400 for any other text."""
    if text[:5].lower() == "data:" or "://" in text[:16]:  # neither has a place in base64
        return image_from_url(text, param)
    return image_from_bytes(_decoded(text, param), param)


def too_many_images(param: str) -> ClientError:
    return wrong_value(param, f"at most {MAX_IMAGES} images can be sent")


def _decoded(text: str, param: str) -> bytes:
    """The bytes of base64 (RFC 4648, section 4), padded; blanks in it are skipped, as tools break it into lines."""
    try:
        return binascii.a2b_base64(text.encode("ascii").translate(None, _BLANKS), strict_mode=True)
    except ValueError:  # characters beyond ASCII, or invalid base64
        raise wrong_value(param, "it must be a link, a data URL, or valid base64 of an image") from None
