"""The pictures in an answer that is kept. Pure.

They are in ``data`` of the Images API, in the image calls of the Responses API, and in the message of a chat: behind
links that its text shows (Markdown) or names by their ending, or as parts of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeGuard

import orjson

MOST = 16
"""Pictures that are looked for in one answer."""

MOST_TEXT = 64 * 1024
"""Characters of a chat's text in which pictures are looked for: it is another's, and patterns take their time."""

_LINK = r"https?://[^\s()<>\[\]\"'\\]{1,1000}+"
_SHOWN = re.compile(rf"!\[[^\]\n]{{0,200}}+\]\(({_LINK})\)")
_NAMED = re.compile(r"https?://[^?#]*\.(?:png|jpe?g|webp|gif)(?:[?#]|$)", re.IGNORECASE)
_KEPT = re.compile(r"https?://[^/]+/images/([A-Za-z0-9_.-]{1,200})")
_WORD = re.compile(r"[^\s()<>\[\]\"'\\]++")


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
    text = said(document)
    return Shown(tuple(islice(_pictures(document, text), MOST)), text)


def said(document: Any) -> str:
    """The text of a chat's answer, at most MOST_TEXT of it; empty where there is none."""
    try:
        content = document["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return ""
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part, dict) and _is_text(part.get("text")))
    return content[:MOST_TEXT] if isinstance(content, str) else ""


def _pictures(document: Any, text: str) -> Iterator[Picture]:
    if not isinstance(document, dict):
        return
    for each in _dicts(document.get("data")):
        if _is_text(encoded := each.get("b64_json")):
            yield Picture(encoded=encoded)
        elif _is_text(link := each.get("url")):
            yield _behind(link)
    for each in _dicts(document.get("output")):
        if each.get("type") == "image_generation_call" and _is_text(encoded := each.get("result")):
            yield Picture(encoded=encoded)
    words = (word.rstrip(".,;:!*_") for word in _WORD.findall(text))
    links = [*(match[1] for match in _SHOWN.finditer(text)), *filter(_is_picture, words)]
    for link in dict.fromkeys(links):
        yield _behind(link)


def _is_picture(word: str) -> bool:
    return word.startswith(("https://", "http://")) and len(word) <= 1000 and _NAMED.match(word) is not None


def _behind(link: str) -> Picture:
    if link.startswith("data:"):
        return Picture(encoded=link)
    kept = _KEPT.fullmatch(link)
    return Picture(name=kept[1] if kept else "", link=link)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)
