"""A server's life as a process: it starts, serves until a signal, drains and ends."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from gateway.app.gateway import Gateway
from gateway.cli.command import print_if_possible
from gateway.runtime.signals import STOPPING, ignore_signals, on_signal
from gateway.runtime.tasks import TrackedTasks
from gateway.telemetry.log import Log

CUT_OFF_SECONDS = 5.0
"""How long stragglers have to write their last event after the drain time, and idle connections to close."""

GC_THRESHOLDS = (50_000, 20, 50)
"""Requests leave no reference cycles behind, so the collector need not look for them every 700 allocations; with the
default it took a seventh of the CPU at 64 connections."""

SWITCH_INTERVAL = 0.0005
"""Seconds that a thread which works on a document may keep the loop waiting when this has something to do. With
Python's own five milliseconds a hundred turns of the loop beside one document of 20 MB would take half a second."""

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of ``main``, run on uvloop, or on Python's own loop where there is none (Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def run_server(main: Coroutine[Any, Any, T]) -> T:
    """The same for what serves until a signal: another one that comes when it is over changes its exit code no more."""
    try:
        return run(main)
    finally:
        ignore_signals(STOPPING)  # the loop gave them back to the system, which kills


async def until_stopped(serving: Awaitable[None]) -> None:
    """Await what serves until it is cancelled; SIGTERM and SIGINT cancel it, which is a good end."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for name in STOPPING:
        on_signal(loop, name, task.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        return


Start = Callable[[], Coroutine[Any, Any, Gateway]]
"""Starts a gateway; cancelled, it undoes what it began."""


async def serve_until_stopped(start: Start, announce: Callable[[Gateway], None], log: Log) -> int:
    """Start and serve until SIGTERM or SIGINT, then drain: /readyz answers 503, after ``drain_delay`` new requests are
    refused, running ones finish within the configured time, the rest is ended with an error event. A second signal ends
    the waiting at once; one during the start ends that. Returns the exit code.

    SIGHUP reloads the configuration. In the foreground of a terminal it means that the terminal is closed, and stops.
    SIGUSR1 opens the file of ``log`` again.
    """
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told_to_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    in_foreground = has_terminal()
    for name in STOPPING:
        on_signal(loop, name, told_to_stop)
    # Nothing to reload yet, and as a service no reason to die.
    on_signal(loop, "SIGHUP", told_to_stop if in_foreground else lambda: None)
    on_signal(loop, "SIGUSR1", log.open_again)
    gateway = await _started(start, stop)
    if gateway is None:
        return 0
    if not in_foreground:
        on_signal(loop, "SIGHUP", lambda: gateway.services.tasks.spawn(gateway.reload(), "reload"))
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()  # what start-up made lives as long as the process: no need to look at it, not even once
    gc.enable()
    print_if_possible(lambda: announce(gateway))
    await stop.wait()
    await _drain(gateway, hurry)
    print_if_possible()
    return 0


async def _started(start: Start, stop: asyncio.Event) -> Gateway | None:
    """The started gateway; None if ``stop`` came first. What was begun by then is undone."""
    tasks = TrackedTasks(lambda *_: None)  # both results are looked at below
    starting: asyncio.Task[Gateway] = tasks.spawn(start(), "start")
    stopping = tasks.spawn(stop.wait(), "stop")
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return starting.result() if starting.done() else None
    finally:
        await tasks.cancel_all()


def has_terminal() -> bool:
    """Whether this process was started in the foreground of a terminal."""
    if not hasattr(os, "tcgetpgrp"):  # Windows has no terminals that hang up
        return False
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


async def _drain(gateway: Gateway, hurry: asyncio.Event) -> None:
    log, config = gateway.services.log, gateway.config
    hurrying = gateway.services.tasks.spawn(hurry.wait(), "hurry")
    if config.drain_delay:
        gateway.leave()
        log.info("leaving", seconds=config.drain_delay, message="/readyz answers 503, requests are still taken")
        await asyncio.wait({hurrying}, timeout=config.drain_delay)
    gateway.drain()
    log.info("draining", in_flight=len(gateway.services.gate), seconds=config.drain)
    waiting = gateway.services.tasks.spawn(gateway.drained(config.drain), "drain")
    await asyncio.wait({waiting, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    left = len(gateway.services.gate)
    gateway.cut_off()
    quiet = await gateway.drained(CUT_OFF_SECONDS)
    # A client that takes not even an error event has been waited for once; that is enough.
    await gateway.close(CUT_OFF_SECONDS if quiet else 0.0)
    log.info("stopped", cut_off=left)
