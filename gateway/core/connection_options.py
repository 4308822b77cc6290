"""How connections to a host are made: through which proxy, with which certificates, and for how long each is used."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_AGE = 300.0
"""Seconds after which a connection is not used again, so that a change of the host's addresses is followed."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that opens tunnels (CONNECT, RFC 9110 section 9.3.6).

    ``authorization``: the value of ``proxy-authorization``, a secret; empty without credentials.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def secrets(self) -> frozenset[str]:
        """What of it must never be shown: the password, and the header's value that holds it."""
        if not self.authorization:
            return frozenset()
        token = self.authorization.removeprefix("Basic ")
        password = base64.b64decode(token).decode("utf-8", "replace").partition(":")[2]
        return frozenset({token, password} - {""})

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class TLSFiles(NamedTuple):
    """Files that TLS is set up from; an empty path where there is none.

    ``ca_files``: certificate authorities that are trusted beside the system's.
    ``certificate``, ``key``: what this machine shows of itself; the key may stand in the certificate's file.
    ``digest``: of the files' content as it was read, so that a renewed file is another set-up.
    """

    ca_files: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    digest: str = ""


class ConnectionOptions(NamedTuple):
    """How connections to a host are made. Two hosts of equal options and address share connections.

    ``proxy``: None for none. ``max_age``: seconds.
    """

    proxy: Proxy | None = None
    tls: TLSFiles = TLSFiles()
    max_age: float = MAX_AGE


DIRECT = ConnectionOptions()
