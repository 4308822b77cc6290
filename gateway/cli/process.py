"""A server's life as a process: it starts, serves until a signal, drains and ends."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from gateway.app.gateway import Gateway

CUT_OFF_SECONDS = 5.0
"""How long stragglers have to write their last event after the drain time, and idle connections to close."""

GC_THRESHOLDS = (50_000, 20, 50)
"""Requests leave no reference cycles behind, so the collector need not look for them every 700 allocations; with the
default it took a seventh of the CPU at 64 connections."""

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of ``main``, run on uvloop."""
    return uvloop.run(main)


async def until_stopped(serving: Awaitable[None]) -> None:
    """Await what serves until it is cancelled; SIGTERM and SIGINT cancel it, which is a good end."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        return


async def serve_until_stopped(start: Callable[[], Awaitable[Gateway]], announce: Callable[[Gateway], None]) -> int:
    """Start and serve until SIGTERM or SIGINT, then drain: /readyz answers 503, new requests are refused, running
    ones finish within the configured time, the rest is ended with an error event. A second signal ends the waiting at
    once. SIGHUP reloads the configuration. Returns the exit code.
    """
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told_to_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # nothing to reload yet, and no reason to die
    gateway = await start()
    loop.add_signal_handler(signal.SIGHUP, lambda: gateway.services.tasks.spawn(gateway.reload(), "reload"))
    gc.collect()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()  # what start-up made lives as long as the process: no need to look at it again
    announce(gateway)
    await stop.wait()
    await _drain(gateway, hurry)
    return 0


async def _drain(gateway: Gateway, hurry: asyncio.Event) -> None:
    log = gateway.services.log
    gateway.drain()
    log.info("draining", in_flight=len(gateway.services.gate), seconds=gateway.config.drain)
    waiting = gateway.services.tasks.spawn(gateway.drained(gateway.config.drain), "drain")
    hurrying = gateway.services.tasks.spawn(hurry.wait(), "hurry")
    await asyncio.wait({waiting, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    left = len(gateway.services.gate)
    gateway.cut_off()
    quiet = await gateway.drained(CUT_OFF_SECONDS)
    # A client that takes not even an error event has been waited for once; that is enough.
    await gateway.close(CUT_OFF_SECONDS if quiet else 0.0)
    log.info("stopped", cut_off=left)
