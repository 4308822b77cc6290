"""When tasks are asked after: as before where nothing is known, near their expected end where something is."""

from __future__ import annotations

from itertools import islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.durations import Expected
from gateway.core.types import TaskTimes
from gateway.translate.poll_rhythm import LONGEST_BLIND, intervals

TIMES = TaskTimes(poll=2.0, poll_max=15.0)


def polls(expected: Expected | None, until: float, times: TaskTimes = TIMES) -> list[float]:
    """When a task is asked after that is done at ``until``: the last one finds it done."""
    now, found = 0.0, []
    for wait in intervals(times, expected):
        now += wait
        found.append(now)
        if now >= until:
            return found
    raise AssertionError("the polls ended")


def test_without_knowledge_the_wait_grows_from_poll_to_poll_max() -> None:
    assert list(islice(intervals(TIMES, None), 7)) == [2.0, 3.0, 4.5, 6.75, 10.125, 15.0, 15.0]


def test_two_looks_for_one_that_is_refused_then_none_until_the_first_may_be_done() -> None:
    assert polls(Expected(42.0, 60.0, 92.0), 70.0) == [3.0, 10.0, 42.0, 52.0, 62.0, 72.0]


def test_a_short_task_is_not_looked_at_before_it_may_be_done() -> None:
    assert polls(Expected(3.0, 4.0, 6.0), 4.5) == [3.0, 5.0]


def test_a_task_that_is_late_is_asked_after_as_if_nothing_was_known() -> None:
    found = polls(Expected(42.0, 60.0, 92.0), 200.0)
    late = found[found.index(92.0) :]
    assert [after - before for before, after in pairwise(late)][:4] == [2.0, 3.0, 4.5, 6.75]


def test_no_task_is_left_alone_for_longer_than_three_quarters_of_a_minute() -> None:
    assert max(after - before for before, after in _pairs(polls(Expected(900.0, 950.0, 1000.0), 1000.0))) <= 45.0


def test_a_host_that_is_to_be_polled_rarely_is() -> None:
    assert min(intervals_until(Expected(20.0, 21.0, 22.0), 100.0, TaskTimes(poll=30.0, poll_max=90.0))) >= 30.0


def intervals_until(expected: Expected, until: float, times: TaskTimes) -> list[float]:
    return [after - before for before, after in _pairs(polls(expected, until, times))]


def _pairs(found: list[float]) -> list[tuple[float, float]]:
    return list(zip([0.0, *found], found, strict=False))


@given(st.floats(0.01, 5_000), st.floats(1.0, 5.0), st.floats(1.0, 5.0), st.floats(0.01, 30), st.floats(1.0, 10.0))
def test_whatever_is_known_the_polls_go_on_and_are_neither_dense_nor_far_apart(
    p10: float, wider: float, widest: float, poll: float, times_max: float
) -> None:
    times = TaskTimes(poll=poll, poll_max=poll * times_max)
    expected = Expected(p10, p10 * wider, p10 * wider * widest)
    waits = list(islice(intervals(times, expected), 200))
    assert all(wait >= poll * 0.999 for wait in waits)
    assert all(wait <= max(LONGEST_BLIND, times.poll_max) * 1.001 for wait in waits)
