"""Text that was cut in the middle of a character, or escaped so: what is no character becomes U+FFFD.

JavaScript, Java and others cut texts between the two halves (surrogates) of an emoji, others cut UTF-8 after so many
bytes. Such a text stays in a client's history, so refusing it would end the conversation for good.
"""

from __future__ import annotations

import re

MOST_HALVES = 2_000_000
"""Backslashes, or bytes that may begin half of a character, up to which a body is searched for such halves. The search
then takes 0.3 s at most."""

_ESCAPED_BACKSLASH = rb"\\"
_PLACEHOLDER = b"\0\0"  # of the same length; a NUL is nowhere in JSON
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F][0-9a-fA-F]"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F][0-9a-fA-F]"
_HALF_ESCAPED = re.compile(
    rb"\\u(?:[dD][89abAB][0-9a-fA-F][0-9a-fA-F](?!%s)|(?<!%s\\u)[dD][c-fC-F][0-9a-fA-F][0-9a-fA-F])" % (_LOW, _HIGH)
)
_FIRST_BYTE_OF_HALF = b"\xed"


def mended_escapes(body: bytes) -> bytes:
    """The JSON text ``body`` with an escaped U+FFFD for every escaped half of a character; no position changes.

    What is not JSON, or has more than ``MOST_HALVES`` escapes, may be returned as it is.
    """
    if b"\\u" not in body or b"\0" in body or body.count(b"\\") > MOST_HALVES:
        return body
    # With the escaped backslashes out of the way, every backslash begins an escape.
    bare = body.replace(_ESCAPED_BACKSLASH, _PLACEHOLDER)
    return _HALF_ESCAPED.sub(rb"\\ufffd", bare).replace(_PLACEHOLDER, _ESCAPED_BACKSLASH)


def mended_text(data: bytes) -> str:
    """The text in ``data``, which should be UTF-8. Two halves that were encoded one by one (CESU-8) are a character."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    if data.count(_FIRST_BYTE_OF_HALF) <= MOST_HALVES:
        try:
            halves = data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            pass
        else:
            return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return data.decode("utf-8", "replace")
