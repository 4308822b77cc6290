"""A key's limits over time: what is admitted, what is refused and for how long, what comes back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.limits.key_limits import GRAIN, RATE_WINDOW, KeyLimits, Lease, LimitRefusal, SlidingWindow
from gateway.core.types import VirtualKey


def admitted(answer: Lease | LimitRefusal) -> Lease:
    assert isinstance(answer, Lease), answer
    return answer


def refused(answer: Lease | LimitRefusal) -> LimitRefusal:
    assert isinstance(answer, LimitRefusal), answer
    return answer


def test_a_key_without_limits_is_always_admitted_and_gets_no_headers():
    limits, key = KeyLimits(), VirtualKey("free")
    for second in range(200):
        limits.release(admitted(limits.admit(key, 10**9, second)), 10**9, second)
    assert limits.headers(key, 0.0) == []


class TestRequestsPerMinute:
    def test_the_request_over_the_limit_waits_until_the_first_one_is_a_minute_old(self):
        limits, key = KeyLimits(), VirtualKey("alice", rpm=2)
        admitted(limits.admit(key, 0, 100.0))
        admitted(limits.admit(key, 0, 110.0))
        refusal = refused(limits.admit(key, 0, 120.0))
        assert (refusal.kind, refusal.limit, refusal.retry_after) == ("rpm", 2, 40.0)
        refused(limits.admit(key, 0, 159.9))
        admitted(limits.admit(key, 0, 160.0))
        assert refused(limits.admit(key, 0, 160.0)).retry_after == 10.0

    def test_a_refusal_consumes_nothing(self):
        limits, key = KeyLimits(), VirtualKey("alice", rpm=1, tpm=100, parallel=5)
        first = admitted(limits.admit(key, 10, 0.0))
        for _ in range(50):
            refused(limits.admit(key, 10, 30.0))
        limits.release(first, 10, 31.0)
        admitted(limits.admit(key, 90, 60.0))

    def test_waiting_exactly_as_long_as_told_is_enough(self):
        limits, key = KeyLimits(), VirtualKey("alice", rpm=3)
        for at in (0.0, 0.1, 0.2):
            admitted(limits.admit(key, 0, at))
        refusal = refused(limits.admit(key, 0, 7.0))
        assert refusal.retry_after is not None
        assert refusal.retry_after <= RATE_WINDOW
        admitted(limits.admit(key, 0, 7.0 + refusal.retry_after))

    def test_a_limit_of_zero_admits_nothing_ever(self):
        refusal = refused(KeyLimits().admit(VirtualKey("closed", rpm=0), 0, 0.0))
        assert refusal.retry_after is None


class TestTokensPerMinute:
    def test_the_estimate_is_reserved_and_what_was_too_much_comes_back(self):
        limits, key = KeyLimits(), VirtualKey("alice", tpm=1000)
        first = admitted(limits.admit(key, 900, 0.0))
        assert refused(limits.admit(key, 200, 1.0)).kind == "tpm"
        limits.release(first, 300, 2.0)
        admitted(limits.admit(key, 700, 3.0))
        refused(limits.admit(key, 1, 3.0))

    def test_what_was_used_beyond_the_estimate_counts_from_the_end_of_the_request(self):
        limits, key = KeyLimits(), VirtualKey("alice", tpm=1000)
        limits.release(admitted(limits.admit(key, 100, 0.0)), 1500, 50.0)
        assert refused(limits.admit(key, 1, 70.0)).retry_after == 40.0
        admitted(limits.admit(key, 1000, 110.0))

    def test_usage_that_is_not_known_leaves_the_reservation(self):
        limits, key = KeyLimits(), VirtualKey("alice", tpm=1000)
        limits.release(admitted(limits.admit(key, 1000, 0.0)), None, 1.0)
        refused(limits.admit(key, 1, 59.9))
        admitted(limits.admit(key, 1000, 60.0))

    def test_giving_back_after_the_reservation_left_the_window_changes_nothing(self):
        limits, key = KeyLimits(), VirtualKey("alice", tpm=1000)
        slow = admitted(limits.admit(key, 800, 0.0))
        admitted(limits.admit(key, 1000, 100.0))
        limits.release(slow, 0, 101.0)
        refused(limits.admit(key, 1, 102.0))

    def test_a_request_larger_than_the_whole_limit_is_told_so_and_not_to_retry(self):
        refusal = refused(KeyLimits().admit(VirtualKey("alice", tpm=1000), 1001, 0.0))
        error = refusal.error()
        assert (error.status, error.code, error.retry_after) == (429, "rate_limit_exceeded", None)
        assert "1001 tokens" in error.message
        assert "whole limit of 1000" in error.message

    def test_a_negative_estimate_is_a_mistake_of_the_caller(self):
        with pytest.raises(ValueError, match="negative"):
            KeyLimits().admit(VirtualKey("alice", tpm=1), -1, 0.0)

    def test_a_negative_usage_counts_as_none(self):
        limits, key = KeyLimits(), VirtualKey("alice", tpm=10)
        limits.release(admitted(limits.admit(key, 10, 0.0)), -500, 0.0)
        refused(limits.admit(key, 11, 0.0))
        admitted(limits.admit(key, 10, 0.0))


class TestParallel:
    def test_a_place_comes_free_when_a_request_ends(self):
        limits, key = KeyLimits(), VirtualKey("alice", parallel=2)
        first, _ = admitted(limits.admit(key, 0, 0.0)), admitted(limits.admit(key, 0, 0.0))
        refusal = refused(limits.admit(key, 0, 0.0))
        assert (refusal.kind, refusal.limit, refusal.retry_after) == ("parallel", 2, 1.0)
        limits.release(first, 0, 5.0)
        admitted(limits.admit(key, 0, 5.0))
        refused(limits.admit(key, 0, 5.0))

    def test_releasing_twice_frees_one_place_only(self):
        limits, key = KeyLimits(), VirtualKey("alice", parallel=1)
        once = admitted(limits.admit(key, 0, 0.0))
        limits.release(once, 0, 1.0)
        limits.release(once, 0, 1.0)
        admitted(limits.admit(key, 0, 2.0))
        refused(limits.admit(key, 0, 2.0))

    def test_no_place_at_all_is_not_worth_a_retry(self):
        assert refused(KeyLimits().admit(VirtualKey("alice", parallel=0), 0, 0.0)).retry_after is None


class TestReload:
    def test_a_lowered_limit_counts_what_was_already_used(self):
        limits = KeyLimits()
        for _ in range(5):
            admitted(limits.admit(VirtualKey("alice", rpm=10), 0, 0.0))
        lowered = VirtualKey("alice", rpm=3)
        refused(limits.admit(lowered, 0, 1.0))
        assert dict(limits.headers(lowered, 1.0))[b"x-ratelimit-remaining-requests"] == b"0"

    def test_keys_that_are_gone_are_forgotten_but_not_while_they_run(self):
        limits = KeyLimits()
        idle, busy = VirtualKey("idle", rpm=1), VirtualKey("busy", parallel=1)
        admitted(limits.admit(idle, 0, 0.0))
        running = admitted(limits.admit(busy, 0, 0.0))
        limits.retain([])
        admitted(limits.admit(idle, 0, 1.0))
        refused(limits.admit(busy, 0, 1.0))
        limits.release(running, 0, 2.0)
        admitted(limits.admit(busy, 0, 3.0))


class TestWhatTheClientSees:
    def test_the_headers_are_openais(self):
        limits, key = KeyLimits(), VirtualKey("alice", rpm=60, tpm=200_000)
        limits.release(admitted(limits.admit(key, 1000, 0.0)), 400, 5.0)
        assert limits.headers(key, 10.0) == [
            (b"x-ratelimit-limit-requests", b"60"),
            (b"x-ratelimit-remaining-requests", b"59"),
            (b"x-ratelimit-reset-requests", b"50s"),
            (b"x-ratelimit-limit-tokens", b"200000"),
            (b"x-ratelimit-remaining-tokens", b"199600"),
            (b"x-ratelimit-reset-tokens", b"50s"),
        ]

    @pytest.mark.parametrize(
        ("age", "reset"),
        [(0.0, b"1m0s"), (0.5, b"1m0s"), (59.0, b"1s"), (59.875, b"125ms"), (59.9999, b"1ms"), (60, b"0s")],
    )
    def test_reset_is_a_duration_rounded_up(self, age: float, reset: bytes):
        limits, key = KeyLimits(), VirtualKey("alice", rpm=1)
        admitted(limits.admit(key, 0, 0.0))
        assert dict(limits.headers(key, age))[b"x-ratelimit-reset-requests"] == reset

    def test_a_key_that_was_never_seen_has_its_whole_limit(self):
        headers = dict(KeyLimits().headers(VirtualKey("new", tpm=7), 0.0))
        assert headers == {
            b"x-ratelimit-limit-tokens": b"7",
            b"x-ratelimit-remaining-tokens": b"7",
            b"x-ratelimit-reset-tokens": b"0s",
        }

    def test_the_error_names_the_key_the_limit_and_the_wait(self):
        limits, key = KeyLimits(), VirtualKey("alice", rpm=1)
        admitted(limits.admit(key, 0, 0.0))
        error = refused(limits.admit(key, 0, 15.0)).error()
        assert (
            error.message == "The key 'alice' has reached its limit of 1 requests per minute. Please try again in 45s."
        )
        assert error.retry_after == 45.0


def test_a_window_forgets_so_that_memory_stays_bounded():
    window = SlidingWindow()
    for step in range(40_000):
        window.total(step * 0.01)
        window.add(1, step * 0.01)
    assert len(window._runs) <= RATE_WINDOW / GRAIN + 1


def test_what_the_window_no_longer_holds_is_free_at_the_latest_after_a_minute():
    assert SlidingWindow().room_in(1, 0.0) == RATE_WINDOW


# Steps in 1/64 s, so that sums of times are exact and a span of 60 s is one to the last bit.
STEPS = st.lists(st.tuples(st.integers(0, 64 * 20), st.integers(0, 60)), max_size=120)


@settings(deadline=None)
@given(steps=STEPS, rpm=st.integers(1, 8), tpm=st.integers(1, 200))
def test_no_minute_holds_more_than_the_limits(steps: list[tuple[int, int]], rpm: int, tpm: int):
    limits, key, now = KeyLimits(), VirtualKey("alice", rpm=rpm, tpm=tpm), 0.0
    came: list[tuple[float, int]] = []
    for pause, tokens in steps:
        now += pause / 64
        answer = limits.admit(key, tokens, now)
        if isinstance(answer, Lease):
            came.append((now, tokens))
        elif answer.retry_after is not None:
            assert 0 < answer.retry_after <= RATE_WINDOW
    for start, _ in came:
        inside = [tokens for at, tokens in came if start <= at < start + RATE_WINDOW]
        assert len(inside) <= rpm
        assert sum(inside) <= tpm


@settings(deadline=None)
@given(steps=STEPS, rpm=st.integers(1, 8))
def test_a_place_comes_free_at_most_one_grain_late(steps: list[tuple[int, int]], rpm: int):
    limits, key, now = KeyLimits(), VirtualKey("alice", rpm=rpm), 0.0
    came: list[float] = []
    for pause, _ in steps:
        now += pause / 64
        if isinstance(limits.admit(key, 0, now), Lease):
            came.append(now)
        else:
            assert sum(now - at < RATE_WINDOW + GRAIN for at in came) >= rpm


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 64)), max_size=100), st.integers(1, 4))
def test_parallel_is_never_exceeded_and_returns_to_none(moves: list[tuple[bool, int, int]], parallel: int):
    limits, key, now = KeyLimits(), VirtualKey("alice", parallel=parallel, tpm=500), 0.0
    running: list[Lease] = []
    for start, tokens, pause in moves:
        now += pause
        if start:
            answer = limits.admit(key, tokens, now)
            if isinstance(answer, Lease):
                running.append(answer)
            elif answer.kind == "parallel":
                assert len(running) == parallel
        elif running:
            limits.release(running.pop(tokens % len(running)), tokens * 2, now)
        assert len(running) <= parallel
    for admission in running:
        limits.release(admission, 0, now)
    again = [limits.admit(key, 0, now + 2 * RATE_WINDOW) for _ in range(parallel)]
    assert all(isinstance(answer, Lease) for answer in again)
