"""The headers of Anthropic's Messages API that go with a request to an upstream: its version, and what is being tried.

They choose neither key nor place, and hold names of features alone. No other header of a client goes upstream.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.core.errors import invalid_request
from gateway.core.headers import Headers

DEFAULT_VERSION = b"2023-06-01"

_VERSION = re.compile(rb"[0-9A-Za-z.-]{1,32}")
_BETAS = re.compile(rb"[0-9A-Za-z._-]{1,100}(?:[ \t]*,[ \t]*[0-9A-Za-z._-]{1,100}){0,63}")


def version_header(version: bytes = DEFAULT_VERSION) -> tuple[bytes, bytes]:
    """The header that every request to the API must have."""
    return b"anthropic-version", version


def passed_headers(versions: Sequence[bytes], betas: Sequence[bytes]) -> Headers:
    """What of a client's goes upstream. ``versions``, ``betas``: of ``anthropic-version``, ``anthropic-beta``.

    Raises ClientError 400 for what is no list of names.
    """
    version = versions[0].strip() if versions else b""
    named = b",".join(value for one in betas if (value := one.strip()))
    if len(versions) > 1 or (version and _VERSION.fullmatch(version) is None):
        raise _unreadable("anthropic-version", "it must be one version, such as 2023-06-01")
    if named and _BETAS.fullmatch(named) is None:
        raise _unreadable("anthropic-beta", "it must be names, separated by commas")
    own = (version_header(version or DEFAULT_VERSION),)
    return (*own, (b"anthropic-beta", named)) if named else own


def _unreadable(name: str, rule: str) -> Exception:
    return invalid_request(f"Invalid header '{name}': {rule}.", param=name, code="invalid_value")
