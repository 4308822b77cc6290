"""What every engine does with jobs: whose they are, which are under way, their answers, and when they go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.stores.base import Store
from gateway.stores.job_records import MAX_JOBS, JobRecords, StoredJob, StoredResult
from gateway.stores.records import TaskRecord
from tests.stores.makers import intent, settlement

from .conftest import Reopen

RESULT = StoredResult(200, b'[["a","b"]]', b"{}", None, 2)


@pytest.fixture
def jobs(store: Store) -> JobRecords:
    return store.jobs


def job(id: str, **changes: Any) -> StoredJob:
    plain: dict[str, Any] = {
        "key": "alice",
        "team": None,
        "route": "/v1/images/generations",
        "model": "flux-dev",
        "fingerprint": b"f" * 32,
        "idempotency": None,
        "exchange": f"exchange-{id}",
        "request_id": f"req-{id}",
        "stream": False,
        "created_ns": 1_000,
        "state": "running",
    }
    return StoredJob(**{"id": id, **plain, **changes})


def over(id: str, at_ns: int, **changes: Any) -> StoredJob:
    return job(id, state="completed", ended_ns=at_ns, purchased=True, **changes)


async def test_one_is_found_by_its_own_key_as_it_was_kept(jobs: JobRecords) -> None:
    kept = job("a", team="growth", idempotency=b"digest", stream=True, left=True, told=True, cost="0.02", error=b"{}")
    await jobs.keep(kept)
    assert await jobs.find("alice", "a") == kept
    assert await jobs.find("bob", "a") is None
    assert await jobs.find("alice", "b") is None
    assert await jobs.find("alice", "\ud800") is None


async def test_one_that_is_kept_again_is_as_it_was_last_and_has_its_answer_still(jobs: JobRecords) -> None:
    await jobs.keep(job("a"))
    assert await jobs.result("a") is None
    await jobs.keep(over("a", 5), RESULT)
    await jobs.keep(replace(over("a", 5), told=True, cost="0.01"))
    found = await jobs.find("alice", "a")
    assert found is not None
    assert (found.state, found.ended_ns, found.told, found.cost, found.purchased) == (
        "completed",
        5,
        True,
        "0.01",
        True,
    )
    assert await jobs.result("a") == RESULT


async def test_those_that_run_or_ended_lately_are_told_the_oldest_first(jobs: JobRecords) -> None:
    for one in (over("c", 10, created_ns=3), job("b", created_ns=2), over("a", 9, created_ns=1)):
        await jobs.keep(one)
    assert [one.id for one in await jobs.since(10)] == ["b", "c"]
    assert [one.id for one in await jobs.since(0)] == ["a", "b", "c"]


async def test_those_under_way_are_told_with_their_tasks_and_their_row(
    store: Store, jobs: JobRecords, reopen: Reopen
) -> None:
    for name in ("sent", "settled", "none"):
        await jobs.keep(job(name, exchange=name))
    await jobs.keep(over("over", 5))
    await store.ledger.reserve(intent("sent", paid=True))
    await store.ledger.record_task(TaskRecord("task-1", "piapi", "first", "sent", "alice", "flux-dev", 1))
    await store.ledger.reserve(intent("settled", paid=True))
    store.ledger.settle(settlement("settled", state="released"))
    again = await reopen()
    found = {one.job.id: ([task.task_id for task in one.tasks], one.state) for one in await again.jobs.unfinished()}
    assert found == {"sent": (["task-1"], "unknown"), "settled": ([], "released"), "none": ([], "")}


async def test_a_page_has_the_newest_first_and_goes_on_behind_a_job(jobs: JobRecords) -> None:
    for number in range(5):
        await jobs.keep(job(str(number), created_ns=number // 2))
    await jobs.keep(job("other", key="bob", created_ns=9))
    assert [one.id for one in await jobs.page("alice", 2)] == ["4", "3"]
    assert [one.id for one in await jobs.page("alice", 2, "3")] == ["2", "1"]
    assert [one.id for one in await jobs.page("alice", 100, "1")] == ["0"]
    assert [one.id for one in await jobs.page("alice", 2, "other")] == []
    assert len(await jobs.page("alice", 0)) == 1


async def test_those_of_all_keys_come_the_newest_first(jobs: JobRecords) -> None:
    keys = ("alice", "bob", "carol", "bob", "alice")
    for number, key in enumerate(keys):
        await jobs.keep(job(str(number), key=key, created_ns=number // 2))
    assert [one.id for one in await jobs.latest(100)] == ["4", "3", "2", "1", "0"]
    assert (await jobs.latest(1))[0] == job("4", created_ns=2)
    assert [one.id for one in await jobs.latest(2, "3")] == ["2", "1"]
    assert [one.id for one in await jobs.latest(2, "0")] == []
    for odd in ("none", "", "\ud800", "0\0"):
        assert list(await jobs.latest(2, odd)) == []
        assert list(await jobs.latest(2, key=odd)) == []
    assert [one.id for one in await jobs.latest(100, key="bob")] == ["3", "1"]
    assert [one.id for one in await jobs.latest(100, "2", "bob")] == ["1"]
    await jobs.forget("bob", "3")
    assert [one.id for one in await jobs.latest(0, "4")] == ["2"]
    assert [one.id for one in await jobs.latest(100, key="bob")] == ["1"]


async def test_a_look_has_one_more_than_a_page_at_most(jobs: JobRecords) -> None:
    assert list(await jobs.latest(10)) == []
    for number in range(MAX_JOBS + 5):
        await jobs.keep(job(f"{number:03}", created_ns=number))
    assert len(await jobs.latest(1_000)) == MAX_JOBS + 1
    assert len(await jobs.page("alice", 1_000)) == MAX_JOBS + 1


async def test_one_that_is_forgotten_is_gone_and_names_its_file(jobs: JobRecords) -> None:
    await jobs.keep(over("a", 5), StoredResult(200, b"[]", None, "job_a.answer", 70_000))
    await jobs.keep(over("b", 5), RESULT)
    assert await jobs.places() == {"job_a.answer"}
    assert await jobs.forget("bob", "a") is None
    assert await jobs.forget("alice", "a") == "job_a.answer"
    assert await jobs.forget("alice", "b") is None
    assert await jobs.find("alice", "a") is None
    assert await jobs.result("b") is None


async def test_what_ended_long_ago_goes_and_what_runs_stays(jobs: JobRecords) -> None:
    for number in range(120):
        await jobs.keep(over(f"old-{number}", 5), StoredResult(200, b"[]", None, f"file-{number}", 1))
    await jobs.keep(job("runs"))
    await jobs.keep(over("young", 10))
    assert len(await jobs.sweep(10)) == 120
    assert [one.id for one in await jobs.since(0)] == ["runs", "young"]


async def test_a_row_that_another_paid_for_is_no_doubt_after_a_kill(store: Store, reopen: Reopen) -> None:
    await store.ledger.reserve(intent("paying", paid=True))
    await store.ledger.reserve(replace(intent("joined", reserved=0), paid_by="paying"))
    books = await (await reopen()).usage.verify()
    assert (books.settled, books.unknown, books.open, list(books.problems)) == (1, 1, 0, [])


async def test_a_row_that_another_paid_for_costs_nothing(store: Store, reopen: Reopen) -> None:
    await store.ledger.reserve(intent("paying", paid=True))
    await store.ledger.reserve(replace(intent("joined"), paid_by="paying"))
    for name in ("paying", "joined"):
        store.ledger.settle(settlement(name))
    books = await (await reopen()).usage.verify()
    assert list(books.problems) == ["request joined cost something, though another row paid for what it was given"]
