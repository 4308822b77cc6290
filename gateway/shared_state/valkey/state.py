"""The shared state of a gateway of a fleet, on Valkey or Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.limits.key_limits import GRAIN, RATE_WINDOW
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.base import Message, Topic
from gateway.shared_state.valkey.calls import Calls
from gateway.shared_state.valkey.limits import PLACE_LASTS, ValkeyLimits
from gateway.shared_state.valkey.lines import TROUBLES, Source
from gateway.shared_state.valkey.questions import Awaited, Question, run
from gateway.shared_state.valkey.scripts import script
from gateway.shared_state.valkey.telling import KEPT, VERSION, News

BEAT = 0.5
"""Seconds between two signs of life, with which a gateway learns whether there is something that it did not hear."""

ALIVE = 15.0
"""Seconds without a sign of life after which a gateway does not count any more."""

RENEW_EVERY = 5.0
"""Seconds between two renewals of the places of running requests; they last four times as long."""

FAREWELL_WITHIN = 0.5
"""Seconds that the last words may take."""

_GATEWAYS = "piapi-gateway:{fleet}:gateways"
_EPOCH = "piapi-gateway:{fleet}:epoch"


class ValkeyState:
    """Implements ``shared_state.base.SharedState``.

    ``url``: see ``lines.Source``. ``on_change``: told once each time that the server comes and goes, with what the
    matter is. ``window``, ``grain``, ``place_lasts``: seconds, of ``limits``.
    """

    def __init__(
        self,
        url: str,
        own_id: str,
        tasks: TrackedTasks,
        on_change: Callable[[bool, str], None],
        *,
        window: float = RATE_WINDOW,
        grain: float = GRAIN,
        place_lasts: float = PLACE_LASTS,
    ) -> None:
        self._source = Source(url)
        self.name = self._source.name
        self._own_id = own_id
        self._line = self._source.line()
        self._calls = Calls(self._line, self._greet, self._catch_up, on_change)
        channel = f"piapi-gateway:{self._source.database}:told"
        self._news = News(own_id, self._calls, channel)
        self._tasks = tasks
        self._running: list[asyncio.Task[Any]] = []
        self._epoch = b""
        self._gateways: Sequence[str] = (own_id,)
        self._fleet_size: Callable[[], int] = lambda: 1
        self.limits = ValkeyLimits(
            own_id, self._calls, self.gateways, window=window, grain=grain, place_lasts=place_lasts
        )

    @property
    def up(self) -> bool:
        return self._calls.up

    def gateways(self) -> Sequence[str]:
        """The ids of the gateways that were alive when the server last said so; this one among them."""
        unknown = self._fleet_size() - len(self._gateways)
        return (
            self._gateways if unknown <= 0 else (*self._gateways, *(f"unknown {number}" for number in range(unknown)))
        )

    async def start(self, within: float) -> None:
        """Reach the server; after ``within`` seconds, or once it is known not to be there, serve without it."""
        self._running = [
            self._tasks.spawn(self._calls.run(), "shared-state"),
            self._tasks.spawn(self._beat(), "shared-state-beat"),
            self._tasks.spawn(self._news.hear(self._source.hearing), "shared-state-news"),
        ]
        try:
            async with asyncio.timeout(within):
                await self._calls.tried.wait()
        except TimeoutError:
            pass  # it is told of once it is known

    def fleet_is(self, size: Callable[[], int]) -> None:
        self._fleet_size = size

    def tell(self, topic: Topic, message: Message) -> None:
        self._news.tell(topic, message)

    def keep(self, topic: Topic, name: str, message: Message, seconds: float) -> None:
        self._news.keep(topic, name, message, seconds)

    def listen(self, topic: Topic, heard: Callable[[Message], None]) -> None:
        self._news.listen(topic, heard)

    async def close(self) -> None:
        """Give back what this gateway holds, and leave."""
        self._news.tell_all()
        if self._calls.usable:
            for question in self.limits.farewell():
                self._calls.ask(question)
            leaving = Awaited(("ZREM", _GATEWAYS, self._own_id))
            self._calls.ask(leaving)
            await asyncio.wait([leaving.answer], timeout=FAREWELL_WITHIN)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            await self._source.close()
        except TROUBLES:
            pass  # it is gone before us

    async def _greet(self) -> None:
        """Say that this gateway is here, and what the server does not know of it."""
        beat = self._sign_of_life()
        await self._calls.say([beat])
        epoch = self._take_in(beat.answer.result())
        await self._calls.say([*self.limits.restored(lost=self._epoch not in (b"", epoch))])
        self._epoch = epoch
        self._news.version = -1

    def _catch_up(self) -> list[Question]:
        return [*self.limits.given_back(), *self.limits.settled()]

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(BEAT)
            if not self._calls.usable:
                continue
            self._news.tell_all()
            due = loop.time() - renewed >= RENEW_EVERY
            renewed = loop.time() if due else renewed
            for question in [*(self.limits.renewals() if due else self.limits.given_back()), *self.limits.settled()]:
                self._calls.ask(question)
            beat = self._sign_of_life()
            self._calls.ask(beat)
            if (answer := await beat.answer) is None:
                continue
            epoch = self._take_in(answer)
            if epoch != self._epoch and self._epoch:  # everything was lost, and nothing else has told of it
                self._epoch = epoch
                for question in self.limits.restored(lost=True):
                    self._calls.ask(question)
            if int(answer[0]) > self._news.version:
                await self._read_news()

    async def _read_news(self) -> None:
        reading = Awaited(*run(script("kept"), (KEPT, VERSION), ()))
        self._calls.ask(reading)
        if (kept := await reading.answer) is not None:
            self._news.read(kept)

    def _sign_of_life(self) -> Awaited:
        keys = (_GATEWAYS, _EPOCH, VERSION)
        return Awaited(*run(script("beat"), keys, (self._own_id, round(ALIVE * 1000), secrets.token_hex(8))))

    def _take_in(self, answer: Sequence[Any]) -> bytes:
        """Learn who lives. Returns the epoch."""
        self._gateways = tuple(one.decode() for one in answer[2])
        epoch: bytes = answer[1]
        return epoch
