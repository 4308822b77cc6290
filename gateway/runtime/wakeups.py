"""Wakeups: waits that can be ended early by name.

A poll that waits for its turn registers an unguessable name; a webhook that comes in gives a wakeup under it. Names
exist only as long as they are registered, so that requests from outside cannot fill the memory. One event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Wakeups:
    """The registered names and the wakeups given under them."""

    def __init__(self) -> None:
        self._given: dict[str, asyncio.Event] = {}

    @contextmanager
    def register(self, name: str) -> Iterator[None]:
        """Accept wakeups under ``name`` inside the ``with``. Raises ValueError if the name is registered already."""
        if name in self._given:
            raise ValueError("this name is taken")
        self._given[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._given[name]

    async def wait(self, name: str, seconds: float) -> bool:
        """Wait ``seconds``, or until a wakeup is given, and return whether one was. One given since the last wait
        counts, once.

        Under a name that is not registered no wakeup can come, so the full time passes.
        """
        given = self._given.get(name)
        if given is None:
            await asyncio.sleep(seconds)
            return False
        try:
            async with asyncio.timeout(seconds):
                await given.wait()
        except TimeoutError:
            return False
        given.clear()
        return True

    def waits(self, name: str) -> bool:
        """Whether ``name`` is registered."""
        return name in self._given

    def give(self, name: str) -> bool:
        """End the wait under ``name``, or else its next one at once. False if the name is not registered."""
        given = self._given.get(name)
        if given is None:
            return False
        given.set()
        return True
