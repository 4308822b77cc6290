"""How an image gets from where it was made to the client: fetched behind links, with care and patience."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import PIAPI_KEY, PROMPT, Answer, Rig
from .raw_orders import (
    ATTEMPTS,
    GENERATIONS,
    IMAGE,
    canary,
    fetched,
    files_asked,
    order,
    orders_asked,
    sandbox_image,
    sandbox_links,
    told,
    without_pauses,
)

CHAT = "/v1/chat/completions"
UNAVAILABLE = (502, "upstream_error", "result_unavailable")
GUARDED = "images: {fetch_private: false}"
FOR_A_WHILE = "status;code=403;path=/files/;times=2"
FOR_EVER = "status;code=404;path=/files/"


PIAPI_OFF = "upstreams: {piapi: {keys: []}}"
"""An Images API that is not streamed brings several images in one answer; PiAPI's brings one."""

THREE: dict[str, Any] = {"model": "gpt-image-1", "quality": "low", "size": "1024x1024", "n": 3}


def images_in(answer: Answer) -> list[bytes]:
    return [base64.b64decode(item["b64_json"]) for item in answer.json()["data"]]


async def check_bought_in_vain(rig: Rig, charged: int = IMAGE) -> None:
    """The books and figures of an order whose image was made, and could not be had."""
    row = await rig.row()
    assert row.outcomes == ["asset_unavailable"]
    assert (row.charged, row.images, row.status, row.state) == (charged, 1, 502, "settled")
    assert row.costs == [(charged, "billed")]
    assert charged == rig.sandbox.billed
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, outcome="asset_unavailable") == figures.total(ATTEMPTS) == 1
    assert figures.nano("gateway_cost_usd_total") == charged
    assert figures.total("gateway_requests_total", status="502") == 1


class TestBase64FromALink:
    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
    async def test_is_the_image_behind_it(self, rig: Rig, model: str) -> None:
        linked = await rig.openai().images.generate(model=model, prompt=PROMPT)
        made = await rig.openai().images.generate(model=model, prompt=PROMPT, response_format="b64_json")

        assert linked.data is not None
        assert made.data is not None
        assert made.data[0].url is None
        assert made.data[0].b64_json is not None
        assert base64.b64decode(made.data[0].b64_json) == sandbox_image(linked.data[0].url or "")
        assert files_asked(rig) == ["api"]

    async def test_is_fetched_as_a_stranger(self, rig: Rig) -> None:
        """An image host learns no key, neither ours nor the client's, and may not send what is compressed."""
        await order(rig, response_format="b64_json")

        [asked] = [request for request in rig.sandbox.requests if request.path.startswith("/files/")]
        assert asked.key is None
        assert {name for name, _ in asked.headers} == {
            b"host",
            b"accept",
            b"accept-encoding",
            b"user-agent",
            b"connection",
        }
        assert asked.get(b"accept-encoding") == b"identity"
        assert PIAPI_KEY not in repr(asked.headers)

    async def test_of_several_images_is_each_ones_own(self, gateway: StartGateway) -> None:
        rig = await gateway(PIAPI_OFF)
        rig.sandbox.script("ok;link=1")

        answer = await order(rig, **THREE)

        assert images_in(answer) == [sandbox_image(link) for link in sandbox_links(rig, 3, role="backup")]

    async def test_leaves_out_one_of_several_that_cannot_be_had(self, gateway: StartGateway) -> None:
        rig = await gateway(PIAPI_OFF)
        without_pauses(rig)
        rig.sandbox.script("ok;link=1", path=GENERATIONS)
        links = sandbox_links(rig, 3, role="backup")
        rig.sandbox.script("status;code=404", path="/files/" + links[1].rpartition("/")[2], times=None)

        answer = await order(rig, **THREE)

        assert images_in(answer) == [sandbox_image(links[0]), sandbox_image(links[2])]
        row = await rig.row()
        assert (row.images, row.outcomes) == (3, ["ok"])
        assert row.charged == row.upstream_cost == rig.sandbox.billed  # for all that were made

    async def test_of_more_images_than_were_asked_for_is_each_ones_own_too(self, rig: Rig) -> None:
        """gpt-4o-image may bring more than one."""
        rig.sandbox.script("ok;images=3", path=CHAT)

        answer = await order(rig, response_format="b64_json")

        assert images_in(answer) == [sandbox_image(link) for link in sandbox_links(rig, 3)]
        assert files_asked(rig) == ["api"] * 3

    async def test_is_what_gpt_image_1_gives_also_where_its_relay_has_links(self, rig: Rig) -> None:
        rig.sandbox.script("ok;link=1")

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024")

        [item] = answer.json()["data"]
        assert "url" not in item
        assert base64.b64decode(item["b64_json"]) == sandbox_image(sandbox_links(rig)[0])
        row = await rig.row()
        assert row.charged == row.upstream_cost == rig.sandbox.billed


class TestAnImageHostThatFails:
    async def test_for_a_moment_is_asked_again(self, rig: Rig) -> None:
        waited = without_pauses(rig)
        rig.sandbox.script(FOR_A_WHILE)

        answer = await order(rig, response_format="b64_json")

        [image] = answer.json()["data"]
        assert base64.b64decode(image["b64_json"]) == sandbox_image(sandbox_links(rig)[0])
        assert files_asked(rig) == ["api"] * 3
        assert waited == sorted(waited)
        assert len(waited) == 2
        assert orders_asked(rig) == ["api"]  # the image is bought once
        row = await rig.row()
        assert (row.charged, row.status, row.outcomes) == (IMAGE, 200, ["ok"])
        figures = await rig.figures()
        assert figures.total(ATTEMPTS, outcome="ok") == figures.total(ATTEMPTS) == 1
        assert figures.nano("gateway_cost_usd_total") == IMAGE

    @pytest.mark.parametrize("fault", ["status;code=500", "status;code=429", "reset_before_head", "cut_bytes;at=500"])
    async def test_in_other_ways_that_may_pass_is_asked_again_too(self, rig: Rig, fault: str) -> None:
        without_pauses(rig)
        rig.sandbox.script(f"{fault};path=/files/;times=1")

        answer = await order(rig, response_format="b64_json")

        assert answer.status == 200
        assert files_asked(rig) == ["api"] * 2

    async def test_by_falling_silent_is_asked_again(self, rig: Rig) -> None:
        without_pauses(rig)
        fetcher = rig.gateway._images._fetcher
        fetcher._limits = replace(fetcher._limits, connect=0.05, silence=0.05)
        rig.sandbox.script("stall_head;path=/files/;times=1")

        answer = await order(rig, response_format="b64_json")

        assert answer.status == 200
        assert files_asked(rig) == ["api"] * 2

    @pytest.mark.parametrize("scenario", ["stall_head", "trickle;gap=10"])
    async def test_by_being_slow_for_ever_has_an_end_to_its_time(self, rig: Rig, scenario: str) -> None:
        fetcher = rig.gateway._images._fetcher
        fetcher._limits = replace(fetcher._limits, total=0.1)
        rig.sandbox.script(f"{scenario};path=/files/", times=None)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        await check_bought_in_vain(rig)

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_for_ever_leaves_an_image_that_was_paid_for_in_vain(self, rig: Rig, stream: bool) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig, response_format="b64_json", stream=stream)

        error = answer.error()
        assert (answer.status, error["type"], error["code"]) == UNAVAILABLE
        assert answer.header("x-should-retry") == "false"
        assert files_asked(rig) == ["api"] * 3
        assert orders_asked(rig) == ["api"]
        await check_bought_in_vain(rig)

    async def test_for_ever_is_not_made_good_by_an_sdk_that_would_try_again(self, rig: Rig) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        with pytest.raises(openai.InternalServerError) as caught:
            await rig.openai(max_retries=3).images.generate(
                model="gpt-4o-image", prompt=PROMPT, response_format="b64_json"
            )

        assert told(caught.value) == UNAVAILABLE
        assert orders_asked(rig) == ["api"]
        await check_bought_in_vain(rig)

    async def test_for_ever_costs_a_task_its_points(self, rig: Rig) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig, model="flux-schnell", response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        await check_bought_in_vain(rig, 2_000_000)

    async def test_does_not_matter_to_who_takes_the_link(self, rig: Rig) -> None:
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig)

        assert [item["url"] for item in answer.json()["data"]] == sandbox_links(rig)
        assert files_asked(rig) == []

    async def test_leaves_the_link_to_a_stream_that_did_not_choose_its_form(self, rig: Rig) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig, stream=True)

        [completed] = [json.loads(payload) for payload in answer.payloads]
        assert [completed["url"]] == sandbox_links(rig)
        assert not completed["b64_json"]
        row = await rig.row()
        assert (row.charged, row.status, row.outcomes) == (IMAGE, 200, ["ok"])

    @pytest.mark.parametrize(
        "impostor", ["html_200", "html_200;content_type=image/png", "empty_body", "big_picture;mib=51", "gzip", "bomb"]
    )
    async def test_with_something_else_is_not_believed(self, rig: Rig, impostor: str) -> None:
        without_pauses(rig)
        rig.sandbox.script(f"{impostor};path=/files/", times=None)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        assert files_asked(rig) == ["api"]  # and not asked again: the next answer would be the same
        await check_bought_in_vain(rig)


def at_another_name(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


def without_change(url: str) -> str:
    return url


class TestALinkThatLeadsAstray:
    """Where results lie is said by an upstream's answer, and through that, perhaps, by whoever wrote the prompt."""

    @pytest.mark.parametrize(
        ("config", "change"),
        [
            pytest.param("", at_another_name, id="not among the hosts"),
            pytest.param("images: {fetch_hosts: ['*.theapi.app']}", without_change, id="an address, not a host"),
            pytest.param(GUARDED, without_change, id="not https"),
            pytest.param(f"{GUARDED[:-1]}, fetch_hosts: [localhost]}}", at_another_name, id="a name of this machine"),
            pytest.param(GUARDED, lambda url: url.replace("http:", "https:"), id="an unusual port"),
        ],
    )
    async def test_is_not_followed(
        self, gateway: StartGateway, sandbox: Sandbox, config: str, change: Callable[[str], str]
    ) -> None:
        rig = await gateway(config)
        async with canary() as bird:
            sandbox.script(f"ok;site={change(bird.url)}", path=CHAT)

            answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        assert answer.header("x-should-retry") == "false"
        assert bird.seen == []
        await check_bought_in_vain(rig)
        [line] = await rig.log_lines("attempt")
        assert "/files/" not in json.dumps(line)  # a signed link would be a secret

    async def test_to_this_machine_by_a_name_is_found_out_when_it_is_looked_up(self, gateway: StartGateway) -> None:
        rig = await gateway("images: {fetch_hosts: [localhost], fetch_private: false}")
        rig.sandbox.script("ok;site=https://localhost", path=CHAT)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        [line] = await rig.log_lines("attempt")
        assert "not a public one" in line["detail"]
        await check_bought_in_vain(rig)

    async def test_is_given_to_a_client_that_wants_links(self, gateway: StartGateway) -> None:
        """It is the client's to follow; we only do not follow it ourselves."""
        rig = await gateway(GUARDED)
        async with canary() as bird:
            rig.sandbox.script(f"ok;site={bird.url}", path=CHAT, times=2)

            whole = await order(rig)
            streamed = await order(rig, stream=True)

        assert whole.json()["data"][0]["url"].startswith(f"{bird.url}/files/")
        assert json.loads(streamed.payloads[0])["url"].startswith(f"{bird.url}/files/")
        assert bird.seen == []


def redirect(location: str) -> str:
    return f"redirect;location={location}"


class TestRedirects:
    async def test_are_followed_where_they_may_lead(self, rig: Rig) -> None:
        [link] = sandbox_links(rig, role="proxy")
        rig.sandbox.script(redirect(link), path="/files/" + sandbox_links(rig)[0].rpartition("/")[2], role="api")

        answer = await order(rig, response_format="b64_json")

        assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == sandbox_image(link)
        assert files_asked(rig) == ["api", "proxy"]

    async def test_three_at_most(self, rig: Rig) -> None:
        name = "/files/" + sandbox_links(rig)[0].rpartition("/")[2]
        rig.sandbox.script(redirect(name), path=name, times=None)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        assert files_asked(rig) == ["api"] * 4
        await check_bought_in_vain(rig)

    async def test_into_forbidden_places_are_not_followed(self, rig: Rig) -> None:
        """The first host may be asked; where it sends us may not."""
        name = "/files/" + sandbox_links(rig)[0].rpartition("/")[2]
        async with canary() as bird:
            rig.sandbox.script(redirect(at_another_name(bird.url)), path=name)

            answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        assert files_asked(rig) == ["api"]
        assert bird.seen == []
        await check_bought_in_vain(rig)


async def test_the_image_a_link_shows_is_the_one_that_was_made(rig: Rig) -> None:
    """The sandbox draws real images; what it says, a client sees."""
    made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

    assert made.data is not None
    shown = await fetched(made.data[0].url or "")
    assert shown.body == sandbox_image(made.data[0].url or "")
