"""Paid work is bought once: a re-send joins it, also after its client left. The sandbox's bill judges."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from functools import partial
from typing import Any, ClassVar

import pytest

from .conftest import StartGateway
from .harness import ALICE, FLUX_ONLY, Answer, Rig, chat_body, eventually
from .image_orders import CHAT, EDITS, GENERATIONS, TASK, image
from .moments import nothing_in_flight, start

ORDER: dict[str, Any] = {"model": "gpt-4o-image", "prompt": "hello from a confidential prompt"}
FLUX: dict[str, Any] = {"model": "flux-dev", "prompt": "hello from a confidential prompt"}
TASK_ORDER: dict[str, Any] = {
    "model": "Qubico/flux1-dev",
    "task_type": "txt2img",
    "input": {"prompt": "hello from a confidential prompt"},
}
AGAIN = {"x-stainless-retry-count": "1"}
IMAGE, DEV = 20_000_000, 15_000_000


def written(order: dict[str, Any]) -> bytes:
    return json.dumps(order).encode()


async def send(rig: Rig, order: dict[str, Any] = ORDER, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    async with rig.client() as client:
        await client.ask(written({**order, **more}), headers=headers, target=GENERATIONS)
        return await client.broken_or_whole(await client.head())


async def leave_while_it_runs(
    rig: Rig, order: dict[str, Any] = ORDER, headers: dict[str, str] | None = None, target: str = GENERATIONS
) -> None:
    """Ask, wait until it is under way upstream, hang up, and wait until the gateway has seen that."""
    before = rig.sandbox.in_flight
    async with rig.client() as client:
        await client.ask(written(order), headers=headers, target=target)
        await rig.sandbox.until(lambda: rig.sandbox.in_flight > before)
        await client.leave()
    jobs = rig.gateway._waiting.jobs
    await eventually(lambda: any(job.left for job in jobs.of_key("alice")), "the gateway to notice")


def paid_by(rig: Rig) -> dict[str, str | None]:
    """Request id → the row that paid for it."""
    with closing(sqlite3.connect(rig.folder / "gateway.db")) as store:
        return dict(store.execute("SELECT request_id, paid_by FROM intents").fetchall())


async def check_paid_once(rig: Rig, answers: list[Answer], *, amount: int, waiters: int) -> None:
    """One line on the bill, one charged row, and a row at 0 for each that joined, which names it."""
    assert rig.sandbox.billed == amount
    rows = await rig.rows(1 + waiters)
    [paying] = [row for row in rows if row.charged]
    assert (paying.charged, paying.upstream_cost) == (amount, amount)
    references = paid_by(rig)
    assert references[paying.request_id] is None
    joined = [row for row in rows if row is not paying]
    assert [(row.charged, row.upstream_cost, row.images, row.state) for row in joined] == [
        (0, 0, 0, "settled")
    ] * waiters
    assert {references[row.request_id] for row in joined} == ({paying.id} if waiters else set())
    known = {row.request_id for row in rows}
    assert {answer.header("x-request-id") for answer in answers} <= known


class TestJoining:
    async def test_while_it_runs(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=20", model="gpt-4o-image")
        first = start(send(rig))
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        second = await send(rig, headers=AGAIN)

        answers = [await first, second]
        assert [answer.status for answer in answers] == [200, 200]
        assert answers[0].body == answers[1].body
        assert answers[0].header("x-gateway-job") == second.header("x-gateway-job")
        assert (answers[0].header("x-gateway-job") or "").startswith("job_")
        assert (answers[0].header("x-gateway-note"), second.header("x-gateway-note")) == (None, "joined")
        assert (answers[0].header("x-gateway-cost-usd"), second.header("x-gateway-cost-usd")) == ("0.02", "0.00")
        assert answers[0].header("x-request-id") != second.header("x-request-id")
        await check_paid_once(rig, answers, amount=IMAGE, waiters=1)

    async def test_after_its_end_also_from_the_store(self, rig: Rig) -> None:
        first = await send(rig)
        await rig.gateway._waiting.jobs.written()
        second = await send(rig, headers=AGAIN)
        await rig.restart()
        third = await send(rig, headers=AGAIN)

        assert [one.body for one in (second, third)] == [first.body] * 2
        assert [one.header("x-gateway-note") for one in (first, second, third)] == [None, "joined", "joined"]
        assert third.header("x-gateway-upstream") == "piapi"
        await check_paid_once(rig, [first, second, third], amount=IMAGE, waiters=2)

    async def test_not_without_a_mark(self, rig: Rig) -> None:
        answers = [await send(rig), await send(rig)]
        assert len({answer.header("x-gateway-job") for answer in answers}) == 2
        assert rig.sandbox.billed == 2 * IMAGE
        assert [row.charged for row in await rig.rows(2)] == [IMAGE, IMAGE]

    @pytest.mark.parametrize("difference", [{"prompt": "another confidential prompt"}, {"size": "1024x1536"}, {"n": 2}])
    async def test_not_another_body(self, difference: dict[str, Any], rig: Rig) -> None:
        await send(rig)
        other = await send(rig, headers=AGAIN, **difference)
        assert other.header("x-gateway-note") is None
        assert len(await rig.rows(2)) == 2
        assert rig.sandbox.billed == IMAGE * (1 + difference.get("n", 1))

    async def test_the_same_body_in_another_order_and_other_white_space(self, rig: Rig) -> None:
        first = await send(rig)
        body = json.dumps(dict(reversed(ORDER.items())), indent=2).encode()
        second = await rig.post(body, headers=AGAIN, target=GENERATIONS)
        await check_paid_once(rig, [first, second], amount=IMAGE, waiters=1)

    async def test_two_re_sends_of_what_was_never_seen_come_at_once(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=10", model="gpt-4o-image")
        answers = await asyncio.gather(*(send(rig, headers=AGAIN) for _ in range(5)))
        assert len({answer.body for answer in answers}) == 1
        await check_paid_once(rig, list(answers), amount=IMAGE, waiters=4)

    async def test_never_across_keys(self, rig: Rig) -> None:
        first = await send(rig, FLUX)
        other = await rig.post(written(FLUX), key=FLUX_ONLY, headers=AGAIN, target=GENERATIONS)
        assert other.status == first.status == 200
        assert other.header("x-gateway-note") is None
        assert {row.key: row.charged for row in await rig.rows(2)} == {"alice": DEV, "carol": DEV}

    async def test_another_route_is_another_request(self, rig: Rig) -> None:
        await send(rig)
        other = await rig.post(written({**ORDER, "image": "https://example.com/a.png"}), headers=AGAIN, target=EDITS)
        assert other.header("x-gateway-note") is None

    async def test_a_form_with_another_boundary(self, rig: Rig) -> None:
        picture = image()
        answers = []
        for again in (None, "1"):
            headers = {} if again is None else {"x-stainless-retry-count": again}
            raw = await rig.openai().images.with_raw_response.edit(
                model="gpt-4o-image", prompt=ORDER["prompt"], image=picture, extra_headers=headers
            )
            answers.append(raw)
        assert answers[0].content == answers[1].content
        assert answers[1].headers["x-gateway-note"] == "joined"
        assert rig.sandbox.billed == IMAGE

    async def test_a_form_with_another_picture_is_another(self, rig: Rig) -> None:
        for colour in ((1, 2, 3), (3, 2, 1)):
            await rig.openai().images.edit(
                model="gpt-4o-image", prompt=ORDER["prompt"], image=image(colour=colour), extra_headers=AGAIN
            )
        assert rig.sandbox.billed == 2 * IMAGE

    async def test_counts_in_no_limit(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: alice, key: {ALICE}, rpm: 1, parallel: 1, budget: 0.02/day}}]")
        rig.sandbox.script("slow;delay=10", model="gpt-4o-image")
        first = start(send(rig))
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        rest = await asyncio.gather(*(send(rig, headers=AGAIN) for _ in range(3)))
        assert [answer.status for answer in (await first, *rest)] == [200] * 4
        assert (await send(rig)).status == 429
        assert rig.sandbox.billed == IMAGE

    async def test_what_bought_nothing_is_begun_anew(self, rig: Rig) -> None:
        rig.sandbox.script("status;code=400", model="gpt-4o-image", times=1)
        first = await send(rig)
        assert first.status == 400
        second = await send(rig, headers=AGAIN)
        assert (second.status, second.header("x-gateway-note")) == (200, None)
        assert second.header("x-gateway-job") != first.header("x-gateway-job")
        assert rig.sandbox.billed == IMAGE

    async def test_is_over_after_its_time(self, gateway: StartGateway) -> None:
        rig = await gateway("jobs: {join: 300ms, keep: 1h}")
        await send(rig)
        await asyncio.sleep(0.35)
        assert (await send(rig, headers=AGAIN)).header("x-gateway-note") is None
        assert rig.sandbox.billed == 2 * IMAGE


class TestIdempotencyKeys:
    KEY: ClassVar = {"idempotency-key": "order-1"}

    async def test_join_for_as_long_as_the_answer_is_kept(self, gateway: StartGateway) -> None:
        rig = await gateway("jobs: {join: 10ms, keep: 1h}")
        first = await send(rig, headers=self.KEY)
        await asyncio.sleep(0.05)
        await rig.restart()
        second = await send(rig, headers=self.KEY)
        assert second.body == first.body
        await check_paid_once(rig, [first, second], amount=IMAGE, waiters=1)

    async def test_with_another_body_are_refused(self, rig: Rig) -> None:
        await send(rig, headers=self.KEY)
        for other in (
            await send(rig, headers=self.KEY, size="1024x1536"),
            await rig.post(chat_body(**{**ORDER, "prompt": None}), headers=self.KEY, target=CHAT),
        ):
            assert other.status == 422
            error = json.loads(other.body)["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "idempotency_key_reused")
            assert other.header("x-should-retry") == "false"
        assert rig.sandbox.billed == IMAGE

    async def test_that_differ_are_two_purchases(self, rig: Rig) -> None:
        await send(rig, headers=self.KEY)
        second = await send(rig, headers={"idempotency-key": "order-2", **AGAIN})
        assert second.header("x-gateway-note") is None
        assert rig.sandbox.billed == 2 * IMAGE

    async def test_of_another_virtual_key_mean_nothing(self, rig: Rig) -> None:
        await send(rig, FLUX, headers=self.KEY)
        other = await rig.post(
            written({**FLUX, "size": "512x512"}), key=FLUX_ONLY, headers=self.KEY, target=GENERATIONS
        )
        assert other.status == 200

    @pytest.mark.parametrize("key", ["x" * 256, "caf\xe9", "a\tb"])
    async def test_that_are_none(self, key: str, rig: Rig) -> None:
        answer = await send(rig, headers={"idempotency-key": key})
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["param"] == "Idempotency-Key"
        assert rig.sandbox.requests == []

    async def test_are_not_written_down(self, rig: Rig) -> None:
        await send(rig, FLUX, headers={"idempotency-key": "a-confidential-idempotency-key"})
        await rig.gateway._waiting.jobs.written()
        for path in rig.folder.rglob("*"):
            held = path.read_bytes() if path.is_file() else b""
            assert b"a-confidential-idempotency-key" not in held, path
            assert ORDER["prompt"].encode() not in held, path


class TestLeaving:
    async def test_and_coming_back_while_it_runs(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=25", model="gpt-4o-image")
        await leave_while_it_runs(rig)
        back = await send(rig, headers=AGAIN)
        assert (back.status, back.header("x-gateway-note")) == (200, "joined")
        await check_paid_once(rig, [back], amount=IMAGE, waiters=1)

    async def test_and_coming_back_after_its_end(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=5", model="gpt-4o-image")
        await leave_while_it_runs(rig)
        await nothing_in_flight(rig)
        back = await send(rig, headers=AGAIN)
        assert (back.status, back.header("x-gateway-note")) == (200, "joined")
        await check_paid_once(rig, [back], amount=IMAGE, waiters=1)

    async def test_of_one_of_two(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=40", model="gpt-4o-image")
        await leave_while_it_runs(rig)
        second = start(send(rig, headers=AGAIN))
        async with rig.client() as third:
            await third.ask(written(ORDER), headers=AGAIN, target=GENERATIONS)
            await eventually(lambda: waiting(rig) == 2, "two that wait")
            await third.leave()
        answer = await second
        assert answer.status == 200
        assert rig.sandbox.billed == IMAGE
        rows = await rig.rows(3)
        assert sorted((row.charged, row.status) for row in rows) == [(0, 200), (0, 499), (IMAGE, 499)]

    async def test_of_each_of_two_equal_orders_gives_each_re_send_its_own(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=30", model="gpt-4o-image", times=2)
        for number in (1, 2):
            async with rig.client() as client:
                await client.ask(written(ORDER), target=GENERATIONS)
                await rig.sandbox.until(partial(lambda wanted: rig.sandbox.in_flight == wanted, number))
                await client.leave()
        await eventually(
            lambda: [job.left for job in rig.gateway._waiting.jobs.of_key("alice")] == [True, True], "both"
        )
        answers = await asyncio.gather(*(send(rig, headers=AGAIN) for _ in range(2)))
        assert len({answer.header("x-gateway-job") for answer in answers}) == 2
        assert rig.sandbox.billed == 2 * IMAGE

    async def test_does_not_end_a_job_that_fails_over(self, rig: Rig) -> None:
        """What is still to be tried is tried: a re-send waits for it, or will."""
        rig.sandbox.script("wall;seconds=0.3", model="gpt-4o-image", role="api")
        await leave_while_it_runs(rig)
        back = await send(rig, headers=AGAIN)
        assert (back.status, back.header("x-gateway-note")) == (200, "joined")
        assert [request.role for request in rig.sandbox.requests] == ["api", "proxy"]

    async def test_of_a_flux_order_in_legs(self, rig: Rig) -> None:
        order = {**FLUX, "n": 3}
        rig.sandbox.script("slow;polls=8", times=None)
        async with rig.client() as client:
            await client.ask(written(order), target=GENERATIONS)
            await eventually(lambda: len(rig.tasks()) == 3, "three tasks")
            await client.leave()
        back = await send(rig, order, headers=AGAIN)
        assert len(json.loads(back.body)["data"]) == 3
        await check_paid_once(rig, [back], amount=3 * DEV, waiters=1)


def waiting(rig: Rig) -> int:
    return sum(len(job.waiters) for job in rig.gateway._waiting.jobs.of_key("alice"))


class TestStreams:
    async def test_of_pictures_give_a_joiner_the_newest_preview_and_the_end(self, rig: Rig) -> None:
        order = {"model": "gpt-image-1", "prompt": ORDER["prompt"], "stream": True, "partial_images": 3}
        rig.sandbox.script("slow;delay=60", model="gpt-image-1")
        first = start(send(rig, order))
        jobs = rig.gateway._waiting.jobs

        def two_previews() -> bool:
            found = jobs.of_key("alice")
            return bool(found and found[0].client is not None and found[0].client.pieces.next >= 2)

        await eventually(two_previews, "two previews")
        second = await send(rig, order, headers=AGAIN)
        whole = await first
        assert whole.complete
        assert second.complete
        assert whole.events[-1] == second.events[-1]
        assert len(second.events) < len(whole.events)
        assert second.events == whole.events[-len(second.events) :]
        assert (second.header("x-gateway-note"), second.is_stream) == ("joined", True)

    async def test_of_pictures_that_are_over_give_the_picture(self, rig: Rig) -> None:
        order = {"model": "gpt-image-1", "prompt": ORDER["prompt"], "stream": True, "partial_images": 2}
        whole = await send(rig, order)
        await rig.gateway._waiting.jobs.written()
        late = await send(rig, order, headers=AGAIN)
        assert late.events == whole.events[-1:]
        assert late.is_stream
        assert late.complete

    async def test_whether_it_is_streamed_is_part_of_the_order(self, rig: Rig) -> None:
        order = {"model": "gpt-image-1", "prompt": ORDER["prompt"]}
        await send(rig, order)
        assert (await send(rig, {**order, "stream": True}, headers=AGAIN)).header("x-gateway-note") is None

    async def test_a_client_that_left_mid_stream(self, rig: Rig) -> None:
        order = {"model": "gpt-image-1", "prompt": ORDER["prompt"], "stream": True, "partial_images": 3}
        rig.sandbox.script("slow;delay=30", model="gpt-image-1")
        async with rig.client() as client:
            await client.ask(written(order), target=GENERATIONS)
            await client.head()
            await client.leave()
        back = await send(rig, order, headers=AGAIN)
        assert b"completed" in back.events[-1]
        assert len([row for row in await rig.rows(2) if row.charged]) == 1


class TestTasks:
    async def send(self, rig: Rig, headers: dict[str, str] | None = None) -> Answer:
        return await rig.post(written(TASK_ORDER), headers=headers, target=TASK)

    async def test_a_re_send_is_given_the_same_id(self, rig: Rig) -> None:
        first = await self.send(rig)
        second = await self.send(rig, AGAIN)
        await nothing_in_flight(rig)
        third = await self.send(rig, AGAIN)
        assert first.body == second.body == third.body
        assert second.header("x-gateway-note") == "joined"
        await check_paid_once(rig, [first, second, third], amount=DEV, waiters=2)

    async def test_also_after_a_restart(self, rig: Rig) -> None:
        first = await self.send(rig)
        await nothing_in_flight(rig)
        await rig.restart()
        assert (await self.send(rig, AGAIN)).body == first.body
        assert len(rig.tasks()) == 1


@pytest.mark.parametrize("stream", [False, True])
class TestPaidChats:
    @pytest.mark.parametrize(("model", "amount"), [("gpt-4o-image", IMAGE), ("flux-dev", DEV)])
    async def test_are_bought_once(self, model: str, amount: int, stream: bool, rig: Rig) -> None:
        first = await rig.chat(model=model, stream=stream)
        second = await rig.chat(model=model, stream=stream, headers=AGAIN)
        assert second.status == 200
        assert (second.header("x-gateway-note") or "").split("; ")[-1] == "joined"
        assert [event for event in second.events if not event.startswith(b":")] == [
            event for event in first.events if not event.startswith(b":")
        ]
        assert stream or second.body == first.body
        await check_paid_once(rig, [first, second], amount=amount, waiters=1)

    async def test_by_anthropics_api_are_bought_once_too(self, stream: bool, rig: Rig) -> None:
        words = {"role": "user", "content": ORDER["prompt"]}
        order = {"model": "gpt-4o-image", "max_tokens": 100, "messages": [words], "stream": stream}
        answers = []
        for headers in (None, AGAIN):
            async with rig.client() as client:
                await client.ask(written(order), headers=headers, target="/v1/messages")
                answers.append(await client.broken_or_whole(await client.head()))
        assert [answer.status for answer in answers] == [200, 200]
        assert answers[0].body == answers[1].body
        assert answers[1].header("x-gateway-note") == "joined"
        await check_paid_once(rig, answers, amount=IMAGE, waiters=1)

    async def test_billed_by_tokens_are_no_jobs(self, stream: bool, rig: Rig) -> None:
        first = await rig.chat(stream=stream)
        second = await rig.chat(stream=stream, headers=AGAIN)
        assert first.header("x-gateway-job") is second.header("x-gateway-job") is None
        assert [row.charged > 0 for row in await rig.rows(2)] == [True, True]


@pytest.mark.parametrize("stream", [False, True])
class TestResponsesWithPictures:
    ORDER: ClassVar = {
        "model": "gpt-4o",
        "input": "hello from a confidential prompt",
        "tools": [{"type": "image_generation", "model": "gpt-image-2", "size": "1024x1024", "quality": "low"}],
    }

    async def send(self, rig: Rig, stream: bool, headers: dict[str, str] | None = None) -> Answer:
        async with rig.client() as client:
            await client.ask(written({**self.ORDER, "stream": stream}), headers=headers, target="/v1/responses")
            return await client.broken_or_whole(await client.head())

    async def test_are_made_once(self, stream: bool, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        first = await self.send(rig, stream)
        second = await self.send(rig, stream, AGAIN)
        assert first.body == second.body
        assert (first.header("x-gateway-note"), second.header("x-gateway-note")) == (None, "joined")
        assert first.header("x-gateway-job") == second.header("x-gateway-job")
        assert b"image_generation_call" in first.body
        assert len(rig.sandbox.bill) == 2
        rows = await rig.rows(3)
        assert [row.charged > 0 for row in rows] == [True, True, False]

    async def test_go_on_without_their_client(self, stream: bool, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        rig.sandbox.script("stall_head;seconds=0.3", role="api")
        async with rig.client() as client:
            await client.ask(written({**self.ORDER, "stream": stream}), target="/v1/responses")
            await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 2)
            await client.leave()
        second = await self.send(rig, stream, AGAIN)
        assert (second.status, second.header("x-gateway-note")) == (200, "joined")
        assert len(rig.sandbox.bill) == 2


class TestAfterARestart:
    async def test_a_relay_that_was_cut_off_is_unknown_once(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=100", model="gpt-4o-image")
        asking = start(send(rig))
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        rig.gateway.cut_off()
        cut = await asking
        assert (cut.status, json.loads(cut.body)["error"]["code"]) == (503, "server_shutting_down")
        assert cut.header("x-should-retry") == "false"
        await rig.restart()
        answers = [await send(rig, headers=AGAIN) for _ in range(2)]
        assert [answer.status for answer in answers] == [504, 200]
        error = json.loads(answers[0].body)["error"]
        assert (error["type"], error["code"]) == ("upstream_error", "upstream_outcome_unknown")
        assert answers[0].header("x-should-retry") == "false"

    async def test_a_task_that_was_cut_off_is_followed_and_joined(self, rig: Rig) -> None:
        rig.sandbox.script("slow;polls=30", times=None)
        asking = start(send(rig, FLUX))
        await eventually(lambda: len(rig.tasks()) == 1, "a task")
        rig.gateway.cut_off()
        cut = await asking
        assert (cut.status, cut.header("x-should-retry")) == (503, "true")
        await rig.restart()
        back = await send(rig, FLUX, headers=AGAIN)
        assert (back.status, back.header("x-gateway-note")) == (200, "joined")
        assert len(json.loads(back.body)["data"]) == 1
        assert rig.sandbox.billed == DEV
        assert len(rig.tasks()) == 1
        await asyncio.sleep(0.1)
        usage = await rig.usage("key")
        assert [(row["key"], row["cost_usd"]) for row in usage] == [("alice", 0.015)]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_picture_of_the_asynchronous_routes_is_followed_too(self, stream: bool, rig: Rig) -> None:
        order = {"model": "gpt-image-2.5-flare", "prompt": ORDER["prompt"], "quality": "low", "stream": stream}
        rig.sandbox.script("slow;polls=30", times=None)
        asking = start(send(rig, order))
        await eventually(lambda: len(rig.tasks()) == 1, "a task")
        rig.gateway.cut_off()
        await asking
        await rig.restart()
        back = await send(rig, order, headers=AGAIN)
        assert (back.status, back.header("x-gateway-note")) == (200, "joined")
        assert back.complete
        if stream:
            assert b"image_generation.completed" in back.events[-1]
        else:
            assert back.json()["quality"] == "low"
            assert len(back.json()["data"]) == 1
        assert len(rig.sandbox.bill) == 1

    async def test_a_task_that_failed_meanwhile_cost_nothing_and_is_ordered_anew(self, rig: Rig) -> None:
        rig.sandbox.script("task_failed;polls=20;method=POST")
        asking = start(send(rig, FLUX))
        await eventually(lambda: len(rig.tasks()) == 1, "a task")
        rig.gateway.cut_off()
        await asking
        await rig.restart()
        jobs = rig.gateway._waiting.jobs
        await eventually(lambda: [job.state for job in jobs.of_key("alice")] == ["failed"], "its end")
        back = await send(rig, FLUX, headers=AGAIN)
        assert (back.status, back.header("x-gateway-note")) == (200, None)
        assert rig.sandbox.billed == DEV

    async def test_of_several_tasks_one_of_which_failed_the_others_are_given(self, rig: Rig) -> None:
        rig.sandbox.script("task_failed;polls=20;method=POST")
        rig.sandbox.script("slow;polls=20;method=POST", times=None)
        order = {**FLUX, "n": 3}
        asking = start(send(rig, order))
        await eventually(lambda: len(rig.tasks()) == 3, "three tasks")
        rig.gateway.cut_off()
        await asking
        await rig.restart()
        back = await send(rig, order, headers=AGAIN)
        assert len(back.json()["data"]) == 2
        assert rig.sandbox.billed == 2 * DEV

    async def test_a_task_of_the_clients_own_is_read_again_where_its_answer_was_lost(self, rig: Rig) -> None:
        rig.sandbox.script("slow;polls=40")
        first = await rig.post(written(TASK_ORDER), target=TASK)
        await rig.gateway._waiting.jobs.written()
        with closing(sqlite3.connect(rig.folder / "gateway.db")) as store, store:
            store.execute("UPDATE jobs SET headers = NULL, body = NULL, state = 'running', ended_ns = NULL")
        rig.gateway.cut_off()
        await nothing_in_flight(rig)
        with closing(sqlite3.connect(rig.folder / "gateway.db")) as store, store:
            store.execute("UPDATE jobs SET headers = NULL, body = NULL, state = 'running', ended_ns = NULL")
        await rig.restart()
        back = await rig.post(written(TASK_ORDER), headers=AGAIN, target=TASK)
        assert back.json()["data"]["task_id"] == first.json()["data"]["task_id"]
        assert len(rig.tasks()) == 1


async def test_a_reload_changes_nothing_for_a_job_that_runs(rig: Rig) -> None:
    rig.sandbox.script("slow;delay=20", model="gpt-4o-image")
    first = start(send(rig))
    await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
    assert await rig.gateway.reload() == []
    second = await send(rig, headers=AGAIN)
    await check_paid_once(rig, [await first, second], amount=IMAGE, waiters=1)


async def test_legs_that_failed_leave_what_came_to_all_who_wait(rig: Rig) -> None:
    rig.sandbox.script("ok;variant=refused", model="gpt-4o-image", times=1)
    rig.sandbox.script("slow;delay=10", model="gpt-4o-image", times=None)
    order = {**ORDER, "n": 3}
    first = start(send(rig, order))
    await rig.sandbox.until(lambda: rig.sandbox.in_flight >= 1)
    answers = [await send(rig, order, headers=AGAIN), await first]
    assert [len(answer.json()["data"]) for answer in answers] == [2, 2]
    assert answers[0].body == answers[1].body


async def test_a_revoked_key_gets_nothing_of_its_job(rig: Rig) -> None:
    await send(rig)
    assert (await rig.post(written(ORDER), key="gw-none-000000000000", headers=AGAIN, target=GENERATIONS)).status == 401


async def test_an_answer_of_megabytes_lies_in_a_file_for_its_owner_alone(rig: Rig) -> None:
    order = {"model": "gpt-image-1", "prompt": ORDER["prompt"]}
    first = await send(rig, order)
    await rig.gateway._waiting.jobs.written()
    second = await send(rig, order, headers=AGAIN)
    assert first.body == second.body
    files = list(rig.folder.rglob("*.answer"))
    assert [path.stat().st_mode & 0o077 for path in files] == [0] * len(files)
    assert (len(files) == 1) == (len(first.body) > 64 * 1024)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_mistake_of_ours_is_told_to_all_who_wait(
    stream: bool, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    rig.expected_crashes = True
    monkeypatch.setattr("gateway.images.operation.ImageOperation.conclude", fail)
    rig.sandbox.script("slow;delay=10", model="gpt-4o-image")
    order = {**ORDER, "stream": stream}
    first = start(send(rig, order))
    await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
    second = await send(rig, order, headers=AGAIN)
    for answer in (await first, second):
        assert answer.status == 200 if stream else answer.status == 500
        assert b"internal_error" in answer.body
