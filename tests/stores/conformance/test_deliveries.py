"""What every engine keeps of the messages that webhooks are sent about jobs."""

from __future__ import annotations

from dataclasses import replace

from gateway.stores.base import Store
from gateway.stores.delivery_records import Delivery

from .conftest import Reopen

NOW = 1_700_000_000_000_000_000
DAY = 24 * 3600 * 10**9


def one(number: int, webhook: str = "ops", job: str = "") -> Delivery:
    return Delivery(f"msg_{number}", webhook, job or f"job_{number}", "alice", NOW + number)


async def test_it_waits_for_the_end_of_its_job_over_a_restart(store: Store, reopen: Reopen) -> None:
    await store.deliveries.expect(one(1))
    await store.deliveries.expect(one(2, "shop", "job_1"))
    await store.deliveries.expect(one(3))
    assert await store.deliveries.to_send(9, (), ()) == []
    again = (await reopen()).deliveries
    assert await again.waiting() == [one(1), one(2, "shop", "job_1"), one(3)]
    assert await again.post("job_1", "job.completed", b'{"a": 1}', NOW + 50) == 2
    assert await again.post("job_1", "job.completed", b'{"a": 2}', NOW + 60) == 0, "it ended once"
    assert await again.post("job_of_none", "job.completed", b"{}", NOW) == 0
    assert await again.waiting() == [one(3)]
    posted = {"state": "pending", "type": "job.completed", "body": b'{"a": 1}', "next_ns": NOW + 50}
    assert await again.to_send(9, (), ()) == [
        replace(one(1), **posted),  # type: ignore[arg-type]
        replace(one(2, "shop", "job_1"), **posted),  # type: ignore[arg-type]
    ]


async def test_a_webhook_waits_once_for_a_job(store: Store) -> None:
    await store.deliveries.expect(one(1))
    await store.deliveries.expect(replace(one(1), id="msg_other", at_ns=NOW + 7))
    assert await store.deliveries.waiting() == [one(1)]


async def test_the_next_due_comes_first_without_those_that_are_left_out(store: Store) -> None:
    for number, webhook in enumerate(("ops", "shop", "ops", "shop")):
        await store.deliveries.expect(one(number, webhook))
        await store.deliveries.post(f"job_{number}", "job.failed", b"{}", NOW + 10 - number)

    async def ids(limit: int = 9, but: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> list[str]:
        return [found.id for found in await store.deliveries.to_send(limit, but, without)]

    assert await ids() == ["msg_3", "msg_2", "msg_1", "msg_0"]
    assert await ids(limit=2) == ["msg_3", "msg_2"]
    assert await ids(but=("msg_3", "x'")) == ["msg_2", "msg_1", "msg_0"]
    assert await ids(without=("shop",)) == ["msg_2", "msg_0"]


async def test_what_a_try_came_to_is_kept(store: Store, reopen: Reopen) -> None:
    await store.deliveries.expect(one(1))
    await store.deliveries.post("job_1", "job.completed", b"{}", NOW)
    [pending] = await store.deliveries.to_send(1, (), ())
    refused = replace(pending, tries=1, next_ns=NOW + DAY, status=503, reason="status 503")
    await store.deliveries.tried(refused, NOW + 5)
    again = (await reopen()).deliveries
    assert await again.to_send(1, (), ()) == [refused]
    told = replace(refused, tries=2, state="told", status=204, reason="")
    await again.tried(told, NOW + 9)
    assert await again.to_send(1, (), ()) == []
    assert await again.page(9) == [told]


async def test_pages_go_from_the_newest_to_the_oldest(store: Store) -> None:
    for number in range(5):
        await store.deliveries.expect(one(number, "shop" if number % 2 else "ops"))
    await store.deliveries.post("job_4", "job.completed", b"{}", NOW)

    async def ids(limit: int, after: str = "", **only: str) -> list[str]:
        return [found.id for found in await store.deliveries.page(limit, after, **only)]

    assert await ids(2) == ["msg_4", "msg_3"]
    assert await ids(2, "msg_3") == ["msg_2", "msg_1"]
    assert await ids(9, "msg_0") == await ids(9, "msg_unknown") == []
    assert await ids(9, webhook="shop") == ["msg_3", "msg_1"]
    assert await ids(9, state="pending") == await ids(9, job="job_4") == ["msg_4"]


async def test_what_is_over_is_aged_out_and_what_is_not_stays(store: Store) -> None:
    for number in range(5):
        await store.deliveries.expect(one(number))
    for number, state in ((1, "told"), (2, "failed"), (3, "told")):
        await store.deliveries.post(f"job_{number}", "job.completed", b"{}", NOW)
        [found] = await store.deliveries.page(1, job=f"job_{number}")
        await store.deliveries.tried(replace(found, state=state), NOW + number * DAY)  # type: ignore[arg-type]
    assert await store.deliveries.sweep(NOW + 2 * DAY, NOW, 10) == 1
    assert [found.id for found in await store.deliveries.page(9)] == ["msg_4", "msg_3", "msg_2", "msg_0"]
    assert await store.deliveries.sweep(NOW, NOW, 1) == 1, "the newest one of those that are over stays"
    assert [found.id for found in await store.deliveries.page(9)] == ["msg_4", "msg_3", "msg_0"]
    assert await store.deliveries.sweep(NOW, NOW + 4, 10) == 2, "what waits too long is given up"
    assert [found.id for found in await store.deliveries.page(9)] == ["msg_4"]
