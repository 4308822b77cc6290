"""Reaching an exact moment in a request's life: raw sockets, and what the gateway is doing right now."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gateway.exchange.exchange import Exchange
from gateway.server.protocol import REQUEST

from .harness import ALICE, PATH, Rig, eventually

T = TypeVar("T")


def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose result the test awaits later."""
    return asyncio.get_running_loop().create_task(work)


def raw_request(body: bytes, length: int | None = None) -> bytes:
    """``length``: what the head promises, if that is not the truth."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ALICE}\r\n"
    return f"{head}content-length: {len(body) if length is None else length}\r\n\r\n".encode() + body


async def connect(rig: Rig) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(rig.gateway.main_url)
    return await asyncio.open_connection(place.hostname, place.port)


def received(rig: Rig) -> int:
    """Bytes of the answer that the latest running attempt has taken from its upstream; -1 before it was sent."""
    running = [exchange for exchange in rig.gateway.services.gate if isinstance(exchange, Exchange)]
    drivers = [one.driver for exchange in running for one in exchange.account.record.attempts if one.driver]
    return drivers[-1].bytes_in if drivers and drivers[-1].sent else -1


def applications_running() -> int:
    """Requests, whatever they are for, that the server has handed over and that have not ended."""
    return sum(task.get_name() == REQUEST for task in asyncio.all_tasks())


async def nothing_in_flight(rig: Rig) -> None:
    await eventually(lambda: len(rig.gateway.services.gate) == 0, "the end of every request")


@contextlib.contextmanager
def silent_port() -> Iterator[str]:
    """A URL whose port's queue is full, so that connecting to it hangs."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
