"""Paid work for those who do not wait: 202 and an id, the job's state and result, cancelling, pages, webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, FLUX_ONLY, Answer, Rig, eventually, get

GENERATIONS = "/v1/images/generations"
ASYNC = {"prefer": "respond-async"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SLOW = "stall_head;seconds=0.4"


def order(scenario: str = "ok", **fields: Any) -> bytes:
    prompt = f"a lighthouse [[sandbox: {scenario}]]"
    return json.dumps({"model": "gpt-image-1", "quality": "low", "prompt": prompt, **fields}).encode()


async def begin(rig: Rig, body: bytes, headers: Mapping[str, str] = ASYNC, key: str = ALICE) -> Answer:
    async with rig.client() as client:
        await client.ask(body, key, headers, target=GENERATIONS)
        return await client.answer()


async def ask(rig: Rig, method: str, path: str, key: str | None = ALICE) -> Answer:
    async with rig.client() as client:
        lines = [] if key is None else [f"authorization: Bearer {key}"]
        return await client.request(method, path, b"", *lines)


async def job(rig: Rig, id: str, query: str = "?wait=30") -> Any:
    answer = await ask(rig, "GET", f"/v1/jobs/{id}{query}")
    assert answer.status == 200
    return answer.json()


class TestNotWaiting:
    async def test_an_order_is_accepted_and_fetched(self, gateway: StartGateway) -> None:
        rig = await gateway()
        accepted = await begin(rig, order(SLOW))
        assert accepted.status == 202
        told = accepted.json()
        assert accepted.header("location") == f"/v1/jobs/{told['id']}"
        assert accepted.header("preference-applied") == "respond-async"
        assert accepted.header("x-gateway-job") == told["id"]
        assert set(told) == {
            *("id", "object", "status", "created_at", "model", "progress", "cost_usd", "result", "error"),
        }
        assert (told["object"], told["model"]) == ("gateway.job", "gpt-image-1")
        assert told["status"] in ("queued", "in_progress")
        assert (told["result"], told["error"], told["cost_usd"]) == (None, None, None)
        done = await job(rig, told["id"])
        assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
        assert base64.b64decode(done["result"]["data"][0]["b64_json"])[:4] == b"\x89PNG"
        row = await rig.row()
        assert done["cost_usd"] == done["result"]["usage"]["cost"] == pytest.approx(row.charged / 1e9)
        assert (row.status, row.state) == (200, "settled")
        assert len(rig.sandbox.bill) == 1

    async def test_so_is_one_for_a_stream_whose_events_are_the_result(self, gateway: StartGateway) -> None:
        rig = await gateway()
        accepted = await begin(rig, order(SLOW, stream=True, partial_images=1))
        assert accepted.status == 202
        done = await job(rig, accepted.json()["id"])
        assert done["status"] == "completed"
        [event] = done["result"]["events"]
        assert event["type"] == "image_generation.completed"
        assert base64.b64decode(event["b64_json"])[:4] == b"\x89PNG"
        assert len(rig.sandbox.bill) == 1

    @pytest.mark.parametrize("preference", ["respond-async", "return=minimal, Respond-Async; wait=5"])
    async def test_the_preference_may_stand_among_others(self, gateway: StartGateway, preference: str) -> None:
        rig = await gateway()
        assert (await begin(rig, order(), {"prefer": preference})).status == 202

    async def test_another_preference_is_none(self, gateway: StartGateway) -> None:
        rig = await gateway()
        answer = await begin(rig, order(), {"prefer": 'wait=10, note="respond-async"'})
        assert (answer.status, answer.header("preference-applied")) == (200, None)

    async def test_a_re_send_of_it_gets_the_same_job(self, gateway: StartGateway) -> None:
        rig = await gateway()
        first = await begin(rig, order(SLOW))
        again = await begin(rig, order(SLOW), {**ASYNC, "x-stainless-retry-count": "1"})
        assert again.status == 202
        assert again.json()["id"] == first.json()["id"]
        assert again.header("x-gateway-note") == "joined"
        await job(rig, first.json()["id"])
        paying, joined = sorted(await rig.rows(2), key=lambda row: -row.charged)
        assert (joined.charged, joined.status, len(rig.sandbox.bill)) == (0, 202, 1)
        assert paying.charged > 0

    async def test_one_who_waits_after_all_joins_it(self, gateway: StartGateway) -> None:
        rig = await gateway()
        first = await begin(rig, order(SLOW))
        answer = await begin(rig, order(SLOW), {"x-stainless-retry-count": "1"})
        assert answer.status == 200
        assert answer.header("x-gateway-job") == first.json()["id"]
        assert (await job(rig, first.json()["id"]))["result"] == answer.json()
        assert len(rig.sandbox.bill) == 1

    async def test_what_is_refused_is_refused_at_once(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: alice, key: {ALICE}, budget: 0.000001/day}}]")
        answer = await begin(rig, order())
        assert answer.status == 429
        assert answer.error()["code"] == "insufficient_quota"
        assert rig.sandbox.bill == []

    async def test_what_fails_is_told_with_its_error_and_costs_nothing(self, gateway: StartGateway) -> None:
        rig = await gateway()
        accepted = await begin(rig, order("rejected"))
        if accepted.status == 202:  # it may have been refused before it could be told
            failed = await job(rig, accepted.json()["id"])
            assert (failed["status"], failed["result"], failed["cost_usd"]) == ("failed", None, 0)
            assert set(failed["error"]) == {"message", "type", "param", "code"}
        else:
            assert accepted.status == 400
        assert rig.sandbox.bill == []


class TestReading:
    async def test_a_wait_that_ends_first_tells_how_it_is(self, gateway: StartGateway) -> None:
        rig = await gateway()
        id = (await begin(rig, order("stall_head;seconds=1"))).json()["id"]
        assert (await job(rig, id, "?wait=0.05"))["status"] == "in_progress"
        assert (await job(rig, id, "?wait=0"))["status"] == "in_progress"
        assert (await job(rig, id, ""))["status"] == "in_progress"
        assert (await job(rig, id, "?wait=30s"))["status"] == "completed"

    async def test_head_is_get_without_its_body(self, gateway: StartGateway) -> None:
        rig = await gateway()
        id = (await begin(rig, order())).json()["id"]
        await job(rig, id)
        for path in (f"/v1/jobs/{id}", "/v1/jobs"):
            whole, head = await ask(rig, "GET", path), await ask(rig, "HEAD", path)
            assert (head.status, head.body) == (200, b"")
            assert head.header("content-length") == whole.header("content-length")

    @pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
    async def test_another_keys_job_is_not_there(self, gateway: StartGateway, method: str) -> None:
        rig = await gateway()
        id = (await begin(rig, order())).json()["id"]
        for path in (f"/v1/jobs/{id}", "/v1/jobs/job_00000000000000000000000000000000", "/v1/jobs/x%00y"):
            answer = await ask(rig, method, path, FLUX_ONLY)
            assert answer.status == 404
            if method != "HEAD":
                assert answer.error()["code"] == "job_not_found"
        assert (await ask(rig, "GET", "/v1/jobs", FLUX_ONLY)).json()["data"] == []
        assert (await ask(rig, method, f"/v1/jobs/{id}", None)).status == 401
        assert (await job(rig, id))["status"] == "completed"

    async def test_pages_go_from_the_newest_to_the_oldest(self, gateway: StartGateway) -> None:
        rig = await gateway()
        ids = [(await begin(rig, order())).json()["id"] for _ in range(5)]
        first = (await ask(rig, "GET", "/v1/jobs?limit=2")).json()
        assert [one["id"] for one in first["data"]] == [ids[4], ids[3]]
        assert (first["object"], first["has_more"], first["last_id"]) == ("list", True, ids[3])
        second = (await ask(rig, "GET", f"/v1/jobs?limit=9&after={first['last_id']}")).json()
        assert [one["id"] for one in second["data"]] == [ids[2], ids[1], ids[0]]
        assert second["has_more"] is False
        assert all(one["result"] is None for one in second["data"])

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v1/jobs?limit=0", 400),
            ("/v1/jobs?limit=101", 400),
            ("/v1/jobs?limit=ten", 400),
            ("/v1/jobs?after=job_x", 404),
        ],
    )
    async def test_pages_that_are_none(self, gateway: StartGateway, path: str, status: int) -> None:
        rig = await gateway()
        assert (await ask(rig, "GET", path)).status == status

    @pytest.mark.parametrize("wait", ["-1", "soon", "nan", "inf"])
    async def test_waits_that_are_none(self, gateway: StartGateway, wait: str) -> None:
        rig = await gateway()
        id = (await begin(rig, order())).json()["id"]
        answer = await ask(rig, "GET", f"/v1/jobs/{id}?wait={wait}")
        assert (answer.status, answer.error()["param"]) == (400, "wait")

    async def test_one_that_was_waited_for_is_listed_too(self, gateway: StartGateway) -> None:
        rig = await gateway()
        answer = await begin(rig, order(), {})
        assert (await job(rig, answer.header("x-gateway-job") or ""))["result"] == answer.json()

    async def test_it_is_there_after_a_restart(self, gateway: StartGateway) -> None:
        rig = await gateway()
        id = (await begin(rig, order())).json()["id"]
        before = await job(rig, id)
        await rig.restart()
        assert await job(rig, id) == before


class TestDeleting:
    async def test_one_that_has_ended_is_forgotten(self, gateway: StartGateway) -> None:
        rig = await gateway()
        id = (await begin(rig, order())).json()["id"]
        await job(rig, id)
        deleted = await ask(rig, "DELETE", f"/v1/jobs/{id}")
        assert (deleted.status, deleted.json()) == (200, {"id": id, "object": "gateway.job", "deleted": True})
        assert (await ask(rig, "GET", f"/v1/jobs/{id}")).status == 404
        await rig.restart()
        assert (await ask(rig, "GET", f"/v1/jobs/{id}")).status == 404

    async def test_one_that_is_being_bought_is_forgotten_and_paid_for(self, gateway: StartGateway) -> None:
        rig = await gateway()
        id = (await begin(rig, order(SLOW))).json()["id"]
        await rig.sandbox.until(lambda: bool(rig.sandbox.requests))
        assert (await ask(rig, "DELETE", f"/v1/jobs/{id}")).json()["deleted"] is True
        assert (await ask(rig, "GET", f"/v1/jobs/{id}")).status == 404
        row = await rig.row()
        assert row.charged > 0
        assert len(rig.sandbox.bill) == 1

    async def test_one_that_costs_nothing_yet_is_cancelled(self, gateway: StartGateway) -> None:
        """Both of the account's places are taken, so the third task waits for one."""
        rig = await gateway()
        rig.sandbox.set_default("ok;concurrency=1")
        flux = {"model": "flux-schnell", "size": "256x256"}
        first = (await begin(rig, order("ok;ready=2", **flux, quality=None))).json()["id"]
        await eventually(lambda: len(rig.tasks()) == 1, "a task that fills the account")
        waiting = (await begin(rig, order("ok;ready=0.1", **flux, quality=None))).json()["id"]
        assert [(await job(rig, id, ""))["status"] for id in (first, waiting)] == ["in_progress", "queued"]
        cancelled = await ask(rig, "DELETE", f"/v1/jobs/{waiting}")
        assert cancelled.json()["status"] == "cancelled", "nothing was sent for it"
        told = await job(rig, waiting)
        assert (told["status"], told["cost_usd"], told["result"]) == ("cancelled", 0, None)
        await job(rig, first)
        assert len(rig.sandbox.bill) == 1


class Receiver:
    """A webhook's other end. ``answers``: the statuses that it gives, the last one again and again."""

    def __init__(self, *answers: int) -> None:
        self.answers = [*answers] or [200]
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, *answers: int) -> AsyncIterator[Receiver]:
        receiver = cls(*answers)
        server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/T0P53CRET"
        async with server:
            yield receiver

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        for line in head.split("\r\n"):
            if line.lower().startswith("webhook-signature: "):
                fields["webhook-signature"] = line.split(": ", 1)[1]
        self.got.append((fields, await reader.readexactly(int(fields["content-length"]))))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def webhooks(receiver: Receiver) -> str:
    return f"webhooks: {{shop: {{url: '{receiver.url}', secret: {SECRET}}}}}"


class TestWebhooks:
    @pytest.mark.parametrize("headers", [{}, ASYNC])
    async def test_one_that_is_chosen_is_told_signed(self, gateway: StartGateway, headers: dict[str, str]) -> None:
        async with Receiver.open() as receiver:
            rig = await gateway(webhooks(receiver))
            answer = await begin(rig, order(), {**headers, "x-gateway-webhook": "shop"})
            id = answer.header("x-gateway-job") or ""
            await eventually(lambda: len(receiver.got) == 1, "the message")
            [(fields, body)] = receiver.got
            key = base64.b64decode(SECRET.removeprefix("whsec_"))
            signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
            made = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            assert fields["webhook-signature"] == f"v1,{made}"
            told = json.loads(body)
            assert told["type"] == "job.completed"
            assert {**told["data"], "result": None} == {**await job(rig, id), "result": None}
            await self._listed(rig, id, "told")
            log = (rig.folder / "gateway.log").read_text()
        assert "T0P53CRET" not in log
        assert SECRET not in log

    async def test_a_failure_is_told_too(self, gateway: StartGateway) -> None:
        async with Receiver.open() as receiver:
            rig = await gateway(webhooks(receiver))
            answer = await begin(rig, order("rejected"), {"x-gateway-webhook": "shop"})
            assert answer.status == 400
            await eventually(lambda: len(receiver.got) == 1, "the message")
            told = json.loads(receiver.got[0][1])
        assert (told["type"], told["data"]["status"], told["data"]["cost_usd"]) == ("job.failed", "failed", 0)

    async def test_a_re_send_may_choose_one_as_well(self, gateway: StartGateway) -> None:
        async with Receiver.open() as receiver:
            rig = await gateway(webhooks(receiver))
            await begin(rig, order(), {})
            again = {"x-stainless-retry-count": "1", "x-gateway-webhook": "shop"}
            assert (await begin(rig, order(), again)).status == 200
            await eventually(lambda: len(receiver.got) == 1, "the message")

    async def test_what_was_not_delivered_is_after_a_restart(self, gateway: StartGateway) -> None:
        async with Receiver.open(503, 204) as receiver:
            rig = await gateway(webhooks(receiver))
            answer = await begin(rig, order(), {"x-gateway-webhook": "shop"})
            id = answer.header("x-gateway-job") or ""
            await eventually(lambda: len(receiver.got) == 1, "the first try")
            await self._listed(rig, id, "pending")
            await rig.restart()
            await eventually(lambda: len(receiver.got) == 2, "the second try")
            first, second = (fields["webhook-id"] for fields, _ in receiver.got)
            assert first == second
            await self._listed(rig, id, "told")

    async def test_an_unknown_name_is_refused_before_anything_is_bought(self, gateway: StartGateway) -> None:
        async with Receiver.open() as receiver:
            rig = await gateway(webhooks(receiver))
            for name in ("other", "https://evil.example/", "SHOP", "shöp"):
                answer = await begin(rig, order(), {"x-gateway-webhook": name})
                assert answer.status == 400
                error = answer.error()
                assert (error["code"], error["param"]) == ("unknown_webhook", "x-gateway-webhook")
                assert "'webhooks'" in error["message"]
                assert "shop" in error["message"]
            assert rig.sandbox.requests == []
            assert receiver.got == []

    async def _listed(self, rig: Rig, id: str, state: str) -> None:
        """The admin API says so."""
        path = f"/admin/v1/webhooks/deliveries?job={id}"

        async def is_so() -> bool:
            rows = json.loads(await get(f"{rig.gateway.admin_url}{path}"))["data"]
            return [(row["webhook"], row["state"], row["key"]) for row in rows] == [("shop", state, "alice")]

        await eventually(is_so, f"a delivery that is {state}")


async def test_it_tells_how_long_such_an_order_takes_and_how_far_it_is(gateway: StartGateway) -> None:
    """Twelve that were alike suffice to know."""
    rig = await gateway()
    for _ in range(12):
        assert (await begin(rig, order("stall_head;seconds=0.2"), {})).status == 200
    accepted = await begin(rig, order("stall_head;seconds=1"))
    expected = float(accepted.header("x-gateway-expected-seconds") or 0)
    assert 0.1 < expected < 5
    id = accepted.json()["id"]
    assert (await job(rig, id, "?wait=0.3"))["progress"] > 0
    assert (await job(rig, id))["progress"] == 100
