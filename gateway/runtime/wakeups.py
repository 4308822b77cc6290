"""Who sleeps may be woken: somebody learns that waiting longer is of no use, and says so by name.

A poll that waits for its turn registers an unguessable name; the webhook that comes in gives a wakeup under it. Names
exist only as long as they are registered, so that nobody outside can fill the memory. One event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Wakeups:
    def __init__(self) -> None:
        self._given: dict[str, asyncio.Event] = {}

    @contextmanager
    def register(self, name: str) -> Iterator[None]:
        """Wakeups may be given under ``name`` inside the ``with``. ValueError if somebody else has it."""
        if name in self._given:
            raise ValueError("this name is taken")
        self._given[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._given[name]

    async def wait(self, name: str, seconds: float) -> bool:
        """Wait so long, or until a wakeup is given: True. One that was given since the last wait counts, once.

        Under a name that is not registered nothing can come, so all the time passes.
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
        """Whether wakeups may be given under ``name`` now."""
        return name in self._given

    def give(self, name: str) -> bool:
        """End the wait under ``name``, or else its next one at once. False if nobody has registered it."""
        given = self._given.get(name)
        if given is None:
            return False
        given.set()
        return True
