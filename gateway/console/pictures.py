"""The pictures and the words in an answer that is kept, found as they are in answers that are given. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.images.types import MadeImage
from gateway.wire.chat_pictures import ChatPictures
from gateway.wire.picture_parts import spoken

MOST = 16
"""Pictures that a page shows of one answer."""

MOST_TEXT = 64 * 1024
"""Characters of a chat's text that a page shows, and that pictures are looked for in: it is another's."""

_KEPT = re.compile(r"https?://[^/]+/images/([A-Za-z0-9_.-]{1,200})")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """``encoded``: base64; else ``link`` says where it is, ``name`` how it is called if this gateway may keep it."""

    encoded: str = ""
    name: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of an answer: its pictures, and the text of a chat."""

    pictures: tuple[Picture, ...] = ()
    text: str = ""


def shown_of(answer: bytes) -> Shown:
    """What is to be shown of an answer's JSON; nothing of what is none."""
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return Shown()
    if not isinstance(document, dict):
        return Shown()
    reader = ChatPictures(MOST_TEXT)
    reader.take(document)
    return Shown(tuple(_picture(made) for made in reader.result().images[:MOST]), said(document))


def said(document: Any) -> str:
    """The text of a chat's answer, at most MOST_TEXT of it; empty where there is none."""
    try:
        message = document["choices"][0]["message"]
    except (LookupError, TypeError):
        return ""
    return spoken(message).words[:MOST_TEXT] if isinstance(message, dict) else ""


def _picture(made: MadeImage) -> Picture:
    if made.b64:
        return Picture(encoded=made.b64)
    link = made.url or ""
    kept = _KEPT.fullmatch(link)
    return Picture(name=kept[1] if kept else "", link=link)
