"""``UsageReports.latest``: the exchanges that came in last, as the books have them, page by page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.exchange_record import AttemptRecord
from gateway.core.types import CostReason
from gateway.stores.base import Store
from gateway.stores.records import Correction
from gateway.stores.seen_exchanges import FILTERED_NS, SeenAttempt, SeenExchange
from tests.stores.makers import StoppedClock, intent, nothing_pending, released, settlement, task

from .conftest import Engine, Reopen

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
NOW = StoppedClock().wall_ns()

BUSY = AttemptRecord("piapi", "https://api.piapi.ai", "first", "rate_limited", 1)
SERVED = AttemptRecord("backup", "https://backup.example", "second", "ok", 4, 30, "billed", "task-1")


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time by which it is told how far back is looked."""
    monkeypatch.setattr("gateway.runtime.today.wall_ns", lambda: NOW)


async def come(store: Store, id: str, at_ns: int = NOW, **changes: Any) -> None:
    await store.ledger.reserve(intent(id, at_ns=at_ns, **changes))


async def end(store: Store, id: str, **changes: Any) -> None:
    store.ledger.settle(settlement(id, **changes))
    await nothing_pending(store.ledger)


async def ids(store: Store, limit: int = 100, **asked: str) -> list[str]:
    return [seen.id for seen in await store.usage.latest(limit, **asked)]


async def only(store: Store) -> SeenExchange:
    [seen] = await store.usage.latest(10)
    return seen


def attempt_seen(made: AttemptRecord) -> SeenAttempt:
    where = (made.upstream, made.endpoint, made.credential)
    return SeenAttempt(*where, made.outcome, made.phase, made.cost, made.reason, made.task_id)


async def test_there_may_be_none(store: Store) -> None:
    assert await ids(store) == []


async def test_one_that_runs_is_open(store: Store) -> None:
    await come(store, "a", team=None)
    assert await only(store) == SeenExchange("a", NOW, "alice", None, "chat", "gpt-4o", "req-a", None, 100)


async def test_one_that_was_settled_is_told_with_every_attempt(store: Store) -> None:
    await come(store, "a")
    await end(
        store,
        "a",
        at_ns=NOW + 5,
        upstream="backup",
        endpoint="https://backup.example",
        attempts=(BUSY, SERVED),
        task_id="task-1",
        images=2,
        confidence="estimated",
        answered_model="gpt-4o-mini",
    )
    assert await only(store) == SeenExchange(
        "a",
        NOW,
        "alice",
        "growth",
        "chat",
        "gpt-4o",
        "req-a",
        None,
        100,
        state="settled",
        settled_ns=NOW + 5,
        status=200,
        upstream="backup",
        endpoint="https://backup.example",
        task_id="task-1",
        input_tokens=10,
        cached_input_tokens=4,
        output_tokens=5,
        images=2,
        charged=40,
        upstream_cost=30,
        confidence="estimated",
        answered_model="gpt-4o-mini",
        corrected=None,
        attempts=(attempt_seen(BUSY), attempt_seen(SERVED)),
    )


@pytest.mark.parametrize("reason", ["billed", "suspected_duplicate", "unknown"])
async def test_why_an_attempt_is_booked_so_is_kept(store: Store, reason: CostReason) -> None:
    await come(store, "a")
    await end(store, "a", attempts=(replace(SERVED, reason=reason),))
    assert [made.reason for made in (await only(store)).attempts] == [reason]


async def test_what_was_released_and_what_is_unknown_says_so(store: Store) -> None:
    await come(store, "a", NOW)
    await come(store, "b", NOW + 1)
    store.ledger.settle(released("a"))
    await end(store, "b", state="unknown", charged=0, confidence="unknown", status=504)
    unknown, free = await store.usage.latest(10)
    assert (free.state, free.status, free.charged, free.attempts) == ("released", 499, 0, ())
    assert (unknown.state, unknown.status, unknown.confidence, unknown.corrected) == ("unknown", 504, "unknown", None)


async def test_a_correction_takes_the_place_of_what_was_settled(store: Store) -> None:
    await come(store, "a")
    await end(store, "a", state="unknown", charged=0, confidence="unknown", task_id="task-1")
    reason = "task completed"
    await store.ledger.correct(Correction("a", NOW + 9, "settled", 70, 60, 3, reason, "piapi", "second"))
    seen = await only(store)
    assert (seen.state, seen.corrected, seen.confidence) == ("settled", reason, "measured")
    assert (seen.charged, seen.upstream_cost, seen.images) == (70, 60, 3)
    assert (seen.input_tokens, seen.upstream, seen.endpoint) == (10, "piapi", "https://api.piapi.ai")
    assert seen.settled_ns == settlement("a").settled_ns


async def test_who_was_found_to_have_done_the_work_takes_the_place_of_the_last_attempt(store: Store) -> None:
    await come(store, "a")
    await end(store, "a", state="unknown", charged=0, confidence="unknown")
    await store.ledger.correct(Correction("a", NOW, "settled", 7, 6, 1, "task completed", "backup", "second"))
    seen = await only(store)
    assert (seen.upstream, seen.endpoint) == ("backup", None)


async def test_one_that_was_given_back_is_released(store: Store) -> None:
    await come(store, "a")
    await end(store, "a", state="unknown", charged=0, upstream_cost=30, confidence="unknown")
    await store.ledger.correct(Correction("a", NOW, "released", 0, 0, 0, "released by an admin: it was lost"))
    seen = await only(store)
    assert (seen.state, seen.charged, seen.upstream_cost) == ("released", 0, 0)
    assert seen.corrected == "released by an admin: it was lost"


async def test_what_an_earlier_process_left_is_of_unknown_outcome(store: Store, reopen: Reopen) -> None:
    await come(store, "paying", NOW, paid=True)
    await come(store, "joined", NOW + 1, reserved=0, paid_by="paying")
    await store.ledger.record_task(task("task-1", "paying"))
    joined, paying = await (await reopen()).usage.latest(10)
    assert (paying.state, paying.attempts, paying.task_id, paying.status) == ("unknown", (), "task-1", 0)
    assert (joined.state, joined.paid_by, joined.charged) == ("settled", "paying", 0)


async def test_pages_follow_one_another_the_newest_first(store: Store) -> None:
    moments = {"a": NOW - 400 * DAY, "b": NOW - 20 * DAY, "c": NOW - 2 * DAY, "d": NOW - 5 * HOUR, "e": NOW - SECOND}
    for id in "badce":
        await come(store, id, moments[id])
    assert await ids(store) == ["e", "d", "c", "b", "a"]
    assert await ids(store, 2) == ["e", "d"]
    assert await ids(store, 2, before="d") == ["c", "b"]
    assert await ids(store, 2, before="b") == ["a"]
    assert await ids(store, 2, before="a") == []


async def test_what_came_in_at_one_moment_is_told_once_each(store: Store) -> None:
    for number in range(9):
        await come(store, f"same-{number}")
    await come(store, "older", NOW - 1)
    found, page = [], await ids(store, 4)
    while page:
        found += page
        page = await ids(store, 4, before=page[-1])
    assert found == [*(f"same-{number}" for number in range(8, -1, -1)), "older"]


async def test_what_came_in_on_the_edge_of_a_search_is_told_once(store: Store) -> None:
    edges = (60 * SECOND, 600 * SECOND, HOUR, DAY, 7 * DAY, 31 * DAY)
    moments = sorted(NOW - edge + one for edge in edges for one in (-1, 0, 1))
    for number, moment in enumerate(moments):
        await come(store, f"{number:02}", moment)
    assert await ids(store) == [f"{number:02}" for number in range(len(moments) - 1, -1, -1)]


async def test_clocks_that_run_ahead_hide_nothing(store: Store) -> None:
    await come(store, "a", NOW)
    await come(store, "b", NOW + DAY)
    assert await ids(store) == ["b", "a"]
    assert await ids(store, key="alice") == ["b", "a"]
    assert await ids(store, before="b") == ["a"]


async def test_nothing_is_older_than_one_that_is_not_there(store: Store) -> None:
    await come(store, "a")
    assert await ids(store, before="b") == []
    for odd in ("", "\ud800", "a\0"):
        assert await ids(store, before=odd) == []


async def test_those_of_one_key_and_of_one_request(store: Store) -> None:
    for number, key in enumerate(("alice", "bob", "alice", "bob")):
        await come(store, str(number), NOW - 4 + number, key=key)
    assert await ids(store, key="alice") == ["2", "0"]
    assert await ids(store, 1, key="bob") == ["3"]
    assert await ids(store, 1, key="bob", before="3") == ["1"]
    assert await ids(store, key="bob", before="2") == ["1"]
    assert await ids(store, request_id="req-1") == ["1"]
    assert await ids(store, request_id="req-1", key="alice") == []
    for odd in ("carol", "", "\ud800", "a\0"):
        assert await ids(store, key=odd) == []
        assert await ids(store, request_id=odd) == []


async def test_those_of_one_key_are_looked_for_so_far_back_and_no_further(store: Store) -> None:
    await come(store, "old", NOW - FILTERED_NS - HOUR)
    await come(store, "before", NOW - FILTERED_NS + HOUR)
    await come(store, "others", NOW - HOUR, key="bob")
    assert await ids(store, key="alice") == ["before"]
    assert await ids(store, request_id="req-old") == []
    assert await ids(store, key="alice", before="before") == ["old"]
    assert await ids(store) == ["others", "before", "old"]


async def test_at_least_one_is_told(store: Store) -> None:
    await come(store, "a")
    await come(store, "b", NOW - 1)
    assert await ids(store, 0) == ["a"]


async def test_a_reader_beside_it_is_told_the_same(engine: Engine, store: Store) -> None:
    await come(store, "a")
    await end(store, "a")
    assert list(await engine.read().usage.latest(10)) == list(await store.usage.latest(10))
