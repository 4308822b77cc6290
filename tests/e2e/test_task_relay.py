"""PiAPI's own task API through the gateway: its JSON unchanged, our keys, our books, and nobody sees others' tasks."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from .conftest import StartGateway
from .faults import SECOND_KEY, TWO_KEYS
from .flux import ASK, CREATE, DEV, IMAGE, SCHNELL, TASKS, asked, check, created, hold, links, order
from .harness import ALICE, FLUX_ONLY, PIAPI_KEY, Answer, Rig
from .moments import nothing_in_flight

KEYS = {"first": PIAPI_KEY, "second": SECOND_KEY}
KLING = {"model": "kling", "task_type": "video_generation", "input": {"prompt": "a bear dances", "duration": 5}}


def flux(model: str = "Qubico/flux1-dev", **fields: Any) -> dict[str, Any]:
    return {"model": model, "task_type": "txt2img", "input": {"prompt": IMAGE}, **fields}


async def create(rig: Rig, body: Any = None, *, key: str | None = ALICE, **headers: str) -> Answer:
    """``POST /api/v1/task`` on a connection of its own."""
    data = body if isinstance(body, bytes) else json.dumps(body or flux()).encode()
    async with rig.client() as client:
        await client.ask(data, key, headers, target=TASKS)
        return await client.rest(await client.head())


async def read(rig: Rig, task_id: str, *, key: str | None = ALICE) -> Answer:
    """``GET /api/v1/task/{id}``."""
    async with rig.client() as client:
        await client.ask(b"", key, method="GET", target=f"{TASKS}/{task_id}")
        return await client.rest(await client.head())


def task_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    id: str = answer.json()["data"]["task_id"]
    return id


class TestCreating:
    async def test_answers_at_once_and_is_charged_once_the_task_is_done(self, rig: Rig) -> None:
        held = hold(rig)

        answer = await create(rig, flux(config={"service_mode": "public"}))

        assert answer.header("content-type") == "application/json"
        assert answer.header("x-gateway-upstream") == "piapi"
        document = answer.json()
        assert (document["code"], document["message"]) == (200, "success")
        assert document["data"]["status"] == "Pending"
        assert document["data"]["meta"]["usage"] == {"type": "point", "frozen": 0, "consume": 150_000}
        (upstream,) = created(rig)
        assert upstream.json == flux(config={"service_mode": "public"})
        assert upstream.key == PIAPI_KEY
        assert not [value for _, value in upstream.headers if ALICE.encode() in value]
        (task,) = rig.tasks()
        assert (task.task_id, task.key, task.model) == (task_of(answer), "alice", "Qubico/flux1-dev")
        assert len(rig.gateway.services.gate) == 1
        held.cancel()

        row = await check(rig)

        assert row.task_id == task.task_id
        assert (await rig.figures()).total("gateway_requests_total", route=TASKS, status="200", model=row.model) == 1
        await nothing_in_flight(rig)

    async def test_the_answer_is_what_the_upstream_said_byte_for_byte(self, rig: Rig) -> None:
        task_id = task_of(await create(rig))
        await rig.row()
        async with httpx2.AsyncClient() as http:
            said = await http.get(f"{rig.sandbox.urls['api']}{TASKS}/{task_id}", headers={"x-api-key": PIAPI_KEY})

        answer = await read(rig, task_id)

        assert answer.body == said.content
        assert answer.json()["data"]["status"] == "Completed"
        assert answer.json()["data"]["output"]["image_url"].startswith(rig.sandbox.urls["api"])

    async def test_by_the_key_in_piapis_own_header(self, rig: Rig) -> None:
        answer = await create(rig, key=None, **{"x-api-key": ALICE})
        assert answer.status == 200
        assert created(rig)[0].key == PIAPI_KEY
        await check(rig)

    async def test_by_a_model_under_its_short_name(self, rig: Rig) -> None:
        body = flux("flux-schnell")
        body["input"]["batch_size"] = 3
        assert (await create(rig, body)).status == 200
        assert created(rig)[0].json == {**body, "model": "Qubico/flux1-schnell"}
        row = await check(rig, charged=3 * SCHNELL, costs=[(3 * SCHNELL, "billed")], images=3)
        assert row.model == "flux-schnell"

    async def test_of_a_batch_that_names_no_points_by_the_images_that_came(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=0;{CREATE}")
        body = flux("Qubico/flux1-schnell")
        body["input"]["batch_size"] = 4
        assert (await create(rig, body)).status == 200
        total = 4 * SCHNELL
        await check(rig, charged=total, costs=[(total, "billed")], images=4, confidence="estimated")

    async def test_of_a_model_nobody_prices_costs_nobody_knows_what(self, rig: Rig) -> None:
        answer = await create(rig, KLING)
        assert answer.status == 200
        assert answer.header("x-gateway-cost-usd") is None
        assert created(rig)[0].json == KLING
        row = await rig.row()
        assert (row.state, row.confidence, row.charged, row.outcomes) == ("settled", "unknown", 0, ["ok"])
        assert (row.model, row.task_id) == ("kling", task_of(answer))
        assert (await rig.figures()).total("gateway_requests_total", route=TASKS, model="other", status="200") == 1

    async def test_unless_its_points_say_it(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=2600000;{CREATE}")
        assert (await create(rig, KLING)).status == 200
        row = await rig.row()
        assert (row.state, row.confidence, row.charged, row.upstream_cost) == (
            "settled",
            "measured",
            260_000_000,
            260_000_000,
        )

    async def test_a_task_that_fails_costs_nothing(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_failed;polls=5;{CREATE}")
        answer = await create(rig)
        assert answer.status == 200
        await check(
            rig, outcomes=["task_failed"], charged=0, costs=[(0, "billed")], images=0, state="released", status=200
        )
        assert (await read(rig, task_of(answer))).json()["data"]["error"]["message"] == "task failed"

    async def test_a_task_that_is_never_done_stays_in_doubt(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {tasks: {deadline: 500ms}}}")
        rig.sandbox.script(f"task_never;{CREATE}")
        answer = await create(rig)
        row = await check(
            rig,
            outcomes=["task_poll"],
            charged=0,
            costs=[(DEV, "unknown")],
            images=0,
            state="unknown",
            confidence="unknown",
            status=200,
        )
        assert row.task_id == task_of(answer)

    async def test_the_connection_is_free_for_the_next_request(self, rig: Rig) -> None:
        """The client asks after its task on the connection that made it, while the gateway still follows it."""
        held = hold(rig)
        async with rig.client() as client:
            await client.ask(json.dumps(flux()).encode(), target=TASKS)
            answer = await client.rest(await client.head())
            task_id = task_of(answer)
            held.cancel()
            await client.ask(b"", method="GET", target=f"{TASKS}/{task_id}")
            asked_again = await client.rest(await client.head())
        assert asked_again.json()["data"]["task_id"] == task_id
        await check(rig, reads=1)

    async def test_a_client_that_leaves_is_charged_all_the_same(self, rig: Rig) -> None:
        held = hold(rig)
        async with rig.client() as client:
            await client.ask(json.dumps(flux()).encode(), target=TASKS)
            await client.rest(await client.head())
            await client.leave()
        await rig.sandbox.until(lambda: len(asked(rig)) >= 2)
        held.cancel()
        row = await rig.row()
        assert (row.outcomes, row.charged, row.upstream_cost) == (["ok"], DEV, DEV)

    async def test_shutting_down_writes_the_task_down(self, rig: Rig) -> None:
        hold(rig)
        task_id = task_of(await create(rig))
        rig.gateway.drain()
        rig.gateway.cut_off()
        row = await rig.row()
        assert (row.outcomes, row.state, row.charged, row.task_id) == (["drain_cut"], "unknown", 0, task_id)
        assert row.costs == [(DEV, "unknown")]


class TestCreatingThatGoesWrong:
    async def test_is_told_in_openais_form(self, gateway: StartGateway) -> None:
        rig = await gateway("failover: {unknown_outcome_up_to: 0.01}")
        rig.sandbox.script(f"cf_524;{CREATE}")
        answer = await create(rig)
        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert answer.header("x-should-retry") == "false"
        assert len(created(rig)) == 1
        row = await rig.row()
        assert (row.outcomes, row.state, row.costs) == (["cf_524"], "unknown", [(DEV, "unknown")])

    async def test_goes_elsewhere_where_little_is_at_stake(self, rig: Rig) -> None:
        rig.sandbox.script(f"cf_524;bought=1;{CREATE}", role="api")
        assert (await create(rig)).status == 200
        assert [request.role for request in created(rig)] == ["api", "proxy"]
        await check(
            rig,
            outcomes=["cf_524", "ok"],
            costs=[(DEV, "suspected_duplicate"), (DEV, "billed")],
            moved=[("piapi", "cf_524")],
        )

    async def test_never_twice_where_nobody_knows_the_price(self, rig: Rig) -> None:
        rig.sandbox.script(f"cf_524;{CREATE}", role="api")
        answer = await create(rig, KLING)
        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert len(created(rig)) == 1

    async def test_an_order_that_piapi_refuses(self, rig: Rig) -> None:
        answer = await create(rig, flux(input={"prompt": IMAGE, "guidance_scale": 9}))
        assert answer.status == 400
        assert "guidance_scale" in answer.error()["message"]
        row = await rig.row()
        assert (row.outcomes, row.state, row.charged) == (["rejected"], "released", 0)

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"config": {"webhook_config": {"endpoint": "https://evil.example"}}}, "config.webhook_config"),
            ({"config": {"webhook_config": "https://evil.example"}}, "config.webhook_config"),
            ({"config": {"somewhere_config": {}}}, "config.somewhere_config"),
            ({"config": []}, "config"),
            ({"callback": "https://evil.example"}, "callback"),
            ({"input": "a bear"}, "input"),
            ({"task_type": None}, "task_type"),
            ({"model": "a model"}, "model"),
        ],
    )
    async def test_what_may_not_be_passed_on(self, body: dict[str, Any], param: str, rig: Rig) -> None:
        answer = await create(rig, {**flux(), **body})
        error = answer.error()
        assert (answer.status, error["type"], error["param"]) == (400, "invalid_request_error", param)
        assert rig.sandbox.requests == []
        assert (await rig.figures()).total("gateway_requests_total", route=TASKS, status="400") == 1

    async def test_an_empty_webhook_is_left_out(self, rig: Rig) -> None:
        """As PiAPI's own examples have it."""
        empty = {"service_mode": "", "webhook_config": {"endpoint": "", "secret": ""}}
        assert (await create(rig, flux(config=empty))).status == 200
        assert created(rig)[0].json["config"] == {"service_mode": ""}
        await check(rig)

    async def test_a_model_the_key_may_not_use(self, rig: Rig) -> None:
        for body in (KLING, flux("Qubico/flux1-dev")):
            answer = await create(rig, body, key=FLUX_ONLY)
            assert (answer.status, answer.error()["code"]) == (403, "model_not_allowed")
        assert rig.sandbox.requests == []
        assert (await create(rig, flux("flux-dev"), key=FLUX_ONLY)).status == 200
        assert (await rig.row()).key == "carol"

    async def test_a_model_that_is_no_task(self, rig: Rig) -> None:
        answer = await create(rig, flux("gpt-4o"))
        assert (answer.status, answer.error()["code"]) == (404, "model_not_found")
        assert rig.sandbox.requests == []

    async def test_without_a_key(self, rig: Rig) -> None:
        for key in (None, "gw-somebody-else"):
            answer = await create(rig, key=key)
            assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        assert rig.sandbox.requests == []


class TestReading:
    async def test_somebody_elses_task_and_no_task_look_the_same(self, rig: Rig) -> None:
        task_id = task_of(await create(rig))
        await rig.row()
        before = len(rig.sandbox.requests)
        others = [
            await read(rig, task_id, key=FLUX_ONLY),
            await read(rig, "00000000-0000-4000-8000-00000000ffff"),
            await read(rig, "x" * 200),
            await read(rig, "%00"),
        ]
        assert [(answer.status, answer.error()["code"]) for answer in others] == [(404, "task_not_found")] * 4
        assert len({answer.body for answer in others}) == 1
        assert len(rig.sandbox.requests) == before
        assert (await rig.figures()).total("gateway_requests_total", status="404") == 4

    async def test_needs_a_key(self, rig: Rig) -> None:
        task_id = task_of(await create(rig))
        answer = await read(rig, task_id, key=None)
        assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        await check(rig)

    async def test_is_done_with_the_key_that_created(self, gateway: StartGateway) -> None:
        """PiAPI shows a task to the key that made it and to no other."""
        rig = await gateway(TWO_KEYS)
        made = {task_of(await create(rig)): created(rig)[-1].key for _ in range(6)}
        await rig.rows(6)
        assert {KEYS[task.credential] for task in rig.tasks()} == set(made.values())
        before = len(rig.sandbox.requests)
        for task_id in made:
            assert task_of(await read(rig, task_id)) == task_id
        reads = rig.sandbox.requests[before:]
        assert {request.path.rpartition("/")[2]: request.key for request in reads} == made

    async def test_goes_to_the_other_host_when_one_is_down(self, rig: Rig) -> None:
        task_id = task_of(await create(rig))
        await rig.row()
        await rig.sandbox.refuse("api")
        assert task_of(await read(rig, task_id)) == task_id
        assert rig.sandbox.requests[-1].role == "proxy"

    async def test_costs_nothing_and_leaves_no_row(self, rig: Rig) -> None:
        task_id = task_of(await create(rig))
        await rig.row()
        for _ in range(3):
            assert (await read(rig, task_id)).status == 200
        await check(rig, reads=3)
        assert (await rig.figures()).total("gateway_requests_total", route=f"{TASKS}/{{id}}", status="200") == 3

    async def test_when_no_host_answers_is_an_error(self, rig: Rig) -> None:
        task_id = task_of(await create(rig))
        await rig.row()
        rig.sandbox.script(f"server_error;{ASK}", times=None)
        answer = await read(rig, task_id)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_error")
        assert [request.role for request in rig.sandbox.requests[-2:]] == ["api", "proxy"]

    async def test_a_task_made_for_an_image_can_be_read_as_well(self, rig: Rig) -> None:
        (link,) = links(await order(rig))
        (task,) = rig.tasks()
        assert (await read(rig, task.task_id)).json()["data"]["output"]["image_url"] == link

    async def test_while_it_runs(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_never;{CREATE}")
        task_id = task_of(await create(rig))
        answer = await read(rig, task_id)
        assert answer.json()["data"]["status"] in ("Pending", "Processing")
        assert answer.json()["data"]["output"] is None
        rig.gateway.drain()
        rig.gateway.cut_off()
        await nothing_in_flight(rig)
        assert (await rig.row()).state == "unknown"


class TestTheKeysLimits:
    async def test_hold_for_tasks(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: alice, team: growth, key: {ALICE}, rpm: 1}}]")
        assert (await create(rig)).status == 200
        answer = await create(rig)
        assert (answer.status, answer.error()["type"]) == (429, "rate_limit_error")
        assert len(created(rig)) == 1
        assert {row.outcomes[0] for row in await rig.rows(1)} == {"ok"}

    async def test_its_only_place_is_free_once_it_is_answered(self, gateway: StartGateway) -> None:
        """Otherwise nobody with one place could ask after what runs."""
        rig = await gateway(f"keys: [{{name: alice, team: growth, key: {ALICE}, parallel: 1}}]")
        rig.sandbox.script(f"ok;polls=1000000;{CREATE}")
        task_id = task_of(await create(rig))
        assert task_of(await read(rig, task_id)) == task_id
        assert len(rig.gateway.services.gate) == 1
        rig.gateway.drain()
        rig.gateway.cut_off()
        assert (await rig.row()).task_id == task_id
