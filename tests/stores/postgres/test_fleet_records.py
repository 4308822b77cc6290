"""What gateways know of one another's work in one database: which re-send joins what, whose a job is, and who does what
one does for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.stores.delivery_records import Delivery
from gateway.stores.engines import open_store
from gateway.stores.fleet_records import FleetRecords, KnownJob, Resend
from gateway.stores.gateway_records import GatewayState
from gateway.stores.job_records import StoredJob, StoredResult
from gateway.stores.response_records import StoredResponse
from tests.stores.makers import StoppedClock, intent, settlement, task

KEY, PRINT = "alice", b"f" * 32
RESULT = StoredResult(200, b"[]", b"{}", None, 2)


def job(id: str, **changes: Any) -> StoredJob:
    plain: dict[str, Any] = {
        "key": KEY,
        "team": None,
        "route": "/v1/images/generations",
        "model": "flux-dev",
        "fingerprint": PRINT,
        "idempotency": None,
        "exchange": f"exchange-{id}",
        "request_id": f"req-{id}",
        "stream": False,
        "created_ns": 1_000,
        "state": "running",
    }
    return StoredJob(**{"id": id, **plain, **changes})


def resend(waiter: str, **changes: Any) -> Resend:
    return replace(Resend(KEY, PRINT, None, waiter), **changes)


def first(jobs: Sequence[KnownJob]) -> KnownJob | None:
    return jobs[0] if jobs else None


def untaken(jobs: Sequence[KnownJob]) -> KnownJob | None:
    return next((one for one in jobs if not one.taken), None)


class Fleet:
    """Gateways by their names, each with a store of its own on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self.stores: dict[str, Any] = {}

    async def join(self, name: str) -> FleetRecords:
        store = await open_store(self._url, StoppedClock(), name, self._folder / name)
        self.stores[name] = store
        await store.gateways.beat(GatewayState(name, 1, "1", "host", 1, "", "", 0))
        fleet = store.fleet
        assert fleet is not None
        return fleet

    async def leave(self, name: str) -> None:
        store = self.stores.pop(name)
        await store.gateways.leave(name)
        await store.close()


@pytest.fixture
async def gateways(postgres_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(postgres_url, tmp_path)
    yield made
    for store in made.stores.values():
        await store.close()


@pytest.fixture
async def two(gateways: Fleet) -> tuple[FleetRecords, FleetRecords]:
    return await gateways.join("one"), await gateways.join("two")


Two = tuple[FleetRecords, FleetRecords]


class TestJoining:
    async def test_equal_re_sends_at_once_begin_one_job(self, two: Two) -> None:
        for number in range(10):
            name = number.to_bytes(32, "big")
            found = await asyncio.gather(
                *(
                    records.jobs.join(
                        resend(f"r{number}-{place}", fingerprint=name),
                        first,
                        job(f"job-{number}-{place}", fingerprint=name),
                    )
                    for place, records in enumerate((*two, *two))
                )
            )
            assert len([one for one in found if one is None]) == 1
            [begun] = {one.job.id for one in found if one is not None}
            assert [one.job.id for one in await two[0].jobs.known([begun])] == [begun]

    async def test_one_idempotency_key_begins_one_job_whatever_its_body_is(self, two: Two) -> None:
        found = await asyncio.gather(
            *(
                records.jobs.join(
                    resend(f"r{place}", fingerprint=bytes([place]) * 32, idempotency=b"key"),
                    first,
                    job(f"job-{place}", fingerprint=bytes([place]) * 32, idempotency=b"key"),
                )
                for place, records in enumerate((*two, *two))
            )
        )
        assert len([one for one in found if one is None]) == 1

    async def test_what_one_re_send_took_is_taken_for_all_until_it_leaves(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        taken = await one.jobs.join(resend("first"), untaken)
        assert taken is not None
        assert await other.jobs.join(resend("second"), untaken) is None
        await one.jobs.leave("a", "first", answered=False)
        again = await other.jobs.join(resend("third"), untaken)
        assert again is not None
        await other.jobs.leave("a", "third", answered=True)
        assert await one.jobs.join(resend("fourth"), untaken) is None, "it had its answer"

    async def test_what_is_chosen_may_be_an_error_and_then_nothing_is_written(self, two: Two) -> None:
        def refuse(_: Sequence[KnownJob]) -> KnownJob | None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await two[0].jobs.join(resend("r"), refuse, job("a"))
        assert await two[1].jobs.known(["a"]) == []

    async def test_of_another_key_nothing_is_looked_at(self, two: Two) -> None:
        await two[0].jobs.begin(job("a"))
        assert await two[1].jobs.join(resend("r", key="bob"), first) is None


class TestWhoseItIs:
    async def test_what_a_dead_gateway_had_is_given_to_one(self, gateways: Fleet, two: Two) -> None:
        third = await gateways.join("three")
        ledger = gateways.stores["three"].ledger
        for name in ("with-task", "released", "over", "forgotten"):
            await third.jobs.begin(job(name, exchange=name))
        await ledger.reserve(intent("with-task", paid=True))
        await ledger.record_task(task("task-1", "with-task"))
        await ledger.reserve(intent("released", paid=True))
        ledger.settle(settlement("released", state="released", charged=0, upstream_cost=0))
        await third.jobs.keep(job("over", exchange="over", state="completed", ended_ns=5), RESULT)
        await third.jobs.forget(KEY, "forgotten")
        while ledger.pending:
            await asyncio.sleep(0.01)
        found = await asyncio.gather(*(records.jobs.take_over("three") for records in two))
        taken = {one.job.id: ([task.task_id for task in one.tasks], one.state) for part in found for one in part}
        assert taken == {"with-task": (["task-1"], ""), "released": ([], "released")}
        assert sum(map(len, found)) == 2
        [known] = await two[0].jobs.known(["forgotten"])
        assert known.state == "unknown"

    async def test_what_it_writes_after_that_is_refused(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        await other.jobs.take_over("one")
        await one.jobs.keep(job("a", state="completed", ended_ns=5), RESULT)
        [known] = await other.jobs.known(["a"])
        assert (known.state, known.gateway) == ("running", "two")
        assert await other.jobs.result("a") is None

    async def test_unless_it_was_taken_for_unknown_and_has_an_answer(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        await other.jobs.take_over("one")
        await other.jobs.keep(job("a", state="unknown", ended_ns=5))
        await one.jobs.keep(job("a", state="completed", ended_ns=6, purchased=True), RESULT)
        [known] = await other.jobs.known(["a"])
        assert (known.state, known.purchased) == ("completed", True)
        assert await other.jobs.result("a") == RESULT

    async def test_what_is_of_no_gateway_is_taken_by_one_that_is_there(self, gateways: Fleet, two: Two) -> None:
        third = await gateways.join("three")
        await third.jobs.begin(job("a"))
        await two[0].jobs.begin(job("mine"))
        assert await two[1].jobs.take_orphans() == []
        await gateways.leave("three")
        found = await asyncio.gather(*(records.jobs.take_orphans() for records in two))
        assert [one.job.id for part in found for one in part] == ["a"]

    async def test_what_is_handed_over_is_another_gateways_at_once(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        await one.jobs.hand_over()
        assert [found.job.id for found in await other.jobs.take_orphans()] == ["a"]

    async def test_one_of_unknown_outcome_runs_again_once(self, two: Two) -> None:
        await two[0].jobs.begin(job("a"))
        await two[0].jobs.keep(job("a", state="unknown", ended_ns=5))
        assert sorted(await asyncio.gather(*(records.jobs.reclaim("a") for records in two))) == [False, True]


class TestWhatIsTold:
    async def test_one_that_is_forgotten_is_found_no_more_whoever_writes_it(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        assert await other.jobs.forget(KEY, "a") is None
        await one.jobs.keep(job("a", state="completed", ended_ns=5), RESULT)
        assert await other.jobs.found(KEY, "a") is None
        assert await one.jobs.find(KEY, "a") is None
        assert await other.jobs.result("a") is None
        assert await one.jobs.page(KEY, 9) == []
        assert await one.jobs.join(resend("r"), first) is None
        assert [known.state for known in await other.jobs.known(["a"])] == ["completed"], "those who wait are told"

    async def test_that_its_outcome_is_unknown_is_told_once_whatever_its_gateway_writes(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        await other.jobs.tell("a")
        await one.jobs.keep(job("a", state="unknown", ended_ns=5, told=False))
        [known] = await one.jobs.known(["a"])
        assert known.told

    async def test_its_gateway_hears_once_that_it_is_to_be_cancelled(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        await other.jobs.ask_to_cancel("bob", "a")
        assert await one.jobs.to_cancel() == []
        await other.jobs.ask_to_cancel(KEY, "a")
        assert await other.jobs.to_cancel() == []
        assert await one.jobs.to_cancel() == ["a"]
        assert await one.jobs.to_cancel() == []

    async def test_others_know_which_wait_for_their_turn(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("a"))
        await one.jobs.begin(job("b"))
        await one.jobs.wait_for_room(["b"])
        assert {known.job.id: known.queued for known in await other.jobs.known(["a", "b"])} == {"a": False, "b": True}
        await one.jobs.wait_for_room([])
        assert not [known for known in await other.jobs.known(["a", "b"]) if known.queued]

    async def test_a_cost_that_is_found_later_is_written(self, two: Two) -> None:
        await two[0].jobs.begin(job("a"))
        await two[0].jobs.keep(job("a", state="unknown", ended_ns=5))
        await two[1].jobs.charge("exchange-a", "0.02")
        [known] = await two[0].jobs.known(["a"])
        assert known.job.cost == "0.02"

    async def test_one_that_was_never_let_in_goes_soon(self, two: Two) -> None:
        await two[0].jobs.begin(job("a", exchange="", state="reserved"))
        await two[0].jobs.keep(job("a", exchange="", state="failed", ended_ns=5))
        await two[0].jobs.begin(job("b", state="failed", ended_ns=5, created_ns=5))
        await two[0].jobs.sweep(1)
        assert [known.job.id for known in await two[0].jobs.known(["a", "b"])] == ["b"]


class TestMessages:
    async def test_one_gateway_sends_one(self, gateways: Fleet, two: Two) -> None:
        one, other = two
        await one.deliveries.expect(Delivery("msg_1", "ops", "a", KEY, 1))
        assert await other.deliveries.awaited("a")
        await other.deliveries.post("a", "job.completed", b"{}", 5)
        assert not await one.deliveries.awaited("a")
        found = await asyncio.gather(*(records.deliveries.to_send(1, (), ()) for records in two))
        assert sorted(map(len, found)) == [0, 1]
        holder, idle = (one, other) if found[0] else (other, one)
        assert len(await holder.deliveries.to_send(1, (), ())) == 1, "it is held on by asking again"
        assert await idle.deliveries.to_send(1, (), ()) == []
        await gateways.leave(holder.gateway)
        assert len(await idle.deliveries.to_send(1, (), ())) == 1, "the other is gone"

    async def test_those_whose_job_has_ended_or_gone_are_overdue(self, two: Two) -> None:
        one, other = two
        await one.jobs.begin(job("runs"))
        await one.jobs.begin(job("over"))
        await one.jobs.keep(job("over", state="completed", ended_ns=5))
        for name in ("runs", "over", "gone"):
            await one.deliveries.expect(Delivery(f"msg_{name}", "ops", name, KEY, 1))
        assert {found.job for found in await other.deliveries.overdue()} == {"over", "gone"}


class TestResponses:
    async def test_one_tells_who_wrote_it_last(self, two: Two) -> None:
        one, other = two
        record = StoredResponse("resp_1", KEY, 1, None, b"{}", b"[]")
        await one.responses.keep([record])
        found = await other.responses.find(KEY, "resp_1")
        assert found is not None
        assert found.gateway == "one"
        await other.responses.keep([record])
        found = await one.responses.find(KEY, "resp_1")
        assert found is not None
        assert found.gateway == "two"

    async def test_what_is_wished_is_told_and_what_is_forgotten_is_kept_no_more(self, two: Two) -> None:
        one, other = two
        await one.responses.keep([StoredResponse("resp_1", KEY, 1, None, b"{}", b"[]")])
        await other.responses.wish("bob", "resp_1", "forget")
        assert await one.responses.wishes(["resp_1"]) == {}
        await other.responses.wish(KEY, "resp_1", "cancel")
        assert await one.responses.wishes(["resp_1", "resp_2"]) == {"resp_1": "cancel"}
        await other.responses.wish(KEY, "resp_1", "forget")
        await other.responses.forget(KEY, "resp_1")
        await one.responses.keep([StoredResponse("resp_1", KEY, 1, None, b'{"a": 1}', b"[]")])
        assert await one.responses.find(KEY, "resp_1") is None


class TestLeases:
    async def test_one_holds_it_until_its_time_is_over(self, two: Two) -> None:
        one, other = two
        assert sorted(await asyncio.gather(*(records.leases.hold("sweep", 60.0) for records in two))) == [False, True]
        assert await one.leases.hold("other", 0.2)
        assert not await other.leases.hold("other", 60.0)
        assert await one.leases.hold("other", 0.2), "held on by asking again"
        await asyncio.sleep(0.3)
        assert await other.leases.hold("other", 60.0)
        await other.jobs.hand_over()
        assert await one.leases.hold("other", 60.0), "one that ends gives all back"


class TestFolders:
    async def test_one_that_comes_must_find_those_that_live(self, two: Two) -> None:
        one, other = two
        seen: list[list[str]] = []

        def found(others: Any) -> bool:
            seen.append(sorted(others))
            return not others

        assert await one.folders.enter(found) == []
        assert await other.folders.enter(found) == ["one"]
        await one.folders.leave()
        assert await other.folders.enter(found) == []
        assert seen == [[], ["one"], []]

    async def test_of_two_that_come_at_once_one_is_first(self, two: Two) -> None:
        found = await asyncio.gather(*(records.folders.enter(lambda others: not others) for records in two))
        assert sorted(map(len, found)) == [0, 1]
