"""The door to an account's tasks, in virtual time: who waits comes in, who leaves gives back, the limit is learned."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from gateway.core.limits.task_slots import TaskSlots
from gateway.core.types import Credential, Endpoint, Upstream
from gateway.runtime.tasks import TrackedTasks
from gateway.upstream.task_limiter import ASK_AGAIN, LEARN_AGAIN, TaskLimiter, Turn
from tests.exchange.scripted import now, play

FIRST, SECOND = Credential("first", "the-key-itself"), Credential("second", "another-key")
PIAPI = Upstream("piapi", "piapi", (Endpoint("https://a", "https", "a", 443),), (FIRST, SECOND))
ACCOUNT = ("piapi", "first")


class Trouble(Exception):
    pass


@dataclass
class House:
    """A gate, and the account behind it. ``answers``: what it says of its limit, one after the other; the last stays.

    ``came``: who came in when.
    """

    answers: list[int | Exception | None]
    asked: list[float] = field(default_factory=list)
    came: list[tuple[str, float]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    slots: TaskSlots[Turn] = field(default_factory=TaskSlots)

    def __post_init__(self) -> None:
        self.tasks = TrackedTasks(lambda name, error: self.errors.append(error))
        self.gate = TaskLimiter(self.slots, self._ask_limit, self.tasks)

    async def _ask_limit(self, upstream: Upstream, credential: Credential) -> int | None:
        assert upstream is PIAPI
        self.asked.append(now())
        await asyncio.sleep(0.5)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def work(self, owner: str, seconds: float = 10.0, credential: Credential = FIRST) -> None:
        async with self.gate.slot(PIAPI, credential, owner):
            self.came.append((owner, now()))
            await asyncio.sleep(seconds)

    def start(self, owner: str, seconds: float = 10.0, credential: Credential = FIRST) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self.work(owner, seconds, credential))

    async def knowing(self) -> House:
        """Wait until the first answer about the limit is in."""
        await self.work("opener", 0.5)
        self.came.clear()
        return self


def test_the_first_tasks_wait_to_learn_the_limit_and_obey_it() -> None:
    async def story() -> None:
        house = House([2])
        await asyncio.gather(*(house.start("alice") for _ in range(4)))
        assert house.came == [("alice", 0.5)] * 2 + [("alice", 10.5)] * 2
        assert house.asked == [0], "one question for all"
        assert (house.slots.running(ACCOUNT), house.slots.waiting(ACCOUNT)) == (0, 0)

    play(story)


def test_those_who_wait_come_in_by_turns() -> None:
    async def story() -> None:
        house = await House([1]).knowing()
        await asyncio.gather(*(house.start(owner) for owner in ("alice", "alice", "alice", "bob")))
        assert house.came == [("alice", 1), ("alice", 11), ("bob", 21), ("alice", 31)]

    play(story)


def test_accounts_are_doors_of_their_own() -> None:
    async def story() -> None:
        house = await House([1]).knowing()
        await house.work("opener", 0.5, SECOND)
        house.came.clear()
        await asyncio.gather(house.start("alice"), house.start("bob", credential=SECOND))
        assert house.came == [("alice", 2), ("bob", 2)]
        assert house.asked == [0, 1]

    play(story)


def test_a_task_that_fails_or_is_cancelled_gives_its_slot_back() -> None:
    async def story() -> None:
        house = await House([1]).knowing()

        async def fails() -> None:
            async with house.gate.slot(PIAPI, FIRST, "alice"):
                raise Trouble

        with suppress(Trouble):
            await fails()
        running, waiting = house.start("alice"), house.start("bob")
        await asyncio.sleep(2)
        running.cancel()
        await waiting
        assert house.came == [("alice", 1), ("bob", 3)]
        assert house.slots.running(ACCOUNT) == 0

    play(story)


def test_a_waiter_that_is_cancelled_leaves_the_line() -> None:
    async def story() -> None:
        house = await House([1]).knowing()
        running, gives_up, patient = house.start("alice"), house.start("bob"), house.start("carol")
        await asyncio.sleep(2)
        gives_up.cancel()
        await asyncio.sleep(0)
        assert house.slots.waiting(ACCOUNT) == 1
        await asyncio.gather(running, patient)
        assert house.came == [("alice", 1), ("carol", 11)]

    play(story)


def test_a_slot_is_not_lost_on_a_waiter_that_is_cancelled_at_that_very_moment() -> None:
    """Its cancellation comes before, or after, it was let in, and it has not run since."""

    async def story(cancel_first: bool) -> None:
        house = await House([1]).knowing()
        release = asyncio.Event()

        async def holds() -> None:
            async with house.gate.slot(PIAPI, FIRST, "alice"):
                await release.wait()

        holder = asyncio.get_running_loop().create_task(holds())
        await asyncio.sleep(0)
        unlucky, patient = house.start("bob"), house.start("carol")
        await asyncio.sleep(1)
        release.set()
        if cancel_first:
            unlucky.cancel()
        await asyncio.sleep(0)  # the holder leaves and lets bob in, who has not resumed
        holder.result()  # it has left, unharmed
        unlucky.cancel()
        await patient
        assert unlucky.cancelled()
        assert house.came == [("carol", 2)]
        assert (house.slots.running(ACCOUNT), house.slots.waiting(ACCOUNT)) == (0, 0)

    play(partial(story, True))
    play(partial(story, False))


def test_a_limit_is_asked_for_again_after_an_hour_of_use_and_a_higher_one_lets_more_in() -> None:
    async def story() -> None:
        house = await House([1, 3]).knowing()
        await asyncio.sleep(LEARN_AGAIN - 1)
        assert house.asked == [0], "an account that is not used is not asked"
        await asyncio.sleep(1)
        await asyncio.gather(*(house.start("alice") for _ in range(4)))
        start = LEARN_AGAIN + 1
        assert house.asked == [0, start]
        assert house.came == [("alice", start), ("alice", start + 0.5), ("alice", start + 0.5), ("alice", start + 10)]

    play(story)


def test_an_account_that_does_not_tell_is_asked_again_after_five_minutes_and_keeps_the_limit_it_had() -> None:
    async def story() -> None:
        house = await House([1, None, Trouble(), 2]).knowing()
        came = []
        for number in range(3):
            start = LEARN_AGAIN + 1 + number * ASK_AGAIN
            await asyncio.sleep(start - now())
            house.came.clear()
            await asyncio.gather(house.start("alice"), house.start("alice"))
            came.append([moment - start for _, moment in house.came])
            await asyncio.sleep(start + ASK_AGAIN - 10 - now())
            await house.work("alice", 1.0)  # too early for another question
        assert house.asked == [0, *(LEARN_AGAIN + 1 + number * ASK_AGAIN for number in range(3))]
        assert came == [[0, 10], [0, 10], [0, 0.5]], "one at a time, until two are allowed"
        assert [type(error) for error in house.errors] == [Trouble], "a defect is told, and hurts nobody"

    play(story)


def test_an_account_that_never_tells_has_no_limit() -> None:
    async def story() -> None:
        house = await House([None]).knowing()
        await asyncio.gather(*(house.start("alice") for _ in range(50)))
        assert house.came == [("alice", 1)] * 50
        assert house.asked == [0]

    play(story)
