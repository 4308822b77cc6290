"""What a task awaits can be stopped for a reason; one timer serves all its waits. On asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import uvloop

from gateway.runtime.interruption import Interrupter, Watchdog

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, None]], None]


class Stall(Exception):
    """A reason."""


class Leaving(Exception):
    """Another one."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def spawn(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


async def turns(count: int = 3) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def interrupter_of_this_loop() -> Interrupter:
    return Interrupter(asyncio.get_running_loop())


async def interruptible(interrupter: Interrupter, work: Coroutine[Any, Any, T]) -> T:
    try:
        with interrupter:
            return await work
    finally:
        work.close()


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


class TestInterrupter:
    def test_without_an_interruption_it_is_an_await(self, run: Run) -> None:
        async def story() -> None:
            async def work() -> str:
                await asyncio.sleep(0)
                return "result"

            async def failing() -> None:
                raise ValueError("its own")

            interrupter = interrupter_of_this_loop()
            assert await interruptible(interrupter, work()) == "result"
            with pytest.raises(ValueError, match="its own"):
                await interruptible(interrupter, failing())

        run(story())

    def test_what_is_awaited_stops_and_the_reason_is_raised_once(self, run: Run) -> None:
        async def story() -> None:
            interrupter, ended = interrupter_of_this_loop(), asyncio.Event()

            async def work() -> None:
                try:
                    await for_ever()
                finally:
                    ended.set()

            asyncio.get_running_loop().call_soon(interrupter.interrupt, Stall("nothing came"))
            with pytest.raises(Stall, match="nothing came") as caught:
                await interruptible(interrupter, work())
            assert ended.is_set()
            assert caught.value.__suppress_context__  # a log must not tell of a cancellation that nobody asked for
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await interruptible(interrupter, asyncio.sleep(0))  # the next wait is free again
            async with asyncio.timeout(5):  # counts cancellations, so it would notice one left over
                await asyncio.sleep(0)

        run(story())

    def test_one_that_comes_between_waits_stops_the_next_before_it_begins(self, run: Run) -> None:
        async def story() -> None:
            interrupter, begun = interrupter_of_this_loop(), []

            async def work() -> None:
                begun.append(True)

            interrupter.interrupt(Stall())
            with pytest.raises(Stall), interrupter:
                await work()
            assert begun == []
            await interruptible(interrupter, work())
            assert begun == [True]

        run(story())

    @pytest.mark.parametrize("waiting", [True, False])
    def test_the_first_of_two_reasons_stands(self, run: Run, waiting: bool) -> None:
        async def story() -> None:
            interrupter = interrupter_of_this_loop()

            def twice() -> None:
                interrupter.interrupt(Leaving())
                interrupter.interrupt(Stall())

            if waiting:
                asyncio.get_running_loop().call_soon(twice)
            else:
                twice()
            with pytest.raises(Leaving):
                await interruptible(interrupter, for_ever())
            assert await interruptible(interrupter, asyncio.sleep(0, "no second reason is pending")) is not None

        run(story())

    def test_interruptions_can_follow_one_another(self, run: Run) -> None:
        async def story() -> None:
            interrupter = interrupter_of_this_loop()
            for reason in (Stall, Leaving, Stall):
                asyncio.get_running_loop().call_soon(interrupter.interrupt, reason())
                with pytest.raises(reason):
                    await interruptible(interrupter, for_ever())

        run(story())

    @pytest.mark.parametrize("interrupted", [True, False])
    def test_a_cancellation_from_outside_wins(self, run: Run, interrupted: bool) -> None:
        async def story() -> None:
            interrupter, stopped = interrupter_of_this_loop(), []

            async def owner() -> None:
                try:
                    await interruptible(interrupter, for_ever())
                except Stall:
                    stopped.append(True)

            task = spawn(owner())
            await turns()
            if interrupted:
                interrupter.interrupt(Stall())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert stopped == []

        run(story())

    def test_work_that_was_done_in_the_same_turn_gives_way_and_leaves_nothing_pending(self, run: Run) -> None:
        """The reason is raised at once, and no stray cancellation hits what the task does next."""

        async def story() -> None:
            interrupter = interrupter_of_this_loop()
            done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            async def work() -> str:
                return await done

            def both() -> None:
                done.set_result("too late")
                interrupter.interrupt(Stall())

            asyncio.get_running_loop().call_soon(both)
            with pytest.raises(Stall):
                await interruptible(interrupter, work())
            await turns()
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert await interruptible(interrupter, asyncio.sleep(0, "on we go")) == "on we go"

        run(story())

    def test_one_that_comes_just_after_a_wait_is_for_the_next(self, run: Run) -> None:
        async def story() -> None:
            interrupter = interrupter_of_this_loop()
            assert await interruptible(interrupter, asyncio.sleep(0, "kept")) == "kept"
            interrupter.interrupt(Stall())
            await turns()  # waits of the task's own are not touched
            with pytest.raises(Stall):
                await interruptible(interrupter, for_ever())

        run(story())

    def test_work_that_ends_well_although_it_was_stopped_keeps_its_result(self, run: Run) -> None:
        """The reason waits for the next wait, and the count of cancellations is right again."""

        async def story() -> None:
            interrupter = interrupter_of_this_loop()

            async def stubborn() -> str:
                try:
                    await for_ever()
                except asyncio.CancelledError:
                    return "finished all the same"
                return ""

            asyncio.get_running_loop().call_soon(interrupter.interrupt, Stall())
            assert await interruptible(interrupter, stubborn()) == "finished all the same"
            with pytest.raises(Stall):
                await interruptible(interrupter, for_ever())
            asyncio.get_running_loop().call_soon(interrupter.interrupt, Leaving())
            with pytest.raises(Leaving):
                await interruptible(interrupter, for_ever())

        run(story())

    @pytest.mark.parametrize("interrupted", [True, False])
    def test_once_retired_it_is_freed_without_the_collector(self, run: Run, interrupted: bool) -> None:
        async def story() -> None:
            class Owner:
                def __init__(self) -> None:
                    self.interrupter = interrupter_of_this_loop()

                async def live(self) -> None:
                    try:
                        await interruptible(self.interrupter, asyncio.sleep(0.001))
                    except Stall:
                        pass
                    finally:
                        self.interrupter.retire()

            owner = Owner()
            task = spawn(owner.live())
            await turns()
            if interrupted:
                owner.interrupter.interrupt(Stall())
            await task
            traces = weakref.ref(task), weakref.ref(owner)
            kept = owner.interrupter  # who keeps it longer than the task must not keep the task by it
            del task, owner
            await turns()
            assert [trace() for trace in traces] == [None, None]
            del kept

        gc.collect()
        gc.disable()
        try:
            run(story())
        finally:
            gc.enable()


@dataclass
class Timer:
    """A timer handle that fires when told to."""

    at: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class HandWound:
    """As much of a loop as a watchdog uses; its time moves when told to."""

    now: float = 100.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def reach(self, now: float) -> None:
        """Let time pass, firing what is due."""
        self.now = now
        while due := [timer for timer in self.timers if not timer.cancelled and timer.at <= now]:
            due[0].cancelled = True
            due[0].call()

    @property
    def armed(self) -> list[float]:
        return [timer.at for timer in self.timers if not timer.cancelled]


class TestWatchdog:
    @pytest.fixture
    def loop(self) -> HandWound:
        return HandWound()

    @pytest.fixture
    def expired(self) -> list[float]:
        return []

    @pytest.fixture
    def watchdog(self, loop: HandWound, expired: list[float]) -> Watchdog:
        return Watchdog(loop, lambda: expired.append(loop.now))  # type: ignore[arg-type]

    def test_it_barks_once_at_its_deadline(self, loop: HandWound, watchdog: Watchdog, expired: list[float]) -> None:
        watchdog.watch(105)
        loop.reach(104.9)
        assert expired == []
        loop.reach(105)
        loop.reach(200)
        assert expired == [105]
        assert loop.armed == []

    def test_a_later_deadline_costs_no_timer(self, loop: HandWound, watchdog: Watchdog, expired: list[float]) -> None:
        """A stream moves its deadline with every piece: thousands of waits, and a timer only when one fires."""
        for piece in range(1000):
            loop.now = 100 + piece / 1000
            watchdog.watch(loop.now + 5)
            watchdog.rest()
        watchdog.watch(loop.now + 5)
        assert [timer.at for timer in loop.timers] == [105]
        loop.reach(105)
        assert expired == []
        assert loop.armed == [pytest.approx(105.999)]
        loop.reach(106)
        assert expired == [106]

    def test_an_earlier_deadline_is_kept(self, loop: HandWound, watchdog: Watchdog, expired: list[float]) -> None:
        watchdog.watch(160)
        watchdog.watch(102)
        assert loop.armed == [102]
        loop.reach(102)
        assert expired == [102]
        watchdog.watch(160)  # and it can watch again
        loop.reach(160)
        assert expired == [102, 160]

    def test_at_rest_it_lets_time_pass(self, loop: HandWound, watchdog: Watchdog, expired: list[float]) -> None:
        watchdog.watch(105)
        watchdog.rest()
        loop.reach(110)
        assert (expired, loop.armed) == ([], [])
        watchdog.watch(115)
        loop.reach(115)
        assert expired == [115]

    def test_stopped_it_never_barks_and_forgets_whom_it_would_call(self) -> None:
        class Owner:
            def __init__(self, loop: HandWound) -> None:
                self.barked = False
                self.watchdog = Watchdog(loop, self.expired)  # type: ignore[arg-type]

            def expired(self) -> None:
                self.barked = True

        loop = HandWound()
        owner = Owner(loop)
        owner.watchdog.watch(105)
        owner.watchdog.stop()
        assert loop.armed == []
        loop.timers[0].call()  # a timer that was due in this very turn
        assert not owner.barked
        loop.timers.clear()
        gc.disable()
        try:
            trace = weakref.ref(owner)
            del owner
            assert trace() is None
        finally:
            gc.enable()

    def test_on_a_real_loop(self, run: Run) -> None:
        async def story() -> None:
            loop = asyncio.get_running_loop()
            barked: asyncio.Future[float] = loop.create_future()
            watchdog = Watchdog(loop, lambda: barked.set_result(loop.time()))
            watchdog.watch(loop.time() + 60)
            watchdog.watch(loop.time() + 0.01)
            deadline = loop.time() + 0.03
            watchdog.watch(deadline)
            async with asyncio.timeout(10):
                assert await barked >= deadline

        run(story())

    def test_it_interrupts_the_wait_it_watches(self, run: Run) -> None:
        async def story() -> None:
            loop, interrupter = asyncio.get_running_loop(), interrupter_of_this_loop()
            watchdog = Watchdog(loop, lambda: interrupter.interrupt(Stall()))
            for _ in range(3):
                watchdog.watch(loop.time() + 0.005)
                with pytest.raises(Stall):
                    await interruptible(interrupter, for_ever())
            watchdog.stop()

        run(story())
