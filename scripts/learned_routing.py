"""What learning is worth, by a simulation: ``python -m scripts.learned_routing`` prints the tables of
docs/learned-routing.md, ``--write`` writes them there.

Orders come in virtual time for a hundred days, and how long they take drifts. Deciding is done by the gateway's own
parts: the failover plan with its memory of slow hosts, what is learned, the rhythm of polls. Only the upstream is made
up: it works for as long as chance says, and its first host gives up after 120 s of silence.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from gateway.core.outcomes.table import RULES
from gateway.core.routing.durations import Expected, LearnedDurations
from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.learned_routing import LearnedRouting, kind_of, learn
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.routing.route_table import AttemptPlan, UpstreamStates
from gateway.core.types import (
    Credential,
    Endpoint,
    FailoverPolicy,
    OperationName,
    Outcome,
    Phase,
    Price,
    Route,
    Target,
    TaskTimes,
    Upstream,
)
from gateway.translate.poll_rhythm import intervals
from gateway.translate.task_polling import SPREAD
from scripts.docs.markdown import table

PAGE = Path(__file__).parents[1] / "docs" / "learned-routing.md"
BEGIN, END = "<!-- simulated -->", "<!-- end -->"

ORDERS = 10_000
DAYS = 100.0
DAY = 86_400.0
WALL = 120.0
START = 1_800_000_000.0
SEED = 20_261_129

DRIFT = ((0.0, 45.0), (28.0, 45.0), (31.0, 150.0), (58.0, 150.0), (61.0, 60.0), (100.0, 60.0))
"""Day → the median of how long an order takes, in seconds; between two days it goes in a straight line."""

SCATTER = 0.35
"""The deviation of the logarithm: nine of ten orders take less than 1.57 times the median."""

TIMES = TaskTimes()
PRICE = Price(image=20_000_000)

_FAST = Endpoint("https://first.example", "https", "first.example", 443, wall=WALL)
_LONG = Endpoint("https://second.example", "https", "second.example", 443)
_UPSTREAM = Upstream("piapi", "piapi", (_FAST, _LONG), (Credential("key", "secret"),))


@dataclass(frozen=True, slots=True)
class _Work:
    """What the failover plan asks of an order: it may be bought again, since it is cheap."""

    supports: frozenset[str] = frozenset({"images", "task"})

    def stake(self, target: Target) -> int:
        return 20_000_000

    def wishes(self, target: Target) -> OwnWishes:
        return OwnWishes()


@dataclass(slots=True)
class Tally:
    """What orders came to. ``walls``: how often one was given up on at the wall. ``bought``: pictures, one for each
    order at best. ``waited``: seconds that clients waited in all. ``served``: orders that were.
    """

    walls: int = 0
    bought: int = 0
    served: int = 0
    waited: float = 0.0


@dataclass(slots=True)
class Polls:
    """``polls``: of all tasks. ``late``: seconds from the end of each task until a poll found it done."""

    polls: int = 0
    late: list[float] = field(default_factory=list)


def median_on(day: float) -> float:
    """How long an order takes on this day, by its median."""
    for (before, low), (after, high) in pairwise(DRIFT):
        if day <= after:
            return low + (high - low) * (day - before) / (after - before)
    return DRIFT[-1][1]


def orders(count: int, seed: int = SEED) -> Iterator[tuple[float, float]]:
    """When each order comes, in seconds from the start, and how long it takes."""
    chance = random.Random(seed)
    for at in sorted(chance.uniform(0.0, DAYS * DAY) for _ in range(count)):
        yield at, _duration(chance, at)


def relayed(count: int, *, learns: bool, seed: int = SEED) -> Tally:
    """Orders that are answered on the connection that asked for them."""
    return _Relayed(learns=learns, seed=seed).run(count)


def polled(count: int, *, learns: bool, seed: int = SEED) -> Polls:
    """Orders that are tasks, asked after by their ids."""
    learned, tally, jitter = LearnedDurations(), Polls(), random.Random(seed + 1)
    target = _target("task")
    ends: list[tuple[float, float]] = []
    for at, seconds in orders(count, seed):
        while ends and ends[0][0] <= at:
            ended, took = heapq.heappop(ends)
            learn(learned, kind_of(target), _FAST, _ok(), seconds=took, at=START + ended)
        expected = learned.expected(kind_of(target), START + at) if learns else None
        found = _poll(seconds, expected, jitter, tally)
        heapq.heappush(ends, (at + found, found))
    return tally


class _Relayed:
    """The world of relayed orders: one gateway, its upstream, and what is still to come."""

    def __init__(self, *, learns: bool, seed: int) -> None:
        self._seed = seed
        self._chance = random.Random(seed + 2)
        self._learned = LearnedDurations()
        self._learns = learns
        self._target = _target("images")
        self._states = UpstreamStates([_UPSTREAM], FailoverPolicy(attempts=3))
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._tally = Tally()

    def run(self, count: int) -> Tally:
        for at, seconds in orders(count, self._seed):
            self._at(at, lambda now, seconds=seconds: self._arrives(now, seconds))
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)
        return self._tally

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, event))

    def _arrives(self, now: float, seconds: float) -> None:
        plan = FailoverPlan(
            Route("picture", (self._target,)),
            states=self._states,
            deadline=now + 600.0,
            sdk_retry=False,
            randomness=self._chance,
            work=_Work(),
            learned=LearnedRouting(self._learned, None, START + now) if self._learns else None,
        )
        self._tries(plan, now, now, seconds)

    def _tries(self, plan: FailoverPlan, began: float, now: float, seconds: float) -> None:
        step = plan.next(now)
        if not isinstance(step, AttemptPlan):
            return
        self._tally.bought += 1
        walled = step.endpoint.wall is not None and seconds > step.endpoint.wall
        takes = WALL if walled else seconds
        self._at(now + takes, lambda ended: self._ends(plan, step, began, ended, takes, walled))

    def _ends(self, plan: FailoverPlan, step: AttemptPlan, began: float, now: float, took: float, walled: bool) -> None:
        outcome = Outcome("cf_524", RULES["cf_524"].phase) if walled else _ok()
        learn(self._learned, kind_of(self._target), step.endpoint, outcome, seconds=took, at=START + now)
        plan.report(step, outcome, now)
        if walled:
            self._tally.walls += 1
            self._tries(plan, began, now, _duration(self._chance, now))
        else:
            self._tally.served += 1
            self._tally.waited += now - began


def _poll(seconds: float, expected: Expected | None, jitter: random.Random, tally: Polls) -> float:
    """When a task is found done that takes so long."""
    now = 0.0
    for wait in intervals(TIMES, expected):
        now += wait * (1 - SPREAD + 2 * SPREAD * jitter.random())
        tally.polls += 1
        if now >= seconds:
            tally.late.append(now - seconds)
            return now
    raise AssertionError("the polls ended")


def _target(operation: OperationName) -> Target:
    return Target(_UPSTREAM, "picture", operation, PRICE)


def _duration(chance: random.Random, at: float) -> float:
    return median_on(at / DAY) * math.exp(chance.gauss(0.0, SCATTER))


def _ok() -> Outcome:
    return Outcome("ok", Phase.FORWARDED)


def tables(count: int = ORDERS) -> str:
    """Both tables, in Markdown."""
    walls = {learns: relayed(count, learns=learns) for learns in (False, True)}
    polls = {learns: polled(count, learns=learns) for learns in (False, True)}
    names = {False: "without learning", True: "with learning"}
    first = table(
        ("answers on one connection", "met the wall", "bought for nothing", "mean wait"),
        (
            (names[one], f"{tally.walls:,}", f"{tally.bought - tally.served:,}", f"{tally.waited / tally.served:.1f} s")
            for one, tally in walls.items()
        ),
    )
    second = table(
        ("tasks", "polls", "polls a task", "found late by, mean", "95 of 100"),
        (
            (
                names[one],
                f"{tally.polls:,}",
                f"{tally.polls / count:.1f}",
                f"{sum(tally.late) / count:.1f} s",
                f"{sorted(tally.late)[int(0.95 * count)]:.1f} s",
            )
            for one, tally in polls.items()
        ),
    )
    return f"{first}\n\n{second}"


def with_tables(text: str, made: str) -> str:
    """The page with these tables between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/learned-routing.md")
    if not parser.parse_args().write:
        print(tables())
        return
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
