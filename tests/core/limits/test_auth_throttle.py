"""How fast keys can be guessed from one address, and who goes on working beside a guesser."""

from __future__ import annotations

import hashlib
from itertools import count

import pytest

from gateway.core.limits.auth_throttle import MOST_FAILURES, WELCOME, WINDOW, AuthThrottle, Throttled, place_of

GUESSER = "203.0.113.7"


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def guess(throttle: AuthThrottle, now: float, *, address: str = GUESSER, key: str = "wrong") -> bool:
    """Try a key that is not right; whether it was looked up at all."""
    if throttle.check(address, digest(key), now) is not None:
        return False
    throttle.failed(address, digest(key), now)
    return True


def flood(throttle: AuthThrottle, now: float, *, address: str = GUESSER) -> None:
    for number in count():
        if not guess(throttle, now, address=address, key=f"guess-{number}"):
            return


def test_the_eleventh_guess_of_a_minute_is_not_looked_up():
    throttle = AuthThrottle()
    assert [guess(throttle, float(second)) for second in range(12)] == [True] * MOST_FAILURES + [False] * 2


def test_waiting_as_long_as_told_is_enough_and_not_a_moment_less():
    throttle = AuthThrottle()
    for second in range(10):
        guess(throttle, 100.0 + second)
    refusal = throttle.check(GUESSER, digest("new"), 130.0)
    assert refusal == Throttled(30.0)
    assert throttle.check(GUESSER, digest("new"), 159.9) is not None
    assert guess(throttle, 160.0)
    assert throttle.check(GUESSER, digest("new"), 160.0) == Throttled(1.0)  # the window slides


def test_a_hundred_thousand_guesses_in_a_quarter_of_an_hour_learn_of_a_hundred_and_fifty_keys():
    throttle = AuthThrottle()
    looked_up = sum(guess(throttle, number * 0.009, key=f"guess-{number}") for number in range(100_000))
    assert looked_up == 15 * MOST_FAILURES


def test_another_address_is_not_concerned():
    throttle = AuthThrottle()
    flood(throttle, 0.0)
    assert throttle.check("203.0.113.8", digest("right"), 1.0) is None


def test_a_key_that_was_right_here_goes_on_working_and_a_new_one_waits():
    throttle = AuthThrottle()
    throttle.succeeded(GUESSER, digest("alice"), 0.0)
    flood(throttle, 10.0)
    assert throttle.check(GUESSER, digest("alice"), 11.0) is None
    assert throttle.check(GUESSER, digest("bob"), 11.0) is not None
    throttle.succeeded("198.51.100.1", digest("bob"), 12.0)  # right, but elsewhere
    assert throttle.check(GUESSER, digest("bob"), 13.0) is not None


def test_a_welcome_lasts_an_hour_from_the_last_success():
    throttle = AuthThrottle()
    throttle.succeeded(GUESSER, digest("alice"), 0.0)
    throttle.succeeded(GUESSER, digest("alice"), 600.0)
    flood(throttle, WELCOME + 500.0)
    assert throttle.check(GUESSER, digest("alice"), WELCOME + 500.0) is None
    flood(throttle, WELCOME + 600.0)
    assert throttle.check(GUESSER, digest("alice"), WELCOME + 600.0) is not None


def test_a_key_that_was_revoked_is_welcome_no_more():
    throttle = AuthThrottle()
    throttle.succeeded(GUESSER, digest("revoked"), 0.0)
    flood(throttle, 1.0)
    assert guess(throttle, 2.0, key="revoked")
    assert not guess(throttle, 3.0, key="revoked")


def test_successes_do_not_make_failures_forgotten():
    throttle = AuthThrottle()
    for second in range(9):
        guess(throttle, float(second))
        throttle.succeeded(GUESSER, digest("his own key"), float(second))
    assert [guess(throttle, 9.0), guess(throttle, 9.0)] == [True, False]


def crowd(throttle: AuthThrottle, size: int, now: float) -> None:
    """So many other addresses, different ones at each time, fail once."""
    for number in range(size):
        guess(throttle, now, address=f"10.{now:.0f}.{number // 250}.{number % 250}")


def test_memory_is_bounded_and_the_addresses_heard_of_last_are_kept():
    throttle = AuthThrottle(most_addresses=100)
    guess(throttle, 0.0)
    crowd(throttle, 60, 1.0)
    for _ in range(9):
        guess(throttle, 2.0)
    crowd(throttle, 60, 3.0)
    assert not guess(throttle, 4.0)  # it is heard of by this, too
    crowd(throttle, 60, 5.0)
    assert not guess(throttle, 6.0)
    crowd(throttle, 100, 7.0)
    assert guess(throttle, 8.0)


def test_no_number_of_failures_makes_a_success_forgotten_but_so_many_successes_do():
    throttle = AuthThrottle(most_addresses=100)
    throttle.succeeded(GUESSER, digest("alice"), 0.0)
    crowd(throttle, 1000, 0.0)
    for number in range(99):
        throttle.succeeded("192.0.2.1", digest(f"key-{number}"), 1.0)
    throttle.succeeded(GUESSER, digest("alice"), 2.0)
    for number in range(99):
        throttle.succeeded("192.0.2.2", digest(f"key-{number}"), 3.0)
    flood(throttle, 4.0)
    assert throttle.check(GUESSER, digest("alice"), 4.0) is None
    throttle.succeeded("192.0.2.3", digest("key"), 5.0)
    assert throttle.check(GUESSER, digest("alice"), 5.0) is not None


def test_a_whole_network_of_ipv6_shares_one_count():
    throttle = AuthThrottle()
    for number in range(10):
        assert guess(throttle, 0.0, address=f"2001:db8:1:2::{number:x}")
    assert not guess(throttle, 0.0, address="2001:db8:1:2:ffff::1")
    assert guess(throttle, 0.0, address="2001:db8:1:3::1")


@pytest.mark.parametrize(
    ("address", "place"),
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
def test_what_counts_as_one_address(address: str, place: str):
    assert place_of(address) == place


def test_the_client_is_told_to_wait_and_nothing_else():
    error = Throttled(WINDOW / 2).error()
    assert (error.status, error.type, error.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert (error.retry_after, error.should_retry) == (30.0, True)
    assert error.body() == Throttled(1.0).error().body()
