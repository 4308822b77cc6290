"""The header fields of a message, as all rooms hand them on: pairs of bytes, names in lower case, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

NOTE = b"x-gateway-note"
"""The header that tells a client what was done otherwise than it may think, in a word or after one: ``downgraded``,
``link_instead_of_b64``, ``ignored: style, user``. Several are joined by ``; ``."""

_MOST_OF_NOTES = 1024
"""Characters of the header's value: what proxies take without asking."""

_NOT_IN_A_HEADER = re.compile(r"[^\x20-\x7e]")


def noted(note: str | None, more: str | None) -> str | None:
    """The note with another joined to it, unless it has been said; None for nothing to say."""
    if not more:
        return note
    if not note:
        return more
    return note if more in note.split("; ") else f"{note}; {more}"


def note_headers(notes: Iterable[str | None]) -> Headers:
    """The one header with all these notes; none without any. Whatever the notes hold, it stays one line of ASCII."""
    joined: str | None = None
    for note in notes:
        if note:
            for one in note.split("; "):
                joined = noted(joined, one)
    if joined is None:
        return ()
    return ((NOTE, _NOT_IN_A_HEADER.sub("?", joined)[:_MOST_OF_NOTES].encode("ascii")),)
