"""Paid once by a fleet: three gateways on one PostgreSQL. A re-send joins at whichever of them it arrives, and what a
dead one had under way is brought to its end by the others. The sandbox's bill judges.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ConfigError, ledger_unavailable
from gateway.sandbox import Sandbox
from gateway.stores.job_records import StoredJob, StoredResult
from gateway.stores.postgres.fleet_jobs import FleetJobs
from tests.engines import PostgresServer

from .fleet_rigs import AGAIN, GENERATIONS, RESPONSES, Member, check_paid_once, fleet, rows, run, start, until
from .harness import ALICE, RawClient, eventually
from .moments import start as begun

WORDS = "hello from a confidential prompt"
ORDER: dict[str, Any] = {"model": "gpt-4o-image", "prompt": WORDS}
LARGE: dict[str, Any] = {"model": "gpt-image-1", "prompt": WORDS}
FLUX: dict[str, Any] = {"model": "flux-dev", "prompt": WORDS}
TASK: dict[str, Any] = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": WORDS}}
TASKS = "/api/v1/task"


class TestJoining:
    async def test_while_it_runs_elsewhere(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as (a, b, c):
            sandbox.script("stall_head;seconds=1.5", model="gpt-4o-image")
            first = begun(a.send(ORDER))
            await sandbox.until(lambda: sandbox.in_flight == 1)
            others = await asyncio.gather(b.send(ORDER, AGAIN), c.send(ORDER, AGAIN))
            mine = await first
            for other in others:
                assert (other.status, other.body) == (200, mine.body)
                assert other.header("x-gateway-job") == mine.header("x-gateway-job")
                assert other.header("x-gateway-note") == "joined"
                assert other.header("x-gateway-cost-usd") == "0.00"
            await check_paid_once(postgres_url, sandbox)

    @pytest.mark.parametrize("order", [ORDER, LARGE], ids=["in its row", "in a file"])
    async def test_after_its_end(
        self, order: dict[str, Any], sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            mine = await a.send(order)
            other = await b.send(order, AGAIN)
            assert (other.status, other.body, other.header("x-gateway-note")) == (200, mine.body, "joined")
            await check_paid_once(postgres_url, sandbox)

    async def test_two_re_sends_with_one_idempotency_key_at_once(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as members:
            sandbox.script("stall_head;seconds=0.3", model="gpt-4o-image", times=None)
            for number in range(5):
                headers = {"idempotency-key": f"order-{number}"}
                sent = [member.send(ORDER, headers) for member in members for _ in range(2)]
                answers = await asyncio.gather(*sent)
                assert {answer.status for answer in answers} == {200}
                assert len({answer.header("x-gateway-job") for answer in answers}) == 1
                assert len(sandbox.bill) == number + 1
            other = await members[1].send({**ORDER, "n": 2}, {"idempotency-key": "order-0"})
            assert (other.status, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
            await check_paid_once(postgres_url, sandbox, lines=5)

    async def test_two_marked_re_sends_of_what_was_never_seen(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as members:
            sandbox.script("stall_head;seconds=0.3", model="gpt-4o-image")
            answers = await asyncio.gather(*(member.send(ORDER, AGAIN) for member in members))
            assert len({answer.body for answer in answers}) == 1
            await check_paid_once(postgres_url, sandbox)

    async def test_of_each_of_two_equal_orders_each_re_send_gets_its_own(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as (a, b, c):
            sandbox.script("stall_head;seconds=2", model="gpt-4o-image", times=None)
            for member in (a, b):
                client = await RawClient.connect(member.gateway.main_url)
                await client.ask(b'{"model":"gpt-4o-image","prompt":"%s"}' % WORDS.encode(), target=GENERATIONS)
                before = sandbox.in_flight
                await sandbox.until(lambda before=before: sandbox.in_flight > before)  # type: ignore[misc]
                await client.leave()
                await client.close()
            await until(postgres_url, 'SELECT count(*) FROM jobs WHERE "left"', 2)
            answers = await asyncio.gather(c.send(ORDER, AGAIN), a.send(ORDER, AGAIN))
            assert len({answer.header("x-gateway-job") for answer in answers}) == 2
            await check_paid_once(postgres_url, sandbox, lines=2)

    async def test_without_a_mark_never(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            answers = [await a.send(ORDER), await b.send(ORDER)]
            assert len({answer.header("x-gateway-job") for answer in answers}) == 2
            await check_paid_once(postgres_url, sandbox, lines=2)

    async def test_a_job_that_the_store_began_without_saying_so_is_waited_for_by_none(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            begin = FleetJobs.begin

            async def begin_in_doubt(self: FleetJobs, job: StoredJob) -> None:
                await begin(self, job)
                raise ledger_unavailable()

            monkeypatch.setattr(FleetJobs, "begin", begin_in_doubt)
            refused = await a.send(ORDER)
            assert (refused.status, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
            await until(postgres_url, "SELECT count(*) FROM jobs WHERE forgotten", 1)
            async with asyncio.timeout(20):
                again = await b.send(ORDER, AGAIN)
            assert (again.status, again.header("x-gateway-note")) == (200, None)
            await check_paid_once(postgres_url, sandbox)

    async def test_what_is_refused_there_is_told_here(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.script("stall_head;seconds=0.7;bought=0", model="gpt-4o-image")
            first = begun(a.send({**ORDER, "size": "1x1"}))
            again = await b.send({**ORDER, "size": "1x1"}, AGAIN)
            assert (await first).status == again.status

    async def test_a_stream_is_given_its_end(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            order = {**LARGE, "stream": True, "partial_images": 2}
            sandbox.script("stall_head;seconds=1", model="gpt-image-1")
            first = begun(a.send(order))
            await sandbox.until(lambda: sandbox.in_flight == 1)
            again = await b.send(order, AGAIN)
            assert again.complete
            assert again.is_stream
            assert again.events[-1] == (await first).events[-1]
            await check_paid_once(postgres_url, sandbox)

    async def test_a_task_of_the_clients_own(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            first = await a.send(TASK, path=TASKS)
            again = await b.send(TASK, AGAIN, TASKS)
            assert again.json()["data"]["task_id"] == first.json()["data"]["task_id"]
            await check_paid_once(postgres_url, sandbox)

    async def test_patience_is_honoured_by_who_waits_for_another(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.script("stall_head;seconds=2", model="gpt-4o-image")
            first = begun(a.send(ORDER))
            await sandbox.until(lambda: sandbox.in_flight == 1)
            told = await b.send(ORDER, {**AGAIN, "x-gateway-patience": "500ms"})
            assert (told.status, told.json()["error"]["code"]) == (504, "still_running")
            again = await b.send(ORDER, AGAIN)
            assert again.body == (await first).body
            await check_paid_once(postgres_url, sandbox)

    async def test_who_waits_at_one_that_ends_is_sent_to_another(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as (a, b, c):
            sandbox.script("stall_head;seconds=6", model="gpt-4o-image")
            first = begun(a.send(ORDER))
            await sandbox.until(lambda: sandbox.in_flight == 1)
            waiting = begun(b.send(ORDER, AGAIN))
            await until(postgres_url, "SELECT count(*) FROM job_waiters", 1)
            b.gateway.drain()
            told = await waiting
            assert (told.status, told.header("x-should-retry")) == (503, "true")
            assert (await c.send(ORDER, AGAIN)).body == (await first).body
            await check_paid_once(postgres_url, sandbox)


class TestJobsRoutes:
    async def test_it_is_told_of_at_any_gateway(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.script("stall_head;seconds=1.2", model="gpt-4o-image")
            accepted = await a.send(ORDER, {"prefer": "respond-async"})
            id = accepted.json()["id"]
            running = await b.ask("GET", f"/v1/jobs/{id}")
            assert running.json()["status"] in ("queued", "in_progress")
            assert [job["id"] for job in (await b.ask("GET", "/v1/jobs")).json()["data"]] == [id]
            over = await b.ask("GET", f"/v1/jobs/{id}?wait=20")
            assert over.json()["status"] == "completed"
            assert over.json()["result"]["data"]
            assert (await b.ask("GET", f"/v1/jobs/{id}", "gw-carol-666777888999000111")).status == 404
            assert (await b.ask("DELETE", f"/v1/jobs/{id}")).json()["deleted"] is True
            assert (await a.ask("GET", f"/v1/jobs/{id}")).status == 404
            assert (await a.ask("GET", "/v1/jobs")).json()["data"] == []

    async def test_it_is_told_of_only_once_every_gateway_knows_it(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            records = a.gateway._waiting.jobs.keeping._records
            keep = records.keep

            async def slowly(job: StoredJob, result: StoredResult | None = None) -> None:
                await asyncio.sleep(0.3)
                await keep(job, result)

            monkeypatch.setattr(records, "keep", slowly)
            sandbox.script("stall_head;seconds=1.2", model="gpt-4o-image")
            id = (await a.send(ORDER, {"prefer": "respond-async"})).json()["id"]
            assert (await b.ask("GET", f"/v1/jobs/{id}")).status == 200

    async def test_one_that_runs_elsewhere_is_forgotten_and_goes_on(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.script("stall_head;seconds=3", model="gpt-4o-image")
            id = (await a.send(ORDER, {"prefer": "respond-async"})).json()["id"]
            await sandbox.until(lambda: sandbox.in_flight == 1)
            assert (await b.ask("DELETE", f"/v1/jobs/{id}")).json()["deleted"] is True
            assert (await a.ask("GET", f"/v1/jobs/{id}")).status == 404
            await sandbox.until(lambda: len(sandbox.bill) == 1)
            again = await b.send(ORDER, AGAIN)
            assert again.header("x-gateway-note") is None
            await check_paid_once(postgres_url, sandbox, lines=2)

    async def test_one_for_which_nothing_was_sent_is_cancelled(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.set_default("ok;concurrency=1")
            flux, later = {"model": "flux-schnell", "size": "256x256"}, {"prefer": "respond-async"}
            first = await a.send({**flux, "prompt": f"{WORDS} [[sandbox: ok;ready=6]]"}, later)
            await until(postgres_url, "SELECT count(*) FROM tasks", 1)
            second = await a.send({**flux, "prompt": f"{WORDS} [[sandbox: ok;ready=0.1]]"}, later)
            await until(postgres_url, "SELECT count(*) FROM jobs WHERE queued", 1)
            assert (await b.ask("GET", f"/v1/jobs/{second.json()['id']}")).json()["status"] == "queued"
            gone = await b.ask("DELETE", f"/v1/jobs/{second.json()['id']}")
            assert gone.json()["status"] == "cancelled"
            over = await b.ask("GET", f"/v1/jobs/{first.json()['id']}?wait=30")
            assert over.json()["status"] == "completed"
            await check_paid_once(postgres_url, sandbox)


async def seen_long_ago(url: str, member: Member) -> None:
    """Its lease runs out at once."""
    await run(url, f"UPDATE gateways SET seen_at = seen_at - interval '1 minute' WHERE id = '{member.id}'")


class TestADeadGateway:
    async def test_its_tasks_are_taken_over_and_its_clients_join(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as (a, b, c):
            sandbox.set_default("slow;polls=100")
            asking = begun(a.send(FLUX))
            await until(postgres_url, "SELECT count(*) FROM tasks", 1)
            await a.die()
            asking.cancel()
            waiting = begun(b.send(FLUX, AGAIN))
            await asyncio.sleep(0.2)
            sandbox.set_default("ok")
            await seen_long_ago(postgres_url, a)
            again = await waiting
            assert (again.status, again.header("x-gateway-note")) == (200, "joined")
            other = await c.send(FLUX, AGAIN)
            assert other.body == again.body
            assert await rows(postgres_url, "SELECT count(*) FROM tasks") == [1]
            await until(postgres_url, "SELECT count(*) FROM corrections WHERE state = 'settled'", 1)
            await check_paid_once(postgres_url, sandbox)
            await until(postgres_url, "SELECT count(*) FROM gateways", 2)

    async def test_its_relays_are_unknown_and_told_once(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url) as (a, b, c):
            sandbox.script("stall_head;seconds=60;bought=1", model="gpt-4o-image")
            asking = begun(a.send(ORDER))
            await sandbox.until(lambda: sandbox.in_flight == 1)
            await a.die()
            asking.cancel()
            await seen_long_ago(postgres_url, a)
            told = await b.send(ORDER, AGAIN)
            assert (told.status, told.header("x-should-retry")) == (504, "false")
            assert told.json()["error"]["code"] == "upstream_outcome_unknown"
            await until(postgres_url, "SELECT count(*) FROM jobs WHERE told", 1)
            bought = await c.send(ORDER, AGAIN)
            assert (bought.status, bought.header("x-gateway-note")) == (200, None)

    async def test_one_that_ends_well_hands_over_what_it_had(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.set_default("slow;polls=100")
            asking = begun(a.send(FLUX))
            await until(postgres_url, "SELECT count(*) FROM tasks", 1)
            await a.close()
            cut = await asking
            assert (cut.status, cut.header("x-should-retry")) == (503, "true")
            sandbox.set_default("ok")
            again = await b.send(FLUX, AGAIN)
            assert (again.status, again.header("x-gateway-note")) == (200, "joined")
            assert await rows(postgres_url, "SELECT count(*) FROM tasks") == [1]
            await check_paid_once(postgres_url, sandbox)

    async def test_what_it_had_in_the_background_is_completed(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.script("ok;calls=1", role="api")
            sandbox.set_default("slow;polls=100")
            tool = {"type": "image_generation", "model": "flux-dev"}
            order = {"model": "gpt-4o", "input": WORDS, "tools": [tool], "background": True}
            first = await a.send(order, path=RESPONSES)
            await until(postgres_url, "SELECT count(*) FROM tasks", 1)
            id = first.json()["id"]
            assert (await b.ask("GET", f"{RESPONSES}/{id}")).json()["status"] in ("queued", "in_progress")
            await a.close()
            sandbox.set_default("ok")

            async def completed() -> bool:
                return bool((await b.ask("GET", f"{RESPONSES}/{id}")).json()["status"] == "completed")

            await eventually(completed, "its end", within=40)
            again = await b.send(order, AGAIN, RESPONSES)
            assert again.json()["id"] == id
            assert len(sandbox.bill) == 2


def stands_still(member: Member, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """It neither reserves nor beats until the event is set, as a process that is stopped."""
    goes_on = asyncio.Event()
    store = member.gateway._store

    def late(real: Any) -> Any:
        async def waits(*given: Any) -> None:
            await goes_on.wait()
            await real(*given)

        return waits

    monkeypatch.setattr(store.ledger, "reserve", late(store.ledger.reserve))
    monkeypatch.setattr(store.gateways, "beat", late(store.gateways.beat))
    return goes_on


def stands_still_between(member: Member, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Between its first attempt and the next it does nothing until the event is set; nor does it beat."""
    goes_on, asked = asyncio.Event(), 0
    jobs = member.gateway._paid_work._shared
    assert jobs is not None
    admit, beat = jobs._shared.admit, member.gateway._store.gateways.beat

    async def late(job: StoredJob) -> bool:
        nonlocal asked
        asked += 1
        if asked > 1:
            await goes_on.wait()
        return await admit(job)

    async def silent(state: Any) -> None:
        await goes_on.wait()
        await beat(state)

    monkeypatch.setattr(jobs, "surely_alive", lambda: False)
    monkeypatch.setattr(jobs._shared, "admit", late)
    monkeypatch.setattr(member.gateway._store.gateways, "beat", silent)
    return goes_on


class TestAGatewayThatStoodStill:
    async def test_does_not_buy_what_became_anothers_before_it_was_reserved(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            mark = {"idempotency-key": "order-1"}
            goes_on = stands_still(a, monkeypatch)
            first = begun(a.send(ORDER, mark))
            await until(postgres_url, "SELECT count(*) FROM jobs", 1)
            await seen_long_ago(postgres_url, a)
            joined = await b.send(ORDER, mark)
            assert (joined.status, joined.header("x-should-retry")) == (503, "true")
            bought = await b.send(ORDER, mark)
            assert bought.status == 200
            goes_on.set()
            late = await first
            assert (late.status, late.header("x-should-retry")) == (503, "true")
            again = await a.send(ORDER, mark)
            assert (again.status, again.body) == (200, bought.body)
            await check_paid_once(postgres_url, sandbox)

    async def test_tries_nothing_further_for_what_became_anothers(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.script("status;code=500;role=api", model="gpt-4o-image")
            goes_on = stands_still_between(a, monkeypatch)
            first = begun(a.send(ORDER))
            await sandbox.until(lambda: len(sandbox.requests) == 1 and not sandbox.in_flight)
            await seen_long_ago(postgres_url, a)
            told = await b.send(ORDER, AGAIN)
            assert (told.status, told.json()["error"]["code"]) == (504, "upstream_outcome_unknown")
            goes_on.set()
            late = await first
            assert (late.status, late.header("x-should-retry")) == (504, "false")
            assert late.json()["error"]["code"] == "upstream_outcome_unknown"
            assert sandbox.bill == []
            assert len(sandbox.requests) == 1


class TestResponses:
    async def test_they_are_found_and_gone_on_from_at_any_gateway(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            for _ in range(3):
                made = (await a.send({"model": "gpt-4o", "input": WORDS}, path=RESPONSES)).json()
                assert (await b.ask("GET", f"{RESPONSES}/{made['id']}")).json()["id"] == made["id"]
                next_one = {"model": "gpt-4o", "input": "and?", "previous_response_id": made["id"]}
                assert (await b.send(next_one, path=RESPONSES)).status == 200
            assert (await b.ask("DELETE", f"{RESPONSES}/{made['id']}")).json()["deleted"] is True
            assert (await a.ask("GET", f"{RESPONSES}/{made['id']}")).status == 404

    async def test_relayed_ones_too(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        targets = "[{upstream: backup, operation: responses}, {upstream: piapi}]"
        async with fleet(sandbox, tmp_path, postgres_url, f"models: {{gpt-4o: {{targets: {targets}}}}}", 2) as (a, b):
            for _ in range(3):
                made = (await a.send({"model": "gpt-4o", "input": WORDS}, path=RESPONSES)).json()
                next_one = {"model": "gpt-4o", "input": "and?", "previous_response_id": made["id"]}
                assert (await b.send(next_one, path=RESPONSES)).header("x-gateway-upstream") == "backup"
                assert (await b.ask("GET", f"{RESPONSES}/{made['id']}")).json()["id"] == made["id"]
            assert (await b.ask("GET", f"{RESPONSES}/resp_of_none")).status == 404

    async def test_one_in_the_background_is_followed_and_cancelled_at_any_gateway(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.set_default("endless;delay=5")
            body = {"model": "gpt-4o", "input": WORDS, "background": True}
            id = (await a.send(body, path=RESPONSES)).json()["id"]
            assert (await b.ask("GET", f"{RESPONSES}/{id}")).json()["status"] in ("queued", "in_progress")
            following = begun(b.ask("GET", f"{RESPONSES}/{id}?stream=true"))
            cancelled = await b.ask("POST", f"{RESPONSES}/{id}/cancel")
            assert cancelled.json()["status"] == "cancelled"
            assert (await a.ask("GET", f"{RESPONSES}/{id}")).json()["status"] == "cancelled"
            await eventually(lambda: not a.gateway.services.gate, "it ends there")
            assert (await following).status == 200

    async def test_one_that_is_deleted_elsewhere_is_kept_no_more(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.set_default("endless;delay=5")
            body = {"model": "gpt-4o", "input": WORDS, "background": True}
            id = (await a.send(body, path=RESPONSES)).json()["id"]
            assert (await b.ask("DELETE", f"{RESPONSES}/{id}")).json()["deleted"] is True
            await eventually(lambda: not a.gateway.services.gate, "it ends there")
            await a.gateway._responses.written()
            assert await rows(postgres_url, "SELECT count(*) FROM responses") == [0]

    async def test_what_a_dead_gateway_was_telling_has_failed(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            sandbox.set_default("endless;delay=5")
            asking = begun(a.send({"model": "gpt-4o", "input": WORDS, "stream": True}, path=RESPONSES))
            await until(postgres_url, "SELECT count(*) FROM responses", 1)
            [id] = await rows(postgres_url, "SELECT id FROM responses")
            assert (await b.ask("GET", f"{RESPONSES}/{id}")).json()["status"] == "in_progress"
            await a.die()
            asking.cancel()
            await seen_long_ago(postgres_url, a)
            await asyncio.sleep(1.1)
            found = (await b.ask("GET", f"{RESPONSES}/{id}")).json()
            assert (found["status"], found["error"]["code"]) == ("failed", "server_error")


class TestTheFolder:
    async def test_pictures_are_served_by_all(self, sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
        async with fleet(sandbox, tmp_path, postgres_url, size=2) as (a, b):
            made = (await a.send({**LARGE, "response_format": "url"})).json()
            path = made["data"][0]["url"].partition("/images/")[2]
            picture = await b.ask("GET", f"/images/{path}")
            assert (picture.status, picture.body[:4]) == (200, b"\x89PNG")

    async def test_another_folder_is_refused_while_others_live(
        self, sandbox: Sandbox, tmp_path: Path, postgres_url: str
    ) -> None:
        other = f"images: {{dir: {tmp_path / 'other'}}}"
        async with fleet(sandbox, tmp_path, postgres_url, size=1) as (a,):
            with pytest.raises(ConfigError, match=r"images\.dir") as refused:
                await start(sandbox, tmp_path, postgres_url, other, "stranger")
            assert a.id in str(refused.value.problems)
            again = await start(sandbox, tmp_path, postgres_url, "", "friend")
            await again.close()
        alone = await start(sandbox, tmp_path, postgres_url, other, "stranger")
        await alone.close()
        assert not [*(tmp_path / "images" / "gateways").iterdir()]
        assert not [*(tmp_path / "other" / "gateways").iterdir()]


async def test_a_job_that_ends_while_the_database_is_gone_is_joined_once_it_is_back(
    sandbox: Sandbox, tmp_path: Path, own_postgres: PostgresServer
) -> None:
    url = own_postgres.new_database()
    async with fleet(sandbox, tmp_path, url, size=2) as (a, b):
        sandbox.script("stall_head;seconds=1", model="gpt-4o-image")
        first = begun(a.send(ORDER))
        await sandbox.until(lambda: sandbox.in_flight == 1)
        await asyncio.to_thread(own_postgres.stop)
        mine = await first
        assert mine.status == 200
        refused = await b.send(ORDER, AGAIN)
        assert refused.status == 503
        await asyncio.sleep(2.5)  # it is written again each second
        a.log.flush()
        assert (tmp_path / "gateway-0.log").read_text().count("job_not_kept") == 1
        await asyncio.to_thread(own_postgres.start)

        async def joined() -> bool:
            again = await b.send(ORDER, AGAIN)
            assert again.status in (200, 503)
            return again.status == 200 and again.body == mine.body

        await eventually(joined, "the answer", within=40)
        assert len(sandbox.bill) == 1
        await check_paid_once(url, sandbox)


async def test_a_webhook_is_told_once_and_by_one(sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
    heard: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        heard.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    config = f"webhooks: {{shop: {{url: 'http://127.0.0.1:{port}/', secret: '{secret}'}}}}"
    async with server, fleet(sandbox, tmp_path, postgres_url, config) as (a, b, c):
        sandbox.script("stall_head;seconds=1", model="gpt-4o-image")
        first = begun(a.send(ORDER))
        await sandbox.until(lambda: sandbox.in_flight == 1)
        again = await b.send(ORDER, {**AGAIN, "x-gateway-webhook": "shop"})
        assert again.body == (await first).body
        await eventually(lambda: bool(heard), "the webhook is told", within=20)
        late = await c.send(ORDER, {**AGAIN, "x-gateway-webhook": "shop"})
        assert late.status == 200
        await asyncio.sleep(1)
        assert len(heard) == 1
        await until(postgres_url, "SELECT state FROM deliveries", "told")
    assert ALICE.encode() not in b"".join(heard)


async def test_a_database_that_answers_nothing_is_told_of_soon(
    sandbox: Sandbox, tmp_path: Path, own_postgres: PostgresServer
) -> None:
    async with fleet(sandbox, tmp_path, own_postgres.new_database(), size=1) as (a,):
        await a.send(ORDER)
        own_postgres.pause()
        try:
            async with asyncio.timeout(15):  # a statement may take 30 seconds
                answers = await asyncio.gather(
                    *(a.send(ORDER), a.send(ORDER, AGAIN), a.send(TASK, path=TASKS)),
                    *(a.ask("GET", path) for path in ("/v1/jobs/job_0", "/v1/jobs", f"{RESPONSES}/resp_0")),
                )
        finally:
            own_postgres.resume()
        assert {(answer.status, answer.json()["error"]["code"]) for answer in answers} == {(503, "ledger_unavailable")}
        assert len(sandbox.bill) == 1
