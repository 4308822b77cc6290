"""A configuration that ends too early: saved in part, by a full disk or an editor that died, and left like that.

What is lost at a file's end may be a key's budget or the models it may use, and the rest is a valid file. Nothing in
such a file says so; only the one in force does, which went on from there.
"""

from __future__ import annotations


def cut_off(old: str, new: str) -> int:
    """How many lines of ``old`` seem to be missing behind the end of ``new``; 0 if ``new`` has an end of its own.

    It seems so if ``new`` is the beginning of ``old``; or if its last line stands in ``old`` as well, whole or its
    beginning, with more behind it, but is not the last one there. Blank lines do not count; comments do, so that one at
    the end says that a file is whole.
    """
    before, after = _lines(old), _lines(new)
    if not before or not after:
        return 0
    if after == before[: len(after)]:
        return len(before) - len(after)
    if before[-1] == after[-1]:
        return 0
    for place in range(len(before) - 1, -1, -1):
        line = before[place]
        if line == after[-1]:
            return len(before) - 1 - place
        if line.startswith(after[-1]) and not new.endswith("\n"):
            return len(before) - place
    return 0


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]
