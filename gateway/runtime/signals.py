"""Signals that reach a running loop, also where the loop cannot take them itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable

STOPPING = ("SIGTERM", "SIGINT", "SIGBREAK")
"""The names of the signals that end a server; a system has some of them."""


def on_signal(loop: asyncio.AbstractEventLoop, name: str, handler: Callable[[], object]) -> None:
    """Call ``handler`` in the loop for every signal of that name. A system that has no such signal sends none."""
    number = getattr(signal, name, None)
    if number is None:
        return
    try:
        loop.add_signal_handler(number, handler)
    except NotImplementedError:  # Windows: Python's own handler, which runs between two steps of the loop's thread
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))


def ignore_signals(names: Iterable[str]) -> None:
    """Let the signals of these names do nothing. For the main thread."""
    for name in names:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
