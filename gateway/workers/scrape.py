"""The metrics of all workers as one scrape: of those that live, and what those that died had counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from gateway.telemetry.exposition import CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT, Exposed, pieces
from gateway.telemetry.merging import merged
from gateway.workers.process import Worker


class Scrape:
    """``living``: the workers that serve at this moment."""

    def __init__(self, living: Callable[[], Sequence[Worker]]) -> None:
        self._living = living
        self._dead: list[Exposed] = []

    def keep(self, dead: Worker) -> None:
        """Add what a worker that has ended had counted to what is kept: counters never go back."""
        self._dead = merged([self._dead, *dead.left()])

    async def look(self) -> None:
        """Learn what workers keep for themselves, so that it is known should one die."""
        await asyncio.gather(*(worker.look() for worker in self._living()))

    async def pieces(self, accept: str = "") -> tuple[Iterator[bytes], str]:
        """The text, each piece the work of a moment, and its type; ``accept``: as the scraper sent it."""
        await self.look()
        openmetrics = "application/openmetrics-text" in accept
        return (
            pieces(self.exposed(), openmetrics=openmetrics),
            CONTENT_TYPE_OPENMETRICS if openmetrics else CONTENT_TYPE_TEXT,
        )

    def exposed(self) -> list[Exposed]:
        """Every metric, by what was learned last."""
        living = self._living()
        counted = [worker.counted() for worker in living]
        return merged([*counted, self._dead, *(worker.figures for worker in living)])
