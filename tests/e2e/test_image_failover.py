"""An order for images that one kind of upstream cannot serve ends at another kind, in the same form, bought once."""

from __future__ import annotations

import base64
import json
import re

import pytest

from .conftest import StartGateway
from .harness import PROMPT, Answer, Rig
from .raw_orders import (
    ATTEMPTS,
    BACKUP_COST,
    BY_BACKUP,
    FAILOVERS,
    NO_BACKUP,
    PIAPI,
    WORDS,
    fetched,
    order,
    orders_asked,
    sandbox_image,
    sandbox_links,
)

TASK = "/api/v1/task"
FLUX_WITH_A_BACKUP = """
models:
  flux-dev:
    targets:
      - {upstream: piapi, model: Qubico/flux1-dev, operation: task, price: {image: 0.015}}
      - {upstream: backup, model: gpt-image-2.6-flare, operation: images}
"""
GONE: dict[str, str] = {
    "refused": "connect_refused",
    "server_error": "upstream_5xx",
    "bad_gateway": "upstream_5xx",
    "rate_limited;retry_after=60": "rate_limited",
    "key_unfunded": "key_unfunded",
    "cf_origin_down": "cf_origin_down",
    "model_missing": "model_missing",
}
"""What is the matter with both of PiAPI's hosts → the outcome's name."""

SURELY_GONE = [fault for fault, slug in GONE.items() if slug != "upstream_5xx"]
"""PiAPI promises not to charge gpt-4o-image for a 5xx; of tasks it says no such thing."""

MARKDOWN = re.compile(r"!\[image\]\((http://[^()\s]+)\)")


async def piapi_fails(rig: Rig, fault: str, path: str | None = None) -> None:
    """``path``: where it fails, None for everything."""
    for role in PIAPI:
        if fault == "refused":
            await rig.sandbox.refuse(role)
        else:
            rig.sandbox.script(fault, role=role, path=path, times=None)


async def check_served_by_the_backup(rig: Rig, answer: Answer, slug: str, *, doubtful: int = 0) -> None:
    """Who was asked, what it cost, what the figures say. ``doubtful``: what may have been bought before."""
    assert answer.status == 200
    assert answer.header("x-gateway-upstream") == "backup"
    asked = orders_asked(rig)
    assert asked[-1] == "backup"
    assert asked.count("backup") == 1
    row = await rig.row()
    assert set(row.outcomes[:-1]) == {slug}
    assert row.outcomes[-1] == "ok"
    assert (row.upstream, row.images, row.status, row.state) == ("backup", 1, 200, "settled")
    assert row.charged == BACKUP_COST
    assert row.costs[-1] == (BACKUP_COST, "billed")
    assert row.upstream_cost == BACKUP_COST + doubtful
    assert rig.sandbox.billed == BACKUP_COST
    figures = await rig.figures()
    assert figures.total(FAILOVERS, **{"from": "piapi", "to": "backup", "reason": slug}) == 1
    assert figures.total(ATTEMPTS, outcome=slug) == len(row.outcomes) - 1
    assert figures.nano("gateway_cost_usd_total", upstream="backup") == BACKUP_COST
    assert figures.total("gateway_images_total", upstream="backup") == 1


class TestGpt4oImage:
    @pytest.mark.parametrize("fault", list(GONE))
    async def test_ends_at_the_backup_with_a_link_as_before(self, rig: Rig, fault: str) -> None:
        await piapi_fails(rig, fault)

        answer = await order(rig)

        document = answer.json()
        [image] = document["data"]
        assert image["url"].startswith(f"{rig.gateway.main_url}/images/")
        assert (await fetched(image["url"])).body == BY_BACKUP
        assert document["size"] == "1024x1024"
        await check_served_by_the_backup(rig, answer, GONE[fault])

    @pytest.mark.parametrize("fault", ["refused", "cf_origin_down", "key_unfunded"])
    async def test_in_a_stream(self, rig: Rig, fault: str) -> None:
        await piapi_fails(rig, fault)

        answer = await order(rig, stream=True)

        [completed] = [json.loads(payload) for payload in answer.payloads]
        assert completed["type"] == "image_generation.completed"
        assert base64.b64decode(completed["b64_json"]) == BY_BACKUP
        assert completed["usage"]["output_tokens"] == 439
        await check_served_by_the_backup(rig, answer, GONE[fault])

    async def test_as_base64(self, rig: Rig) -> None:
        await piapi_fails(rig, "server_error")

        answer = await order(rig, response_format="b64_json")

        assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == BY_BACKUP
        await check_served_by_the_backup(rig, answer, "upstream_5xx")

    async def test_each_of_several_by_itself(self, rig: Rig) -> None:
        """The upstreams differ in what they bring at once; what was ordered comes, whoever brings it."""
        await piapi_fails(rig, "refused")

        answer = await order(rig, n=3)

        links = [image["url"] for image in answer.json()["data"]]
        assert len(set(links)) == 3
        row = await rig.row()
        assert (row.charged, row.images) == (3 * BACKUP_COST, 3)
        assert row.charged == rig.sandbox.billed

    async def test_with_the_images_and_the_mask_it_was_given(self, rig: Rig) -> None:
        await piapi_fails(rig, "server_error")
        image, mask = sandbox_image("/gen-a-64x64.png"), sandbox_image("/gen-b-64x64.png")

        made = await rig.openai().images.edit(
            model="gpt-4o-image", prompt=PROMPT, image=[("a.png", image), ("c.png", mask)], mask=("m.png", mask)
        )

        assert made.data is not None
        assert (made.data[0].url or "").startswith(f"{rig.gateway.main_url}/images/")
        [sent] = [request for request in rig.sandbox.requests if request.role == "backup"]
        assert sent.path == "/v1/images/edits"
        assert sent.form is not None
        assert [(file.name, file.data) for file in sent.form.files] == [
            ("image[]", image),
            ("image[]", mask),
            ("mask", mask),
        ]
        assert sent.form.get("model") == "gpt-image-2.6-flare"

    async def test_without_a_backup_it_fails(self, gateway: StartGateway) -> None:
        rig = await gateway(NO_BACKUP)
        await piapi_fails(rig, "refused")

        answer = await order(rig)

        assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")
        row = await rig.row()
        assert (row.charged, row.state) == (0, "released")

    async def test_what_the_rules_forbid_is_not_asked_of_others(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=refused", role="api")

        answer = await order(rig)

        assert (answer.status, answer.error()["code"]) == (400, "content_policy_violation")
        assert orders_asked(rig) == ["api"]


class TestFlux:
    @pytest.mark.parametrize("fault", SURELY_GONE)
    async def test_with_a_backup_ends_there(self, gateway: StartGateway, fault: str) -> None:
        rig = await gateway(FLUX_WITH_A_BACKUP)
        await piapi_fails(rig, fault, TASK)

        answer = await order(rig, model="flux-dev")

        [image] = answer.json()["data"]
        assert (await fetched(image["url"])).body == BY_BACKUP
        await check_served_by_the_backup(rig, answer, GONE[fault])

    async def test_whose_task_fails_ends_there_as_well(self, gateway: StartGateway) -> None:
        rig = await gateway(FLUX_WITH_A_BACKUP)
        rig.sandbox.script("task_failed", times=None)

        answer = await order(rig, model="flux-dev")

        assert (await fetched(answer.json()["data"][0]["url"])).body == BY_BACKUP
        await check_served_by_the_backup(rig, answer, "task_failed")

    @pytest.mark.parametrize("fault", ["cf_524", "server_error", "bad_gateway", "task_nameless"])
    async def test_that_may_have_been_created_is_created_once_more_at_most(
        self, gateway: StartGateway, fault: str
    ) -> None:
        rig = await gateway(FLUX_WITH_A_BACKUP)
        for role in PIAPI:
            rig.sandbox.script(f"{fault};bought=1", role=role, path=TASK, times=None)

        answer = await order(rig, model="flux-dev")

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert orders_asked(rig) == ["api", "proxy"]
        row = await rig.row()
        assert (row.charged, row.state) == (0, "unknown")
        assert row.upstream_cost == rig.sandbox.billed == 2 * 15_000_000

    async def test_dear_enough_is_not_created_again(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{FLUX_WITH_A_BACKUP}\nfailover: {{unknown_outcome_up_to: 0.0149}}")
        rig.sandbox.script("cf_524;bought=1", role="api", path=TASK)

        answer = await order(rig, model="flux-dev")

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert orders_asked(rig) == ["api"]


class TestAChat:
    @pytest.mark.parametrize("fault", ["refused", "server_error", "cf_origin_down"])
    async def test_with_gpt_4o_image_gets_a_markdown_image_from_the_backup(self, rig: Rig, fault: str) -> None:
        await piapi_fails(rig, fault)

        answer = await rig.chat(model="gpt-4o-image")

        [choice] = answer.json()["choices"]
        assert choice["finish_reason"] == "stop"
        [link] = MARKDOWN.findall(choice["message"]["content"])
        assert (await fetched(link)).body == BY_BACKUP
        await check_served_by_the_backup(rig, answer, GONE[fault])

    async def test_in_a_stream_too(self, rig: Rig) -> None:
        await piapi_fails(rig, "server_error")

        answer = await rig.chat(model="gpt-4o-image", stream=True, stream_options={"include_usage": True})

        assert answer.payloads[-1] == b"[DONE]"
        [link] = MARKDOWN.findall(answer.text)
        assert (await fetched(link)).body == BY_BACKUP
        usage = json.loads(answer.payloads[-2])["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (WORDS, 439)
        await check_served_by_the_backup(rig, answer, "upstream_5xx")

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("model", ["gpt-image-1", "flux-schnell"])
    async def test_with_a_model_that_only_makes_images_gets_one(self, rig: Rig, model: str, stream: bool) -> None:
        answer = await rig.chat(model=model, stream=stream)

        assert answer.status == 200
        text = answer.text if stream else answer.json()["choices"][0]["message"]["content"]
        [link] = MARKDOWN.findall(text)
        assert (await fetched(link)).body == sandbox_image(sandbox_links(rig)[0])
        assert link.startswith(rig.gateway.main_url) == (model == "gpt-image-1")
        row = await rig.row()
        assert (row.charged, row.images) == (rig.sandbox.billed, 1)

    async def test_that_is_no_order_is_not_brought_to_an_images_api(self, rig: Rig) -> None:
        """Its last message is not the user's: PiAPI's chat could serve it, an Images API cannot."""
        await piapi_fails(rig, "refused")
        messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "no"}]

        answer = await rig.chat(model="gpt-4o-image", messages=messages[1:])

        assert answer.status >= 400
        assert answer.error()["code"]
        assert "backup" not in orders_asked(rig)
