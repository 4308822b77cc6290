"""The engine of a configuration's ``shared_state``, opened by its URL."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import OperatorError
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.alone import Alone
from gateway.shared_state.base import SharedLook, SharedState

STARTED_WITHIN = 2.0
"""Seconds that a start waits for the server; without it, limits are this gateway's own until it answers."""


_NO_DRIVER = "shared_state: the driver of Redis and Valkey is not installed; run: pip install 'piapi-gateway[redis]'"


async def look_at_shared_state(url: str) -> SharedLook:
    """Reach the server, ask what it is, and change nothing. ``url``: not ``memory://``.

    Raises OperatorError if it does not answer, or the URL or the driver is wrong.
    """
    try:
        from gateway.shared_state.valkey.look import look_at_server
    except ImportError:
        raise OperatorError(_NO_DRIVER) from None
    return await look_at_server(url)


async def open_shared_state(
    url: str, gateway_id: str, tasks: TrackedTasks, on_change: Callable[[bool, str], None]
) -> SharedState:
    """What this gateway shares with others. ``tasks``: run what it does by itself. ``on_change``: told once each time
    that the engine comes and goes, with what the matter is. A server that does not answer stops no start.

    Raises OperatorError where the driver is not installed, or does not take the URL.
    """
    if url == "memory://":
        return Alone()
    try:
        from gateway.shared_state.valkey.state import ValkeyState
    except ImportError:
        raise OperatorError(_NO_DRIVER) from None
    try:
        state = ValkeyState(url, gateway_id, tasks, on_change)
    except ValueError as refused:
        raise OperatorError(f"shared_state: {refused}") from None
    await state.start(STARTED_WITHIN)
    return state
