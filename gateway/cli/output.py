"""What commands print: texts that may hold what others have named, so that nothing in them can act on a terminal."""

from __future__ import annotations

import sys


def say(text: object, *, end: str = "\n") -> None:
    """Print what a command was asked for.

    In one piece, also where Python buffers nothing: ``keys create NAME | head -1`` has its line, and leaves.
    """
    print(shown(str(text)) + end, end="", flush=True)


def tell(text: object) -> None:
    """Print beside that, on the standard error."""
    print(shown(str(text)), file=sys.stderr)


def shown(text: str) -> str:
    """A text with what is neither printable nor a line's end as ``\\u202e``: control characters, marks of direction,
    halves of characters. JSON keeps its meaning.
    """
    if text.isascii() and text.isprintable():
        return text
    return "\n".join(line if line.isprintable() else "".join(map(_visible, line)) for line in text.split("\n"))


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"  # as JSON has it
