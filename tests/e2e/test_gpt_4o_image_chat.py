"""gpt-4o-image as a chat model: sold by the answer, never bought twice without need, never charged twice."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import Rig, chat_body
from .streams import direct, is_whole, plain

IMAGE, NO_IMAGE = 20_000_000, 660_000
ASKED: dict[str, Any] = {"model": "gpt-4o-image", "stream": True}
WITH_AN_IMAGE = ("piapi", "a", "b", "c", "d", "e")
WITHOUT = ("refused", "failed", "failed_en")


class TestTheText:
    @pytest.mark.parametrize("variant", [*WITH_AN_IMAGE, *WITHOUT])
    async def test_passes_unchanged(self, rig: Rig, variant: str) -> None:
        expected = plain((await direct(rig.sandbox, f"ok;variant={variant}", **ASKED)).body)
        task = rig.sandbox.requests[0].id.rpartition("-")[2].encode()
        rig.sandbox.script(f"ok;variant={variant}")

        answer = await rig.chat(**ASKED)

        assert is_whole(answer)
        ours = rig.sandbox.requests[1].id.rpartition("-")[2].encode()
        assert plain(answer.body).replace(ours, task) == expected

    async def test_is_folded_for_who_asked_for_no_stream(self, rig: Rig) -> None:
        streamed = (await rig.chat(**ASKED)).text
        folded = (await rig.chat(model="gpt-4o-image")).json()

        first, second = (request.id.rpartition("-")[2] for request in rig.sandbox.requests)
        assert folded["choices"][0]["message"]["content"] == streamed.replace(first, second)
        assert folded["choices"][0]["finish_reason"] == "stop"
        assert all(request.json["stream"] for request in rig.sandbox.requests)
        assert [row.charged for row in await rig.rows(2)] == [IMAGE] * 2


class TestThePrice:
    @pytest.mark.parametrize("variant", WITH_AN_IMAGE)
    async def test_of_an_answer_with_an_image(self, rig: Rig, variant: str) -> None:
        rig.sandbox.script(f"ok;variant={variant}")

        await rig.chat(**ASKED)

        row = await rig.row()
        assert (row.charged, row.images, row.state, row.paid) == (IMAGE, 1, "settled", True)
        assert row.charged == rig.sandbox.billed

    async def test_is_the_same_for_several(self, rig: Rig) -> None:
        rig.sandbox.script("ok;images=3")

        answer = await rig.chat(**ASKED)

        assert answer.text.count("![") == 3
        row = await rig.row()
        assert (row.charged, row.images) == (IMAGE, 3)
        figures = await rig.figures()
        assert figures.total("gateway_images_total", model="gpt-4o-image", key="alice") == 3
        assert figures.nano("gateway_cost_usd_total", model="gpt-4o-image") == IMAGE

    @pytest.mark.parametrize("variant", WITHOUT)
    async def test_of_an_answer_without(self, rig: Rig, variant: str) -> None:
        rig.sandbox.script(f"ok;variant={variant}")

        answer = await rig.chat(**ASKED)

        assert is_whole(answer)
        row = await rig.row()
        assert (row.charged, row.images, row.status) == (NO_IMAGE, 0, 200)
        assert row.charged == rig.sandbox.billed
        assert len(rig.sandbox.requests) == 1

    async def test_a_prompt_that_quotes_an_image_is_none(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=failed")
        messages = [{"role": "user", "content": "like ![this](https://example.com/image.png)"}]

        answer = await rig.chat(**ASKED, messages=messages)

        assert "![this]" in answer.text
        assert (await rig.row()).charged == NO_IMAGE

    async def test_is_told_where_it_is_known_before_the_body(self, rig: Rig) -> None:
        answer = await rig.chat(model="gpt-4o-image")

        assert answer.header("x-gateway-cost-usd") == "0.02"


class TestFailures:
    @pytest.mark.parametrize("scenario", ["server_error", "rate_limited;retry_after=60", "bad_gateway", "overloaded"])
    async def test_that_piapi_answers_with_a_status_cost_nothing(self, gateway: StartGateway, scenario: str) -> None:
        rig = await gateway("upstreams: {backup: {keys: []}}")
        rig.for_all_roles(scenario)

        answer = await rig.chat(**ASKED)

        assert answer.status in (429, 502, 503)
        assert answer.error()["code"] != "upstream_outcome_unknown"
        row = await rig.row()
        assert (row.charged, row.upstream_cost, row.state) == (0, 0, "released")

    async def test_are_made_good_by_the_other_host(self, rig: Rig) -> None:
        rig.sandbox.script("server_error", role="api")

        answer = await rig.chat(**ASKED)

        assert is_whole(answer)
        row = await rig.row()
        assert row.costs == [(0, "billed"), (IMAGE, "billed")]

    @pytest.mark.parametrize("code", ["moderation_blocked", "content_policy_violation"])
    async def test_of_moderation_are_the_users(self, rig: Rig, code: str) -> None:
        rig.for_all_roles(f"rejected;error={code}")

        answer = await rig.chat(**ASKED)

        error = answer.error()
        assert answer.status == 400
        assert (error["type"], error["code"]) == ("image_generation_user_error", "content_policy_violation")
        assert len(rig.sandbox.requests) == 1
        assert (await rig.row()).charged == 0

    async def test_of_moderation_inside_the_stream_are_the_users_too(self, rig: Rig) -> None:
        rig.for_all_roles("sse_error_first;error=moderation_blocked;code=400")

        answer = await rig.chat(**ASKED)

        error = answer.error()
        assert answer.status == 400
        assert (error["type"], error["code"]) == ("image_generation_user_error", "content_policy_violation")
        assert len(rig.sandbox.requests) == 1

    @pytest.mark.parametrize("variant", ["error_delta", "error_string"])
    async def test_inside_the_stream_before_any_text_are_in_doubt(self, rig: Rig, variant: str) -> None:
        rig.sandbox.script(f"ok;variant={variant}", role="api")

        answer = await rig.chat(**ASKED)

        assert is_whole(answer)
        assert "![" in answer.text
        row = await rig.row()
        assert row.charged == IMAGE
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]

    async def test_after_text_end_the_stream(self, rig: Rig) -> None:
        rig.sandbox.script("cut;after_events=4", role="api")

        answer = await rig.chat(**ASKED)

        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        assert len(rig.sandbox.requests) == 1
        row = await rig.row()
        assert (row.charged, row.images) == (0, 0)  # what the upstream cut off holds no image
        assert row.costs == [(IMAGE, "unknown")]

    async def test_after_the_image_are_charged(self, rig: Rig) -> None:
        events = (await direct(rig.sandbox, "ok", **ASKED)).body.split(b"\n\n")
        image = next(number for number, event in enumerate(events, 1) if b"![" in event)
        rig.sandbox.script(f"cut;after_events={image}", role="api")

        answer = await rig.chat(**ASKED)

        assert "![" in b"".join(answer.events[:-1]).decode()
        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        row = await rig.row()
        assert (row.charged, row.images) == (IMAGE, 1)


class TestDoubt:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_little_money_is_risked_once(self, rig: Rig, stream: bool) -> None:
        rig.sandbox.script("cf_524;bought=1", role="api")

        answer = await rig.chat(model="gpt-4o-image", stream=stream)

        assert answer.status == 200
        row = await rig.row()
        assert row.outcomes == ["cf_524", "ok"]
        assert (row.charged, row.upstream_cost) == (IMAGE, 2 * IMAGE)
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]
        assert row.upstream_cost == rig.sandbox.billed  # the provider did take it twice
        figures = await rig.figures()
        assert figures.nano("gateway_upstream_cost_usd_total", reason="suspected_duplicate") == IMAGE
        assert figures.nano("gateway_cost_usd_total") == IMAGE

    async def test_but_only_once(self, rig: Rig) -> None:
        rig.for_all_roles("cf_524;bought=1")

        answer = await rig.chat(**ASKED)

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert len(rig.sandbox.requests) == 2
        row = await rig.row()
        assert (row.charged, row.state) == (0, "unknown")

    @pytest.mark.parametrize(
        "scenario",
        ["cf_524", "cloudflare", "html_200", "reset_before_head", "sse_empty", "cut_early", "bad_json", "soft_error"],
    )
    async def test_above_the_limit_nothing_is_sent_again(self, gateway: StartGateway, scenario: str) -> None:
        rig = await gateway("failover: {unknown_outcome_up_to: 0.0199}")
        rig.for_all_roles(f"{scenario};bought=1" if scenario != "soft_error" else "soft_error;code=500;bought=1")

        answer = await rig.chat(**ASKED)

        assert answer.status in (502, 504)
        assert answer.header("x-should-retry") == "false"
        assert answer.error()["code"] in ("upstream_outcome_unknown", "upstream_empty_response")
        assert len(rig.sandbox.requests) == 1
        row = await rig.row()
        assert (row.charged, row.state) == (0, "unknown")
        assert row.costs == [(IMAGE, "unknown")]

    async def test_what_was_never_sent_is_free_to_go_elsewhere(self, gateway: StartGateway) -> None:
        rig = await gateway("failover: {unknown_outcome_up_to: 0}")
        await rig.sandbox.refuse("api")

        assert is_whole(await rig.chat(**ASKED))
        assert (await rig.row()).costs == [(0, "billed"), (IMAGE, "billed")]

    async def test_what_cloudflare_never_passed_on_too(self, gateway: StartGateway) -> None:
        rig = await gateway("failover: {unknown_outcome_up_to: 0}")
        rig.sandbox.script("cf_origin_down", role="api")

        assert is_whole(await rig.chat(**ASKED))


class TestTime:
    async def test_chats_timers_do_not_bind_images(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {head: 50ms, content: 50ms, idle: 50ms}}}")
        for scenario in ("stall_head;seconds=0.2", "stall_before_content;seconds=0.2", "stall_mid;seconds=0.2"):
            rig.sandbox.script(scenario)

            assert is_whole(await rig.chat(**ASKED)), scenario

        assert [row.outcomes for row in await rig.rows(3)] == [["ok"]] * 3

    async def test_a_hosts_wall_does(self, gateway: StartGateway, sandbox: Sandbox) -> None:
        rig = await gateway(
            "upstreams: {piapi: {endpoints: ["
            f"{{url: '{sandbox.urls['api']}', wall: 150ms}}, {{url: '{sandbox.urls['proxy']}'}}]}}}}"
        )
        sandbox.script("stall_head", role="api")

        assert is_whole(await rig.chat(**ASKED))
        row = await rig.row()
        assert row.outcomes == ["stall_head", "ok"]
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]


class TestAClientThatLeaves:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_before_anything_came_has_bought_the_image(self, rig: Rig, stream: bool) -> None:
        rig.sandbox.script("stall_head;seconds=0.2")
        async with rig.client() as client:
            await client.ask(chat_body(model="gpt-4o-image", stream=stream))
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
            await client.leave()

        row = await rig.row()

        assert rig.sandbox.requests[0].ending == "complete"
        assert (row.charged, row.images, row.status, row.state) == (IMAGE, 1, 499, "settled")
        assert row.outcomes == ["ok"]

    async def test_in_the_middle_too(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=10")
        async with rig.client() as client:
            await client.ask(chat_body(**ASKED))
            await client.head()
            await client.until(b"Queuing")
            await client.leave()

        row = await rig.row()

        assert rig.sandbox.requests[0].ending == "complete"
        assert (row.charged, row.images, row.status) == (IMAGE, 1, 499)
        assert len(rig.sandbox.requests) == 1

    async def test_leaves_an_order_that_still_fails_over(self, rig: Rig) -> None:
        """As if it had stayed: what it asks for again is there then, and was charged once."""
        rig.sandbox.script("wall;seconds=0.2", role="api")
        async with rig.client() as client:
            await client.ask(chat_body(**ASKED))
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
            await client.leave()

        row = await rig.row()

        assert (row.outcomes, row.charged, row.status, row.state) == (["cf_524", "ok"], IMAGE, 499, "settled")
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]
        assert len(rig.sandbox.requests) == 2
