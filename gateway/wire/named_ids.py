"""The ids in a request that name something kept at an upstream: a file, an earlier answer, a conversation, a sound.

The accounts at an upstream are shared by all virtual keys, so such an id may belong to another member. It is known by
its field and its place, never by how a text looks alone: what people write, a tool's arguments, JSON schemas and
metadata are not searched. Every other part of a message is, at every depth, since a part newer than this file may hold
an id as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "file",
    "response",
    "message",
    "conversation",
    "thread",
    "container",
    "vector_store",
    "item",
    "audio",
    "cache",
    "task",
]


class NamedId(NamedTuple):
    """``param``: the path of its field."""

    kind: Kind
    id: str
    param: str


_KINDS: Mapping[Kind, Sequence[str]] = {
    "file": (
        *("file_id", "file_ids", "input_file_id", "input_file_ids", "image_file_id", "image_file_ids"),
        *("mask_file_id", "audio_file_id", "training_file", "upload_id"),
    ),
    "response": ("previous_response_id", "response_id", "previous_response"),
    "conversation": ("conversation", "conversation_id"),
    "thread": ("thread", "thread_id"),
    "container": ("container", "container_id", "container_ids"),
    "vector_store": ("vector_store_id", "vector_store_ids"),
    "cache": ("cached_content",),
}


def _spellings(name: str) -> Iterator[str]:
    """``file_id``, ``fileId`` and ``fileID``: relays of other vendors read these as well."""
    first, *others = name.split("_")
    yield name
    yield first + "".join(other.capitalize() for other in others)
    yield first + "".join(
        "ID" if other == "id" else "IDs" if other == "ids" else other.capitalize() for other in others
    )


_FIELDS: Mapping[str, Kind] = {
    spelling: kind for kind, names in _KINDS.items() for name in names for spelling in _spellings(name)
}

_SOUNDS = frozenset({"audio", "input_audio", "output_audio"})
_REFERENCES = frozenset({"item_reference", "image_generation_call"})
"""Types of items that are named by their ``id`` alone."""

_LOOKED_UP: Mapping[str, Sequence[str]] = {
    "reasoning": ("encrypted_content", "content"),
    "file_search_call": ("results",),
}
"""Types of items that are looked up by their ``id`` unless they bring one of these fields along."""

_ITEM = re.compile(r"input\[[0-9]+\]\.id")

_FILES = frozenset(
    {
        *("file", "files", "input_file", "input_files", "image_file", "image_url", "image", "images", "mask", "url"),
        *("input_image", "input_images", "reference_image", "reference_images"),
    }
)
"""Fields for a picture or a file, in whose place some write its id."""

_FILE_ID = re.compile(r"file[-_][A-Za-z0-9_-]{4,128}")
_FILE_URIS = frozenset({"file_uri", "fileUri", "uri"})
_STORED = re.compile(r"(?:https?://[^\s?#]*)?/?(?:v1[a-z0-9]*/)?files/[^/?#\s]+", re.IGNORECASE)
"""Google's name of a file that was uploaded with an account's key."""

_NAMES = frozenset({*_FIELDS, *_SOUNDS, *_FILES, *_FILE_URIS, "id"})
"""All fields that are looked at."""

_NOT_AN_ID = frozenset({"", "auto", "none"})

_LONGEST_PATH = 200
"""Characters of a path that go on in those below it: a name may be megabytes long, with a hundred thousand items."""

_PEOPLES_OWN = frozenset(
    {
        *("function", "functions", "function_call", "functionCall", "functionResponse", "arguments", "tool_calls"),
        *("parameters", "input_schema", "inputSchema", "schema", "json_schema", "response_format", "metadata"),
        *("custom", "custom_settings", "text", "thinking", "headers", "filters", "user_location"),
    }
)
"""Fields below which every name is the client's own."""

_SEARCHED = (
    *("messages", "input", "prediction", "tools", "tool_resources", "attachments", "extra_body", "google"),
    *("audio", "image", "images", "mask", "input_image", "input_images", "reference_images", "file", "files"),
    *("input_file", "system", "contents"),
)
"""Top-level fields that hold more than one value."""

_TELLING = frozenset({*_FIELDS, *_SOUNDS, *_FILES, *_FILE_URIS, "id"})
"""Fields whose text or number may be an id; all others are looked into only."""

_MESSAGES_ONLY = frozenset({"messages"})
_TOP = frozenset({*_FIELDS, *_SEARCHED})


def ids_in_chat(body: Mapping[str, Any], places: Sequence[int] | None = None) -> Iterator[NamedId]:
    """The ids that a chat names.

    ``body``: has passed ``parse_chat_request``. ``places``: where its messages stood before others were left out; None
    if none were.
    """
    named = _TOP.intersection(body)
    if named != _MESSAGES_ONLY:
        yield from _found(
            [
                _Field(name, body[name], name)
                for name in named - _MESSAGES_ONLY
                if name in _NAMES or _has_names(body[name])
            ]
        )
    messages = body["messages"]
    several = [
        _Field("", message, f"messages[{place}]")
        for place, message in zip(range(len(messages)) if places is None else places, messages, strict=True)
        if _has_names(message)
    ]
    if several:
        yield from _found(several)


def ids_in_fields(fields: Mapping[str, Any]) -> Iterator[NamedId]:
    """The ids that the fields of another request name."""
    yield from _found([_Field(name, value, name) for name, value in fields.items() if name not in _PEOPLES_OWN])


def tasks_in(given: Mapping[str, Any]) -> Iterator[NamedId]:
    """The earlier tasks that the input of a task names, such as the one whose picture is to be enlarged."""
    unseen = [_Field("", given, "input")]
    while unseen:
        field = unseen.pop()
        if field.name.lower().replace("_", "").endswith(("taskid", "taskids")):
            yield from _ids("task", field.value, field.param)
        unseen += _members(field, every=True)


class _Field(NamedTuple):
    """A value, the name of its field (empty for an item of a list) and its path. ``around``: the object it is in."""

    name: str
    value: Any
    param: str
    around: Mapping[str, Any] = {}


def _found(fields: list[_Field]) -> Iterator[NamedId]:
    unseen = fields[::-1]
    while unseen:
        field = unseen.pop()
        if field.name:
            yield from _of_field(field)
        unseen += (
            one
            for one in reversed(_members(field, every=False))
            if one.name not in _PEOPLES_OWN and not (one.name == "input" and "name" in one.around)  # a tool's
        )


def _has_names(value: Any) -> bool:
    """Whether an object that is searched within a value has a field that may be, or hold, an id."""
    unseen = [value]
    while unseen:
        held = unseen.pop()
        if type(held) is dict:
            if not _NAMES.isdisjoint(held):
                return True
            unseen += [
                inner
                for name, inner in held.items()
                if (type(inner) is dict or type(inner) is list) and name not in _PEOPLES_OWN
            ]
        elif type(held) is list:
            unseen += [inner for inner in held if type(inner) is dict or type(inner) is list]
    return False


def _of_field(field: _Field) -> Iterator[NamedId]:
    name, value, param = field.name, field.value, field.param
    of_field = _FIELDS.get(name)
    if of_field is not None:
        yield from _ids(of_field, value, param)
        if type(value) is dict:  # an object around the id
            yield from _ids(of_field, value.get("id"), f"{param}.id")
    elif name in _SOUNDS and type(value) is dict:
        yield from _ids("audio", value.get("id"), f"{param}.id")
    elif name in _FILES:
        texts = value.get("id") if type(value) is dict else value
        for text in texts if type(texts) is list else [texts]:
            if type(text) is str and _FILE_ID.fullmatch(text):
                yield NamedId("file", text, f"{param}.id" if type(value) is dict else param)
    elif name in _FILE_URIS and type(value) is str and _STORED.fullmatch(value):
        yield NamedId("file", value, param)
    elif name == "id" and _is_reference(field.around, param):
        yield from _ids("item", value, param)


def _is_reference(item: Mapping[str, Any], param: str) -> bool:
    """Whether an object with an ``id`` at ``param`` stands for another one. An item of a Responses input may leave out
    the type of a reference.
    """
    kind = item.get("type")
    if type(kind) is str and kind in _REFERENCES:
        return True
    if _ITEM.fullmatch(param) is None:
        return False
    if type(kind) is not str or not kind:
        return "role" not in item
    return kind in _LOOKED_UP and not any(item.get(name) for name in _LOOKED_UP[kind])


def _members(field: _Field, *, every: bool) -> list[_Field]:
    """Of an object its fields, of a list its items that have members.

    ``every``: also fields that neither hold anything nor can be an id themselves.
    """
    value, param = field.value, field.param[:_LONGEST_PATH]
    if type(value) is dict:
        return [
            _Field(name, inner, f"{param}.{name}", value)
            for name, inner in value.items()
            if every or name in _TELLING or (inner and type(inner) in (dict, list))
        ]
    if type(value) is list:
        return [
            _Field("", inner, f"{param}[{place}]")
            for place, inner in enumerate(value)
            if inner and type(inner) in (dict, list)
        ]
    return []


def _ids(kind: Kind, value: Any, param: str) -> Iterator[NamedId]:
    for place, one in enumerate(value) if type(value) is list else [(None, value)]:
        if type(one) in (str, int) and str(one) not in _NOT_AN_ID:
            yield NamedId(kind, str(one), param if place is None else f"{param}[{place}]")
