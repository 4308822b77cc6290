"""Steady traffic: every kind of request, by every key, at a given rate, and nonsense that is new every time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import httpx2

from soak.clients import ask
from soak.orders import CHAT, IMAGES, TASK, Kind, Order

KINDS: tuple[Kind, ...] = (
    Kind("chat, whole", CHAT, {"model": "gpt-4o-mini"}, weight=8),
    Kind("chat, streamed", CHAT, {"model": "gpt-4o", "stream": True}, weight=8),
    Kind("gpt-4o-image", IMAGES, {"model": "gpt-4o-image"}, weight=1),
    Kind("gpt-image-1", IMAGES, {"model": "gpt-image-1", "quality": "low"}, weight=1),
    Kind("Flux", IMAGES, {"model": "flux-schnell", "size": "256x256"}, weight=1),
    Kind("task relay", TASK, {"model": "Qubico/flux1-schnell", "task_type": "txt2img"}, weight=1),
    Kind("unknown model", CHAT, {}, weight=1),
    Kind("senseless", CHAT, {"model": 7}, weight=1),
    Kind("wrong key", CHAT, {"model": "gpt-4o"}, weight=1),
)
"""The last three are answered by the gateway alone."""

REFUSED = {"unknown model": (404,), "wrong key": (401, 429), "senseless": (400,)}
"""How; guessing keys is throttled after a while."""

GUESSES = 30
"""Wrong keys at first, so that the throttle has answered, too."""


@dataclass
class Traffic:
    """Sends orders at a steady rate, whether or not earlier ones are answered.

    ``keys``: their values. ``answered``: kind and status → count. ``sent``: how many since it was last set to 0.
    """

    client: httpx2.AsyncClient
    url: str
    chance: random.Random
    keys: Sequence[str]
    answered: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    async def send(self, orders: Iterable[tuple[Kind, str]], rate: float) -> None:
        """Return when all are answered."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as crowd:
            for kind, key in orders:
                crowd.create_task(self._one(kind, key))
                self.sent += 1
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - loop.time()))

    def everything(self) -> Iterable[tuple[Kind, str]]:
        """Every kind by every key, once; wrong keys last, until the throttle has told them to wait."""
        yield from ((kind, key) for kind in KINDS for key in self.keys)
        yield from ((KINDS[-1], "") for _ in range(GUESSES))

    def endless(self, seconds: float) -> Iterable[tuple[Kind, str]]:
        """Any kind by any key, for so long."""
        until = time.monotonic() + seconds
        weights = [kind.weight for kind in KINDS]
        while time.monotonic() < until:
            (kind,) = self.chance.choices(KINDS, weights)
            yield kind, self.chance.choice(self.keys)

    @property
    def wrong(self) -> list[str]:
        """Answers that nobody should have got."""
        expected = {f"{kind.name}: {status}" for kind in KINDS for status in REFUSED.get(kind.name, (200,))}
        return [
            f"answered {name}, {count} times" for name, count in sorted(self.answered.items()) if name not in expected
        ]

    async def _one(self, kind: Kind, key: str) -> None:
        odd = f"{self.chance.getrandbits(64):016x}"
        body = kind.body(f"Tell me about {odd}, please.")
        if kind.name == "unknown model":
            body["model"] = f"model-{odd}"
        if kind.name == "wrong key":
            key = f"gw-{odd}"
        order = Order(f"steady-{odd}", kind.name, key, kind.path, body, None)
        try:
            answer = await ask(self.client, self.url, order)
        except httpx2.TransportError as error:
            self.answered[f"{kind.name}: {type(error).__name__}"] += 1
        else:
            assert answer is not None
            self.answered[f"{kind.name}: {answer.status}"] += 1
