"""Which targets have ended or soon will, who serves their models then, and what a client of none is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.routing.endings import DAY_NS, days_left, ended_error, endings
from gateway.core.types import Route, Target
from tests.core.builders import backup, target, upstream

TODAY = 100
NOON = TODAY * DAY_NS + DAY_NS // 2


def ending(at: Target, day: int, successor: str = "next") -> Target:
    """The target with a last day, counted as ``TODAY`` is."""
    return replace(at, shutdown=f"day {day}", ends_ns=(day + 1) * DAY_NS, successor=successor)


def keyless(at: Target) -> Target:
    return replace(at, upstream=replace(at.upstream, credentials=()))


@pytest.mark.parametrize(
    ("moment", "days"),
    [
        (0, 100),
        (TODAY * DAY_NS - 1, 1),
        (TODAY * DAY_NS, 0),
        ((TODAY + 1) * DAY_NS - 1, 0),
        ((TODAY + 1) * DAY_NS, -1),
        ((TODAY + 2) * DAY_NS, -2),
    ],
)
def test_the_last_day_is_a_whole_one(moment: int, days: int) -> None:
    assert days_left(ending(target(backup(), "m"), TODAY), moment) == days
    assert days_left(target(backup(), "m"), moment) is None


@pytest.mark.parametrize(
    ("day", "found"),
    [(TODAY - 400, True), (TODAY - 1, True), (TODAY, True), (TODAY + 30, True), (TODAY + 31, False)],
)
def test_thirty_days_ahead_and_for_ever_after(day: int, found: bool) -> None:
    routes = [Route("m", (ending(target(backup(), "m"), day),)), Route("other", (target(backup(), "other"),))]
    assert [(one.route.model, one.days, one.over) for one in endings(routes, NOON)] == (
        [("m", day - TODAY, day < TODAY)] if found else []
    )


def test_only_where_the_target_is_used() -> None:
    route = Route("m", (keyless(ending(target(backup(), "m"), TODAY)), target(upstream(), "m")))
    assert list(endings([route], NOON)) == []


def test_others_are_those_that_are_used_and_there_for_longer() -> None:
    first, same_day = ending(target(backup(), "a"), TODAY + 5), ending(target(upstream(), "b"), TODAY + 5)
    later, gone = ending(target(upstream(), "c"), TODAY + 6), ending(target(upstream(), "d"), TODAY - 1)
    endless = target(upstream(), "e")
    route = Route("m", (first, same_day, later, gone, keyless(target(backup(), "f")), endless))
    found = {one.target.model: one for one in endings([route], NOON)}
    assert [one.model for one in found["a"].others] == ["c", "e"]
    assert [one.model for one in found["c"].others] == ["e"]
    assert [one.model for one in found["d"].others] == ["a", "b", "c", "e"]
    assert [one.index for one in found.values()] == [0, 1, 2, 3]


class TestTheError:
    def test_names_the_day_and_the_successor_of_the_one_that_lasted_longest(self) -> None:
        old, older = ending(target(backup(), "a"), TODAY - 1), ending(target(upstream(), "b"), TODAY - 9, "elder")
        error = ended_error(Route("m", (), ended=(older, old)), "alias-of-m")
        assert error is not None
        assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
        assert "'alias-of-m'" in error.message
        assert "'next'" in error.message
        assert f"day {TODAY - 1}" in error.message
        assert "elder" not in error.message

    def test_says_nothing_of_a_successor_that_nobody_named(self) -> None:
        error = ended_error(Route("m", (), ended=(ending(target(backup(), "a"), TODAY - 1, ""),)), "m")
        assert error is not None
        assert "Ask for" not in error.message

    def test_is_none_while_anything_is_left_and_for_what_never_had_a_key(self) -> None:
        gone, left = ending(target(backup(), "a"), TODAY - 1), target(upstream(), "b")
        assert ended_error(Route("m", (left,), ended=(gone,)), "m") is None
        assert ended_error(Route("m", ()), "m") is None
