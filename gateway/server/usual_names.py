"""The headers that most requests have, so that each name is held once and not by every request."""

from __future__ import annotations

USUAL_NAMES = {
    spelled: name
    for name in (
        *(b"host", b"connection", b"accept", b"accept-encoding", b"authorization", b"content-type", b"content-length"),
        *(b"user-agent", b"origin", b"transfer-encoding", b"x-request-id", b"x-stainless-arch", b"x-stainless-async"),
        *(b"x-stainless-lang", b"x-stainless-os", b"x-stainless-package-version", b"x-stainless-read-timeout"),
        *(b"x-stainless-retry-count", b"x-stainless-runtime", b"x-stainless-runtime-version"),
    )
    for spelled in (name, name.title())
}
"""As they are spelled → in lower case."""
