"""docs/learned-routing.md: its tables are what the simulation says, and the simulation says that learning helps."""

from __future__ import annotations

import pytest

from scripts.learned_routing import DAY, PAGE, median_on, orders, polled, relayed, tables, with_tables

FEW = 1_500


def test_the_tables_are_what_the_simulation_comes_to() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text, tables()) == text, "run python -m scripts.learned_routing --write"


def test_with_learning_fewer_orders_meet_the_wall_and_every_one_is_served() -> None:
    without, learning = relayed(FEW, learns=False), relayed(FEW, learns=True)
    assert without.served == learning.served == FEW
    assert learning.walls * 4 < without.walls
    assert learning.bought < without.bought
    assert learning.waited < without.waited


def test_with_learning_fewer_polls_find_tasks_no_later() -> None:
    without, learning = polled(FEW, learns=False), polled(FEW, learns=True)
    assert len(without.late) == len(learning.late) == FEW
    assert learning.polls < 0.8 * without.polls
    assert sum(learning.late) <= sum(without.late)


def test_the_same_orders_come_to_all() -> None:
    assert list(orders(50)) == list(orders(50))
    assert list(orders(50)) != list(orders(50, seed=1))


@pytest.mark.parametrize(("day", "median"), [(0, 45), (28, 45), (29.5, 97.5), (40, 150), (61, 60), (100, 60)])
def test_durations_drift(day: float, median: float) -> None:
    assert median_on(day) == pytest.approx(median)
    assert DAY == 86_400
