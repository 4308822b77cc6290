"""The gate: how much may be in flight, and waiting until nothing is."""

from __future__ import annotations

import asyncio

from gateway.exchange.services import Gate
from tests.exchange.scripted import now, play


class Request:
    """In flight. ``stopped``: it was told that the drain time is over."""

    stopped = False

    def shut_down(self) -> None:
        self.stopped = True


def test_it_is_full_at_its_limit_and_has_room_once_one_has_left() -> None:
    gate, first, second = Gate(2), Request(), Request()
    gate.enter(first)
    assert not gate.full
    gate.enter(second)
    assert (gate.full, len(gate)) == (True, 2)
    gate.leave(first)
    gate.leave(first)  # leaving twice frees one place
    assert (gate.full, len(gate)) == (False, 1)


def test_requests_may_leave_while_all_are_told_to_stop() -> None:
    gate, requests = Gate(2), [Request(), Request()]
    for request in requests:
        gate.enter(request)
    for running in gate:
        running.shut_down()
        gate.leave(running)
    assert all(request.stopped for request in requests)
    assert len(gate) == 0


def test_an_empty_gate_is_not_waited_for() -> None:
    async def story() -> None:
        await Gate(1).empty()
        assert now() == 0

    play(story)


def test_a_wait_for_an_empty_gate_ends_when_the_last_request_has_left() -> None:
    async def story() -> None:
        gate, requests = Gate(5), [Request(), Request()]

        async def serve(request: Request, seconds: float) -> None:
            gate.enter(request)
            await asyncio.sleep(seconds)
            gate.leave(request)

        async with asyncio.TaskGroup() as group:
            for request, seconds in zip(requests, (3, 8), strict=True):
                group.create_task(serve(request, seconds))
            await asyncio.sleep(1)
            await asyncio.gather(gate.empty(), gate.empty())
            assert now() == 8

    play(story)


def test_a_request_that_comes_while_it_empties_is_waited_for_too() -> None:
    """The waiting ends when nothing is in flight, not when it was so for a moment."""

    async def story() -> None:
        gate, first, second = Gate(5), Request(), Request()
        gate.enter(first)
        waiting = asyncio.get_running_loop().create_task(gate.empty())
        await asyncio.sleep(1)
        gate.leave(first)
        gate.enter(second)
        await asyncio.sleep(1)
        assert not waiting.done()
        gate.leave(second)
        await waiting

    play(story)
