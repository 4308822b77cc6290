"""The retry budget, and the rolling count it stands on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.retry_budget import ALWAYS_ALLOWED, RETRY_WINDOW, RetryBudget
from gateway.core.routing.rolling_count import RollingCount


def test_a_few_retries_may_always_run_at_once() -> None:
    budget = RetryBudget(0.1)
    for _ in range(ALWAYS_ALLOWED):
        assert budget.affords(0.0)
        budget.begin(0.0)
    assert not budget.affords(0.0)
    budget.end()
    assert budget.affords(0.0)


def test_beyond_those_they_are_a_share_of_the_requests() -> None:
    budget = RetryBudget(0.1)
    for _ in range(100):
        budget.request(0.0)
    granted = 0
    while budget.affords(1.0):
        budget.begin(1.0)
        granted += 1
    assert granted == 10


def test_requests_of_long_ago_earn_nothing() -> None:
    budget = RetryBudget(0.1)
    for _ in range(1000):
        budget.request(0.0)
    for _ in range(ALWAYS_ALLOWED):
        budget.begin(0.0)
    assert budget.affords(RETRY_WINDOW - 1.0)
    assert not budget.affords(RETRY_WINDOW)


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 5)), max_size=50))
def test_a_rolling_count_knows_the_last_window_to_a_tenth(events: list[tuple[float, int]]) -> None:
    count, now, seen = RollingCount(10.0), 0.0, list[tuple[float, int]]()
    for passed, many in events:
        now += passed
        count.add(now, many)
        seen.append((now, many))
        surely = sum(n for at, n in seen if at > now - 9.0)
        perhaps = sum(n for at, n in seen if at >= now - 10.0)
        assert surely <= count.total(now) <= perhaps
    count.clear()
    assert count.total(now) == 0
