"""gpt-4o-image on the Images routes: whatever its text looks like, the client gets images, or is told why not."""

from __future__ import annotations

import base64
import json

import openai
import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig
from .raw_orders import (
    ATTEMPTS,
    EDITS,
    IMAGE,
    NO_BACKUP,
    NO_IMAGE,
    files_asked,
    order,
    orders_asked,
    sandbox_image,
    sandbox_links,
    told,
)

WITH_AN_IMAGE = ("piapi", "a", "b", "c", "d", "e")
REASONS = {
    "failed": "input_moderation",
    "failed_en": "output_moderation",
    "refused": "this image cannot be made; it goes against the rules.",
}
DALLE = "https://oaidalleapiprodscus.blob.core.windows.net/private"
POLICY = (400, "image_generation_user_error", "content_policy_violation")


class TestImages:
    @pytest.mark.parametrize("variant", WITH_AN_IMAGE)
    async def test_are_exactly_the_answers(self, rig: Rig, variant: str) -> None:
        rig.sandbox.script(f"ok;variant={variant}")

        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig)
        assert made.data[0].b64_json is None
        assert len(rig.sandbox.requests) == 1  # a link that is wanted as a link is not followed
        row = await rig.row()
        assert (row.charged, row.images, row.status, row.outcomes) == (IMAGE, 1, 200, ["ok"])
        assert row.charged == row.upstream_cost == rig.sandbox.billed

    @pytest.mark.parametrize("variant", WITH_AN_IMAGE)
    async def test_are_all_delivered_though_one_was_asked_for(self, rig: Rig, variant: str) -> None:
        rig.sandbox.script(f"ok;variant={variant};images=3")

        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=1)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig, 3)
        row = await rig.row()
        assert (row.charged, row.images) == (IMAGE, 3)

    async def test_several_are_bought_one_by_one_under_one_reservation(self, rig: Rig) -> None:
        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=3)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig) * 3
        assert len(rig.sandbox.requests) == 3
        row = await rig.row()
        assert (row.charged, row.images, row.upstream_cost) == (3 * IMAGE, 3, 3 * IMAGE)
        assert row.charged == rig.sandbox.billed
        assert (await rig.figures()).total("gateway_images_total", model="gpt-4o-image", key="alice") == 3

    async def test_what_came_of_several_is_an_answer_and_is_charged(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=refused", times=2)

        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=3)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig)
        row = await rig.row()
        assert (row.charged, row.images) == (IMAGE + 2 * NO_IMAGE, 1)
        assert row.charged == rig.sandbox.billed

    @pytest.mark.parametrize("scenario", ["whole_json", "ok;whole=1", "crlf", "bytewise", "no_done", "comments"])
    async def test_come_in_whatever_form_the_answer_has(self, rig: Rig, scenario: str) -> None:
        rig.sandbox.script(scenario)

        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig)
        row = await rig.row()
        assert (row.charged, row.outcomes) == (IMAGE, ["ok"])

    async def test_bring_the_prompt_that_was_really_painted(self, rig: Rig) -> None:
        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, size="1536x1024")

        assert made.data is not None
        [sent] = rig.sandbox.requests
        words = sent.json["messages"][0]["content"]
        assert words == f"{PROMPT}\n\nSize: 1536x1024 (3:2)."
        assert made.data[0].revised_prompt == words
        assert made.size == "1536x1024"
        assert [one.url for one in made.data] == sandbox_links(rig, prompt=words, size=(1536, 1024))

    async def test_of_an_older_model_are_accepted_and_marked(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;site={DALLE}")

        raw = await rig.openai().images.with_raw_response.generate(model="gpt-4o-image", prompt=PROMPT)

        assert raw.headers["x-gateway-note"] == "downgraded"
        made = raw.parse()
        assert made.data is not None
        assert made.data[0].url is not None
        assert made.data[0].url.startswith(f"{DALLE}/files/")
        assert (await rig.row()).charged == IMAGE

    async def test_of_an_older_model_are_marked_in_a_stream_too(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;site={DALLE}")

        answer = await order(rig, stream=True, response_format="url")

        assert answer.header("x-gateway-note") == "downgraded"
        assert json.loads(answer.payloads[0])["url"].startswith(DALLE)

    async def test_of_this_model_are_not_marked(self, rig: Rig) -> None:
        raw = await rig.openai().images.with_raw_response.generate(model="gpt-4o-image", prompt=PROMPT)

        assert "x-gateway-note" not in raw.headers
        assert raw.headers["x-gateway-upstream"] == "piapi"
        assert raw.headers["x-gateway-attempts"] == "1"
        assert raw.headers["x-gateway-cost-usd"] == "0.02"


class TestAStream:
    @pytest.mark.parametrize("variant", WITH_AN_IMAGE)
    async def test_ends_with_the_image_as_an_event(self, rig: Rig, variant: str) -> None:
        rig.sandbox.script(f"ok;variant={variant}", path="/v1/chat/completions")

        stream = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, stream=True)
        [event] = [event async for event in stream]

        [link] = sandbox_links(rig)
        assert event.type == "image_generation.completed"
        assert base64.b64decode(event.b64_json) == sandbox_image(link)
        assert event.output_format == "png"
        assert files_asked(rig) == ["api"]
        assert (await rig.row()).charged == IMAGE

    async def test_tells_of_images_beyond_the_order_as_well(self, rig: Rig) -> None:
        rig.sandbox.script("ok;images=3", path="/v1/chat/completions")

        answer = await order(rig, stream=True)

        events = [json.loads(payload) for payload in answer.payloads]
        assert [event["url"] for event in events] == sandbox_links(rig, 3)
        assert [bool(event["b64_json"]) for event in events] == [True, True, False]  # two are fetched for one
        assert files_asked(rig) == ["api"] * 2

    async def test_gives_links_to_who_asked_for_links(self, rig: Rig) -> None:
        answer = await order(rig, stream=True, response_format="url")

        assert answer.is_stream
        assert answer.complete
        [completed] = [json.loads(payload) for payload in answer.payloads]
        assert completed["type"] == "image_generation.completed"
        assert [completed["url"]] == sandbox_links(rig)
        assert files_asked(rig) == []

    async def test_of_an_edit_has_the_edits_events(self, rig: Rig) -> None:
        stream = await rig.openai().images.edit(
            model="gpt-4o-image", prompt=PROMPT, image=("a.png", sandbox_image("/gen-a-64x64.png")), stream=True
        )

        assert [event.type async for event in stream] == ["image_edit.completed"]
        [sent, _] = rig.sandbox.requests
        assert sent.path == "/v1/chat/completions"
        assert sent.json["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


class TestNoImage:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("variant", list(REASONS))
    async def test_because_of_the_rules_is_the_users_and_costs_little(
        self, rig: Rig, variant: str, stream: bool
    ) -> None:
        rig.for_all_roles(f"ok;variant={variant}")

        with pytest.raises(openai.BadRequestError) as caught:
            await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, stream=stream)

        assert told(caught.value) == POLICY
        assert REASONS[variant] in caught.value.message
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert len(rig.sandbox.requests) == 1
        row = await rig.row()
        assert (row.charged, row.images, row.status, row.state) == (NO_IMAGE, 0, 400, "settled")
        assert row.outcomes == ["content_policy"]
        assert row.costs == [(NO_IMAGE, "billed")]
        assert row.charged == rig.sandbox.billed
        assert (await rig.figures()).nano("gateway_cost_usd_total", model="gpt-4o-image") == NO_IMAGE

    async def test_in_any_of_several_is_told_with_the_reason_and_charged_for_each(self, rig: Rig) -> None:
        rig.for_all_roles("ok;variant=failed_en")

        with pytest.raises(openai.BadRequestError) as caught:
            await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=2)

        assert told(caught.value) == POLICY
        row = await rig.row()
        assert (row.charged, row.images) == (2 * NO_IMAGE, 0)
        assert row.charged == rig.sandbox.billed

    @pytest.mark.parametrize("scenario", ["moderation_blocked", "rejected;error=content_policy_violation"])
    async def test_by_a_status_costs_nothing(self, rig: Rig, scenario: str) -> None:
        rig.for_all_roles(scenario)

        with pytest.raises(openai.BadRequestError) as caught:
            await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

        assert told(caught.value) == POLICY
        assert len(rig.sandbox.requests) == 1
        row = await rig.row()
        assert (row.charged, row.upstream_cost, row.state) == (0, 0, "released")

    @pytest.mark.parametrize(
        ("variant", "slug"),
        [("silent", "sse_empty"), ("error_delta", "upstream_408"), ("error_string", "sse_error_first")],
    )
    async def test_and_no_word_either_is_tried_once_more_elsewhere(self, rig: Rig, variant: str, slug: str) -> None:
        rig.sandbox.script(f"ok;variant={variant}", role="api")

        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig, role="proxy")
        assert orders_asked(rig) == ["api", "proxy"]
        row = await rig.row()
        assert row.outcomes == [slug, "ok"]
        assert row.charged == IMAGE
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]
        figures = await rig.figures()
        assert figures.total(ATTEMPTS, outcome=slug) == 1
        assert figures.nano("gateway_upstream_cost_usd_total", reason="suspected_duplicate") == IMAGE

    async def test_and_no_word_anywhere_is_an_empty_answer(self, gateway: StartGateway) -> None:
        rig = await gateway(NO_BACKUP)
        rig.for_all_roles("ok;variant=silent")

        with pytest.raises(openai.InternalServerError) as caught:
            await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

        assert told(caught.value) == (502, "upstream_error", "upstream_empty_response")
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert orders_asked(rig) == ["api", "proxy"]
        row = await rig.row()
        assert (row.charged, row.state, row.outcomes) == (0, "unknown", ["sse_empty"] * 2)

    async def test_is_not_risked_again_where_the_operator_forbids_it(self, gateway: StartGateway) -> None:
        rig = await gateway("failover: {unknown_outcome_up_to: 0}")
        rig.sandbox.script("ok;variant=error_string", role="api")

        answer = await order(rig, path=EDITS, images=[{"image_url": "https://example.com/a.png"}])

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert orders_asked(rig) == ["api"]
        row = await rig.row()
        assert (row.charged, row.costs) == (0, [(IMAGE, "unknown")])
