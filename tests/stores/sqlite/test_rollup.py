"""The roll-up: whatever happened, in whatever order, it says what the rows say, for any period, zone and grouping."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stores.records import BookedPrice, Correction
from gateway.stores.sqlite import corrections, inserts, pruning, schema
from gateway.stores.sqlite.open_exchanges import charged_since
from gateway.stores.sqlite.queries import usage, verify
from tests.stores.stories import DAY_NS, FIRST, HOUR_NS, ZONES, Story, groupings, moments, on_paper, stories

from .books import intent, old_store, settlement
from .books import rows as found_rows


def tell(store: sqlite3.Connection, told: list[Story]) -> None:
    """Write the stories: several in one statement, some of them twice, corrections at the very end."""
    ids = [f"x{number}" for number in range(len(told))]
    if not told:
        return
    inserts.insert_intents(
        store,
        [
            intent(identity, at_ns=story.at_ns, key=story.key, team=story.team, model=story.model)
            for identity, story in zip(ids, told, strict=True)
        ],
    )
    settled = [
        settlement(
            identity,
            state=story.state,
            upstream=story.upstream,
            images=story.amounts[0],
            charged=story.amounts[1],
            upstream_cost=story.amounts[2],
            attempts=(),
            confidence=story.confidence,
            price=None if story.corrected else story.price,
        )
        for identity, story in zip(ids, told, strict=True)
    ]
    half = len(settled) // 2 + 1
    inserts.insert_settlements(store, settled[:half])
    inserts.insert_settlements(store, settled)
    for identity, story in zip(ids, told, strict=True):
        if story.corrected == "settled":
            images, charged, cost = story.figures
            done = Correction(
                identity, 1, "settled", charged, cost, images, "asked", story.found_at,
                confidence=story.confidence, price=story.price,
            )  # fmt: skip
            assert corrections.correct(store, done)
            assert not corrections.correct(store, done)
        elif story.corrected == "released":
            assert corrections.correct(store, Correction(identity, 1, "released", 0, 0, 0, "asked"))


@given(stories, moments, moments, groupings, st.sampled_from(ZONES), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_usage_is_what_the_rows_add_up_to(
    told: list[Story], since: int, until: int, by: list[str], zone: tzinfo, chance: random.Random
):
    chance.shuffle(told)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.db"
        with closing(schema.open_for_writing(path, 1)) as store:
            tell(store, told)
        found = usage(path, since_ns=since, until_ns=until, by=by, time_zone=zone)
        assert [replace(row, prices=()) for row in found] == on_paper(told, since, until, by, zone)
        booked = Counter(
            story.price
            for story in told
            if since <= story.at_ns < until and story.ends != "released" and story.price is not None
        )
        listed: Counter[BookedPrice] = Counter()
        for row in found:
            listed.update({use.booked: use.requests for use in row.prices})
            assert sum(use.unpriced for use in row.prices) <= row.unpriced_requests
            assert len({use.booked for use in row.prices}) == len(row.prices)
        assert listed == booked
        expected: dict[tuple[str, str | None, str], int] = defaultdict(int)
        for story in told:
            if story.at_ns >= since:
                expected[story.key, story.team, story.model] += story.figures[1]
        charged = charged_since(path, since)
        assert {who: amount for who, amount in charged.items() if amount} == {
            who: amount for who, amount in expected.items() if amount
        }
        unsummed = [problem for problem in verify(path).problems if "attempts whose costs" not in problem]
        assert unsummed == []


@given(stories, st.integers(0, 4 * DAY_NS), st.sampled_from(ZONES))
@settings(max_examples=60, deadline=None)
def test_pruning_changes_no_sum_of_whole_hours(told: list[Story], age: int, zone: tzinfo):
    """And leaves what is unknown, what is young, and books that verify."""
    horizon = FIRST + age - age % HOUR_NS
    windows = [(0, 2**62), (FIRST + 7 * HOUR_NS, FIRST + 40 * HOUR_NS), (horizon, 2**62), (0, horizon)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.db"
        with closing(schema.open_for_writing(path, 1)) as store:
            tell(store, told)
            before = [
                usage(path, since_ns=since, until_ns=until, by=by, time_zone=zone)
                for since, until in windows
                for by in (["key", "team"], ["model", "upstream"])
            ]
            by_day = usage(path, since_ns=horizon + DAY_NS, until_ns=2**62, by=["day"], time_zone=zone)
            place: pruning.Place | None = pruning.Place()
            while place is not None:
                store.execute("BEGIN IMMEDIATE")
                _, place = pruning.prune_batch(store, 1, horizon, place)
                store.execute("COMMIT")
        after = [
            usage(path, since_ns=since, until_ns=until, by=by, time_zone=zone)
            for since, until in windows
            for by in (["key", "team"], ["model", "upstream"])
        ]
        assert after == before
        assert usage(path, since_ns=horizon + DAY_NS, until_ns=2**62, by=["day"], time_zone=zone) == by_day
        days = usage(path, since_ns=0, until_ns=2**62, by=["day"], time_zone=zone)
        assert sum(row.cost_nano for row in days) == sum(story.figures[1] for story in told)
        left = set(found_rows(path, "SELECT id FROM intents"))
        assert left == {
            f"x{number}"
            for number, story in enumerate(told)
            if story.at_ns >= horizon or story.ends == "unknown"
        }  # fmt: skip
        assert [problem for problem in verify(path).problems if "attempts whose costs" not in problem] == []


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_store_from_before_the_roll_up_is_summed_up_when_it_is_opened(path: Path, version: int):
    chance = random.Random(version)
    expected: dict[str, int] = defaultdict(int)
    with closing(old_store(path, version)) as store:
        store.execute("BEGIN")
        for number in range(2_000):
            key = chance.choice(["alice", "bob", "carol"])
            state = chance.choice(["settled", "settled", "unknown", "released"])
            charged = 0 if state == "released" else chance.randrange(10**9)
            store.execute(
                "INSERT INTO intents VALUES (?, ?, ?, NULL, 'chat', 'gpt-4o', 'req', 100, 0)",
                (f"{number}", FIRST + chance.randrange(40 * DAY_NS), key),
            )
            store.execute(
                "INSERT INTO settlements VALUES (?, ?, ?, 'piapi', 'https://a', 'c', '[]', 1, 0, 1, 0, ?, 0, "
                "'measured', 200, NULL)",
                (f"{number}", FIRST, state, charged),
            )
            expected[key] += charged
        store.execute("COMMIT")
    schema.open_for_writing(path, 1).close()
    assert verify(path).problems == []
    by_key = usage(path, since_ns=0, until_ns=2**62, by=["key"], time_zone=ZONES[0])
    assert {row.group["key"]: row.cost_nano for row in by_key} == expected


def test_sums_that_no_column_holds_refuse_the_settlement_not_the_store(path: Path):
    with closing(schema.open_for_writing(path, 1)) as store:
        inserts.insert_intents(store, [intent("a"), intent("b"), intent("c")])
        for identity, charged in (("a", 2**63 - 1), ("b", 1), ("c", 0)):
            inserts.book(store, [settlement(identity, charged=charged)])
    assert found_rows(path, "SELECT id FROM settlements ORDER BY id") == ["a", "c"]
    assert found_rows(path, "SELECT id FROM unbookable") == ["b"]
    assert found_rows(path, "SELECT requests, charged FROM spent WHERE span = 3600") == [(2, 2**63 - 1)]
