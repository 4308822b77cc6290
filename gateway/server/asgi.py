"""ASGI, for the routes that are Starlette's: a request as a scope, its body and its answer as messages."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from gateway.server.client import Client
from gateway.server.connection import address_of
from gateway.server.request import Request, SenderGone

_REQUEST = "piapi.request"


async def serve_asgi(app: ASGIApp, request: Request, client: Client) -> None:
    """Have ``app``, of ASGI version 3, answer one request."""
    bridge = _Bridge(request, client)
    await app(scope_of(request), bridge.receive, bridge.send)


def scope_of(request: Request) -> Scope:
    """The request's head as ASGI has it."""
    path = request.path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "server": address_of(request.connection.transport, "sockname"),
        "client": request.peer,
        "scheme": "http",
        "root_path": "",
        "method": request.method,
        "path": unquote(path) if "%" in path else path,
        "raw_path": request.path,
        "query_string": request.query,
        "headers": request.headers,
        "path_params": request.params,
        _REQUEST: request,
    }


def request_of(scope: MutableMapping[str, Any]) -> Request:
    """The request that a scope was made of."""
    found: Request = scope[_REQUEST]
    return found


class _Bridge:
    """The messages of one request."""

    def __init__(self, request: Request, client: Client) -> None:
        self._request = request
        self._client = client

    async def receive(self) -> Message:
        try:
            body = await self._request.receive()
        except SenderGone:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": not self._request.complete}

    async def send(self, message: Message) -> None:
        client, kind = self._client, message["type"]
        if client.gone:
            return
        if client.finished or kind != ("http.response.body" if client.started else "http.response.start"):
            raise RuntimeError(f"{kind} cannot be sent at this point of an answer")
        if kind == "http.response.start":
            await self._start(message)
            return
        if body := message.get("body", b""):
            await client.write(body)
        if not message.get("more_body", False):
            await client.finish()

    async def _start(self, message: Message) -> None:
        length: int | None = None
        headers = []
        for name, value in message.get("headers", ()):
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                raise RuntimeError("the server chooses how an answer is framed, not the application")
            elif name == b"connection" and value.lower() == b"close":
                self._client.keep_alive = False
            else:
                headers.append((name, value))
        await self._client.start(message["status"], headers, length=length, default=b"")
