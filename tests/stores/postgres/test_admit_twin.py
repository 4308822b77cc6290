"""What PostgreSQL decides of budgets, held against plain Python that decides the same, whatever comes when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.claims import Claim

from .budget_books import DAY, DAY_START, NOW, Books, intent

KINDS = ("day", "total")
KEYS, TEAMS, MODELS = ("a", "b"), ("t", None), ("gpt-4o", "gpt-4o-mini", "flux")
PATTERNS = ("gpt*", "gpt-4o-mini")


@dataclass
class Twin:
    """The rules, in memory. Rows: charged, reserved, held, by holder and kind; requests by id."""

    rows: dict[tuple[Holder, str], list[int]] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)

    def counting(self, one: Request) -> list[list[int]]:
        return [self.rows[holder, kind] for holder in one.holders for kind in KINDS if (holder, kind) in self.rows]

    def refusal(self, one: Request, amount: int | None) -> Holder | None:
        """Which budget is in the way of so much: one where waiting does not help, else the first."""
        worst: tuple[bool, Holder] | None = None
        for claim in one.claims:
            if claim.limit is None:
                continue
            charged, reserved, held = self.rows[claim.holder, claim.kind]
            used = charged + reserved - one.amount
            fits = used < claim.limit if amount is None else amount == 0 or used + amount <= claim.limit
            passing = charged + held + (1 if amount is None else amount) <= claim.limit
            if not fits and (worst is None or (worst[0] and not passing)):
                worst = passing, claim.holder
        return None if worst is None else worst[1]

    def admit(self, one: Request) -> Holder | None:
        """Which budget refuses it; None if it is admitted."""
        refusal = self.refusal(one, one.asked)
        if refusal is None:
            self.reserve(one, one.asked or 0)
            one.kept = bool(self.counting(one))
            self.requests[one.id] = one
        return refusal

    def reserve(self, one: Request, amount: int) -> None:
        for row in self.counting(one):
            row[1] += amount - one.amount
        one.amount = amount

    def end(self, one: Request, charged: int, rest: int) -> None:
        for row in self.counting(one):
            row[0] += charged - one.charged
            row[1] += rest - one.amount
            row[2] += rest - (one.amount if one.held else 0)
        one.charged, one.amount, one.held, one.open = charged, rest, True, False

    def begin(self, holder: Holder, kind: str) -> None:
        """A row begins with the books."""
        own = [one for one in self.requests.values() if counts(holder, one.key, one.team, one.model)]
        for one in own:  # what has ended for good is in the books alone
            if one.open or one.unknown or one.amount:
                one.kept = True
                one.holders.add(holder)
        self.rows[holder, kind] = [
            sum(one.charged for one in own),
            sum(one.amount for one in own),
            sum(one.amount for one in own if one.held),
        ]


@dataclass
class Request:
    """``kept``: whether any budget counts on it, so that the store has more of it than its books."""

    id: str
    key: str
    team: str | None
    model: str
    claims: list[Claim]
    asked: int | None
    amount: int = 0
    charged: int = 0
    held: bool = False
    open: bool = True
    unknown: bool = False
    kept: bool = False
    holders: set[Holder] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.holders.update(claim.holder for claim in self.claims)


def matches(pattern: str, model: str) -> bool:
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


def counts(holder: Holder, key: str, team: str | None, model: str) -> bool:
    if holder[0] == "team":
        return holder[1] == team
    return holder[1] == key and (len(holder) == 2 or matches(holder[2], model))


AMOUNTS = st.integers(0, 60)
REQUESTS = st.tuples(st.sampled_from(KEYS), st.sampled_from(TEAMS), st.sampled_from(MODELS), st.none() | AMOUNTS)
LIMITS = st.none() | st.tuples(st.sampled_from([0, 50, 90, 150]), st.sampled_from(KINDS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.lists(REQUESTS, min_size=1, max_size=6)),
        st.tuples(st.just("settle"), st.lists(st.tuples(st.integers(0, 50), AMOUNTS), min_size=1, max_size=4)),
        st.tuples(st.just("top_up"), st.integers(0, 50), AMOUNTS),
        st.tuples(st.just("lose"), st.integers(0, 50), st.none() | AMOUNTS),
        st.tuples(st.just("doubt"), st.integers(0, 50), AMOUNTS),
        st.tuples(st.just("correct"), st.integers(0, 50), AMOUNTS),
        st.tuples(st.just("limit"), st.integers(0, 6), LIMITS),
    ),
    min_size=3,
    max_size=25,
)
HOLDERS: list[Holder] = [
    ("key", "a"), ("key", "b"), ("team", "t"), *(("key", key, pattern) for key in KEYS for pattern in PATTERNS),
]  # fmt: skip


class Story:
    """One example: the steps are done in PostgreSQL and by the twin, under names of its own."""

    def __init__(self, books: Books, number: int) -> None:
        self.books, self.number = books, number
        self.twin = Twin()
        self.limits: dict[Holder, tuple[int, Any]] = {}
        self.admitted = 0

    def named(self, holder: Holder) -> Holder:
        kind, name, *pattern = holder
        named: Any = (kind, f"{name}{self.number}", *pattern)
        return named

    def claim(self, holder: Holder) -> Claim:
        limit = self.limits.get(holder)
        named = self.named(holder)
        if limit is None:
            return Claim(named)
        period = (DAY_START, DAY_START + DAY) if limit[1] == "day" else (0, None)
        return Claim(named, limit[0], limit[1], *period)

    async def step(self, kind: str, *arguments: Any) -> None:
        await getattr(self, kind)(*arguments)
        for (holder, period), row in self.twin.rows.items():
            assert await self.books.used(holder, period) == tuple(row), (kind, arguments, holder, period)

    async def limit(self, number: int, limit: tuple[int, Any] | None) -> None:
        holder = HOLDERS[number]
        if limit is None:
            self.limits.pop(holder, None)
            for kind in KINDS if len(holder) == 3 else ():  # nothing counts on it until it is set again
                self.twin.rows.pop((self.named(holder), kind), None)
            return
        self.limits[holder] = limit
        claim = self.claim(holder)
        if (claim.holder, claim.kind) not in self.twin.rows or len(holder) == 3:
            self.twin.begin(claim.holder, claim.kind)
        await self.books.budgets.prepare([claim], counts, NOW)

    async def admit(self, wanted: list[tuple[str, str | None, str, int | None]]) -> None:
        requests = []
        for key, team, model, amount in wanted:
            holders: list[Holder] = [("key", key)]
            holders += [one for one in self.limits if len(one) == 3 and one[1] == key and matches(one[2], model)]
            holders += [("team", team)] if team is not None else []
            own = [self.claim(holder) for holder in holders]
            self.admitted += 1
            id = f"{self.number}.{self.admitted}"
            requests.append(Request(id, f"{key}{self.number}", team and f"{team}{self.number}", model, own, amount))
        intents = [
            intent(one.id, one.claims, one.asked, key=one.key, team=one.team, model=one.model) for one in requests
        ]
        refused = await self.books.admit(*intents)
        for one in requests:
            refusal = self.twin.admit(one)
            assert (refused[one.id].claim.holder if one.id in refused else None) == refusal

    async def top_up(self, number: int, amount: int) -> None:
        one = self.pick(number)
        if one is None or amount <= one.amount or any(self.moved(one, claim) for claim in one.claims):
            return
        refusal = self.twin.refusal(one, amount)
        refused = await self.books.budgets.raise_to(one.id, amount, one.claims)
        if one.kept or refused is None:
            assert (None if refused is None else refused.claim.holder) == refusal
        if refused is None and one.kept:
            self.twin.reserve(one, amount)

    def moved(self, one: Request, claim: Claim) -> bool:
        """Whether a budget that it was admitted with is none any more."""
        return claim.limit is not None and (claim.holder, claim.kind) not in self.twin.rows

    def pick(self, number: int, *, unknown: bool = False) -> Request | None:
        found = [one for one in self.twin.requests.values() if (one.unknown if unknown else one.open)]
        return found[number % len(found)] if found else None

    async def settle(self, ends: list[tuple[int, int]]) -> None:
        done = {}
        for number, charged in ends:
            one = self.pick(number)
            if one is not None and one.id not in done:
                done[one.id] = (one, charged)
        if done:
            await self.books.settle(*((id, "settled" if c else "released", c) for id, (_, c) in done.items()))
        for one, charged in done.values():
            self.twin.end(one, charged, 0)

    async def lose(self, number: int, doubtful: int | None) -> None:
        if (one := self.pick(number)) is not None:
            await self.books.settle((one.id, "unknown", 0), doubtful={} if doubtful is None else {one.id: doubtful})
            self.twin.end(one, 0, one.amount if doubtful is None or not one.kept else min(doubtful, one.amount))
            one.unknown = True

    async def doubt(self, number: int, charged: int) -> None:
        if (one := self.pick(number)) is not None:
            await self.books.settle((one.id, "settled", charged), doubtful={one.id: 20})
            self.twin.end(one, charged, min(20, max(0, one.amount - charged)) if one.kept else 0)

    async def correct(self, number: int, charged: int) -> None:
        if (one := self.pick(number, unknown=True)) is not None:
            await self.books.correct(one.id, "settled", charged)
            self.twin.end(one, charged, 0)
            one.unknown = False


@pytest.fixture(scope="module")
def runner(postgres_server: Any) -> Iterator[tuple[asyncio.Runner, Books]]:
    with asyncio.Runner() as running:
        books = running.run(Books.open(postgres_server.new_database()))
        yield running, books
        assert running.run(books.problems()) == []
        running.run(books.close())


_numbers = iter(range(10**6))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_postgres_decides_as_its_twin_does(runner: tuple[asyncio.Runner, Books], steps: list[tuple[Any, ...]]) -> None:
    running, books = runner
    story = Story(books, next(_numbers))

    async def tell() -> None:
        for step in steps:
            await story.step(*step)
        for one in [*story.twin.requests.values()]:
            if one.open:
                await books.settle((one.id, "released", 0))

    running.run(tell())
