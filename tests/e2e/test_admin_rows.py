"""The admin API's rows: the requests that came in last, with every attempt, and the jobs of all keys."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.base_config import BACKUP_KEY, PIAPI_KEY
from tests.raw_client import RawClient

from .conftest import StartGateway
from .harness import ALICE, FLUX_ONLY, Answer, Rig, chat_body, eventually

GENERATIONS = "/v1/images/generations"
SECRET_WORDS = "the lighthouse of Alexandria"

REQUESTS = "/admin/v1/requests"
JOBS = "/admin/v1/jobs"


async def ask(rig: Rig, path: str, **query: object) -> Answer:
    client = await RawClient.connect(rig.gateway.admin_url)
    try:
        return await client.request("GET", f"{path}?{urlencode(query)}", b"")
    finally:
        await client.close()


async def page(rig: Rig, path: str, **query: object) -> Any:
    answer = await ask(rig, path, **query)
    assert answer.status == 200, answer.body
    assert answer.header("cache-control") == "no-store"
    for secret in (SECRET_WORDS, ALICE, FLUX_ONLY, PIAPI_KEY, BACKUP_KEY):
        assert secret.encode() not in answer.body
    document = answer.json()
    assert (set(document), document["object"]) == ({"object", "data", "has_more"}, "list")
    return document


async def chat(rig: Rig, **headers: str) -> Answer:
    return await rig.post(
        chat_body(messages=[{"role": "user", "content": SECRET_WORDS}], user=SECRET_WORDS), headers=headers
    )


async def order(rig: Rig, scenario: str = "ok", model: str = "gpt-image-1", key: str = ALICE) -> Answer:
    prompt = f"{SECRET_WORDS} [[sandbox: {scenario}]]"
    return await rig.post(
        json.dumps({"model": model, "quality": "low", "prompt": prompt}).encode(), key=key, target=GENERATIONS
    )


async def test_a_failover_is_told_with_every_attempt_and_its_reason(gateway: StartGateway) -> None:
    rig = await gateway()
    rig.sandbox.script("status;code=500", role="api", times=1)
    rig.sandbox.script("status;code=503", role="proxy", times=1)
    answer = await chat(rig)
    assert answer.status == 200
    await rig.rows(1)
    document = await page(rig, REQUESTS)
    assert document["has_more"] is False
    [row] = document["data"]
    assert (row["key"], row["team"], row["route"], row["model"]) == (
        "alice",
        "growth",
        "/v1/chat/completions",
        "gpt-4o",
    )
    assert (row["request_id"], row["state"], row["status"]) == (answer.header("x-request-id"), "settled", 200)
    assert (row["upstream"], row["endpoint"]) == ("backup", rig.sandbox.urls["backup"])
    assert row["cost_usd"] > 0
    assert (row["upstream_cost_usd"], row["confidence"]) == (row["cost_usd"], "measured")
    assert row["reserved_usd"] >= row["cost_usd"]
    assert row["input_tokens"] > 0 < row["output_tokens"]
    assert 0 <= row["seconds"] < 60
    assert row["created_at"] <= row["settled_at"]
    assert row["created_at"].endswith("Z")
    assert (row["paid_by"], row["corrected"], row["task_id"], row["images"]) == (None, None, None, 0)
    assert [(one["endpoint"], one["upstream_key"], one["outcome"], one["cost_usd"] > 0) for one in row["attempts"]] == [
        (rig.sandbox.urls["api"], "first", "upstream_5xx", False),
        (rig.sandbox.urls["proxy"], "first", "upstream_5xx", False),
        (rig.sandbox.urls["backup"], "spare", "ok", True),
    ]
    assert [(one["upstream"], one["phase"], one["cost_reason"], one["task_id"]) for one in row["attempts"]] == [
        ("piapi", "unknown", None, None),
        ("piapi", "unknown", None, None),
        ("backup", "forwarded", "billed", None),
    ]


async def test_one_that_runs_is_open_and_knows_no_end(gateway: StartGateway) -> None:
    rig = await gateway()
    rig.sandbox.script("stall_head", times=1)
    async with rig.client() as client:
        await client.ask(chat_body(), ALICE, None)
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        [row] = (await page(rig, REQUESTS))["data"]
        assert (row["state"], row["status"], row["settled_at"], row["seconds"]) == ("open", None, None, None)
        assert (row["cost_usd"], row["upstream_cost_usd"], row["confidence"]) == (None, None, None)
        assert (row["upstream"], row["attempts"]) == (None, [])
        assert row["reserved_usd"] > 0


async def test_requests_come_page_by_page_and_narrowed(gateway: StartGateway) -> None:
    rig = await gateway()
    for number in range(3):
        await chat(rig, **{"x-request-id": f"mine-{number}"})
    assert (await order(rig, model="flux-schnell", key=FLUX_ONLY)).status == 200
    await rig.rows(4)
    rows = (await page(rig, REQUESTS))["data"]
    assert [row["key"] for row in rows] == ["carol", "alice", "alice", "alice"]
    first = await page(rig, REQUESTS, limit=3)
    assert (first["data"], first["has_more"]) == (rows[:3], True)
    rest = await page(rig, REQUESTS, limit=3, before=rows[2]["id"])
    assert (rest["data"], rest["has_more"]) == (rows[3:], False)
    assert (await page(rig, REQUESTS, key="carol"))["data"] == rows[:1]
    assert (await page(rig, REQUESTS, key="alice", limit=1, before=rows[1]["id"]))["data"] == rows[2:3]
    assert (await page(rig, REQUESTS, request_id=rows[2]["request_id"]))["data"] == rows[2:3]
    assert (await page(rig, REQUESTS, before="gone"))["data"] == []
    assert (await page(rig, REQUESTS, key="", before=""))["data"] == rows
    assert [one["task_id"] is None for one in rows[0]["attempts"]] == [False]


async def test_a_resend_names_the_request_that_paid(gateway: StartGateway) -> None:
    rig = await gateway()
    body = json.dumps({"model": "gpt-image-1", "quality": "low", "prompt": SECRET_WORDS}).encode()
    for _ in range(2):
        assert (await rig.post(body, headers={"idempotency-key": "once"}, target=GENERATIONS)).status == 200
    await rig.rows(2)
    joined, paying = (await page(rig, REQUESTS))["data"]
    assert (joined["paid_by"], joined["cost_usd"], joined["attempts"]) == (paying["id"], 0.0, [])
    assert paying["cost_usd"] > 0
    [job] = (await page(rig, JOBS))["data"]
    assert (job["exchange"], job["request_id"]) == (paying["id"], paying["request_id"])


async def test_jobs_of_all_keys_are_told_without_orders_and_answers(gateway: StartGateway) -> None:
    rig = await gateway()
    assert (await order(rig)).status == 200
    refused = await order(rig, "status;code=400")
    assert refused.status == 400
    assert (await order(rig, model="flux-schnell", key=FLUX_ONLY)).status == 200
    await rig.rows(3)

    async def ended() -> bool:
        return all(row["ended_at"] for row in (await page(rig, JOBS))["data"])

    await eventually(ended, "every job written as ended")
    rows = (await page(rig, JOBS))["data"]
    assert [(row["key"], row["team"], row["model"], row["state"]) for row in rows] == [
        ("carol", None, "flux-schnell", "completed"),
        ("alice", "growth", "gpt-image-1", "failed"),
        ("alice", "growth", "gpt-image-1", "completed"),
    ]
    failed, done = rows[1:]
    assert set(done) == {
        *("id", "key", "team", "route", "model", "state", "stream", "created_at", "ended_at", "request_id"),
        *("exchange", "cost_usd", "error"),
    }
    assert (done["route"], done["stream"], done["error"]) == (GENERATIONS, False, None)
    assert done["cost_usd"] > 0
    assert failed["cost_usd"] == 0.0
    told = refused.error()
    assert failed["error"] == {"status": 400, "code": told["code"], "message": told["message"]}
    first = await page(rig, JOBS, limit=1)
    assert (first["data"], first["has_more"]) == (rows[:1], True)
    assert (await page(rig, JOBS, after=rows[0]["id"]))["data"] == rows[1:]
    assert (await page(rig, JOBS, key="alice", after=rows[1]["id"]))["data"] == rows[2:]
    assert (await page(rig, JOBS, after="job_gone"))["data"] == []


@pytest.mark.parametrize(("path", "most"), [(REQUESTS, 1_000), (JOBS, 100)])
async def test_what_a_page_cannot_be_asked_for_is_refused(rig: Rig, path: str, most: int) -> None:
    for text in ("0", str(most + 1), "-1", "1.5", "many", "", "٣", "1" * 12):
        answer = await ask(rig, path, limit=text)
        assert (answer.status, answer.error()["param"], answer.error()["code"]) == (400, "limit", "invalid_value"), text
    assert (await ask(rig, path, limit=most)).status == 200
    answer = await ask(rig, path, since="1d")
    assert (answer.status, answer.error()["param"], answer.error()["code"]) == (400, "since", "unknown_parameter")


@pytest.mark.parametrize("path", [REQUESTS, JOBS])
async def test_a_store_that_cannot_be_read_is_told_with_advice(rig: Rig, path: str) -> None:
    store = rig.folder / "gateway.db"
    store.rename(rig.folder / "away.db")
    try:
        answer = await ask(rig, path)
    finally:
        (rig.folder / "away.db").rename(store)
    assert (answer.status, answer.error()["code"]) == (503, "ledger_unavailable")
    assert "piapi-gateway restore DIR" in answer.error()["message"]
