"""``${NAME}`` and ``${NAME:-default}`` inside the file's strings, filled from the environment.

As in a shell, ``:-`` also takes the default when the variable is set but empty. ``$${`` stands for a literal ``${``.

A command that uses only a part of the configuration, such as the store, needs only that part's variables: what the
environment says of the rest, or does not, is none of its business (``document.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^{}]*)?\}|\$\{")


class Substituted(str):
    """Text that came, in whole or in part, from the environment.

    A field for a number accepts such text too, because a substitution is always text.
    """

    names: tuple[str, ...] = ()
    """The variables it came from."""
    written: bool = False
    """Whether a default that stands in the file is part of it."""


def references(text: str) -> list[str]:
    """The variables that a text names, in order."""
    if "${" not in text:
        return []
    return [match["name"] for match in _REFERENCE.finditer(text) if match["name"] is not None]


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with its references replaced. Raises ValueError naming every variable that is unset and has no
    default.
    """
    if "${" not in text:
        return text
    names: list[str] = []
    unset: list[str] = []
    written = False

    def fill(match: re.Match[str]) -> str:
        nonlocal written
        if match["escaped"]:
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            raise ValueError("write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
        names.append(name)
        value = environ.get(name)
        if default is not None:
            written |= not value
            return value or default[2:]
        if value is None:
            unset.append(name)
            return ""
        return value

    filled = _REFERENCE.sub(fill, text)
    if unset:
        variables = ", ".join(dict.fromkeys(unset))
        subject = f"variables {variables} are" if len(set(unset)) > 1 else f"variable {variables} is"
        raise ValueError(f"the environment {subject} not set; set it, or write ${{{unset[0]}:-default}}")
    if not names:
        return filled
    result = Substituted(filled)
    result.names = tuple(dict.fromkeys(names))
    result.written = written
    return result
