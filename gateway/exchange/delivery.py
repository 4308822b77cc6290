"""How an answer reaches the client: when its head goes out, and what keeps the connection alive until then.

A stream's head is held until the first meaningful bytes, so that another upstream may still be tried under a true
status; after HOLD seconds it goes out all the same and comments follow, so that nothing on the way times out.
A whole answer may be preceded by white space, if the operator chose a heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.core.errors import GatewayError
from gateway.core.headers import Header, Headers
from gateway.runtime.tasks import TrackedTasks

HOLD = 10.0
"""Seconds a stream's head may be held back (failover policy, Rule 2)."""

PING_EVERY = 15.0
"""Seconds between comments while nothing else can be sent."""

_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
_JSON = (b"content-type", b"application/json")


class Client(Protocol):
    """The other side of the connection (server/downstream.py).

    ``request_id``: goes out with every answer.
    ``host``: the host, with its port, that it asked by; None if it named none that can stand in a link.
    """

    @property
    def request_id(self) -> str: ...
    @property
    def host(self) -> str | None: ...
    @property
    def started(self) -> bool: ...
    @property
    def gone(self) -> bool: ...
    @property
    def stalled(self) -> bool: ...
    async def start(self, status: int, headers: Headers, *, body_follows: bool = False) -> None: ...
    async def write(self, data: bytes) -> None: ...
    def write_now(self, data: bytes) -> bool: ...
    async def finish(self) -> None: ...
    async def respond(self, status: int, headers: Headers, body: bytes) -> None: ...
    async def error(self, error: GatewayError, headers: Headers = ()) -> None: ...
    async def stream_error(self, error: GatewayError) -> None: ...
    def watch(self, on_gone: Callable[[], None]) -> None: ...
    def abort(self) -> None: ...


class Delivery:
    """One answer on its way to one client: its head, what keeps the connection alive, its end.

    ``stream``: the client asked for events. ``heartbeat``: seconds between the spaces before a whole answer, or 0.
    ``headers``: asked for when the head goes out; a content type among them stands for the usual one. ``committed``:
    meaningful bytes have gone out. ``bare``: the answer is a sound or a text, around which nothing may stand.
    """

    def __init__(
        self,
        client: Client,
        *,
        stream: bool,
        heartbeat: float,
        headers: Callable[[], Headers],
        tasks: TrackedTasks,
        bare: bool = False,
    ) -> None:
        self._client = client
        self._stream = stream
        self._bare = bare
        self._headers = headers
        self._tasks = tasks
        self._beat_every = PING_EVERY if stream else heartbeat
        self._beat = b": ping\n\n" if stream else b" "
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._quiet: asyncio.Event | None = None
        self.committed = False
        first = HOLD if stream else heartbeat
        if first > 0 and not bare:
            self._timer = self._loop.call_later(first, self._start_beating)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        """Pass on bytes of a stream. The first meaningful ones commit: no other attempt may follow."""
        if meaningful and not self.committed:
            self.committed = True
            await self._stop_beating()
        if self._client.gone:
            return
        if not self._client.started:
            await self._client.start(200, self._head(_STREAM), body_follows=True)
        await self._client.write(data)

    async def complete(self, answer: bytes | None, headers: Headers = ()) -> None:
        """End a successful answer: ``answer`` is its whole body, or None after a stream."""
        await self._stop_beating()
        if answer is None:
            await self._client.finish()
        elif self._client.started:
            await self._client.write(answer)
            await self._client.finish()
        else:
            await self._client.respond(200, (*self._head(_JSON), *headers), answer)

    async def respond(self, status: int, body: bytes) -> None:
        """Send a whole answer while the work goes on; nothing follows it."""
        await self._stop_beating()
        if self._client.gone:
            return
        if self._client.started:
            await self._client.write(body)
            await self._client.finish()
        else:
            await self._client.respond(status, (_JSON, *self._headers()), body)

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        """End with an error: a true status while the head is held, an event or a body behind a 200 after that. What
        can hold neither is cut off, so that it does not pass for whole.
        """
        await self._stop_beating()
        if not self._client.started:
            await self._client.error(error, (*self._headers(), *headers))
        elif self._bare:
            self._client.abort()
        elif self._stream:
            await self._client.stream_error(error)
        else:
            await self._client.write(error.body())
            await self._client.finish()

    def _head(self, usual: Header) -> Headers:
        headers = self._headers()
        return headers if any(name == usual[0] for name, _ in headers) else (usual, *headers)

    def abandon(self) -> None:
        """The client has gone: nothing more is sent."""
        self._hush()

    def _start_beating(self) -> None:
        self._timer = None
        self._quiet = asyncio.Event()
        self._beating = self._tasks.spawn(self._keep_alive(self._quiet), "keep-alive")

    async def _keep_alive(self, quiet: asyncio.Event) -> None:
        kind = _STREAM if self._stream else _JSON
        if not self._client.started and not self._client.gone:
            await self._client.start(200, (kind, *self._headers()))
        while not quiet.is_set() and not self._client.gone:
            await self._client.write(self._beat)
            try:
                async with asyncio.timeout(self._beat_every):
                    await quiet.wait()
            except TimeoutError:
                continue

    async def _stop_beating(self) -> None:
        """No beat comes after this. One that is being written is waited for: half a head would spoil the answer."""
        self._hush()
        if self._beating is not None:
            await asyncio.wait({self._beating})
            self._beating = None  # only now: if this wait is cancelled, the next caller has to wait for the beat

    def _hush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._quiet is not None:
            self._quiet.set()
