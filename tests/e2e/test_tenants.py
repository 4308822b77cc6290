"""Two keys that differ in their last character alone, equal bodies, equal marks: nothing is shared between them."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import MESSAGES, PATH, Answer, Rig, chat_body

ANNA = "gw-member-0011223344556677889900aabbccddeeff-a"
BERT = ANNA[:-1] + "b"
OF_BOTH = f"{{keys: [{{name: anna, key: {ANNA}}}, {{name: bert, key: {BERT}}}], images: {{keep: 1h}}, auth: required}}"

TASK = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a hat"}}
PICTURE = {"model": "flux-schnell", "prompt": "a hat", "response_format": "url"}
ID = re.compile(r"[A-Za-z0-9_.-]{12,128}")


async def ask(rig: Rig, key: str | None, method: str, target: str, body: Any = None, *lines: str) -> Answer:
    async with rig.client() as client:
        sent = b"" if body is None else json.dumps(body).encode()
        bearer = [] if key is None else [f"Authorization: Bearer {key}"]
        return await client.request(method, target, sent, "Content-Type: application/json", *bearer, *lines)


async def test_a_key_is_the_whole_key(gateway: StartGateway) -> None:
    """Whoever knows a key but for its end is a stranger; a prefix is nobody (CVE-2026-35030 compared 20 characters)."""
    rig = await gateway(OF_BOTH)
    for key in (ANNA[:-1], ANNA[:20], ANNA + "x", ANNA.upper(), ANNA + " x", BERT[::-1]):
        assert (await ask(rig, key, "GET", "/v1/models")).status in (401, 429), key
    assert (await ask(rig, ANNA, "GET", "/v1/models")).status == 200


async def test_equal_requests_with_equal_marks_are_two_purchases_in_two_names(gateway: StartGateway) -> None:
    rig = await gateway(OF_BOTH)
    marks = ("X-Stainless-Retry-Count: 1", "X-Request-Id: the-same-id")
    for target, body, paid in (
        (PATH, {"model": "gpt-4o", "messages": MESSAGES}, "chat"),
        ("/v1/images/generations", PICTURE, "picture"),
        ("/api/v1/task", TASK, "task"),
    ):
        same = (f"Idempotency-Key: the-same-{paid}", *marks)
        answers = await asyncio.gather(*(ask(rig, key, "POST", target, body, *same) for key in (ANNA, BERT)))
        assert [answer.status for answer in answers] == [200, 200], paid
        assert answers[0].header("x-gateway-job") is None or (
            answers[0].header("x-gateway-job") != answers[1].header("x-gateway-job")
        )
    rows = await rig.rows(6)
    assert sorted(row.key for row in rows) == ["anna"] * 3 + ["bert"] * 3
    assert all(row.charged > 0 for row in rows)


async def test_no_id_of_one_opens_anything_to_the_other(gateway: StartGateway) -> None:
    """Every id that Anna was ever told, put by Bert into every route that takes one: it is as if it did not exist."""
    rig = await gateway(OF_BOTH)
    told = [
        await ask(rig, ANNA, "POST", PATH, {"model": "gpt-4o", "messages": MESSAGES}),
        await ask(rig, ANNA, "POST", "/v1/images/generations", PICTURE),
        await ask(rig, ANNA, "POST", "/api/v1/task", TASK),
        await ask(rig, ANNA, "POST", "/v1/responses", {"model": "gpt-4o", "input": MESSAGES}),
    ]
    task = told[2].json()["data"]["task_id"]
    assert (await ask(rig, ANNA, "GET", f"/api/v1/task/{task}")).status == 200
    ids = {word for answer in told for word in ID.findall(answer.body.decode() + str(answer.headers))}
    assert {task, told[3].json()["id"]} <= ids
    shown = (await ask(rig, None, "GET", "/")).json()["routes"]
    ids -= {line.rpartition("/")[2] for line in shown}  # such a word is a route of its own
    routes = [
        line.split(" ") for line in shown if line.endswith("}") and "/images/" not in line and "model" not in line
    ]
    assert ["GET", "/api/v1/task/{id}"] in routes
    for method, route in routes:
        nothing = await ask(rig, BERT, method, re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000000", route))
        assert nothing.status == 404
        for one in ids:
            answer = await ask(rig, BERT, method, re.sub(r"\{\w+\}", one, route))
            assert (answer.status, answer.body) == (404, nothing.body), f"{method} {route} with {one}"
    for spelling in (
        f"/api/v1/task/{task}%20",
        f"/api/v1/task/%2e/{task}",
        f"/api/v1/task/{task};a",
        f"//api/task/{task}",
    ):
        assert (await ask(rig, BERT, "GET", spelling)).status == 404, spelling
    await rig.rows(4)


async def test_a_name_of_a_kept_picture_is_a_secret_of_its_own(gateway: StartGateway) -> None:
    """Names say nothing of the key, the order or the one made before."""
    rig = await gateway(OF_BOTH)
    order = {"model": "gpt-image-1", "prompt": "a hat", "response_format": "url", "n": 2, "size": "1024x1024"}
    names = []
    for key in (ANNA, ANNA, BERT):
        answer = await ask(rig, key, "POST", "/v1/images/generations", order)
        assert answer.status == 200, answer.body
        names += [picture["url"].rpartition("/")[2] for picture in answer.json()["data"]]
    assert len(set(names)) == 6
    stems = [name.partition(".")[0] for name in names]
    assert all(len(stem) >= 6 + 22 for stem in stems), "at least 128 bits"
    secrets = [stem.removeprefix(stem[:6]) for stem in stems]  # behind a tag of its owner, which says no name
    assert len({secret[:4] for secret in secrets}) == len({secret[-4:] for secret in secrets}) == 6
    assert (await ask(rig, None, "GET", f"/images/{names[0]}")).status == 200
    for guess in (
        names[0][:-5] + ".png",
        names[0].upper(),
        f"x/../{names[0]}",
        f"%2e/{names[0]}",
        names[0] + "%00",
        "",
    ):
        assert (await ask(rig, BERT, "GET", f"/images/{guess}")).status == 404, guess


@pytest.mark.parametrize("auth", ["Bearer", "X-Api-Key", "api-key"])
async def test_two_keys_at_once_are_neither(gateway: StartGateway, auth: str) -> None:
    rig = await gateway(OF_BOTH)
    lines = [f"Authorization: Bearer {key}" if auth == "Bearer" else f"{auth}: {key}" for key in (ANNA, BERT)]
    async with rig.client() as client:
        assert (await client.request("POST", PATH, chat_body(), *lines)).status == 400
