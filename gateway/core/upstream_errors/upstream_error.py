"""An upstream's error, found in any shape: the one reader for answers of every status and for streams.

The shapes: OpenAI's ``{"error": {"message", "type", "param", "code"}}`` and the same in an array (Google), the relays'
``{"error": "text"}``, PiAPI's envelope ``{"code", "message", "data"}``, the bare ``{"message": …}`` and
``{"detail": …}`` of web frameworks, also as a list of places and what is wrong there (FastAPI), and plain text. Many
relays say only that something failed and put what it was one level down (``metadata.raw``, ``innererror``,
``details``, JSON in the text): the inner words are then the error's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.upstream_errors.error_words import fields_in_text, is_vague, readable, says_nothing

_ENVELOPE_OK = (0, 200)

_DEEPEST = 8
"""Levels that are searched for words; Google's array of errors has its fields' faults six levels down."""

_MOST_PLACES = 5
"""Items of a list of what is wrong whose words are told."""

_MESSAGES = (
    "message",
    "detail",
    "raw_message",
    "msg",
    "error_msg",
    "error_message",
    "errormessage",
    "errmsg",
    "err_msg",
    "status_msg",
    "error_description",
    "description",
    "title",
)
"""Names of the words, in lower case, the best first."""

_INNER = (
    "errors",
    "error",
    "innererror",
    "inner_error",
    "details",
    "fieldviolations",
    "cause",
    "upstream_error",
    "base_resp",
    "err",
)
"""Names below which the words may stand if they are not told here."""

_CODES = ("code", "error_code", "errcode", "status_code", "statuscode")
_TYPES = ("type", "error_type", "__type")
_STATUSES = ("status", "status_code", "statuscode", "http_status", "http_code")

_MARKS_OF_REFUSAL = ("flagged_input", "moderation_details", "blockreason", "block_reason", "blockReason")
"""Members that only an error about what the prompt says has (OpenRouter, OpenAI, Google); of ``metadata``, also
``reasons``.
"""

_FILTER_RESULTS = ("content_filter_result", "content_filter_results")
_PLACES_OF_REQUESTS = ("body", "query", "header", "path")


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An error as the upstream sent it.

    ``message``: not sanitised.
    ``code``: a name or a number.
    ``status``: the HTTP status it names for itself beside its code.
    ``names``: other names of what it is: inner codes, and ``flagged_input`` if it says why the prompt was refused.
    ``quoted``: the words and names are those of another error, which this one only hands on.
    """

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None
    status: int | None = None
    names: tuple[str, ...] = ()
    quoted: bool = False


def error_in(document: object, *, expects_choices: bool = False, is_error: bool = False) -> UpstreamError | None:
    """The error inside a JSON document that looks successful; None if it holds none.

    ``document``: parsed JSON, a whole body or a whole stream event.
    ``expects_choices``: whether a good document has ``choices``, so that a bare message without them is an error.
    ``is_error``: whether something else, such as an event's name, already says that it is one.
    """
    if isinstance(document, list):
        return next(filter(None, (error_in(item) for item in document[:_MOST_PLACES] if _tells_error(item))), None)
    if not isinstance(document, dict):
        return None
    if is_error or _is_error(document.get("error"), document):
        return _read(document, _DEEPEST)
    if document.get("choices") is not None:
        return None
    if _is_envelope(document) or "error" in (document.get("object"), document.get("type")):
        return _read(document, _DEEPEST)
    if expects_choices:
        code = document.get("code")
        known = type(code) is int and code in _ENVELOPE_OK
        if type(code) is int and not known:
            return _read(document, _DEEPEST)
        if not known and any(isinstance(document.get(name), str) for name in ("message", "detail", "msg", "error_msg")):
            return _read(document, _DEEPEST)
    return None


def read_upstream_error(document: object) -> UpstreamError:
    """The error in a document known to be one, with as many of its fields as can be found."""
    return _read({"error": document} if isinstance(document, str) else document, _DEEPEST)


def is_error_document(document: object) -> bool:
    """Whether JSON has the form of a provider's own error: an object, or an array that has one in it."""
    return isinstance(document, dict) or (isinstance(document, list) and any(map(_tells_error, document)))


def words_of(text: str) -> str | None:
    """The words of a text that may itself be an error in JSON, or a page; None if it has none."""
    return _read_text(text, _DEEPEST).message


def _tells_error(item: object) -> bool:
    return isinstance(item, dict) and (bool(item.get("error")) or _is_envelope(item))


def _is_error(error: object, document: Mapping[str, Any]) -> bool:
    """Whether the member ``error`` is one. Some relays send an empty one with every good chunk."""
    if isinstance(error, dict):
        return bool(error) and (not document.get("choices") or any(map(bool, error.values())))
    return bool(error)


def _is_envelope(document: Mapping[str, Any]) -> bool:
    """Whether a document without ``choices`` is an error by its number (PiAPI, Baidu, MiniMax)."""
    if "choices" in document:
        return False
    code = _number(document.get("code"))
    if code is not None and "message" in document:
        return code not in _ENVELOPE_OK
    if "error_msg" in document:
        return _number(document.get("error_code")) not in (None, *_ENVELOPE_OK)
    told = document.get("base_resp")
    return isinstance(told, dict) and _number(told.get("status_code")) not in (None, *_ENVELOPE_OK)


def _read(value: object, levels: int) -> UpstreamError:
    if isinstance(value, str):
        return _read_text(value, levels)
    if levels == 0:
        return UpstreamError()
    if isinstance(value, list):
        return _read_list(value, levels - 1)
    if isinstance(value, dict):
        return _read_object(value, levels - 1)
    return UpstreamError()


def _read_text(text: str, levels: int) -> UpstreamError:
    """A text: plain words, or an error in JSON (or in Python's spelling of it) with nothing said around it."""
    inner = fields_in_text(text) if levels > 0 else None
    if inner is not None:
        found = _read(inner, levels - 1)
        if found.message is not None:
            return replace(found, quoted=True)
    return UpstreamError(readable(text))


def _read_list(items: list[Any], levels: int) -> UpstreamError:
    """A list of errors; of places and what is wrong there (FastAPI); or of texts."""
    found = [one for one in (_read_item(item, levels) for item in items[:_MOST_PLACES]) if one.message is not None]
    if not found:
        return UpstreamError()
    words = list(dict.fromkeys(one.message for one in found if one.message is not None))
    names = tuple(name for one in found for name in one.names)
    return replace(found[0], message="; ".join(words), names=names)


def _read_item(item: object, levels: int) -> UpstreamError:
    error = _read(item, levels)
    if not isinstance(item, dict) or error.message is None:
        return error
    place = _place(item.get("loc")) or _place(item.get("path")) or _text(item.get("field"))
    if place is None:
        return error
    return replace(error, message=f"{place}: {error.message}", param=error.param or place, type=None)


def _place(loc: object) -> str | None:
    """``messages.0.content`` for FastAPI's ``["body", "messages", 0, "content"]``."""
    if not isinstance(loc, list):
        return None
    steps = [str(step) for step in loc if isinstance(step, str | int)]
    if len(steps) > 1 and steps[0] in _PLACES_OF_REQUESTS:
        steps = steps[1:]
    return ".".join(steps) or None


def _read_object(members: dict[Any, Any], levels: int) -> UpstreamError:
    fields = {name.lower(): value for name, value in members.items() if isinstance(name, str)}
    inner = fields.get("error")
    if isinstance(inner, dict | list) and inner:
        return _beside(_read(inner, levels), fields, levels)
    own = UpstreamError(
        type=next(filter(None, map(_type, map(fields.get, _TYPES))), None),
        param=_place_in_words(fields.get("param")),
        code=_first_code(fields),
        status=next(filter(None, map(_status, map(fields.get, _STATUSES))), None),
        names=_names(fields),
    )
    if isinstance(inner, str) and inner.strip():
        own = _named(own, inner)
    return _with_words(own, fields, levels)


def _beside(error: UpstreamError, fields: Mapping[str, Any], levels: int) -> UpstreamError:
    """An inner error, completed by what stands beside it."""
    if error.message is None or says_nothing(error.message):
        around = _with_words(UpstreamError(), {**fields, "error": None}, levels)
        error = replace(error, message=around.message or error.message)
    if error.code is None:
        error = replace(error, code=_first_code(fields))
    return error


def _named(own: UpstreamError, error: str) -> UpstreamError:
    """An error whose member ``error`` is a text: a code, or the words themselves."""
    if own.code is None and is_vague(error) and not says_nothing(error):
        return replace(own, code=error.strip())
    return own


def _with_words(own: UpstreamError, fields: Mapping[str, Any], levels: int) -> UpstreamError:
    """``own`` with the best words among the members: those that say the most, the outermost first."""
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    best = UpstreamError()
    for value in (*(fields.get(name) for name in _MESSAGES), fields.get("error"), raw):
        best = _better(best, value, levels)
    if best.message is not None and not is_vague(best.message):
        return _joined(own, best)
    for name in _INNER:
        best = _better(best, fields.get(name), levels)
    return _joined(own, _better(best, _by_field(fields.get("errors")), levels))


def _by_field(errors: object) -> list[dict[str, Any]]:
    """What is wrong by the field it is wrong with: ``{"errors": {"n": ["is odd"]}}`` (Laravel, ASP.NET)."""
    if not isinstance(errors, dict):
        return []
    pairs = ((name, words[0] if isinstance(words, list) and words else words) for name, words in errors.items())
    return [{"field": name, "message": words} for name, words in pairs if isinstance(words, str)]


def _better(best: UpstreamError, value: object, levels: int) -> UpstreamError:
    """``best``, or what ``value`` says if that is more."""
    if not value or (best.message is not None and not is_vague(best.message)):
        return best
    found = _read(value, levels)
    if found.message is None:
        return best
    if best.message is None or not says_nothing(found.message):
        return replace(found, quoted=found.quoted or best.message is not None)
    return best


def _joined(own: UpstreamError, words: UpstreamError) -> UpstreamError:
    """An error's own names, and the words that were found in it, with the names these came with."""
    code = words.code if words.code is not None and not isinstance(own.code, str) else own.code
    return UpstreamError(
        words.message,
        own.type or words.type,
        own.param or words.param,
        code,
        own.status,
        (*own.names, *words.names, *(str(name) for name in (words.code,) if name is not None and name != code)),
        words.quoted and code is not own.code,
    )


def _names(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The other names of what an error is, from the members that some vendors add."""
    found: list[str] = []
    metadata = fields.get("metadata")
    places = (fields, metadata, fields.get("promptfeedback"))
    marked = any(isinstance(place, dict) and any(map(place.get, _MARKS_OF_REFUSAL)) for place in places)
    if marked or (isinstance(metadata, dict) and metadata.get("reasons")):
        found.append("flagged_input")
    inner = fields.get("innererror")
    results = (place.get(name) for place in (fields, inner) if isinstance(place, dict) for name in _FILTER_RESULTS)
    if any(map(_filtered, results)):
        found.append("content_filter")
    if isinstance(inner, dict):
        found.extend(filter(None, (_text(inner.get("code")),)))
    details = fields.get("details")
    for item in details if isinstance(details, list) else ():
        if isinstance(item, dict):
            found.extend(filter(None, (_text(item.get("reason")),)))
    status = fields.get("status")
    if isinstance(status, str) and _number(status) is None:
        found.extend(filter(None, (_text(status),)))
    return tuple(found)


def _filtered(results: object) -> bool:
    """Whether Azure's results name a category that was filtered."""
    return isinstance(results, dict) and any(
        isinstance(result, dict) and result.get("filtered") is True for result in results.values()
    )


def _first_code(fields: Mapping[str, Any]) -> str | int | None:
    codes = (_code(fields.get(name)) for name in _CODES)
    return next((code for code in codes if code is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _place_in_words(value: object) -> str | None:
    """A parameter's name; what Python writes for none (LiteLLM's ``"None"``) is none."""
    text = _text(value)
    return None if text in ("None", "null") else text


def _type(value: object) -> str | None:
    """A type's name; of problem documents it is a link (RFC 9457), which names nothing."""
    text = _text(value)
    return None if text is None or ":" in text else text


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) <= 6 and value.isascii() and value.isdigit():
        return int(value)
    return None


def _status(value: object) -> int | None:
    number = _number(value)
    return number if number is not None and 400 <= number <= 599 else None


def _code(value: object) -> str | int | None:
    number = _number(value)
    return number if number is not None else _text(value)
