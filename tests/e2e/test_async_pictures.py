"""Pictures by PiAPI's asynchronous GPT-image routes: ordered once, asked after, delivered, charged as PiAPI bills."""

from __future__ import annotations

import base64
import json
import sqlite3
from typing import Any

import openai
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.wire.requests import RecordedRequest

from .conftest import StartGateway
from .harness import PIAPI_KEY, PROMPT, Rig, eventually
from .image_orders import GENERATIONS, MASK, OTHER_SOURCE, SOURCE, bought, delivered, opened
from .plain_servers import PlainServer
from .raw_orders import order as raw_order
from .test_task_webhooks import SECRET, with_webhooks

FLARE = "gpt-image-2.5-flare"
ORDER, EDIT_ORDER = "/api/v1/images/generations/async", "/api/v1/images/edits/async"
CREATE = "method=POST;path=/api/v1/images"
ASK = "method=GET;path=/api/v1/task"

SQUARE = 439 * 22_500
"""Nano-dollars of the output tokens of a square of medium quality: 439 of them, at $22.50 a million."""
WORDS = len(PROMPT.split()) * 3_750


def asked(rig: Rig) -> list[RecordedRequest]:
    return [request for request in rig.sandbox.requests if request.path.startswith("/api/v1/task/")]


async def order(rig: Rig, **fields: object) -> openai.types.ImagesResponse:
    return await rig.openai().images.generate(**{"model": FLARE, "prompt": PROMPT, **fields})  # type: ignore[call-overload,no-any-return]


class TestAPicture:
    async def test_is_ordered_with_the_keys_own_header_and_asked_after(self, rig: Rig) -> None:
        answer = await rig.openai().images.with_raw_response.generate(
            model=FLARE, prompt=PROMPT, size="1536x1024", quality="low"
        )

        [image] = await delivered(answer.parse())
        assert image.size == (1536, 1024)
        [create] = bought(rig)
        assert (create.path, create.role, create.key) == (ORDER, "api", PIAPI_KEY)
        assert create.get(b"x-api-key") == PIAPI_KEY.encode()
        assert create.get(b"authorization") is None
        assert create.json == {"model": FLARE, "prompt": PROMPT, "size": "1536x1024", "quality": "low"}
        row = await rig.row()
        assert row.charged == rig.sandbox.billed == WORDS + 158 * 22_500
        assert (row.images, row.confidence, row.state, row.outcomes) == (1, "measured", "settled", ["ok"])
        assert row.task_id is not None
        assert {request.path for request in asked(rig)} == {f"/api/v1/task/{row.task_id}"}
        usage = answer.parse().usage
        assert usage is not None
        assert (usage.output_tokens, answer.parse().size, answer.parse().quality) == (158, "1536x1024", "low")

    @pytest.mark.parametrize("wanted", ["url", "b64_json"])
    @pytest.mark.parametrize("shape", ["top", "id", "envelope", "url", "images", "whole"])
    async def test_comes_wherever_its_id_and_its_bytes_stand(self, shape: str, wanted: str, rig: Rig) -> None:
        rig.sandbox.script(f"ok;picture={shape};{CREATE}")

        answer = await order(rig, response_format=wanted)

        [image] = await delivered(answer)
        assert image.size == (1024, 1024)
        assert len(bought(rig)) == 1
        row = await rig.row()
        assert row.charged == rig.sandbox.billed == WORDS + SQUARE
        assert (row.task_id is None) is (shape == "whole")

    @pytest.mark.parametrize("vocabulary", ["docs", "lower", "odd"])
    async def test_comes_however_its_states_are_spelled(self, vocabulary: str, rig: Rig) -> None:
        rig.sandbox.script(f"ok;polls=5;vocabulary={vocabulary};{CREATE}")
        await delivered(await order(rig))
        assert len(asked(rig)) == 6
        assert (await rig.row()).charged == rig.sandbox.billed

    async def test_comes_in_a_stream(self, rig: Rig) -> None:
        stream = await rig.openai().images.generate(model=FLARE, prompt=PROMPT, stream=True, partial_images=2)
        events = [event async for event in stream]
        assert [event.type for event in events] == ["image_generation.completed"]
        assert opened(base64.b64decode(events[0].b64_json)).size == (1024, 1024)
        assert (await rig.row()).charged == rig.sandbox.billed == WORDS + SQUARE

    async def test_comes_to_a_chat(self, rig: Rig) -> None:
        answer = await rig.openai().chat.completions.create(model=FLARE, messages=[{"role": "user", "content": PROMPT}])
        assert (answer.choices[0].message.content or "").startswith("![")
        assert [request.path for request in bought(rig)] == [ORDER]
        assert (await rig.row()).charged == rig.sandbox.billed

    async def test_that_is_one_of_several_is_an_order_of_its_own(self, rig: Rig) -> None:
        images = await delivered(await order(rig, n=3))
        assert len(images) == 3
        assert [request.path for request in bought(rig)] == [ORDER] * 3
        assert not any("n" in request.json for request in bought(rig))
        row = await rig.row()
        assert (row.images, row.charged) == (3, 3 * (WORDS + SQUARE))
        assert rig.sandbox.billed == row.charged


class TestAnEdit:
    async def test_sends_its_pictures_as_data_urls(self, rig: Rig) -> None:
        answer = await rig.openai().images.edit(
            model=FLARE, prompt=PROMPT, image=[("a.png", SOURCE), ("b.png", OTHER_SOURCE)], mask=("m.png", MASK)
        )

        await delivered(answer)
        [create] = bought(rig)
        assert create.path == EDIT_ORDER
        assert [one["image_url"].partition(",")[0] for one in create.json["images"]] == ["data:image/png;base64"] * 2
        assert base64.b64decode(create.json["images"][1]["image_url"].partition(",")[2]) == OTHER_SOURCE
        assert base64.b64decode(create.json["mask"]["image_url"].partition(",")[2]) == MASK
        row = await rig.row()
        assert row.charged == rig.sandbox.billed == WORDS + 3 * 323 * 6_000 + SQUARE

    async def test_by_chat_and_by_link(self, rig: Rig) -> None:
        link = "https://example.com/cat.png"
        content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": link}}]
        await rig.chat(model=FLARE, messages=[{"role": "user", "content": content}])
        [create] = bought(rig)
        assert (create.path, create.json["images"]) == (EDIT_ORDER, [{"image_url": link}])
        assert (await rig.row()).charged == rig.sandbox.billed


class TestWhatIsNotTold:
    async def test_costs_the_bound_of_its_quality_and_size(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;usage=0;{CREATE}")
        await order(rig, quality="low", size="1536x1024")
        row = await rig.row()
        assert row.confidence == "estimated"
        assert row.charged == len(PROMPT.encode()) * 3_750 + 158 * 22_500
        assert row.charged >= rig.sandbox.billed

    async def test_points_come_before_any_table(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=40000;{CREATE}")
        await order(rig)
        row = await rig.row()
        assert (row.charged, row.confidence) == (4_000_000, "measured")


async def test_a_drawing_made_by_another_model_is_told_and_not_called_measured(gateway: StartGateway) -> None:
    usage = {"input_tokens": 10, "output_tokens": 100, "total_tokens": 110}
    picture = {"b64_json": base64.b64encode(SOURCE).decode(), "revised_prompt": "A lighthouse."}
    output = {"data": [picture], "usage": usage, "svg_usage": {"total_tokens": 9}}
    body = json.dumps({"task_id": "t-1", "status": "completed", "output": output}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with PlainServer(head + body) as upstream:
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{upstream.url}'}}]}}}}")
        answer = await order(rig, response_format="b64_json")
    assert answer.data is not None
    assert answer.data[0].revised_prompt == "A lighthouse."
    assert answer.to_dict()["svg_usage"] == {"total_tokens": 9}
    row = await rig.row()
    assert (row.charged, row.confidence) == (10 * 3_750 + 100 * 22_500, "estimated")


class TestQualities:
    @pytest.mark.parametrize("quality", ["xhigh", "max"])
    async def test_that_piapi_refuses_are_bought_at_the_backup(self, quality: str, rig: Rig) -> None:
        await delivered(await order(rig, quality=quality))
        [create] = bought(rig)
        assert (create.role, create.path, create.json["quality"]) == ("backup", GENERATIONS, quality)
        row = await rig.row()
        assert (row.charged, row.outcomes) == (rig.sandbox.billed, ["ok"])

    @pytest.mark.parametrize("quality", ["xhigh", "max", "best"])
    async def test_are_refused_before_anything_is_bought_where_nobody_has_them(
        self, quality: str, gateway: StartGateway
    ) -> None:
        rig = await gateway("upstreams: {backup: {keys: []}}")
        with pytest.raises(openai.BadRequestError) as refused:
            await order(rig, quality=quality)
        assert (refused.value.param, refused.value.code) == ("quality", "invalid_value")
        assert "auto, low, medium, high" in refused.value.message
        assert bought(rig) == []

    async def test_of_older_models_are_written_anew(self, rig: Rig) -> None:
        await order(rig, quality="standard")
        await order(rig, quality="hd")
        assert [request.json["quality"] for request in bought(rig)] == ["medium", "high"]
        assert {request.path for request in bought(rig)} == {ORDER}


class TestWhatGoesWrong:
    async def test_a_failed_order_costs_nothing_and_goes_to_the_backup(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_failed;{CREATE}")
        await delivered(await order(rig))
        assert [request.path for request in bought(rig)] == [ORDER, GENERATIONS]
        row = await rig.row()
        assert row.outcomes == ["task_failed", "ok"]
        assert row.charged == rig.sandbox.billed

    async def test_a_refused_prompt_is_asked_of_nobody_else(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_nsfw;{CREATE}")
        with pytest.raises(openai.BadRequestError) as refused:
            await order(rig)
        assert refused.value.code == "content_policy_violation"
        assert [request.path for request in bought(rig)] == [ORDER]
        assert rig.sandbox.billed == (await rig.row()).charged == 0

    @pytest.mark.parametrize("polls", ["status;code=503", "status;code=404", "reset_before_head", "bad_json"])
    async def test_a_poll_that_fails_buys_nothing_again(self, polls: str, rig: Rig) -> None:
        rig.sandbox.script(f"{polls};{ASK}", times=2)
        await delivered(await order(rig))
        assert len(bought(rig)) == 1
        assert (await rig.row()).charged == rig.sandbox.billed

    async def test_an_order_that_is_never_done_is_not_bought_again(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {tasks: {deadline: 500ms}}}")
        rig.sandbox.script(f"task_never;{CREATE}")
        with pytest.raises(openai.InternalServerError) as lost:
            await order(rig)
        assert (lost.value.status_code, lost.value.code) == (504, "upstream_outcome_unknown")
        assert len(bought(rig)) == 1
        row = await rig.row()
        assert (row.state, row.charged) == ("unknown", 0)

    @pytest.mark.parametrize(
        "newest", [{"complexity": "high"}, {"frame_count": 2, "output_format": "gif"}, {"output_format": "svg"}]
    )
    async def test_what_only_an_images_api_is_known_to_take_is_bought_at_one(
        self, newest: dict[str, Any], rig: Rig
    ) -> None:
        answer = await raw_order(rig, model=FLARE, **newest)
        assert answer.status == 200
        [create] = bought(rig)
        assert (create.role, create.path) == ("backup", GENERATIONS)
        assert newest.items() <= create.json.items()
        assert (await rig.row()).charged == rig.sandbox.billed

    async def test_what_piapi_does_not_know_is_its_own_to_refuse_where_there_is_no_other(
        self, gateway: StartGateway
    ) -> None:
        rig = await gateway("upstreams: {backup: {keys: []}}")
        answer = await raw_order(rig, model=FLARE, complexity="high")
        assert answer.status == 400
        assert "complexity" in answer.json()["error"]["message"]
        assert [request.json["complexity"] for request in bought(rig)] == ["high"]
        assert rig.sandbox.billed == (await rig.row()).charged == 0


class TestNoConnectionIsHeld:
    async def test_so_that_a_hosts_wall_cuts_nothing(self, gateway: StartGateway, sandbox: Sandbox) -> None:
        """The host gives up on silence after a tenth of a second; the picture takes four times as long."""
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{sandbox.urls['api']}', wall: 100ms}}]}}}}")
        rig.sandbox.script(f"ok;ready=0.4;{CREATE}")
        await delivered(await order(rig))
        assert len(bought(rig)) == 1
        assert (await rig.row()).charged == rig.sandbox.billed

    async def test_and_a_webhook_brings_the_picture_long_before_the_next_poll(self, gateway: StartGateway) -> None:
        rig = await with_webhooks(gateway)
        rig.sandbox.script(f"ok;ready=0.3;{CREATE}")
        await delivered(await order(rig))
        [create] = bought(rig)
        assert create.json["config"]["webhook_config"]["secret"] == SECRET
        await rig.sandbox.until(lambda: len(rig.sandbox.webhooks) == 1)
        assert len(asked(rig)) == 1


class TestARestart:
    async def test_learns_what_became_of_the_order_and_charges_it_once(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {tasks: {deadline: 300ms}}}")
        rig.sandbox.script(f"ok;polls=1000;ready=1.2;{CREATE}")
        with pytest.raises(openai.InternalServerError):
            await order(rig, quality="low", size="1536x1024")
        assert (await rig.row()).state == "unknown"
        await rig.sandbox.until(lambda: rig.sandbox.billed > 0)

        await rig.restart()

        await eventually(lambda: corrections(rig) != [], "the books to be corrected")
        assert corrections(rig) == [("settled", WORDS + 158 * 22_500)]
        assert len(bought(rig)) == 1
        assert rig.sandbox.billed == WORDS + 158 * 22_500


def corrections(rig: Rig) -> list[tuple[str, int]]:
    """What the books say of exchanges whose outcome was unknown at first: state and charge."""
    connection = sqlite3.connect(f"file:{rig.folder / 'gateway.db'}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT state, charged FROM corrections").fetchall()
    finally:
        connection.close()
