"""The addresses and texts that are a picture: a web link, a data URL, base64 alone; however they are written.

What a data URL calls its bytes is believed where it names an image. Under any other name, or none, the bytes decide.
"""

from __future__ import annotations

import base64
import re

from gateway.core.images.types import MadeImage
from gateway.wire.base64_text import standard_base64
from gateway.wire.image_bytes import image_type

LONGEST_LINK = 8192
"""Characters of a link. Signed links of object stores have up to about 2,000."""

_LINK = re.compile(r"https?://[^\s<>\x00-\x1f\x7f]+", re.IGNORECASE)
_LONGEST_HEAD = 200
_FIRST_LETTERS = 48
"""Letters of base64 that hold the bytes by which a format is known."""

_OTHER_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")
"""ISO/IEC 23008-12, section 10: the brands of pictures in a file of the ISO base media format."""

_DRAWING = (b"<svg", b"<?xml", b"<!--", b"<!doctype svg")

_PICTURE_PATH = re.compile(r"[^?#]*\.(?:png|jpe?g|webp|gif|avif|heic|bmp|tiff?|svg)(?![\w.])", re.IGNORECASE)
_OTHER_PATH = re.compile(
    r"[^?#]*\.(?:html?|php|aspx?|pdf|txt|md|json|xml|csv|zip|gz|tar|mp4|m4v|webm|mov|avi|mkv|mp3|wav|ogg|js|css)(?![\w.])",
    re.IGNORECASE,
)
_PICTURE_QUERY = re.compile(
    r"[?&;](?:format|fm|ext|rsct|content-?type)=(?:image(?:/|%2F))?(?:png|jpe?g|webp)", re.IGNORECASE
)


def picture_at(address: str, revised_prompt: str | None = None) -> MadeImage | None:
    """The picture behind a web link or in a data URL; None for any other address."""
    address = address.strip()
    if _LINK.match(address[:16]):
        return MadeImage(address, None, revised_prompt) if _LINK.fullmatch(address) else None
    b64 = _in_data_url(address)
    return None if b64 is None else MadeImage(None, b64, revised_prompt)


def picture_of(text: str, revised_prompt: str | None = None) -> MadeImage | None:
    """The picture that a text is: behind an address, or base64 alone whose bytes begin like a picture."""
    made = picture_at(text, revised_prompt)
    if made is None and is_picture(text):
        b64 = standard_base64(text)
        made = None if b64 is None else MadeImage(None, b64, revised_prompt)
    return made


def base64_text(text: str) -> str | None:
    """Base64 of anything as the standard has it, without a data URL's head; None if the text is not base64."""
    return _in_data_url(text) if text.lstrip()[:5].lower() == "data:" else standard_base64(text)


def is_data_url_of_a_picture(address: str) -> bool:
    """Whether a data URL holds base64 of a picture, by its head and its first bytes. Takes constant time."""
    head = _head(address)
    return head is not None and (head[0] or is_picture(address[head[1] :]))


def is_picture(b64: str) -> bool:
    """Whether base64 begins like a picture."""
    data = beginning(b64)
    if image_type(data) is not None or data[:2] == b"BM" or data[:4] in (b"II*\0", b"MM\0*"):
        return True
    return (data[4:8] == b"ftyp" and data[8:12] in _OTHER_BRANDS) or data.lstrip()[:4] == b"<svg"


def may_be_handed_out(b64: str, *, drawing: bool = False) -> bool:
    """Whether base64 may be given to a client as a picture: it begins like one, which a page or a script does not. An
    SVG is a document that can hold scripts. ``drawing``: whether that is what was asked for.
    """
    data = beginning(b64)
    if image_type(data) is not None:
        return True
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return drawing and text.startswith(_DRAWING)
    return is_picture(b64)


def beginning(b64: str) -> bytes:
    """The first bytes of base64 in any of its forms; empty if it is none."""
    first = standard_base64("".join(b64[: 2 * _FIRST_LETTERS].split())[:_FIRST_LETTERS])
    return b"" if first is None else base64.b64decode(first)


def data_url(b64: str) -> str:
    """Base64 as a data URL, with the type that its bytes have; PNG if that is not known."""
    return f"data:image/{image_type(beginning(b64)) or 'png'};base64,{b64}"


def has_picture_path(link: str) -> bool:
    """Whether a web link ends like a picture's file, or asks for a picture's format."""
    return _PICTURE_PATH.match(link) is not None or _PICTURE_QUERY.search(link) is not None


def has_other_path(link: str) -> bool:
    """Whether a web link ends like a page's, a film's or another file that is no picture."""
    return _OTHER_PATH.match(link) is not None


def _in_data_url(address: str) -> str | None:
    head = _head(address)
    if head is None:
        return None
    named, begun = head
    b64 = standard_base64(address[begun:])
    return b64 if b64 is not None and (named or is_picture(b64)) else None


def _head(address: str) -> tuple[bool, int] | None:
    """Of a data URL of base64 (RFC 2397): whether it names an image, and where its base64 begins; None for others."""
    head, comma, _ = address[:_LONGEST_HEAD].partition(",")
    scheme, _, rest = head.partition(":")
    if not comma or scheme.strip().lower() != "data":
        return None
    kind, *settings = (part.strip().lower() for part in rest.split(";"))
    if "base64" not in settings and kind != "base64":
        return None
    return kind.startswith("image/"), len(head) + 1
