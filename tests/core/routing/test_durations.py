"""What a kind of order is known to take: from few samples, from many, from walls, and for how long."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.durations import (
    ENOUGH,
    FORGOTTEN,
    LONGEST,
    MOST_KINDS,
    SHORTEST,
    Expected,
    Histogram,
    LearnedDurations,
    OrderKind,
    OrderShape,
    bucket_of,
    middle_of,
)

DAY = 86_400.0
WEEK = 7 * DAY
NOW = 1_800_000_000.0
PICTURE = OrderKind("piapi", "chat", "gpt-4o-image")
OTHER = OrderKind("piapi", "images", "gpt-image-1", "1024x1024", "high")

durations = st.floats(0.0, 10_000.0)


def told(*seconds: float, censored: tuple[float, ...] = (), at: float = NOW) -> LearnedDurations:
    learned = LearnedDurations(WEEK)
    for one in seconds:
        learned.observe(PICTURE, one, at)
    for one in censored:
        learned.observe(PICTURE, one, at, censored=True)
    return learned


def known(learned: LearnedDurations, at: float = NOW) -> Expected:
    expected = learned.expected(PICTURE, at)
    assert expected is not None
    return expected


def test_twelve_orders_are_enough_and_eleven_are_not() -> None:
    assert told(*[60.0] * 11).expected(PICTURE, NOW) is None
    expected = known(told(*[60.0] * 12))
    assert [expected.p10, expected.p50, expected.p90] == [pytest.approx(60.0, rel=0.045)] * 3


def test_a_kind_is_known_by_itself() -> None:
    learned = told(*[60.0] * 12)
    assert learned.expected(OTHER, NOW) is None
    for _ in range(12):
        learned.observe(OTHER, 5.0, NOW)
    assert known(learned).p50 == pytest.approx(60.0, rel=0.045)


def test_one_of_twelve_is_an_accident_and_two_are_not() -> None:
    assert known(told(*[20.0] * 11, 500.0)).p90 == pytest.approx(20.0, rel=0.045)
    assert known(told(*[20.0] * 10, 500.0, 500.0)).p90 == pytest.approx(500.0, rel=0.045)


def test_orders_that_met_a_wall_took_longer_than_it() -> None:
    """Of twelve orders two were given up on after 120 s: what they would have taken is not known, but it is more."""
    assert known(told(*[60.0] * 10, censored=(120.0, 120.0))).p90 > 120.0
    assert known(told(censored=(120.0,) * 12)).p10 > 120.0


def test_an_order_that_was_given_up_on_early_says_little() -> None:
    """Broken off after 5 s by a restart: the others decide."""
    assert known(told(*[60.0] * 10, censored=(5.0, 5.0))).p90 == pytest.approx(60.0, rel=0.045)


def test_walls_and_the_answers_behind_them_together() -> None:
    """Half end at 60 s, the other half met the wall, and those of them that were ordered elsewhere took 200 s."""
    expected = known(told(*[60.0] * 6, *[200.0] * 6, censored=(120.0,) * 6))
    assert expected.p10 == pytest.approx(60.0, rel=0.045)
    assert expected.p90 == pytest.approx(200.0, rel=0.045)


def test_after_two_half_lives_without_an_order_a_kind_is_not_known_any_more() -> None:
    learned = told(*[60.0] * 12)
    assert learned.expected(PICTURE, NOW + 2 * WEEK - 1) is not None
    assert learned.expected(PICTURE, NOW + 2 * WEEK + 1) is None


def test_one_order_now_and_then_keeps_a_kind_known() -> None:
    learned = told(*[60.0] * 12)
    for week in range(30):
        for day in range(7):
            learned.observe(PICTURE, 60.0, NOW + week * WEEK + day * DAY)
    assert known(learned, NOW + 30 * WEEK).p50 == pytest.approx(60.0, rel=0.045)


def test_what_changed_is_forgotten() -> None:
    """A model that took 200 s takes 20 s from now on, with ten orders a day."""
    learned, at = told(*[200.0] * 50), NOW
    days = 0
    while known(learned, at).p90 > 120:
        days, at = days + 1, at + DAY
        for _ in range(10):
            learned.observe(PICTURE, 20.0, at)
        assert days < 60
    assert 7 < days < 40  # neither at once nor never


def test_a_kind_that_was_forgotten_begins_anew() -> None:
    learned = told(*[200.0] * 12)
    later = NOW + 6 * WEEK
    learned.observe(PICTURE, 20.0, later)
    assert learned.expected(PICTURE, later) is None
    for _ in range(11):
        learned.observe(PICTURE, 20.0, later)
    assert known(learned, later).p90 == pytest.approx(20.0, rel=0.045)


def test_a_clock_that_goes_back_changes_no_weight() -> None:
    learned = told(*[60.0] * 12)
    learned.observe(PICTURE, 60.0, NOW - WEEK)
    (kind,) = learned.kinds(NOW)
    assert kind.weight == pytest.approx(13.0)


def test_the_number_of_kinds_is_bounded_and_the_oldest_goes() -> None:
    learned = LearnedDurations(WEEK)
    for number in range(MOST_KINDS + 1):
        learned.observe(OrderKind("piapi", "images", f"m{number}"), 1.0, NOW + number)
    assert len(learned) == MOST_KINDS
    assert "m0" not in {one.kind.model for one in learned.kinds(NOW + MOST_KINDS)}
    assert [one.kind for one in learned.changed() if one.found is None] == [OrderKind("piapi", "images", "m0")]


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_what_is_no_duration_is_not_taken_in(seconds: float) -> None:
    learned = LearnedDurations(WEEK)
    learned.observe(PICTURE, seconds, NOW)
    assert len(learned) == 0


def test_sizes_by_which_nothing_can_be_learned_are_one() -> None:
    assert OrderShape.of(None, None) == OrderShape()
    assert OrderShape.of(" 1024x1024", "HIGH") == OrderShape("1024x1024", "high")
    assert OrderShape.of("9" * 65, "high\n") == OrderShape("other", "high")
    assert OrderShape.of("a\x00b", "") == OrderShape("other", "auto")
    assert [OrderShape.of(None, None, n).pieces for n in (0, 1, 2, 3, 4, 5, 10)] == [1, 1, 2, 4, 4, 8, 16]


def test_what_a_model_takes_whatever_its_size() -> None:
    learned = LearnedDurations(WEEK)
    for size, seconds in (("1024x1024", 10.0), ("1536x1024", 90.0)):
        for _ in range(12):
            learned.observe(OrderKind("piapi", "images", "gpt-image-1", size), seconds, NOW)
    ((kind, expected),) = learned.together(NOW)
    assert kind == OrderKind("piapi", "images", "gpt-image-1")
    assert expected.p10 == pytest.approx(10.0, rel=0.045)
    assert expected.p90 == pytest.approx(90.0, rel=0.045)


def test_what_was_kept_is_known_again_and_what_was_learned_since_stays() -> None:
    before = told(*[60.0] * 12)
    before.observe(OTHER, 5.0, NOW)
    kept = [(one.kind, one.found) for one in before.changed() if one.found is not None]
    assert before.changed() == []
    after = LearnedDurations(WEEK)
    after.observe(OTHER, 9.0, NOW + 1)
    after.restore(kept)
    assert known(after) == known(before)
    newest = {one.kind: one for one in after.kinds(NOW + 1)}
    assert newest[OTHER].weight == pytest.approx(1.0)


def test_what_could_not_be_kept_is_still_to_be() -> None:
    learned = told(60.0)
    taken = learned.changed()
    learned.change_again(taken)
    assert learned.changed() == taken


@given(st.lists(durations, min_size=ENOUGH, max_size=60), st.lists(durations, max_size=20))
def test_quantiles_rise_and_lie_within_what_was_seen(ended: list[float], censored: list[float]) -> None:
    expected = known(told(*ended, censored=tuple(censored)))
    step = 2 ** (1.5 / 8)
    least = max(min([*ended, *censored]), SHORTEST)
    most = max([*ended, *censored, SHORTEST])
    assert least / step <= expected.p10 <= expected.p50 <= expected.p90 <= most * step


@given(st.lists(durations, min_size=ENOUGH, max_size=60), st.integers(0, 1000))
def test_the_order_in_which_orders_end_makes_no_difference(ended: list[float], seed: int) -> None:
    shuffled = list(ended)
    random.Random(seed).shuffle(shuffled)
    assert known(told(*ended)) == known(told(*shuffled))


@given(st.lists(st.floats(1.0, 1000.0), min_size=200, max_size=400))
def test_without_walls_it_is_the_quantile_that_everyone_knows(ended: list[float]) -> None:
    expected, ordered = known(told(*ended)), sorted(ended)
    for share, found in ((0.1, expected.p10), (0.5, expected.p50), (0.9, expected.p90)):
        exact = ordered[math.ceil(share * len(ended) - 1e-9) - 1]
        assert found == pytest.approx(exact, rel=0.1)


@given(st.lists(durations, min_size=1, max_size=40), st.floats(0.0, 100 * WEEK))
def test_weights_only_fall_while_time_passes(ended: list[float], later: float) -> None:
    found = Histogram(NOW)
    for seconds in ended:
        found.add(seconds, NOW, WEEK, censored=False)
    assert found.weight(NOW, WEEK) == pytest.approx(len(ended))
    assert found.weight(NOW + later, WEEK) <= found.weight(NOW, WEEK) + 1e-9


@given(st.floats(SHORTEST, LONGEST))
def test_a_bucket_tells_a_duration_within_five_percent(seconds: float) -> None:
    assert middle_of(bucket_of(seconds)) == pytest.approx(seconds, rel=0.045)


def test_the_weight_at_which_a_kind_is_forgotten_is_below_that_of_one_order() -> None:
    assert 0 < FORGOTTEN < 1


@given(st.lists(st.tuples(durations, st.booleans()), max_size=40), st.lists(st.booleans(), min_size=40, max_size=40))
def test_what_two_have_seen_apart_is_what_one_would_have_seen(
    seen: list[tuple[float, bool]], first: list[bool]
) -> None:
    one, here, there = Histogram(NOW), Histogram(NOW), Histogram(NOW)
    for number, (seconds, censored) in enumerate(seen):
        one.add(seconds, NOW + number, WEEK, censored=censored)
        (here if first[number] else there).add(seconds, NOW + number, WEEK, censored=censored)
    joined = here.joined(there, WEEK)
    assert joined.seen == one.seen
    assert joined.ended == pytest.approx(one.ended)
    assert joined.censored == pytest.approx(one.censored)


def test_what_was_forgotten_meanwhile_adds_nothing() -> None:
    old, new = Histogram(NOW, 1, {100: 1.0}), Histogram(NOW + 2 * WEEK, 1, {3: 1.0})
    assert old.joined(new, WEEK) == new == new.joined(old, WEEK)


def test_what_is_taken_over_makes_no_more_kinds_than_there_may_be() -> None:
    learned = LearnedDurations(WEEK)
    for number in range(MOST_KINDS):
        learned.observe(OrderKind("piapi", "images", f"m{number}"), 1.0, NOW)
    learned.take_over([(PICTURE, Histogram(NOW, 1, {100: 1.0}))])
    assert len(learned) == MOST_KINDS
    assert PICTURE not in {one.kind for one in learned.kinds(NOW)}
