"""Responses that are being made here: found by their key while they are, and kept as they go.

After a kill the store has what had come by then; that it was not completed is found when it is read.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Protocol

from gateway.core.errors import internal_error
from gateway.endpoints.responses.desk import Answering
from gateway.exchange.stand_in import Pieces

KEEP_EVERY = 5.0
"""Seconds between two states of a response that are kept while it is made."""

MOST_KEPT_AGAIN = 1 << 20
"""Bytes of the input, and of the events; a longer response is kept once more, when it has ended."""


class Being(Protocol):
    """One response that is being made. ``key``: the name of the virtual key whose it is."""

    @property
    def key(self) -> str: ...

    @property
    def events(self) -> Pieces | None:
        """Those of its stream, if they can be read again."""
        ...

    def now(self) -> dict[str, Any]:
        """The response as it stands."""
        ...

    def forget(self) -> None:
        """Keep nothing of it any more; what is made for this alone is ended."""
        ...

    def cancel(self) -> dict[str, Any] | None:
        """End it early. Returns the response, None if it cannot be ended so."""
        ...


class Running:
    """All of them."""

    def __init__(self) -> None:
        self._all: dict[str, Being] = {}

    def add(self, id: str, being: Being) -> None:
        """It can be found from now on."""
        self._all[id] = being

    def remove(self, id: str) -> None:
        """It is no longer being made."""
        self._all.pop(id, None)

    def ids(self) -> list[str]:
        """The ids of all."""
        return [*self._all]

    def heed(self, id: str, wish: str) -> None:
        """A client of another gateway wants it to be cancelled, or forgotten."""
        if (being := self._all.get(id)) is not None:
            if wish == "forget":
                being.forget()
            else:
                being.cancel()

    def find(self, key: str, id: str) -> Being | None:
        """The key's response of that id, if it is being made."""
        being = self._all.get(id)
        return being if being is not None and being.key == key else None


class Foreground:
    """A streamed response that its client waits for. Implements ``Being``."""

    events = None

    def __init__(self, key: str, answering: Answering, running: Running, loop: asyncio.AbstractEventLoop) -> None:
        self.key = key
        self.answering = answering
        self._running = running
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        answering.on_told = self._told

    def now(self) -> dict[str, Any]:
        return self.answering.so_far() or {}

    def forget(self) -> None:
        self.answering.forgotten = True
        self._running.remove(self.answering.facts.id)

    def cancel(self) -> dict[str, Any] | None:
        return None

    def end(self, *, gone: bool) -> None:
        """Its exchange is over. ``gone``: its client left; what it did not wait for was cancelled with that."""
        answering, self._over = self.answering, True
        answering.on_told = None
        self._running.remove(answering.facts.id)
        if self._timer is not None:
            self._timer.cancel()
            if not answering.ended and answering.newest is not None:
                if gone:
                    answering.keep(answering.newest.cancelled())
                else:  # a mistake of ours
                    answering.newest.failed(internal_error())

    def _told(self) -> None:
        """The client is told of it. May be called in any thread."""
        if self.answering.stores:
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if not self._over and self._timer is None:
            self._running.add(self.answering.facts.id, self)
            self._keep_again(sys.maxsize)

    def _keep_again(self, most: int = MOST_KEPT_AGAIN) -> None:
        self._timer = self._loop.call_later(KEEP_EVERY, self._keep_again)
        self.answering.keep_so_far(most)
