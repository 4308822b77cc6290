"""The ASGI scopes of a connection's requests."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from gateway.core.headers import Header
from gateway.server.connection import EXTENSION, DownstreamConnection


def connection_scope(transport: asyncio.BaseTransport, connection: DownstreamConnection) -> dict[str, Any]:
    """What the scopes of all requests of a connection have in common."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": _address(transport, "sockname"),
        "client": _address(transport, "peername"),
        "scheme": "http",
        "root_path": "",
        "extensions": {EXTENSION: connection},
    }


def request_scope(
    common: dict[str, Any], method: bytes, target: bytes, version: str, headers: list[Header]
) -> dict[str, Any]:
    """The scope of one request. ``target``: a path with perhaps a query, in ASCII."""
    path, _, query = target.partition(b"?")
    decoded = path.decode("ascii")
    scope = common.copy()
    scope["method"] = method.decode("ascii")
    scope["path"] = unquote(decoded) if "%" in decoded else decoded
    scope["raw_path"] = path
    scope["query_string"] = query
    scope["headers"] = headers
    if version != "1.1":
        scope["http_version"] = version
    return scope


def _address(transport: asyncio.BaseTransport, end: str) -> tuple[str, int] | None:
    """Host and port of one end (``sockname``, ``peername``); None where there is none, as of a peer that has left."""
    try:
        found = transport.get_extra_info(end)
    except OSError:
        return None
    return (found[0], found[1]) if isinstance(found, tuple) else None
