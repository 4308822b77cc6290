"""Texts that match a regular expression, for JSON schemas with a ``pattern``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

_LONGEST = 200  # repetitions of one part
_ORDINARY = (*map(ord, "a0-A _.x9@:/"), *range(0x21, 0x7F))
"""Characters that are tried where a pattern leaves the choice, the plainest first."""

_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_CATEGORIES: Mapping[Any, Callable[[str], bool]] = {
    _constants.CATEGORY_DIGIT: str.isdigit,
    _constants.CATEGORY_NOT_DIGIT: lambda letter: not letter.isdigit(),
    _constants.CATEGORY_SPACE: str.isspace,
    _constants.CATEGORY_NOT_SPACE: lambda letter: not letter.isspace(),
    _constants.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
    _constants.CATEGORY_NOT_WORD: lambda letter: not (letter.isalnum() or letter == "_"),
}


def matching(pattern: object, text: str) -> str:
    """``text`` if the pattern finds itself in it, else a text that it does, else ``text``.

    Patterns that look around or back, and those Python cannot read, are not followed.
    """
    if not isinstance(pattern, str):
        return text
    try:
        if re.search(pattern, text):
            return text
        made = "".join(_example(_parser.parse(pattern), {}))
        return made if re.search(pattern, made) else text
    except (re.error, OverflowError, RecursionError):
        return text


def _example(parts: Iterable[tuple[Any, Any]], groups: dict[int, str]) -> Iterable[str]:
    """``groups``: what they hold so far, by their numbers."""
    for kind, value in parts:
        if kind in _REPEATS:
            least, most, repeated = value
            yield "".join(_example(repeated, groups)) * min(max(least, min(most, 1)), _LONGEST)
        elif kind is _constants.SUBPATTERN:
            number, _, _, inside = value
            text = "".join(_example(inside, groups))
            if number is not None:
                groups[number] = text
            yield text
        elif kind is _constants.GROUPREF:
            yield groups.get(value, "")
        elif kind is _constants.BRANCH:
            yield from _example(value[1][0], groups)
        else:
            yield _letter(kind, value)


def _letter(kind: Any, value: Any) -> str:
    """One character, or nothing for what only looks around."""
    if kind is _constants.LITERAL:
        return chr(value)
    if kind is _constants.NOT_LITERAL:
        return chr(next(code for code in _ORDINARY if code != value))
    if kind is _constants.ANY:
        return "a"
    return _of_class(value) if kind is _constants.IN else ""


def _of_class(members: list[tuple[Any, Any]]) -> str:
    """A character of a class such as ``[^a-z_]``."""
    kind, value = members[0]
    negated = kind is _constants.NEGATE
    first = {_constants.LITERAL: lambda: (value,), _constants.RANGE: lambda: (value[0],)}
    preferred = first[kind]() if kind in first else ()
    for code in (*preferred, *_ORDINARY, 0x20, 0x09, 0x0A, 0xE9):
        if any(_is_member(code, member) for member in members) is not negated:
            return chr(code)
    return ""


def _is_member(code: int, member: tuple[Any, Any]) -> bool:
    kind, value = member
    if kind is _constants.LITERAL:
        return bool(code == value)
    if kind is _constants.RANGE:
        return bool(value[0] <= code <= value[1])
    if kind is _constants.CATEGORY:
        return _CATEGORIES[value](chr(code))
    return False
