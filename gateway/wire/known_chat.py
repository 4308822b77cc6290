"""Whether a chat request may bring its model input that is not in its own bytes.

A file or a sound by its id, a link to a film, a tool by which the provider searches, a cache at the vendor's: none of
it shows in the size of the request, and it may fill the model's whole context window. What is known to bring nothing of
the kind is listed here, so that a field or a part that is newer than this file counts as one that may.

A picture is none of it: what one costs at most is known (most_input.py), wherever it lies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeGuard

from gateway.wire.chat_request import CHAT_PARAMETERS

_SEARCHING_MODELS = ("-search-preview", "-search-api", ":online", "sonar", "deep-research")
"""Parts of the names of models that search with every answer."""

OWN_TOOLS = ("function", "custom")
"""The types of tools that the client carries out itself."""

_SAMPLING = (
    *("min_p", "top_a", "top_k", "repetition_penalty", "length_penalty", "min_tokens", "ignore_eos", "do_sample"),
    *("skip_special_tokens", "include_stop_str_in_output", "add_generation_prompt", "random_seed", "safe_prompt"),
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "safety_settings"),
    *("max_tool_calls", "max_output_tokens", "session_id", "request_id", "cache_control", "speed", "litellm_metadata"),
)
_THINKING = (
    *("thinking", "reasoning", "think", "effort", "output_config", "enable_thinking", "thinking_budget"),
    *("include_reasoning", "reasoning_format", "reasoning_split", "max_reasoning_tokens", "chat_template_kwargs"),
    *("thinking_config", "thinkingConfig", "thinking_level"),
)
ENVELOPES = ("extra_body", "google")
"""Objects of a request that hold further fields, which a relay may read as if they stood in the request itself."""

_BRINGING = ("web_search_options", "tools", "messages", "prediction")
"""Known fields that are looked into."""

_KNOWN = frozenset((CHAT_PARAMETERS | {*_SAMPLING, *_THINKING, *ENVELOPES}) - {*_BRINGING})

_OF_ENVELOPES = frozenset(
    {*_SAMPLING, *_THINKING, *ENVELOPES, "thinking", "reasoning_effort", "top_k", "top_p", "seed"}
)
"""What an envelope may hold and be known; any other field of the request could be another one there."""

_OF_TOOLS = frozenset(
    {"type", "function", "custom", "name", "description", "parameters", "input_schema", "strict", "cache_control"}
    | {"prompt_cache_breakpoint", "defer_loading", "input_examples", "eager_input_streaming"}
)
_TEXTS = frozenset({"role", "content", "name", "refusal", "tool_call_id", "reasoning_content", "reasoning", "id"})
_SPOKEN = frozenset({"function_call", "thinking_blocks", "prefix"})
"""Fields of a message that hold what was said before: all of it is in the request."""

_SAID = ("content", "tool_calls", "function_call", "refusal", "reasoning_content", "reasoning", "reasoning_details")
_OF_CALLS = ("function", "custom")
_OF_THOUGHTS = ("data", "text", "summary", "thinking", "signature", "content")

_MARKS = ("cache_control", "prompt_cache_breakpoint", "citations", "annotations")
_OF_PARTS: Mapping[str, frozenset[str]] = {
    kind: frozenset({"type", *_MARKS, *names})
    for kind, names in {
        "text": ("text",),
        "input_text": ("text",),
        "output_text": ("text",),
        "refusal": ("refusal",),
        "image_url": ("image_url", "detail"),
        "input_image": ("image_url", "detail"),
        "image": ("source", "image_url"),
        "input_audio": ("input_audio",),
        "file": ("file",),
        "input_file": ("filename", "file_data"),
        "document": ("source", "title", "context"),
        "thinking": ("thinking", "signature"),
        "redacted_thinking": ("data",),
        "tool_use": ("id", "name", "input"),
        "tool_result": ("tool_use_id", "content", "is_error"),
        "search_result": ("source", "title", "url", "text", "content"),
    }.items()
}
_OF_PICTURES = frozenset({"url", "detail", "format", "mime_type"})
_OF_SOURCES = frozenset({"type", "media_type", "data", "url"})
_OF_SOUNDS = frozenset({"data", "format"})
_OF_FILES = frozenset({"file_data", "filename", "format"})
_SHORTEST_DATA = 129
_LONGEST_LINK = 2048
"""Characters. A shorter text may be an id where it is not exactly Base64; what begins as a longer one is no link."""

_BASE64 = re.compile(r"[A-Za-z0-9+/=_\-\s]*+")
_OTHER_MEDIA = (
    *(".mp4", ".mov", ".webm", ".avi", ".mkv", ".mpg", ".mpeg", ".m4v", ".flv", ".wmv", ".3gp", ".m3u8", ".mpd"),
    *(".mp3", ".wav", ".m4a", ".ogg", ".oga", ".opus", ".flac", ".aac", ".aiff", ".pdf", ".docx", ".pptx", ".xlsx"),
    *(".txt", ".html", ".csv", ".json", ".zip"),
)
_FILM_HOSTS = ("youtube.com", "youtu.be", "vimeo.com")


@lru_cache(maxsize=256)
def always_searches(model: str) -> bool:
    """Whether a model, by the upstream's name, searches with every answer."""
    return any(name in model for name in _SEARCHING_MODELS)


def brings_more(body: Mapping[str, Any], model: str) -> bool:
    """Whether the request may bring input that is not in its bytes.

    ``body``: has passed ``parse_chat_request``. ``model``: the upstream's name.
    """
    if always_searches(model) or body.get("web_search_options") is not None:
        return True
    if unknown_asked(body) or _tools_bring_more(body.get("tools")):
        return True
    prediction = body.get("prediction")
    if prediction and not (isinstance(prediction, dict) and _content_is_text(prediction.get("content"))):
        return True
    return any(map(_message_brings_more, body["messages"]))


def unknown_asked(body: Mapping[str, Any]) -> list[str]:
    """The fields of a request that are set and of which it is not known what they ask for."""
    return list(_unknown(body))


def _unknown(
    fields: Mapping[str, Any], known: frozenset[str] = _KNOWN, beside: Sequence[str] = _BRINGING
) -> Iterator[str]:
    for name, value in fields.items():
        if not value and (
            name in known or not isinstance(value, dict)
        ):  # a switch that is off; {} may be one that is on
            continue
        if name not in known:
            if name not in beside:
                yield name
        elif name in ENVELOPES:
            if isinstance(value, dict):
                yield from _unknown(value, _OF_ENVELOPES, ())
            else:
                yield name


def in_envelopes(body: Mapping[str, Any], *names: str) -> Iterator[Any]:
    """What the envelopes of a request hold under these names, at any depth of envelopes."""
    unseen = [body[name] for name in ENVELOPES if name in body]
    while unseen:
        fields = unseen.pop()
        if isinstance(fields, dict):
            yield from (fields[name] for name in names if fields.get(name) is not None)
            unseen += [fields[name] for name in ENVELOPES if name in fields]


def _tools_bring_more(tools: Any) -> bool:
    if not isinstance(tools, list):
        return bool(tools)
    return not all(isinstance(tool, dict) and _is_own(tool) for tool in tools)


def _is_own(tool: dict[str, Any]) -> bool:
    """Whether a tool is the client's to carry out, by its type, or without one by how it is described."""
    kind = tool.get("type")
    told = kind in OWN_TOOLS or (kind is None and ("function" in tool or "input_schema" in tool))
    return told and tool.keys() <= _OF_TOOLS


def _message_brings_more(message: dict[str, Any]) -> bool:
    for name, value in message.items():
        if isinstance(value, str) and name in _TEXTS:
            continue
        if not value or name in _SPOKEN:
            continue
        check = _OF_MESSAGES.get(name)
        if check is None or check(value):
            return True
    return bool(message.get("id")) and not any(message.get(name) for name in _SAID)  # what was said is named, not told


def _pictures_bring_more(pictures: Any) -> bool:
    """Whether one of a message's ``images``, each a part, a link or the bytes in Base64, is something else."""
    return any(
        _is_no_picture(picture) if isinstance(picture, str) else _content_brings_more(picture)
        for picture in (pictures if isinstance(pictures, list) else [pictures])
    )


def _calls_bring_more(calls: Any) -> bool:
    """Whether something stands among a message's calls that is no call of the client's own tools."""
    return not isinstance(calls, list) or not all(
        isinstance(call, dict) and call.get("type") in (*OWN_TOOLS, None) and any(name in call for name in _OF_CALLS)
        for call in calls
    )


def _thoughts_bring_more(thoughts: Any) -> bool:
    """Whether one of a message's thoughts is named, and not told."""
    return not isinstance(thoughts, list) or not all(
        isinstance(thought, dict) and any(thought.get(name) for name in _OF_THOUGHTS) for thought in thoughts
    )


def _notes_bring_more(notes: Any) -> bool:
    """Whether one of a message's annotations is more than a citation: a file that was read before, say."""
    return not isinstance(notes, list) or not all(
        isinstance(note, dict) and note.get("type") == "url_citation" for note in notes
    )


def _content_brings_more(content: Any) -> bool:
    if isinstance(content, list):
        return any(map(_content_brings_more, content))
    if not isinstance(content, dict):
        return False  # text, or a number
    kind = content.get("type", "text" if "text" in content else "image_url")
    known = _OF_PARTS.get(kind) if isinstance(kind, str) else None
    if known is None or any(value and name not in known for name, value in content.items()):
        return True
    check = _LOOKED_INTO.get(kind)
    return check is not None and check(content)


def _content_is_text(content: Any) -> bool:
    if isinstance(content, list):
        return all(isinstance(part, str) or _is_text_part(part) for part in content)
    return content is None or isinstance(content, str)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and part.keys() <= _OF_PARTS["text"]


def _text_brings_more(part: dict[str, Any]) -> bool:
    return not all(isinstance(part.get(name, ""), (str, type(None))) for name in ("text", "refusal", "thinking"))


def _picture_brings_more(part: dict[str, Any]) -> bool:
    if part.get("source"):
        return _source_brings_more(part)
    picture = part.get("image_url")
    if isinstance(picture, str):
        return _is_no_picture(picture)
    if not _within(picture, _OF_PICTURES):
        return True
    kinds = (str(picture.get(name) or "").lower() for name in ("format", "mime_type"))
    other = any("/" in kind and not kind.startswith("image/") for kind in kinds)
    return other or _is_no_picture(picture.get("url") or "")


def _is_no_picture(url: str) -> bool:
    """Whether a link leads to a film, a recording or a document, as far as it can be told from the link: what is meant
    as a picture is read as what it is by vendors that know more than pictures.
    """
    if url[:5].lower() == "data:":
        return False  # its bytes are counted
    scheme, _, rest = url[:_LONGEST_LINK].strip().lower().partition("://")
    if scheme not in ("http", "https"):
        return bool(rest)  # a vendor's own store
    place = rest.partition("?")[0].partition("#")[0]
    host = place.partition("/")[0].rpartition("@")[2].partition(":")[0].rstrip(".")
    return place.endswith(_OTHER_MEDIA) or host.endswith(_FILM_HOSTS)


def _source_brings_more(part: dict[str, Any]) -> bool:
    """Of Anthropic's pictures and documents; of these only a picture may be a link."""
    source = part.get("source")
    if isinstance(source, dict) and source.get("type") == "content":
        return _content_brings_more(source.get("content"))
    if not _within(source, _OF_SOURCES):
        return True
    if part["type"] == "image" and source.get("url"):
        return False
    return _is_elsewhere(source, "data")


def _sound_brings_more(part: dict[str, Any]) -> bool:
    sound = part.get("input_audio")
    return not _within(sound, _OF_SOUNDS) or _is_elsewhere(sound, "data")


def _file_brings_more(part: dict[str, Any]) -> bool:
    file = part.get("file") if part["type"] == "file" else {name: part.get(name) for name in ("file_data", "filename")}
    return not _within(file, _OF_FILES) or _is_elsewhere(file, "file_data")


def _result_brings_more(part: dict[str, Any]) -> bool:
    return _content_brings_more(part.get("content"))


def _within(value: Any, known: frozenset[str]) -> TypeGuard[dict[str, Any]]:
    """Whether an object has known fields only, each a text, or empty."""
    return isinstance(value, dict) and all(
        not inner or (name in known and isinstance(inner, str)) for name, inner in value.items()
    )


def _is_elsewhere(fields: Mapping[str, Any], name: str) -> bool:
    """Whether what should be held here is a link or an id instead, or is missing. Text is held as it is."""
    data = fields.get(name)
    if not isinstance(data, str):
        return True
    if fields.get("type") == "text":
        return False
    start = data[:_LONGEST_LINK].lstrip()
    if start[:5].lower() == "data:":
        return False
    if len(data) < _SHORTEST_DATA and ("-" in start or "_" in start or len(data) % 4):
        return True
    return _BASE64.fullmatch(start) is None


_LOOKED_INTO: Mapping[str, Callable[[dict[str, Any]], bool]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "refusal", "thinking"), _text_brings_more),
    **dict.fromkeys(("image_url", "input_image", "image"), _picture_brings_more),
    "input_audio": _sound_brings_more,
    **dict.fromkeys(("file", "input_file"), _file_brings_more),
    "document": _source_brings_more,
    **dict.fromkeys(("tool_result", "search_result"), _result_brings_more),
}

_OF_MESSAGES: Mapping[str, Callable[[Any], bool]] = {
    "content": _content_brings_more,
    "images": _pictures_bring_more,
    "tool_calls": _calls_bring_more,
    "reasoning_details": _thoughts_bring_more,
    "annotations": _notes_bring_more,
}
