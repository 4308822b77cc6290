"""What a virtual key may do, as its owner's client sees it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from gateway.wire.tokens import rough_tokens

from .conftest import StartGateway
from .harness import ALICE, FLUX_ONLY, MESSAGES, Answer, Rig, chat_body, eventually
from .moments import start

LIMITED = "gw-limited-000011112222333344"
OTHER = "gw-other-0000111122223333444455"


def limited(**limits: int) -> str:
    """YAML: one user with these limits, and one with the same limits, to show that they share nothing."""
    keys = [{"name": "dora", "key": LIMITED, **limits}, {"name": "emil", "key": OTHER, **limits}]
    return json.dumps({"keys": keys})


def check_refused(answer: Answer, words: str) -> None:
    error = answer.error()
    assert (answer.status, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert error["param"] is None
    assert words in error["message"]


class TestRequestsAMinute:
    async def test_so_many_and_no_more(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(rpm=3))
        for left in (2, 1, 0):
            answer = await rig.chat(key=LIMITED, stream=left == 1)
            assert answer.status == 200
            assert answer.header("x-ratelimit-limit-requests") == "3"
            assert answer.header("x-ratelimit-remaining-requests") == str(left)
            assert answer.header("x-ratelimit-reset-requests") in ("59s", "1m0s")
            assert answer.header("x-ratelimit-limit-tokens") is None

        refused = await rig.chat(key=LIMITED)

        check_refused(refused, "3 requests per minute")
        assert refused.header("x-should-retry") == "true"
        assert 50 <= int(refused.header("retry-after") or "0") <= 60
        assert refused.header("x-ratelimit-remaining-requests") == "0"
        assert len(rig.sandbox.requests) == 3
        assert len(await rig.rows(3)) == 3
        assert (await rig.chat(key=OTHER)).status == 200
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", key="dora", status="429", upstream="other") == 1
        assert figures.total("gateway_requests_total", key="dora", status="200") == 3

    async def test_what_is_refused_for_another_reason_counts_nothing(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(rpm=1))
        assert (await rig.chat(key=LIMITED, model="gpt-*")).status == 404
        assert (await rig.chat(key=LIMITED, max_tokens="many")).status == 400
        assert (await rig.chat(key=LIMITED)).status == 200
        assert (await rig.chat(key=LIMITED)).status == 429

    async def test_parallel_requests_cannot_slip_through(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(rpm=5))
        answers = await asyncio.gather(*(rig.chat(key=LIMITED) for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 15
        assert len(rig.sandbox.requests) == 5


class TestTokensAMinute:
    async def test_measured_usage_counts_in_the_end(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(tpm=200))
        first = await rig.chat(key=LIMITED)
        assert first.status == 200
        assert first.header("x-ratelimit-limit-tokens") == "200"
        usage = first.json()["usage"]["total_tokens"]
        assert 0 < usage < 200

        second = await rig.chat(key=LIMITED)

        assert second.status == 200
        still_reserved = rough_tokens(len(chat_body()))
        assert second.header("x-ratelimit-remaining-tokens") == str(200 - usage - still_reserved)
        third = await rig.chat(key=LIMITED)
        assert third.header("x-ratelimit-remaining-tokens") == str(200 - 2 * usage - still_reserved)

    async def test_a_request_that_would_exceed_them_is_refused(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(tpm=120))
        long = [{"role": "user", "content": "word " * 60}]
        assert (await rig.chat(key=LIMITED, messages=long)).status == 200

        refused = await rig.chat(key=LIMITED, messages=long)

        check_refused(refused, "120 tokens per minute")
        assert refused.header("x-should-retry") == "true"
        assert 50 <= int(refused.header("retry-after") or "0") <= 60

    async def test_a_request_beyond_the_whole_limit_is_not_to_be_tried_again(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(tpm=50))
        refused = await rig.chat(key=LIMITED, messages=[{"role": "user", "content": "word " * 200}])
        check_refused(refused, "never be admitted")
        assert refused.header("x-should-retry") == "false"
        assert rig.sandbox.requests == []


class TestParallelRequests:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_so_many_at_once(self, stream: bool, gateway: StartGateway) -> None:
        rig = await gateway(limited(parallel=2))
        rig.sandbox.script("stall_head;seconds=0.3", times=2)
        running = [start(rig.chat(key=LIMITED, stream=stream)) for _ in range(2)]
        await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 2)

        refused = await rig.chat(key=LIMITED)

        check_refused(refused, "2 parallel requests")
        assert refused.header("retry-after") == "1"
        assert (await rig.chat(key=OTHER)).status == 200
        assert [answer.status for answer in await asyncio.gather(*running)] == [200, 200]
        assert (await rig.chat(key=LIMITED)).status == 200

    async def test_a_place_is_free_again_after_a_failure_and_after_a_client_left(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(parallel=1))
        rig.for_all_roles("server_error")
        assert (await rig.chat(key=LIMITED)).status == 502
        rig.sandbox.clear_scripts()
        rig.sandbox.script("stall_head")
        async with rig.client() as client:
            await client.ask(chat_body(), LIMITED)
            await eventually(lambda: rig.sandbox.in_flight == 1, "the request at the upstream")
            await client.leave()
        await eventually(lambda: len(rig.gateway.services.gate) == 0, "the request's end")
        assert (await rig.chat(key=LIMITED)).status == 200

    async def test_an_sdk_that_waits_as_it_is_told_gets_through(self, gateway: StartGateway) -> None:
        rig = await gateway(limited(parallel=1))
        rig.sandbox.script("stall_head;seconds=0.6")
        sdk = rig.openai(api_key=LIMITED, max_retries=2)

        async def ask() -> Any:
            return await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)

        first, second = await asyncio.gather(ask(), ask())

        assert first.choices[0].finish_reason == second.choices[0].finish_reason == "stop"
        assert (await rig.figures()).total("gateway_requests_total", status="429") == 1


class TestWhoMayAsk:
    WRONG: tuple[dict[str, str], ...] = (
        {},
        {"authorization": "Bearer gw-wrong-0000"},
        {"authorization": "Basic YTpi"},
        {"authorization": f"Bearer {ALICE}x"},
        {"x-api-key": "gw-wrong-0000"},
    )

    async def test_every_wrong_key_gets_the_same_401(self, rig: Rig) -> None:
        answers = [await rig.chat(key=None, headers=headers) for headers in self.WRONG]
        for answer in answers:
            assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
            assert answer.header("x-should-retry") == "false"
        assert len({answer.body for answer in answers}) == 1
        assert rig.sandbox.requests == []
        assert await rig.rows(0) == []
        assert (await rig.figures()).total("gateway_requests_total", status="401") == len(answers)

    async def test_x_api_key_works_too(self, rig: Rig) -> None:
        assert (await rig.chat(key=None, headers={"x-api-key": ALICE})).status == 200
        assert (await rig.row()).key == "alice"

    async def test_a_model_the_key_may_not_use(self, rig: Rig) -> None:
        answer = await rig.chat(key=FLUX_ONLY)
        error = answer.error()
        assert (answer.status, error["type"], error["code"]) == (403, "permission_error", "model_not_allowed")
        assert error["param"] == "model"
        assert answer.header("x-should-retry") == "false"
        assert rig.sandbox.requests == []

    async def test_a_model_nobody_has(self, gateway: StartGateway) -> None:
        rig = await gateway("default_route: []")
        for key in (ALICE, FLUX_ONLY):
            answer = await rig.chat(key=key, model="gpt-nonsense")
            error = answer.error()
            assert (answer.status, error["type"], error["code"]) == (404, "invalid_request_error", "model_not_found")
            assert error["param"] == "model"
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", status="404", model="other") == 2


class TestAuthAuto:
    async def test_with_a_virtual_key_it_is_required(self, gateway: StartGateway) -> None:
        rig = await gateway("auth: auto")
        assert (await rig.chat(key=None)).status == 401

    async def test_without_any_on_loopback_everybody_may_ask(self, gateway: StartGateway) -> None:
        rig = await gateway("{auth: auto, keys: []}")
        for key in (None, "sk-whatever-an-sdk-must-send"):
            assert (await rig.chat(key=key)).status == 200
        assert {row.key for row in await rig.rows(2)} == {"anonymous"}
        assert (await rig.figures()).total("gateway_requests_total", key="anonymous", status="200") == 2

    async def test_none_knows_the_keys_it_has_all_the_same(self, gateway: StartGateway) -> None:
        rig = await gateway("auth: none")
        assert (await rig.chat(key=None)).status == 200
        assert (await rig.chat()).status == 200
        assert [row.key for row in await rig.rows(2)] == ["anonymous", "alice"]

    async def test_required_without_any_lets_nobody_in(self, gateway: StartGateway) -> None:
        rig = await gateway("{auth: required, keys: []}")
        assert (await rig.chat(key=None)).status == 401
        assert (await rig.chat()).status == 401

    async def test_models_are_listed_by_the_same_rule(self, rig: Rig) -> None:
        async with httpx2.AsyncClient(base_url=rig.url) as http:
            assert (await http.get("/models")).status_code == 401
            mine = await http.get("/models", headers={"authorization": f"Bearer {FLUX_ONLY}"})
            names = [model["id"] for model in mine.json()["data"]]
            assert names
            assert all(name.startswith("flux-") for name in names)
