"""The answers of PiAPI's unified task API about a task.

Shapes: the envelope ``{"code", "data", "message"}``; the webhook's ``{"timestamp", "data"}``; the older one with
``task_result``; the task alone, with its id at the top, as the asynchronous picture routes answer. Two vocabularies
of states are documented and more have been seen, in any case, even with a trailing tab (``"processing\\t"``), so a
state that is not a known final one counts as "running". A result that was bought must not be lost because of an unknown
shape: unusable parts are left out, and only an answer that is not about a task at all is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, Literal

from gateway.core.images.types import MOST_READ, MadeImage
from gateway.core.upstream_errors.upstream_error import words_of
from gateway.wire.base64_text import standard_base64
from gateway.wire.images_answer import others_in
from gateway.wire.picture_address import base64_text
from gateway.wire.picture_parts import each_once, pictures_of_answer

TaskStatus = Literal["running", "done", "failed"]

_DONE = frozenset({"completed", "success", "succeeded", "done", "finished"})
_FAILED = frozenset({"failed", "failure", "error", "cancelled", "canceled"})
_OK = 200
_MOST_POINTS = 1_000_000_000
"""Points: a hundred dollars. No task costs that much; such a figure is a mistake, and the price list is used
instead.
"""

_SHORTEST_BASE64 = 64
"""Characters. In place of a link, a shorter text is more likely a word than base64."""

_MESSAGE_LIMIT = 2_000
"""Characters: several times what is shown, so that a secret that is cut in two is never shown."""

_DEEPEST = 4
"""Levels of objects and lists that are searched for an error's message."""

_LONGEST_WORDS = 16_384
"""Characters of one text that are read for an error's message."""

_WORDS_IN = ("message", "raw_message", "detail", "error", "msg", "text", "log")
_ID_IN = ("task_id", "id")
_TOLD = ("usage", "size", "quality", "background", "output_format")
_B64_IN = ("b64_json", "image_base64", "base64", "b64")
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_LINK = re.compile(r"https?://[^\s\x00-\x20\x7f\"<>]{1,8192}", re.IGNORECASE)
_DATA_URL = re.compile(r"\Adata:image/[^,;]{1,64}(?:;[^,;]{1,64}){0,4};base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of a task.

    ``task_id``: empty if the answer has none that can be part of a path.
    ``images``: each once, in order, the first ``MOST_READ`` of them. A task that is done without any was paid for all
        the same.
    ``points``: what it cost; None where that is not stated or implausible.
    ``error``: at most 2,000 characters, the upstream's own message, not sanitised; only of a task that failed or is
        done without an image.
    ``told``: the output of a task that is done, as an Images API tells it: it may name usage, size and quality.
    ``others``: what that output has beside these and its images, where it is an Images API's (``svg_usage``, …).
    ``asked``, ``task_type``: the task's input and type, where the answer repeats them.
    """

    task_id: str
    status: TaskStatus
    images: tuple[MadeImage, ...] = ()
    points: int | None = None
    error: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    others: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    task_type: str = field(default="", compare=False)


def parse_task(document: object, results: Sequence[str] = ()) -> TaskState:
    """The task state in ``document``, parsed JSON.

    ``results``: paths within the task where images are beside the usual places (``output.cover``).

    Raises ValueError if it is not an answer about a task: not an object, an inner ``code`` other than 200 (PiAPI sends
    errors inside HTTP 200), neither ``data`` nor a task by itself.
    """
    if not isinstance(document, dict):
        raise ValueError("not an object")
    code = document.get("code")
    if code is not None and code not in (_OK, str(_OK)):
        raise ValueError("an inner code other than 200")
    data = _task_in(document)
    status = _status(data)
    images = _images(data, results) if status == "done" else ()
    return TaskState(
        task_id=_id_in(data) or _id_in(document),
        status=status,
        images=images,
        points=_points(data),
        error=_error(data) if status == "failed" or (status == "done" and not images) else None,
        told=_told(data) if status == "done" else {},
        others=others_in(_object(data.get("output"))) if status == "done" else {},
        asked=_object(data.get("input")),
        task_type=task_type if isinstance(task_type := data.get("task_type"), str) else "",
    )


def _task_in(document: dict[str, Any]) -> dict[str, Any]:
    """The task: the envelope's ``data``, or the document itself. Raises ValueError if it is neither."""
    data = document.get("data")
    if isinstance(data, dict):
        return data
    if _id_in(document) or "output" in document:
        return document
    if isinstance(data, list) and any(map(_image_of_item, data[:MOST_READ])):
        return {"output": document}  # not a task at all: its images came at once
    raise ValueError("no data")


def _id_in(task: dict[str, Any]) -> str:
    return next(filter(None, (_task_id(task.get(name)) for name in _ID_IN)), "")


def _told(data: dict[str, Any]) -> dict[str, Any]:
    """What is told beside the images, the output's own words first; without the images."""
    told = {name: data[name] for name in _TOLD if name in data}
    output = _object(data.get("output"))
    return told | {name: output[name] for name in _TOLD if name in output}


def is_task(document: object) -> bool:
    """Whether the document itself is a task, outside of any envelope; its ``error`` then says how the task fares."""
    return (
        isinstance(document, dict) and bool(_id_in(document)) and not document.keys().isdisjoint(("status", "output"))
    )


def _task_id(value: object) -> str:
    return value if isinstance(value, str) and _TASK_ID.fullmatch(value) else ""


def _status(data: dict[str, Any]) -> TaskStatus:
    """The state; a task with images and no word about its state is done."""
    value = data.get("status")
    word = value.strip().lower() if isinstance(value, str) else ""
    if not word and any(True for _ in _images_in(data.get("output"))):
        return "done"
    if word in _DONE:
        return "done"
    return "failed" if word in _FAILED else "running"


def _images(data: dict[str, Any], results: Sequence[str]) -> tuple[MadeImage, ...]:
    found: dict[str, MadeImage] = {}
    outputs = (data.get("output"), _object(data.get("task_result")).get("task_output"))
    named = (_listed(_at(data, path)) for path in results)
    for image in chain(chain.from_iterable(map(_images_in, outputs)), chain.from_iterable(named)):
        found.setdefault(image.url or image.b64 or "", image)
        if len(found) == MOST_READ:
            break
    if not found:  # it was paid for all the same: it may be where answers of other kinds have theirs
        elsewhere = chain.from_iterable(map(pictures_of_answer, map(_document, outputs)))
        return each_once(one for one in elsewhere if one.url is None or _LINK.fullmatch(one.url))
    return tuple(found.values())


def _document(output: object) -> dict[str, Any]:
    return output if isinstance(output, dict) else {"output": output}


def _images_in(output: object) -> Iterator[MadeImage]:
    """The images of one output. ``image_url`` and ``image_base64`` beside each other are one image in two forms.

    ``image_url`` may repeat one of ``image_urls`` with another query (a signature, an expiry). That is one image too,
    unless the very same link is in ``image_urls``: then the query is what tells the images apart.
    """
    if isinstance(output, list):
        yield from _listed(output)
    members = _object(output)
    first = _image(members.get("image_url"), members.get("image_base64"))
    if first is not None:
        yield first
    yield from _listed(members.get("image_url"))
    repeated = _path(first.url) if first is not None and first.url is not None else None
    listed = list(_listed(members.get("image_urls")))
    if first is not None and any(image.url == first.url for image in listed):
        repeated = None
    for image in listed:
        if repeated is not None and _path(image.url) == repeated:
            repeated = None  # once: a second one of that path is another image
        else:
            yield image
    yield from _listed(members.get("images"))
    yield from _listed(members.get("data"))


def _at(data: object, path: str) -> object:
    """What is at a path of members; None if nothing is."""
    for name in path.split("."):
        data = _object(data).get(name)
    return data


def _listed(value: object) -> Iterator[MadeImage]:
    """The images of a list, or the single one where there is no list."""
    found = map(_image_of_item, value if isinstance(value, list) else [value])
    return islice(filter(None, found), MOST_READ)


def _path(url: str | None) -> str | None:
    return None if url is None else url.partition("?")[0]


def _image_of_item(item: object) -> MadeImage | None:
    if not isinstance(item, dict):
        return _image(item, None)
    link = next((item[name] for name in ("url", "image_url") if item.get(name)), None)
    made = _image(link, next((item[name] for name in _B64_IN if item.get(name)), None))
    words = item.get("revised_prompt")
    return replace(made, revised_prompt=words) if made is not None and isinstance(words, str) and words else made


def _image(link: object, b64: object) -> MadeImage | None:
    """The image in a link field (which may hold base64 text) and a base64 field, or None."""
    url = link.strip() if isinstance(link, str) else ""
    text = _base64(b64)
    if _LINK.fullmatch(url):
        return MadeImage(url=url, b64=text)
    if text is None and (len(url) >= _SHORTEST_BASE64 or _DATA_URL.match(url)):
        text = _base64(url)
    return MadeImage(b64=text) if text is not None else None


def _base64(value: object) -> str | None:
    """Plain base64 text that can be decoded, without a data URL's prefix and without line breaks."""
    if not isinstance(value, str):
        return None
    return standard_base64(_DATA_URL.sub("", value.strip(), count=1)) or base64_text(value)


def _points(data: dict[str, Any]) -> int | None:
    usage = _object(_object(data.get("meta")).get("usage"))
    consumed = _plausible(usage.get("consume"))
    return consumed if consumed is not None else _plausible(_object(data.get("task_result")).get("used_credits"))


def _plausible(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _MOST_POINTS or value != int(value):
        return None
    return int(value)


def _error(data: dict[str, Any]) -> str | None:
    places = (
        data.get("error"),
        data.get("detail"),
        _object(data.get("task_result")).get("error_messages"),
        data.get("logs"),
    )
    words = next(filter(None, (_words(place, _DEEPEST) for place in places)), None)
    if words is None or len(words) <= _MESSAGE_LIMIT:
        return words
    return words[: _MESSAGE_LIMIT - 1] + "…"


def _words(value: object, levels: int) -> str | None:
    """The first text in ``value``, on one line: itself, or that of its message members, or of its items."""
    if isinstance(value, str):
        return " ".join((words_of(value[:_LONGEST_WORDS]) or "").split()) or None
    if levels == 0:
        return None
    inner: list[object] = []
    if isinstance(value, list):
        inner = value
    elif isinstance(value, dict):
        inner = [value.get(name) for name in _WORDS_IN]
    return next(filter(None, (_words(item, levels - 1) for item in inner)), None)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
