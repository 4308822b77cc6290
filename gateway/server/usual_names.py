"""The headers that most requests have, so that each name is held once and not by every request."""

from __future__ import annotations

_OF_ALL = (
    *(b"host", b"connection", b"accept", b"accept-encoding", b"authorization", b"content-type", b"content-length"),
    *(b"user-agent", b"origin", b"transfer-encoding", b"x-request-id"),
)
_OF_OPENAI_SDKS = (
    *(b"arch", b"async", b"lang", b"os", b"package-version", b"read-timeout", b"retry-count", b"runtime"),
    b"runtime-version",
)

USUAL_NAMES = {
    spelled: name
    for name in (*_OF_ALL, *(b"-".join((b"x", b"stainless", rest)) for rest in _OF_OPENAI_SDKS))
    for spelled in (name, name.title())
}
"""As they are spelled → in lower case."""
