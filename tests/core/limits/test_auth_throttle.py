"""When a failed authentication is told to wait, and which addresses share a count."""

from __future__ import annotations

import pytest

from gateway.core.limits.auth_throttle import MOST_FAILURES, WINDOW, AuthThrottle, network_of

GUESSER = "203.0.113.7"


def fail(throttle: AuthThrottle, now: float, *, address: str = GUESSER) -> float:
    """Fail once; the seconds that one is told to wait, 0 if not."""
    error = throttle.failed(address, now)
    if error is None:
        return 0.0
    assert error.retry_after is not None
    return error.retry_after


def test_the_eleventh_failure_of_a_minute_is_told_to_wait():
    throttle = AuthThrottle()
    told = [fail(throttle, float(second)) for second in range(12)]
    assert told == [0.0] * MOST_FAILURES + [50.0, 49.0]


def test_waiting_as_long_as_told_is_enough_and_not_a_moment_less():
    throttle = AuthThrottle()
    for second in range(10):
        fail(throttle, 100.0 + second)
    assert fail(throttle, 130.0) == 30.0
    assert fail(throttle, 159.9) == pytest.approx(0.1)
    assert fail(throttle, 160.0) == 0.0
    assert fail(throttle, 160.0) == 1.0  # the window slides


def test_of_a_hundred_thousand_failures_in_a_quarter_of_an_hour_ten_a_minute_are_not_told():
    throttle = AuthThrottle()
    assert sum(not fail(throttle, number * 0.009) for number in range(100_000)) == 15 * MOST_FAILURES


def test_another_address_is_not_concerned():
    throttle = AuthThrottle()
    for _ in range(30):
        fail(throttle, 0.0)
    assert fail(throttle, 1.0, address="203.0.113.8") == 0.0


def crowd(throttle: AuthThrottle, size: int, now: float) -> None:
    """So many other addresses, different ones at each time, fail once."""
    for number in range(size):
        fail(throttle, now, address=f"10.{now:.0f}.{number // 250}.{number % 250}")


def test_memory_is_bounded_and_the_addresses_that_failed_last_are_kept():
    throttle = AuthThrottle(most_addresses=100)
    fail(throttle, 0.0)
    crowd(throttle, 60, 1.0)
    for _ in range(9):
        fail(throttle, 2.0)
    crowd(throttle, 60, 3.0)
    assert fail(throttle, 4.0)  # which keeps it remembered, too
    crowd(throttle, 60, 5.0)
    assert fail(throttle, 6.0)
    crowd(throttle, 100, 7.0)
    assert not fail(throttle, 8.0)
    assert len(throttle._failures) == 100


def test_a_whole_network_of_ipv6_shares_one_count():
    throttle = AuthThrottle()
    for number in range(10):
        assert not fail(throttle, 0.0, address=f"2001:db8:1:2::{number:x}")
    assert fail(throttle, 0.0, address="2001:db8:1:2:ffff::1")
    assert not fail(throttle, 0.0, address="2001:db8:1:3::1")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("/run/gateway.sock", "/run/gateway.sock"),
    ],
)
def test_what_counts_as_one_address(address: str, network: str):
    assert network_of(address) == network


def test_the_client_is_told_to_wait_and_nothing_else():
    throttle = AuthThrottle()
    for _ in range(10):
        throttle.failed(GUESSER, 0.0)
    error, later = throttle.failed(GUESSER, WINDOW / 2), throttle.failed(GUESSER, WINDOW - 1.0)
    assert error is not None
    assert later is not None
    assert (error.status, error.type, error.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert (error.retry_after, error.should_retry) == (30.0, True)
    assert error.body() == later.body()
