"""Numbers beyond every range, in a query or a body of our own routes: a 400 that names the field, and never a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from .harness import ALICE, Rig

NUMBERS: list[Any] = [
    *(10**30, -(10**30), 2**63, 2**64, -1, 0, 1e400, 1e308, -0.0, 1.5, True, "NaN", "1e400", "9" * 5000, [], {}),
    *(10**5000,),
]


def text(value: Any) -> str:
    return (
        json.dumps(value).replace("Infinity", "1e400") if not isinstance(value, int) or value < 10**100 else "9" * 5000
    )


async def admin(rig: Rig, method: str, path: str, body: str = "") -> tuple[int, Any]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, rig.gateway.admin_url + path, content=body, headers=JSON)
    return answer.status_code, answer.json()


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("field", ["rpm", "tpm", "parallel", "budget", "expires", "alert", "models", "model_budgets"])
async def test_a_key_takes_no_number_that_cannot_be(rig: Rig, field: str) -> None:
    for number, value in enumerate(NUMBERS):
        status, answer = await admin(
            rig, "POST", "/admin/v1/keys", f'{{"name": "k{number}", "{field}": {text(value)}}}'
        )
        if status != 400:
            assert (status, field) in ((200, "models"), (200, "model_budgets")), (value, answer)
            assert value in ([], {})
    _, listed = await admin(rig, "GET", "/admin/v1/keys")
    assert all(key["rpm"] is None and key["budget"] is None for key in listed["data"])


@pytest.mark.parametrize(
    "budget", ["1e400/day", "-5/day", "NaN/day", "99999999999999999999/month", "1/fortnight", "0.0000000001/day", "5"]
)
async def test_a_budget_is_an_amount_that_can_be(rig: Rig, budget: str) -> None:
    body = json.dumps({"name": "k", "budget": budget})
    status, answer = await admin(rig, "POST", "/admin/v1/keys", body)
    assert (status, answer["error"]["param"]) == (400, "budget")


@pytest.mark.parametrize(
    "path",
    [
        *(f"/admin/v1/keys?limit={value}" for value in ("-1", "0", "1e9", "9" * 20, "9" * 5000, "NaN", "")),
        "/admin/v1/keys?limit=%D9%A3",
        *(
            f"/admin/v1/usage?{name}={value}"
            for name in ("since", "until")
            for value in (
                "99999999999d",
                "9999-01-01",
                "2300-01-01",
                "1e400",
                "-5d",
                "1-01T00:00%2B01",
                "9" * 5000,
            )
        ),
        "/admin/v1/usage?since=2026-01-01&until=9999-06-01",
        *(f"/admin/v1/audit?since={value}" for value in ("99999999999d", "9999-01-01", "9999-12-31", "nan")),
    ],
)
async def test_a_query_takes_no_number_that_cannot_be(rig: Rig, path: str) -> None:
    status, answer = await admin(rig, "GET", path)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), answer


async def test_a_page_may_begin_behind_any_name(rig: Rig) -> None:
    for after in ("9" * 5000, "%00", "%ff", "-1", "%ED%A0%80"):
        assert (await admin(rig, "GET", f"/admin/v1/keys?after={after}"))[0] == 200


@pytest.mark.parametrize("before", ["9999-01-01", "99999999999d", "1e400", 5, None, 1e308])
async def test_pruning_takes_no_moment_that_cannot_be(rig: Rig, before: Any) -> None:
    status, _ = await admin(rig, "POST", "/admin/v1/prune", json.dumps({"before": before}))
    assert status == 400


async def ask(rig: Rig, path: str, body: str) -> tuple[int, Any]:
    async with rig.client() as client:
        await client.ask(body.encode(), ALICE, target=path)
        answer = await client.rest(await client.head())
    return answer.status, answer.json()


@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens"])
async def test_a_chat_takes_no_number_that_cannot_be(rig: Rig, field: str) -> None:
    for value in NUMBERS:
        body = f'{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "x"}}], "{field}": {text(value)}}}'
        status, answer = await ask(rig, "/v1/chat/completions", body)
        if value == 2**63 and field != "n":  # it fits in 64 bits, and the model writes no more than it can
            assert status == 200
        else:
            assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), (value, answer)


@pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "flux-dev"])
@pytest.mark.parametrize(
    "fields",
    [
        '"size": "100000000000000000000x100000000000000000000"', '"size": "1e400x1e400"', '"size": "-1x-1"',
        '"n": 1e30', '"n": 18446744073709551616', '"n": -1', '"n": true', f'"n": {"9" * 5000}',
        '"partial_images": 1e400',
    ],
)  # fmt: skip
async def test_an_order_takes_no_number_that_cannot_be(rig: Rig, model: str, fields: str) -> None:
    status, answer = await ask(rig, "/v1/images/generations", f'{{"model": "{model}", "prompt": "x", {fields}}}')
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), answer
    assert rig.sandbox.requests == []


@pytest.mark.parametrize(
    "given",
    [f'"{name}": {value}' for name in ("seed", "steps", "width", "guidance_scale", "batch_size")
     for value in ("1e30", "-1e30", "18446744073709551616", "-1.5e300", '"NaN"', "1e400", "{}", "9" * 5000)],
)  # fmt: skip
async def test_flux_takes_no_number_that_cannot_be(rig: Rig, given: str) -> None:
    status, answer = await ask(rig, "/v1/images/generations", f'{{"model": "flux-dev", "prompt": "x", {given}}}')
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), answer
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("batch", ["1e30", "18446744073709551615", "-1", "true", '"4"', "9" * 5000])
async def test_a_task_takes_no_number_of_images_that_cannot_be(rig: Rig, batch: str) -> None:
    body = f'{{"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {{"prompt": "x", "batch_size": {batch}}}}}'
    status, answer = await ask(rig, "/api/v1/task", body)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), answer


@pytest.mark.parametrize("limit", [2**53, 2**63 - 1, 2**63, 2**64 - 1])
async def test_the_most_a_chat_may_cost_fits_in_the_books(gateway: Any, limit: int) -> None:
    """Of a dear model without a known bound of its output: the figure to be reserved must not break the store."""
    rig = await gateway(
        "models: {dear: {targets: [{upstream: piapi, model: gpt-4o, price: {input: 1000, output: 100000}}]}}"
    )
    answer = await rig.chat(model="dear", max_tokens=limit)
    assert answer.status in (200, 400, 429)
