"""One member's odd requests, and the others, who must not notice: whatever an upstream answers to the odd ones, by
however few keys it is reached, and however often they come.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, Answer, Rig, chat_body, eventually
from .moments import start

BOB = "gw-bob-111222333444555666"
KEY_GAUGE = "gateway_upstream_key_available"
HOST_GAUGE = "gateway_endpoint_available"

ODD = {
    "key_invalid": 502,
    "key_unfunded": 503,
    "insufficient_quota": 503,
    "key_forbidden": 502,
    "rate_limited;retry_after=3600": 429,
    "rate_limited;retry_after=30": 429,
    "soft_error;code=401": 502,
    "sse_error_first;code=402": 503,
    "model_missing": 404,
    "waf_block": 502,
    "overloaded;retry_after=3600": 502,
    "status;code=500": 502,
    "html_200": 502,
    "garbage": 502,
    "reset_before_head": 502,
    "cut_early": 502,
    "sse_empty": 502,
    "bad_json": 502,
}
"""What an upstream makes of an odd request → what its sender is told the first time."""


def config(keys: int, *, backup: bool = False, more: str = "") -> str:
    pool = ", ".join(f"{{name: k{number}, value: sk-pool-{number}-00001111}}" for number in range(keys))
    return f"""
upstreams: {{piapi: {{keys: [{pool}]}}{"" if backup else ", backup: {keys: []}"}}}
keys:
  - {{name: alice, key: {ALICE}}}
  - {{name: bob, key: {BOB}}}
{more}
"""


async def odd(rig: Rig, scenario: str, *, key: str = ALICE, **fields: Any) -> Answer:
    """A request whose prompt makes the upstream answer so."""
    messages = [{"role": "user", "content": f"[[sandbox: {scenario}]]"}]
    return await rig.post(chat_body(messages=messages, **fields), key=key)


async def described(rig: Rig) -> list[dict[str, Any]]:
    states = rig.gateway.services.snapshot.states.describe(asyncio.get_running_loop().time())
    keys: list[dict[str, Any]] = next(one for one in states if one["name"] == "piapi")["keys"]
    return keys


@pytest.mark.parametrize("keys", [1, 2, 3])
@pytest.mark.parametrize("scenario", ODD)
async def test_an_odd_request_repeated_shuts_nobody_else_out(scenario: str, keys: int, gateway: StartGateway) -> None:
    rig = await gateway(config(keys))
    answers: list[int] = []
    first = await odd(rig, scenario)
    assert first.status == ODD[scenario]
    for _ in range(20):
        attack = start(odd(rig, scenario))
        beside = await asyncio.gather(rig.chat(key=BOB), rig.chat(key=BOB, stream=True))
        await attack
        after = await rig.chat(key=BOB)
        answers += [one.status for one in (*beside, after)]
        assert after.header("x-gateway-attempts") == "1"
        assert attack.result().status >= 400
    assert Counter(answers) == {200: 60}
    figures = await rig.figures()
    assert figures.total(KEY_GAUGE, upstream="piapi") == keys
    assert figures.total(HOST_GAUGE, endpoint=rig.sandbox.urls["api"]) == 1


SAME_MEMBER = ["key_invalid", "key_unfunded", "key_forbidden", "rate_limited;retry_after=3600", "waf_block", "html_200"]


@pytest.mark.parametrize("keys", [1, 2, 3])
@pytest.mark.parametrize("scenario", SAME_MEMBER)
async def test_nor_does_it_shut_out_its_own_sender(scenario: str, keys: int, gateway: StartGateway) -> None:
    """Many people may share a virtual key, or use the gateway without any."""
    rig = await gateway(config(keys))
    for _ in range(3):
        await odd(rig, scenario)
        answers = [await rig.chat() for _ in range(2)]
        assert [one.status for one in answers] == [200, 200]


@pytest.mark.parametrize("scenario", ["key_invalid", "key_unfunded", "key_forbidden", "rate_limited;retry_after=3600"])
async def test_an_odd_request_meets_two_keys_at_most(scenario: str, gateway: StartGateway) -> None:
    """A rate limit may be met by as many keys as a request has attempts: it is told of a key, not of its owner."""
    rig = await gateway(config(5) + "failover: {attempts: 10}\n")
    answer = await odd(rig, scenario)
    asked = Counter(request.key for request in rig.sandbox.requests)
    assert set(asked.values()) == {1}
    if "rate_limited" not in scenario:
        assert len(asked) == 2
        assert answer.header("x-gateway-attempts") == "2"


@pytest.mark.parametrize("scenario", ["key_invalid", "key_unfunded", "key_forbidden"])
async def test_with_a_backup_it_goes_there_after_two_keys(scenario: str, gateway: StartGateway) -> None:
    rig = await gateway(config(3, backup=True) + "failover: {attempts: 10}\n")
    for role in ("api", "proxy"):
        rig.sandbox.script(scenario, role=role, times=None)
    answer = await rig.chat()
    assert (answer.status, answer.header("x-gateway-upstream")) == (200, "backup")
    assert [request.role for request in rig.sandbox.requests] == ["api", "api", "backup"]


@pytest.mark.parametrize("keys", [1, 2, 3])
@pytest.mark.parametrize("scenario", ["key_invalid", "key_unfunded", "key_forbidden", "waf_block", "model_missing"])
async def test_members_in_league_do_not_shut_out_a_third(scenario: str, keys: int, gateway: StartGateway) -> None:
    """Two members' word counts for all, but refusals that no free read confirms never rest a pool's last key."""
    carol = "gw-carol-444333222111000999"
    rig = await gateway(config(keys).replace("keys:\n", f"keys:\n  - {{name: carol, key: {carol}}}\n"))
    for key in (ALICE, BOB) * 5:
        await odd(rig, scenario, key=key)
    assert (await rig.chat(key=carol)).status == 200


class TestTheFreeRead:
    async def test_a_flood_of_odd_requests_is_no_flood_of_reads(self, gateway: StartGateway) -> None:
        rig = await gateway(config(2))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(5):
            await asyncio.gather(*(odd(rig, "key_invalid") for _ in range(20)))
        reads = Counter(read.key for read in rig.sandbox.key_checks)
        most = 1 + int((loop.time() - began) / 5.0)
        assert len(reads) == 2
        assert all(1 <= count <= most for count in reads.values())
        assert {read.path for read in rig.sandbox.key_checks} == {"/account/info"}
        assert (await rig.chat(key=BOB)).status == 200

    @pytest.mark.parametrize(
        ("value", "reason"), [("sk-sandbox-invalid-1", "invalid"), ("sk-sandbox-broke-1", "unfunded")]
    )
    async def test_a_key_that_is_truly_bad_rests_for_long(self, value: str, reason: str, gateway: StartGateway) -> None:
        rig = await gateway(config(1).replace("keys: [{", f"keys: [{{name: bad, value: {value}}}, {{"))
        while not rig.sandbox.key_checks:
            assert (await rig.chat()).status == 200

        async def rests() -> bool:
            return (await described(rig))[0]["retry_in"] > 590

        await eventually(rests, "the long rest")
        assert (await described(rig))[0]["cooling"] == reason
        figures = await rig.figures()
        assert figures.total(KEY_GAUGE, upstream_key="bad") == 0
        assert figures.total(KEY_GAUGE, upstream_key="k0") == 1
        [line] = await rig.log_lines("upstream_key_rests")
        assert (line["upstream_key"], line["reason"]) == ("bad", reason)
        before = sum(request.key == value for request in rig.sandbox.requests)
        for _ in range(10):
            assert (await rig.chat(key=BOB)).header("x-gateway-attempts") == "1"
        assert sum(request.key == value for request in rig.sandbox.requests) == before

    async def test_a_revoked_only_key_is_said_to_be_refused_without_asking(self, gateway: StartGateway) -> None:
        rig = await gateway(config(1).replace("sk-pool-0-00001111", "sk-sandbox-invalid-1"))
        assert (await rig.chat()).status == 502

        async def rests() -> bool:
            return (await rig.figures()).total(KEY_GAUGE, upstream_key="k0") == 0

        await eventually(rests, "the long rest")
        answer = await rig.chat(key=BOB)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_auth_failed")
        assert answer.header("x-gateway-attempts") == "0"

    @pytest.mark.parametrize("trouble", ["status;code=500", "status;code=429", "html_200", "reset_before_head"])
    async def test_a_read_that_tells_nothing_rests_no_key_for_long(self, trouble: str, gateway: StartGateway) -> None:
        rig = await gateway(config(2))
        rig.sandbox.script(trouble, path="/account/info", times=None)
        for _ in range(4):
            await odd(rig, "key_invalid")
        await eventually(lambda: len(rig.sandbox.key_checks) >= 2, "the reads")
        assert all(key["retry_in"] <= 60.0 for key in await described(rig))
        assert (await rig.chat(key=BOB)).status == 200
        assert (await rig.chat()).status == 200

    async def test_the_openai_dialect_is_asked_for_its_models(self, gateway: StartGateway) -> None:
        rig = await gateway(f"""
upstreams: {{piapi: {{keys: []}}, backup: {{keys: [{{name: one, value: sk-one-00001111}}]}}}}
keys: [{{name: alice, key: {ALICE}}}, {{name: bob, key: {BOB}}}]
""")
        await odd(rig, "key_invalid")
        await eventually(lambda: len(rig.sandbox.listings) + len(rig.sandbox.key_checks) > 0, "the read")
        [read] = rig.sandbox.listings + rig.sandbox.key_checks
        assert (read.path, read.key) == ("/v1/models", "sk-one-00001111")
        assert (await rig.chat(key=BOB)).status == 200


PICTURES: dict[str, dict[str, Any]] = {
    "gpt-4o-image": {},
    "gpt-image-1": {"size": "1024x1024", "quality": "low"},
    "flux-schnell": {"size": "1024x1024"},
    "gpt-image-2.5-flare": {"size": "1024x1024"},  # images_async
}


@pytest.mark.parametrize("scenario", ["key_invalid", "key_unfunded", "key_forbidden"])
@pytest.mark.parametrize("model", PICTURES)
async def test_paid_work_is_tried_with_one_more_key_and_no_third(
    model: str, scenario: str, gateway: StartGateway
) -> None:
    """A refusal proves that nothing was bought, so that another key may buy it."""
    rig = await gateway(config(4) + "failover: {attempts: 10}\n")
    body = {"model": model, "prompt": f"[[sandbox: {scenario}]]", **PICTURES[model]}
    async with rig.client() as client:
        await client.ask(json.dumps(body).encode(), target="/v1/images/generations")
        answer = await client.rest(await client.head())
    assert answer.status in (502, 503)
    orders = [request.key for request in rig.sandbox.requests if request.method == "POST"]
    assert len(orders) == len(set(orders)) == 2
    assert rig.sandbox.billed == 0
    [row] = await rig.rows(1)
    assert row.charged == 0
