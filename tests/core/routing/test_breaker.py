"""The circuit breaker: closed, open, half-open."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.breaker import PROBE_LASTS, STRIKERS_KEPT, UNPROBED_FOR, Breaker
from gateway.core.types import FailoverPolicy
from tests.core.builders import Chance

POLICY = FailoverPolicy()
MIDDLE = Chance(0.5)


def struck(times: int, *, now: float = 100.0, policy: FailoverPolicy = POLICY) -> Breaker:
    breaker = Breaker(policy)
    for _ in range(times):
        breaker.strike("here", now, now, MIDDLE)
    return breaker


def test_it_opens_at_the_fifth_failure_in_a_row() -> None:
    assert struck(4).state(100.0) == "closed"
    assert struck(5).state(100.0) == "open"


def test_a_success_between_starts_the_row_again() -> None:
    breaker = struck(4)
    breaker.succeed(100.0, 100.0)
    for _ in range(4):
        breaker.strike("here", 101.0, 101.0, MIDDLE)
    assert breaker.state(101.0) == "closed"


def test_half_of_twenty_in_the_window_are_too_many() -> None:
    breaker = Breaker(POLICY)
    for number in range(19):
        now = 100.0 + number
        if number % 2:
            breaker.strike("here", now, now, MIDDLE)
        else:
            breaker.succeed(now, now)
    assert breaker.state(119.0) == "closed"
    breaker.strike("here", 119.0, 119.0, MIDDLE)
    assert breaker.state(119.0) == "open"


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker = Breaker(POLICY)
    for number in range(40):
        now = 100.0 + 10.0 * number
        if number % 2:
            breaker.strike("here", now, now, MIDDLE)
        else:
            breaker.succeed(now, now)
    assert breaker.state(500.0) == "closed"


def test_each_ejection_is_longer_up_to_a_limit() -> None:
    breaker, now = struck(5), 100.0
    lengths = []
    for _ in range(40):
        lengths.append(breaker.seconds_left(now))
        now += lengths[-1]
        assert breaker.state(now) == "half_open"
        breaker.begin(now)
        breaker.strike("here", now, now, MIDDLE)
        breaker.end(now)
    assert lengths[:4] == pytest.approx([10.0, 20.0, 30.0, 40.0])
    assert max(lengths) == pytest.approx(300.0)


def test_after_a_long_peace_it_starts_small_again() -> None:
    breaker = struck(5)
    breaker.succeed(111.0, 111.0)
    for _ in range(5):
        breaker.strike("here", 1000.0, 1000.0, MIDDLE)
    assert breaker.seconds_left(1000.0) == pytest.approx(10.0)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 8.0), (1.0, 12.0)])
def test_ejections_are_spread(chance: float, seconds: float) -> None:
    breaker = Breaker(POLICY)
    for _ in range(5):
        breaker.strike("here", 0.0, 0.0, Chance(chance))
    assert breaker.seconds_left(0.0) == pytest.approx(seconds)


def test_half_open_admits_one_probe_at_a_time() -> None:
    breaker = struck(5)
    assert not breaker.admits(109.0, may_probe=True)
    assert breaker.admits(110.0, may_probe=True)
    breaker.begin(110.0)
    assert not breaker.admits(111.0, may_probe=True)
    breaker.end(110.0)
    assert breaker.admits(112.0, may_probe=True)


def test_a_probe_that_lasts_does_not_keep_the_next_one_away() -> None:
    breaker = struck(5)
    breaker.begin(110.0)
    later = 110.0 + PROBE_LASTS
    assert breaker.admits(later, may_probe=True)
    breaker.begin(later)
    breaker.end(110.0)
    assert not breaker.admits(later, may_probe=True)


def test_the_probes_success_closes_it() -> None:
    breaker = struck(5)
    breaker.begin(110.0)
    breaker.succeed(110.0, 111.0)
    breaker.end(110.0)
    assert breaker.state(111.0) == "closed"
    assert breaker.seconds_left(111.0) == 0.0


def test_what_began_before_it_opened_says_nothing() -> None:
    breaker = struck(5)
    breaker.succeed(99.0, 105.0)
    assert breaker.state(105.0) == "open"
    breaker.strike("here", 99.0, 115.0, MIDDLE)
    assert breaker.state(115.0) == "half_open"


def test_a_paid_request_probes_only_where_nobody_else_comes() -> None:
    breaker = struck(5)
    assert not breaker.admits(110.0, may_probe=False)
    assert breaker.admits(110.0 + UNPROBED_FOR, may_probe=False)


def test_failures_must_come_from_enough_places() -> None:
    breaker = Breaker(POLICY, places=2)
    for _ in range(10):
        breaker.strike("here", 0.0, 0.0, MIDDLE)
    assert breaker.state(0.0) == "closed"
    breaker.strike("there", 0.0, 0.0, MIDDLE)
    assert breaker.state(0.0) == "open"


def test_failures_that_were_somebody_elses_are_forgotten_but_not_where_they_were_seen() -> None:
    breaker = Breaker(POLICY, places=2)
    for _ in range(30):
        breaker.strike("here", 0.0, 0.0, MIDDLE)
    breaker.excuse()
    for _ in range(4):
        breaker.strike("there", 0.0, 0.0, MIDDLE)
    assert breaker.state(0.0) == "closed"
    breaker.strike("there", 0.0, 0.0, MIDDLE)
    assert breaker.state(0.0) == "open"
    breaker.excuse()
    assert breaker.state(0.0) == "open"


def test_it_can_be_opened_for_a_time_somebody_else_chose() -> None:
    breaker = Breaker(POLICY)
    breaker.open_for(60.0, 0.0)
    breaker.open_for(10.0, 1.0)
    assert breaker.seconds_left(1.0) == 59.0
    assert breaker.state(60.0) == "half_open"


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 60.0)), max_size=80), st.integers(0, 2**32))
def test_it_never_stays_open_longer_than_the_longest_ejection(story: list[tuple[bool, float]], seed: int) -> None:
    rng, breaker, now = random.Random(seed), Breaker(POLICY), 0.0
    for good, passed in story:
        now += passed
        breaker.begin(now)
        if good:
            breaker.succeed(now, now)
            assert breaker.state(now) == "closed"
        else:
            breaker.strike("here", now, now, rng)
        breaker.end(now)
        assert breaker.seconds_left(now) <= POLICY.eject_max * 1.2


def strike(breaker: Breaker, asker: str, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.strike("here", now, now, MIDDLE, asker)


def admits(breaker: Breaker, asker: str, now: float) -> bool:
    return breaker.admits(now, may_probe=True, asker=asker)


class TestWhoseFailures:
    def test_those_of_one_member_open_it_for_that_member(self) -> None:
        breaker = Breaker(POLICY)
        strike(breaker, "alice", 100.0, times=20)
        assert not admits(breaker, "alice", 100.0)
        assert admits(breaker, "bob", 100.0)

    def test_a_stray_failure_of_another_is_no_second_witness_two_are(self) -> None:
        breaker = Breaker(POLICY)
        strike(breaker, "alice", 100.0, times=20)
        strike(breaker, "bob", 101.0)
        assert admits(breaker, "carol", 101.0)
        strike(breaker, "bob", 102.0)
        assert not admits(breaker, "carol", 102.0)
        assert not admits(breaker, "bob", 102.0)

    def test_a_host_that_fails_everybody_is_ejected_for_everybody_at_once(self) -> None:
        breaker = Breaker(POLICY)
        for asker in ("alice", "bob", "carol", "dave", "eve"):
            strike(breaker, asker, 100.0)
        assert not admits(breaker, "frank", 100.0)

    def test_a_stray_failure_within_the_row_of_one_is_no_second_witness(self) -> None:
        breaker = Breaker(POLICY)
        strike(breaker, "alice", 100.0, times=2)
        strike(breaker, "bob", 100.0)
        strike(breaker, "alice", 100.0, times=2)
        assert not admits(breaker, "alice", 100.0)
        assert admits(breaker, "bob", 100.0)

    def test_another_members_success_closes_it(self) -> None:
        breaker = Breaker(POLICY)
        strike(breaker, "alice", 100.0, times=5)
        breaker.succeed(101.0, 101.0)
        assert breaker.state(101.0) == "closed"

    def test_failures_of_many_names_take_no_more_memory(self) -> None:
        breaker = Breaker(FailoverPolicy(breaker_failures=10_000))
        for number in range(2 * STRIKERS_KEPT):
            breaker.strike("here", 100.0, 100.0, MIDDLE, f"member-{number}")
        assert len(breaker._strikers) == STRIKERS_KEPT

    def test_a_pause_that_one_member_was_told_is_that_members_until_another_is_told_too(self) -> None:
        breaker = Breaker(POLICY)
        breaker.open_for(3600.0, 100.0, "alice")
        assert not admits(breaker, "alice", 100.0)
        assert admits(breaker, "bob", 100.0)
        breaker.open_for(3600.0, 101.0, "bob")
        assert not admits(breaker, "carol", 101.0)


class TestToldToOthers:
    """What one gateway's breaker shows, another's takes over as it is."""

    def test_an_open_one_is_open_for_as_long(self) -> None:
        first, second = struck(5, now=100.0), Breaker(POLICY)
        shown = first.shown(101.0)
        assert shown is not None
        second.hear(shown, 7.0)  # its clock began at another time
        assert second.state(7.0) == "open"
        assert second.seconds_left(7.0) == pytest.approx(first.seconds_left(101.0))
        assert second.shown(7.0) == shown
        second.succeed(5.5, 8.0)
        assert second.state(8.0) == "open"  # of a request that began before it opened
        second.succeed(6.5, 8.0)
        assert second.state(8.0) == "closed"

    def test_it_is_open_for_the_same_member_only(self) -> None:
        first, second = Breaker(POLICY), Breaker(POLICY)
        first.open_for(30.0, 100.0, "alice")
        second.hear(first.shown(100.0), 0.0)
        assert not second.admits(1.0, may_probe=True, asker="alice")
        assert second.admits(1.0, may_probe=True, asker="bob")

    def test_a_closed_one_closes(self) -> None:
        breaker = struck(5)
        breaker.hear(None, 100.0)
        assert breaker.state(100.0) == "closed"
        assert breaker.shown(100.0) is None
        closed = struck(4)
        closed.hear(None, 100.0)
        assert closed.reliable(100.0) is struck(4).reliable(100.0), "what was counted here stays"

    def test_the_next_ejection_is_longer_wherever_the_probe_fails(self) -> None:
        first, second = struck(5), Breaker(POLICY)
        second.hear(first.shown(100.0), 100.0)
        half_open = 100.0 + second.seconds_left(100.0)
        second.strike("here", half_open, half_open, MIDDLE)
        assert second.seconds_left(half_open) == pytest.approx(2 * POLICY.eject)

    def test_each_change_is_told_of_and_what_is_heard_is_not(self) -> None:
        told = list[str]()
        breaker = Breaker(POLICY)
        breaker.on_change = lambda: told.append(breaker.state(100.0))
        for _ in range(5):
            breaker.strike("here", 100.0, 100.0, MIDDLE, "alice")
        assert told == ["open"]
        breaker.strike("here", 100.0, 100.0, MIDDLE, "bob")
        breaker.strike("here", 100.0, 100.0, MIDDLE, "bob")
        assert told == ["open", "open"], "it is open for all now"
        breaker.open_for(60.0, 100.0)
        breaker.succeed(100.0, 100.0)
        assert told == ["open", "open", "open", "closed"]
        breaker.succeed(100.0, 100.0)
        other = struck(5).shown(100.0)
        breaker.hear(other, 100.0)
        breaker.hear(None, 100.0)
        assert len(told) == 4
