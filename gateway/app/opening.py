"""The opening of a store, and what is answered while it takes long: a large one that has no mark, or is of old.

``/healthz`` answers 200, so that no supervisor takes the start for a hang; ``/readyz``, and everything else, 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from gateway.core.errors import ledger_unavailable
from gateway.endpoints.health import PATHS, health_routes
from gateway.runtime.tasks import TrackedTasks
from gateway.server.client import Client
from gateway.server.dispatch import Dispatch
from gateway.server.limits import ServerLimits
from gateway.server.listener import RunningServer, listen
from gateway.server.request import Request
from gateway.server.state import ListenerState
from gateway.stores.base import Store

AT_ONCE = 0.5
"""Seconds that the opening of an ordinary store does not last. Till then nothing listens: what refuses the start, such
as another gateway on the store, is told first."""


class Opened(NamedTuple):
    """``server``: what listens already, in a Dispatch's place; None for none."""

    store: Store
    server: RunningServer | None

    async def undo(self) -> None:
        """Close both."""
        if self.server is not None:
            await self.server.close(0.0)
        await self.store.close()


async def open_meanwhile(
    opening: Coroutine[Any, Any, Store],
    host: str,
    port: int,
    on_crash: Callable[[str, Exception], None],
    *,
    shared: bool = False,
) -> Opened:
    """The opened store; while that takes long, clients at ``host`` and ``port`` are told so. ``shared``: as of
    ``listen``.

    Raises what ``opening`` raises, and ListenError. Cancelled, it undoes what was begun.
    """
    tasks = TrackedTasks(_looked_at_by_us)
    task: asyncio.Task[Store] = tasks.spawn(opening, "store")
    server: RunningServer | None = None
    try:
        await asyncio.wait({task}, timeout=AT_ONCE)
        if not task.done():
            state = ListenerState(_Waiting(on_crash), ServerLimits(), hostless=_is_health)
            server = await listen(state, host, port, shared=shared)
        return Opened(await task, server)
    except BaseException:
        await tasks.cancel_all()
        if server is not None:
            await server.close(0.0)
        if not task.cancelled() and task.exception() is None:
            await task.result().close()
        raise


def _looked_at_by_us(name: str, error: BaseException) -> None:
    """The opening is awaited: what it raises is raised to who asked for it."""


def _is_health(path: bytes) -> bool:
    return path.decode() in PATHS


def _not_ready() -> Sequence[str]:
    return ["starting: the store is being opened"]


class _Waiting:
    """The application until the store is open."""

    def __init__(self, on_crash: Callable[[str, Exception], None]) -> None:
        self._health = Dispatch(health_routes(_not_ready), [], on_crash)

    async def __call__(self, request: Request, client: Client) -> None:
        if self._health.route_of(request.path) is None:
            await client.fail(ledger_unavailable())
        else:
            await self._health(request, client)
