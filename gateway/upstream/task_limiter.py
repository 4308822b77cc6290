"""The limiter of tasks for each upstream account: wait for a slot, run, give it back.

core/limits/task_slots.py decides which task of this gateway goes next; here are the waiting and the asking for the
account's limit. Gateways that share an account share its slots, too: a task whose turn it is here takes a place among
those of all, as a request does of its key's parallel ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.core.limits.key_limits import Lease, Limits
from gateway.core.limits.task_slots import TaskSlots, UpstreamAccount
from gateway.core.types import Credential, Upstream, VirtualKey
from gateway.runtime.tasks import TrackedTasks

LEARN_AGAIN = 3600.0
"""Seconds a limit is believed, since an account's plan may change."""

FIRST_ANSWER = 3.0
"""Seconds that an account's first tasks wait for its limit."""

ASK_AGAIN = 300.0
"""Seconds after which an account that did not state its limit is asked again."""

PLACE_AGAIN = 0.25
"""Seconds after which a task that waits for a place among those of all gateways asks again."""

ALONE_AFTER = 5.0
"""Seconds that a task waits for a place while the gateways cannot ask one another. Then it runs: the upstream itself
queues what is too much.
"""

Turn = asyncio.Future[None]
AskLimit = Callable[[Upstream, Credential], Awaitable[int | None]]


class TaskLimiter:
    """The waiting tasks of all accounts. One event loop only.

    ``ask_limit``: how many tasks an account may run at once; None if that cannot be learned now. An exception is
        reported by ``tasks`` and counts as None.

    The first tasks of an account wait for the answer, at most ``FIRST_ANSWER`` seconds, since the upstream would refuse
    a burst at the start; later the account is asked in the background. While its limit is not known there is none.
    """

    def __init__(self, slots: TaskSlots[Turn], ask_limit: AskLimit, tasks: TrackedTasks) -> None:
        self._slots = slots
        self._ask_limit = ask_limit
        self._tasks = tasks
        self._ask_at: dict[UpstreamAccount, float] = {}
        self._first: dict[UpstreamAccount, asyncio.Task[None]] = {}
        self._limits: Limits | None = None
        self._together: Callable[[], bool] = lambda: True
        self._placing: dict[UpstreamAccount, asyncio.Lock] = {}
        self.on_learned: Callable[[UpstreamAccount, int], None] = lambda *_: None
        """Told what an account's limit is, when the upstream has said so."""

    def share(self, limits: Limits, together: Callable[[], bool]) -> None:
        """Share the slots with other gateways, by ``limits``. ``together``: whether these can be asked now."""
        self._limits, self._together = limits, together

    def hear(self, account: UpstreamAccount, limit: int) -> None:
        """Take over an account's limit that another gateway has learned."""
        self._ask_at[account] = asyncio.get_running_loop().time() + LEARN_AGAIN
        for turn in self._slots.learn(account, limit):
            _let_in(turn)

    @asynccontextmanager
    async def slot(self, upstream: Upstream, credential: Credential, owner: str) -> AsyncIterator[None]:
        """Wait until a task of the account may run for ``owner``, a virtual key's name; the slot is held inside the
        ``with``.

        A cancelled wait leaves the queue.
        """
        account = (upstream.name, credential.name)
        loop = asyncio.get_running_loop()
        if loop.time() >= self._ask_at.get(account, 0.0):
            self._ask_at[account] = loop.time() + ASK_AGAIN
            learning = self._tasks.spawn(self._learn(account, upstream, credential), "task-limit")
            self._first.setdefault(account, learning)
        first = self._first.get(account)
        if first is not None and not first.done():
            await asyncio.wait({first}, timeout=FIRST_ANSWER)
        turn: Turn = loop.create_future()
        if self._slots.ask(account, owner, turn):
            turn.set_result(None)
        place: Lease | None = None
        try:
            await turn
            place = await self._place(account)
            yield
        finally:
            if place is not None and self._limits is not None:
                self._limits.release(place, None, loop.time())
            follower = self._slots.leave(account, turn)
            if follower is not None:
                _let_in(follower)

    async def _place(self, account: UpstreamAccount) -> Lease | None:
        """A place among the tasks of all gateways; None if none is needed. Those of this gateway wait in order."""
        limits, limit = self._limits, self._slots.limit(account)
        if limits is None or limit is None:
            return None
        key = VirtualKey(f"{account[0]}/{account[1]}", parallel=limit)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._placing.setdefault(account, asyncio.Lock()):
            while True:
                answer = limits.admit(key, 0, loop.time())
                if answer is None:
                    answer = await limits.ask(key, 0, loop.time())
                if isinstance(answer, Lease):
                    return answer
                if not self._together() and loop.time() - began >= ALONE_AFTER:
                    return None
                await asyncio.sleep(PLACE_AGAIN)

    async def _learn(self, account: UpstreamAccount, upstream: Upstream, credential: Credential) -> None:
        """Ask for the account's limit and set it. Without an answer the limit known before stays."""
        limit = await self._ask_limit(upstream, credential)
        if limit is None:
            return
        self.hear(account, limit)
        self.on_learned(account, limit)


def _let_in(turn: Turn) -> None:
    """Start a waiting task. One that was cancelled a moment ago has a slot all the same, and gives it up when it
    resumes.
    """
    if not turn.done():
        turn.set_result(None)
