"""The client of an exchange, as the exchange needs it: ``server/client.py``, or what stands in for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.core.errors import GatewayError
from gateway.core.exchange_record import Trace
from gateway.core.headers import Headers


class Client(Protocol):
    """Who is answered. Writing to one that is gone does nothing.

    ``request_id``: goes out with every answer. ``loop``: the one that all of it runs in. ``started``: something went
    out. ``gone``: it left before its answer was complete; ``stalled``: it took nothing for too long. ``host``: the
    host, with its port, that it asked by; None if it named none that can stand in a link. ``trace``: of its request;
    None where nothing is traced.
    """

    @property
    def request_id(self) -> str: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def host(self) -> str | None: ...
    @property
    def trace(self) -> Trace | None: ...
    @property
    def started(self) -> bool: ...
    @property
    def gone(self) -> bool: ...
    @property
    def stalled(self) -> bool: ...

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call ``on_gone`` once, when it leaves before its answer is complete; at once if it has left."""
        ...

    def hold(
        self,
        *,
        stream: bool,
        heartbeat: float,
        headers: Callable[[], Headers],
        bare: bool = False,
        label: Callable[[], bytes | None] | None = None,
    ) -> None:
        """Begin to hold an answer: it is being looked for."""
        ...

    async def emit(self, data: bytes, meaningful: bool) -> None:
        """Pass on bytes of a stream; return when the next ones may come."""
        ...

    def write_now(self, data: bytes) -> bool:
        """``emit`` without waiting; False if it must be waited for, has left, or nothing was emitted before."""
        ...

    async def complete(self, answer: bytes | None, headers: Headers = (), *, status: int = 200) -> None:
        """End a held answer well: ``answer`` is its whole body, or None after a stream."""
        ...

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        """Answer with an error; nothing has gone out."""
        ...

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        """End a held answer with an error, in the way that is still open."""
        ...

    def release(self) -> None:
        """Forget what was held, which refers back to who held it."""
        ...

    def abort(self) -> None:
        """Cut it off."""
        ...
