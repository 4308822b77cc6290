"""The fingerprint of a request, by which a re-send of it is known: of what it says, not of how it is written.

Two JSON bodies are equal if their values are, in any order of their names and with any white space; two forms if their
fields and files are, with any boundary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.core import long_texts


def fingerprint(route: str, fields: Mapping[str, Any], files: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """32 bytes that tell a request from every other.

    ``route``: the path of its route. ``fields``: the JSON object, or the fields of the form.
    ``files``: of a form: each one's field and its bytes. Their order tells as well: a model is given its pictures in
    it. Takes long where there is much to read.
    """
    digest = hashlib.sha256()
    _take(digest, route.encode("utf-8", "surrogatepass"))
    _take(digest, _canonical(fields))
    for name, data in files:
        _take(digest, name.encode("utf-8", "surrogatepass"))
        _take(digest, hashlib.sha256(data).digest())
    return digest.digest()


def _take(digest: hashlib._Hash, part: bytes) -> None:
    """With its length, so that no two rows of parts look alike."""
    digest.update(b"%d:" % len(part))
    digest.update(part)


def _canonical(fields: Mapping[str, Any]) -> bytes:
    ordered = _ordered(fields)
    try:
        return long_texts.dumps(ordered)
    except orjson.JSONEncodeError:  # a lone surrogate, or a number of more than 64 bits
        return repr(ordered).encode("utf-8", "surrogatepass")


def _ordered(value: Any) -> Any:
    """A copy with the names of every object in order."""
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_ordered(one) for one in value]
    return value
