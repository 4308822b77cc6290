"""Requests and clients without a socket: a connection that only records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from gateway.core.headers import Header
from gateway.server.client import Client
from gateway.server.flow import FlowControl
from gateway.server.request import Request

DATE = b"date: Sun, 29 Nov 2026 12:00:00 GMT\r\n"


class Transport:
    """Takes everything that is written, and says which direction is paused."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.reading = True
        self.closing = False

    def write(self, data: bytes) -> None:
        assert data, "a write of nothing is a system call for nothing"
        self.writes.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 1


class Slots:
    """Takes in everything."""

    def admit(self, connection: Any) -> None: ...
    def renew(self, connection: Any) -> None: ...


class Connection:
    """``answers``: how many were complete. ``cut``: whether it was aborted."""

    date = DATE
    idle = False

    def __init__(self) -> None:
        self.transport: Any = Transport()
        self.flow = FlowControl(self.transport, 60.0, lambda: None)
        self.slots = Slots()
        self.answers = 0
        self.closes = self.cut = False

    @property
    def state(self) -> Connection:
        return self

    @property
    def loop(self) -> Any:
        """None where a test needs none."""
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            return None

    def answered(self) -> None:
        self.answers += 1

    def close_after_answer(self) -> None:
        self.closes = True

    def shutdown(self) -> None: ...

    def abort(self) -> None:
        self.cut = True

    @property
    def written(self) -> bytes:
        return b"".join(self.transport.writes)


def request_of(
    headers: Iterable[Header] = (),
    *,
    method: str = "GET",
    target: bytes = b"/",
    version: str = "1.1",
    address: str | None = "192.0.2.1",
    body: bytes | None = b"",
    params: dict[str, str] | None = None,
) -> Request:
    """A request as the parser leaves it. ``body``: what has come, whole; None while nothing has."""
    request = Request(Connection(), (address, 50_000) if address else None)  # type: ignore[arg-type]
    request.method, request.target, request.version = method, target, version
    request.path, _, request.query = target.partition(b"?")
    request.id = "req-1"
    request.params = params or {}
    for name, value in headers:
        if name in request.fields:
            request.repeated += ((name, value),)
        else:
            request.fields[name] = value
    if body:
        request.feed(body)
    if body is not None:
        request.feed_end()
    return request


def client_of(request: Request, *, keep_alive: bool = True) -> Client:
    """Its client, as the protocol makes it."""
    return Client(request, keep_alive=keep_alive)
