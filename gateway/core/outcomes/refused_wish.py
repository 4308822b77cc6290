"""Whether an upstream's error is about what only the gateway asked for: a stream, or its usage.

Servers say so in many ways: by ``param``, by the place in a list of faults (``detail: [{"loc": ["body",
"stream_options"], …}]``), or in words alone. A word that was taken wrongly costs one more request that is refused
again, a word that was missed costs the client its answer; so in doubt it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gateway.core.json_weight import read_json
from gateway.core.types import CostClass, Outcome, Phase, Wish
from gateway.core.upstream_errors.upstream_error import UpstreamError

_READ = 64 * 1024
"""Characters of a text that are read."""

_MOST_WORDS = 64
"""Texts of one error that are read, and as many faults of a list."""

_DEEPEST = 6

_TELLING = frozenset(
    {
        "cause",
        "description",
        "detail",
        "details",
        "error",
        "error_description",
        "error_message",
        "errors",
        "err",
        "hint",
        "message",
        "metadata",
        "msg",
        "provider_error",
        "raw",
        "raw_message",
        "reason",
        "title",
    }
)
"""Members of an error that tell what was wrong. Others may quote the request, in which our own wishes stand."""

_NAMING = frozenset({"code", "type"})
"""Members that tell it in one word, such as ``streaming_not_supported``."""

_PLACES = frozenset({"param", "loc", "field", "path", "parameter", "property"})
"""Members that name the field at fault."""

_SURE = frozenset({"rejected"})
_PERHAPS = frozenset(
    {"model_missing", "key_forbidden", "upstream_5xx", "bad_content_type", "soft_error", "sse_error_first", "conflict"}
)
"""Outcomes that may be due to a wish: in any case, or (``_PERHAPS``) only if the words say so plainly."""

_BASES = frozenset({"", "$", "body", "json", "query", "request", "root", "__root__", "kwargs", "extra_body", "data"})
_SEPARATORS = re.compile(r"[.\[\]/'\"]+")

_ECHO = re.compile(
    r"""(?:['"]input['"]|\binput_value)\s*[:=].*?(?=['"](?:loc|type|msg|ctx|url)['"]\s*:|\[type=|$)""", re.S | re.M
)
"""A request quoted in the words, as pydantic does."""

_OPTIONS = re.compile(r"\bstream_?options?\b|\bstream options\b|\binclude_?usage\b", re.I)
_NO_WISH = re.compile(
    r"""\b(?:function|tool|name|model|propert(?:y|ies)|key|file)s?\s*[:=]?\s*['"`]stream(?:ing|ed)?['"`]"""
    r"""|\b(?:video|audio|byte|input|data|bit|event|http|live|file|image|token|text|octet|media)[ -]streams?\b"""
    r"""|\bstream\s+(?:closed|ended|error|reset|disconnected|interrupted|broke|aborted|read)\b""",
    re.I,
)
"""Streams that are no wish: those named in a request, and those of bytes."""

_STREAM = re.compile(
    r"(?:(?<![\w./-])|(?<=\bbody\.)|(?<=\$\.)|(?<=\brequest\.))(?:streaming|streamed|stream)(?![\w/-]|\.\w)"
    r"|\bSSE\b|\bserver-sent events?\b|流式|ストリーミング",
    re.I,
)
_REFUSED = re.compile(
    r"(?:not|n't|cannot|un|never)[ -]?(?:be |yet |currently |be currently )?"
    r"(?:support|allow|permit|accept|availab|enabl|stream|recogni|compatib)"
    r"|\bonly (?:support|allow|availab|non)|\bunknown (?:param|field|arg|name|prop)|\bextra (?:input|field)"
    r"|\bmust be (?:verified|false|disabled)|不支持|不能|サポートされていません"
    r"|\bincompatible\b|\b(?:without|non|no)[ -]?stream",
    re.I,
)
"""Words of a refusal, as against those of an accident."""


def judged(outcome: Outcome, said: object, made: frozenset[Wish], cost_class: CostClass) -> Outcome:
    """``outcome``, or ``wish_refused`` in its place if it is due to one of the wishes ``made``.

    ``said``: the answer's JSON or text, or an error as it was read; not redacted.
    ``cost_class``: of the request. A paid one is asked again only if it is proven that nothing was bought.
    """
    if not made or outcome.ok or outcome.phase is Phase.FORWARDED:
        return outcome
    if cost_class is CostClass.PAID and outcome.phase is not Phase.REJECTED:
        return outcome
    if outcome.slug not in _SURE and outcome.slug not in _PERHAPS:
        return outcome
    wish, plainly = _refused(said, made)
    if wish is None or not (plainly or outcome.slug in _SURE):
        return outcome
    told = f"{outcome.detail}; it refused {wish}, which only the gateway asked for"
    if not plainly:  # its words may yet be what the client must read
        return replace(outcome, slug="wish_refused", phase=Phase.REJECTED, detail=told, wish=wish)
    return Outcome("wish_refused", Phase.REJECTED, outcome.status, detail=told, wish=wish)


def wants_stream(outcome: Outcome) -> bool:
    """Whether a request is rejected, as it seems, because it does not ask for a stream."""
    if outcome.slug != "rejected":
        return False
    return _named(outcome.param) is Wish.STREAM or _STREAM.search(_NO_WISH.sub(" ", outcome.message or "")) is not None


def _refused(error: object, made: frozenset[Wish]) -> tuple[Wish | None, bool]:
    """The wish an error complains of, and whether it says so plainly. One that names both is about the options first,
    which are the smaller loss.
    """
    words: list[str] = []
    for place, text in _told(error, 0):
        if text is not None:
            words.append(text)
        elif (named := _named(place)) in made:
            return named, True
        if len(words) >= _MOST_WORDS:
            break
    said = _ECHO.sub(" ", "\n".join(words))
    if Wish.STREAM_OPTIONS in made and _OPTIONS.search(said):
        return Wish.STREAM_OPTIONS, True
    said = _NO_WISH.sub(" ", _OPTIONS.sub(" ", said))
    if Wish.STREAM in made and _STREAM.search(said):
        return Wish.STREAM, _REFUSED.search(said) is not None
    return None, False


def _told(value: object, depth: int) -> Iterator[tuple[object, str | None]]:
    """What an error says: (place, None) for each field it names, (None, text) for each text."""
    if depth > _DEEPEST:
        return
    if isinstance(value, UpstreamError):
        named = {"message": value.message, "type": value.type, "param": value.param, "code": value.code}
        yield from _told_by_members(named, depth)
    elif isinstance(value, dict):
        yield from _told_by_members(value, depth)
    elif isinstance(value, str):
        inner = _inner(value)
        if inner is not None:
            yield from _told(inner, depth + 1)
        yield None, value[:_READ]
    elif isinstance(value, list):
        for one in value[:_MOST_WORDS]:
            yield from _told(one, depth + 1)


def _told_by_members(error: dict[str, Any], depth: int) -> Iterator[tuple[object, str | None]]:
    for name, inner in error.items():
        if name in _PLACES:
            yield inner, None
        elif name in _NAMING and isinstance(inner, str):
            yield None, inner[:200].replace("_", " ")
        elif name in _TELLING:
            yield from _told(inner, depth + 1)


def _inner(text: str) -> object | None:
    """JSON inside a text, as relays quote the error of another server; None if there is none."""
    start = text.find("{")
    if start < 0 or not text.rstrip().endswith("}"):
        return None
    try:
        found: object = read_json(text[start:].encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return found


def _named(place: object) -> Wish | None:
    """The wish that a field's path names: ``stream``, ``body.stream_options.include_usage``, ``["body", "stream"]``."""
    if isinstance(place, str):
        steps = [step for step in _SEPARATORS.split(place) if step not in _BASES]
    elif isinstance(place, list):
        steps = [step for step in place if isinstance(step, str) and step not in _BASES]
    else:
        return None
    first = steps[0].strip().lower() if steps else ""
    if first in ("stream_options", "include_usage"):
        return Wish.STREAM_OPTIONS
    return Wish.STREAM if first == "stream" else None
