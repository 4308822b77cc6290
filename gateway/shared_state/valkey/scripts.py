"""The scripts that the server runs: each is one step that nothing comes between, on the server's own time."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

_LIMITS = frozenset({"admit", "release", "restore"})
"""Those that begin with what is common to all windows."""


class Script(NamedTuple):
    """``digest``: SHA-1 of the text in hexadecimal, by which a server that has run it knows it."""

    text: str
    digest: str


@cache
def script(name: str) -> Script:
    """The script of that name in ``scripts/``."""
    folder = resources.files(__package__) / "scripts"
    parts = [f"{one}.lua" for one in (("windows", name) if name in _LIMITS else (name,))]
    text = "\n".join((folder / part).read_text(encoding="utf-8") for part in parts)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
