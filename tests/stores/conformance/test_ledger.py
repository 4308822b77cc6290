"""``stores.base.Ledger``: what was acknowledged is there, once, whatever follows."""

from __future__ import annotations

import asyncio
from datetime import UTC

import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.base import Ledger, Store
from gateway.stores.records import Correction, NotUnknown
from tests.stores.makers import StoppedClock, intent, nothing_pending, released, settlement, task

from .conftest import Engine, Reopen

NOW = StoppedClock().wall_ns()
HOUR = 3600 * 1_000_000_000
DAY = 24 * HOUR


async def unknown(ledger: Ledger, identity: str, **changes: object) -> None:
    """An exchange whose outcome is not known."""
    await ledger.reserve(intent(identity, **changes))
    ledger.settle(settlement(identity, state="unknown", charged=0, upstream_cost=30))
    await nothing_pending(ledger)


async def counts(store: Store) -> tuple[int, int, int, int]:
    """Settled, released, unknown, open; the books have no problem."""
    found = await store.usage.verify()
    assert found.problems == []
    return found.settled, found.released, found.unknown, found.open


async def test_an_intent_that_was_acknowledged_is_there_for_every_reader(engine: Engine, store: Store) -> None:
    await store.ledger.reserve(intent("a"))
    assert store.ledger.pending == 0
    assert (await engine.read().usage.verify()).open == 1


async def test_a_settlement_follows_its_intent_by_itself(store: Store) -> None:
    await store.ledger.reserve(intent("a"))
    store.ledger.settle(settlement("a"))
    await nothing_pending(store.ledger)
    assert await counts(store) == (1, 0, 0, 0)


async def test_settling_twice_changes_nothing(store: Store) -> None:
    await store.ledger.reserve(intent("a"))
    store.ledger.settle(settlement("a", charged=40))
    store.ledger.settle(settlement("a", charged=999))
    await nothing_pending(store.ledger)
    assert await store.ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 40}


async def test_two_hundred_at_once_are_all_booked(store: Store) -> None:
    await asyncio.gather(*(store.ledger.reserve(intent(str(number))) for number in range(200)))
    for number in range(200):
        store.ledger.settle(settlement(str(number), charged=1))
    await nothing_pending(store.ledger)
    assert await counts(store) == (200, 0, 0, 0)
    assert await store.ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 200}


async def test_closing_commits_what_is_pending_and_then_refuses(engine: Engine, store: Store) -> None:
    await store.ledger.reserve(intent("a"))
    store.ledger.settle(settlement("a"))
    await engine.close()
    assert not store.ledger.usable()
    with pytest.raises(GatewayFault) as refused:
        await store.ledger.reserve(intent("b"))
    assert (refused.value.status, refused.value.code) == (503, "ledger_unavailable")
    assert (await engine.read().usage.verify()).settled == 1


async def test_what_was_left_open_is_unknown_after_a_restart_and_told(store: Store, reopen: Reopen) -> None:
    await store.ledger.reserve(intent("a"))
    await store.ledger.reserve(intent("b"))
    store.ledger.settle(settlement("b"))
    again = await reopen()
    assert (again.recovered, again.booked_late) == (1, 0)
    assert await counts(again) == (1, 0, 1, 0)


async def test_a_task_is_found_with_all_that_was_recorded(store: Store) -> None:
    await store.ledger.reserve(intent("a", paid=True))
    record = task("task-1", "a")
    await store.ledger.record_task(record)
    assert await store.ledger.find_task("task-1") == record
    assert await store.ledger.find_task("task-2") is None
    assert await store.ledger.find_task("\ud800") is None


async def test_a_task_stays_whose_it_was(store: Store) -> None:
    await store.ledger.record_task(task("task-1", "a"))
    await store.ledger.record_task(task("task-1", "b", key="mallory"))
    found = await store.ledger.find_task("task-1")
    assert found is not None
    assert (found.exchange, found.key) == ("a", "alice")


async def test_of_two_upstreams_with_one_id_the_newest_is_found(store: Store) -> None:
    await store.ledger.record_task(task("task-1", "a", at_ns=NOW))
    await store.ledger.record_task(task("task-1", "b", upstream="backup", at_ns=NOW + 1))
    found = await store.ledger.find_task("task-1")
    assert found is not None
    assert found.upstream == "backup"


async def test_what_is_unknown_is_told_with_its_tasks_oldest_first(store: Store) -> None:
    ledger = store.ledger
    await unknown(ledger, "b", at_ns=NOW + 1)
    await unknown(ledger, "a", at_ns=NOW)
    await ledger.record_task(task("task-1", "a"))
    await ledger.reserve(intent("known"))
    ledger.settle(settlement("known"))
    await nothing_pending(ledger)
    found = await ledger.unknown_exchanges(0)
    assert [(one.id, [each.task_id for each in one.tasks]) for one in found] == [("a", ["task-1"]), ("b", [])]
    assert [one.id for one in await ledger.unknown_exchanges(NOW + 1)] == ["b"]


async def test_a_correction_counts_once_in_place_of_what_was_unknown(store: Store) -> None:
    await unknown(store.ledger, "a")
    correction = Correction("a", NOW + 5, "settled", charged=7, upstream_cost=9, images=1, reason="task completed")
    assert await store.ledger.correct(correction) is True
    assert await store.ledger.correct(correction) is False
    assert await store.ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 7}
    assert await store.ledger.unknown_exchanges(0) == []
    assert await counts(store) == (1, 0, 0, 0)


async def test_only_what_is_unknown_can_be_corrected(store: Store) -> None:
    await store.ledger.reserve(intent("settled"))
    store.ledger.settle(settlement("settled"))
    for identity in ("settled", "not there"):
        with pytest.raises(NotUnknown):
            await store.ledger.correct(Correction(identity, NOW, "released", 0, 0, 0, "never ran"))


async def test_what_is_open_or_unknown_is_held_for_a_day(store: Store) -> None:
    ledger = store.ledger
    await unknown(ledger, "unknown", at_ns=NOW)
    await ledger.reserve(intent("open", at_ns=NOW + 1, reserved=25))
    await ledger.reserve(intent("settled", at_ns=NOW))
    ledger.settle(settlement("settled"))
    await nothing_pending(ledger)
    assert [(held.id, held.key, held.team, held.reserved, held.model) for held in await ledger.held(NOW + HOUR)] == [
        ("unknown", "alice", "growth", 100, "gpt-4o"),
        ("open", "alice", "growth", 25, "gpt-4o"),
    ]
    assert await ledger.held(NOW + DAY + 2) == []


async def test_charges_are_summed_by_key_team_and_model_from_their_moment_on(store: Store) -> None:
    for number, (key, team, model) in enumerate(
        [("alice", "growth", "gpt-4o"), ("alice", "growth", "gpt-4o"), ("bob", None, "gpt-4o"), ("bob", None, "flux")]
    ):
        await store.ledger.reserve(intent(str(number), key=key, team=team, model=model, at_ns=NOW + number * HOUR))
        store.ledger.settle(settlement(str(number), charged=10 + number))
    await nothing_pending(store.ledger)

    def spent(charged: object) -> object:
        return {owner: nano for owner, nano in dict(charged).items() if nano}  # type: ignore[call-overload]

    bob = {("bob", None, "gpt-4o"): 12, ("bob", None, "flux"): 13}
    assert spent(await store.ledger.charged_since(NOW)) == {("alice", "growth", "gpt-4o"): 21, **bob}
    assert spent(await store.ledger.charged_since(NOW + HOUR)) == {("alice", "growth", "gpt-4o"): 11, **bob}


async def test_pruning_keeps_the_sums_and_what_is_not_over(store: Store) -> None:
    ledger = store.ledger
    for identity, row in (("settled", settlement("settled")), ("released", released("released"))):
        await ledger.reserve(intent(identity, at_ns=NOW - 10 * DAY))
        ledger.settle(row)
    await unknown(ledger, "unknown", at_ns=NOW - 10 * DAY)
    before = await store.usage.usage(since_ns=0, until_ns=NOW, by=["key"], time_zone=UTC)
    planned = await store.usage.prunable(NOW - DAY - (NOW - DAY) % HOUR)
    done = await ledger.prune(NOW - DAY, NOW)
    assert done == planned
    assert (done.settled, done.released) == (1, 1)
    assert await store.usage.usage(since_ns=0, until_ns=NOW, by=["key"], time_zone=UTC) == before
    verified = await store.usage.verify()
    assert (verified.settled, verified.unknown, verified.pruned, verified.problems) == (0, 1, 2, [])
    assert await ledger.prune(NOW - DAY, NOW) == type(done)(done.before_ns)
