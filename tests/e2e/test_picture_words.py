"""What stands around a picture, or in its place: words, usage, previews of a megabyte; and what is charged for it."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from gateway.sandbox.images.png import draw_image

from .conftest import StartGateway
from .harness import PROMPT, Rig, chat_body
from .image_orders import IMAGE, bought, tokens_price
from .raw_orders import NO_IMAGE, order, sandbox_image, sandbox_links, told

ASKED: dict[str, Any] = {"model": "gpt-4o-image", "stream": True}


class TestWordsThatAreNotUnderstood:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("variant", ["unclear", "terminal"])
    async def test_are_told_and_nothing_is_bought_again(self, rig: Rig, variant: str, stream: bool) -> None:
        rig.for_all_roles(f"ok;variant={variant}")

        with pytest.raises(openai.InternalServerError) as caught:
            await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, stream=stream)

        assert told(caught.value) == (502, "upstream_error", "upstream_invalid_response")
        assert caught.value.response.headers["x-should-retry"] == "false"
        words = "your picture waits at" if variant == "unclear" else "no reason was given"
        assert words in caught.value.message
        assert len(bought(rig)) == 1
        row = await rig.row()
        assert (row.outcomes, row.state, row.images) == (["no_image"], "settled", 0)
        assert row.charged == row.upstream_cost == rig.sandbox.billed == NO_IMAGE
        assert PROMPT not in (rig.folder / "gateway.log").read_text()

    async def test_pass_to_a_chat_as_they_are(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=unclear")

        answer = await rig.chat(**ASKED)

        assert "your picture waits at" in answer.text
        assert (await rig.row()).charged == NO_IMAGE

    async def test_are_no_picture_of_several_either(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=unclear", times=1)

        made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=2)

        assert made.data is not None
        assert [image.url for image in made.data] == sandbox_links(rig)
        row = await rig.row()
        assert row.charged == rig.sandbox.billed == IMAGE + NO_IMAGE
        assert len(bought(rig)) == 2


class TestAChatThatIsPassedOn:
    async def test_has_its_pictures_bytes_as_they_came(self, rig: Rig) -> None:
        rig.sandbox.script("ok;form=delta_images")

        answer = await rig.chat(**ASKED)

        [link] = sandbox_links(rig)
        deltas = [json.loads(payload)["choices"][0]["delta"] for payload in answer.payloads[:-1]]
        [images] = [delta["images"] for delta in deltas if delta.get("images")]
        assert base64.b64decode(images[0]["image_url"]["url"].partition(",")[2]) == sandbox_image(link)
        assert (await rig.row()).charged == IMAGE

    async def test_keeps_images_when_it_is_folded(self, rig: Rig) -> None:
        rig.sandbox.script("ok;form=delta_images")

        message = (await rig.chat(model="gpt-4o-image")).json()["choices"][0]["message"]

        assert message["content"] == "Sandbox: here it is."
        [image] = message["images"]
        assert image["image_url"]["url"].startswith("data:image/png;base64,")
        assert (await rig.row()).charged == IMAGE

    @pytest.mark.parametrize("form", ["images_answer", "images_answer_b64", "images_answer_event"])
    async def test_brings_an_images_answer_in_a_chats_words(self, rig: Rig, form: str) -> None:
        for scenario in ("ok", "whole_json"):
            rig.sandbox.script(f"{scenario};form={form}")
            completion = await rig.openai().chat.completions.create(
                model="gpt-4o-image", messages=[{"role": "user", "content": PROMPT}]
            )
            content = completion.choices[0].message.content or ""
            assert content.startswith("![image](")
            assert completion.id
            assert completion.choices[0].finish_reason == "stop"

            rig.sandbox.script(f"{scenario};form={form}")
            stream = await rig.openai().chat.completions.create(
                model="gpt-4o-image", messages=[{"role": "user", "content": PROMPT}], stream=True
            )
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == content

        assert len(bought(rig)) == 4
        assert rig.sandbox.billed == 4 * IMAGE

    async def test_that_thinks_of_a_picture_has_bought_none(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=text_only")

        await rig.chat(**ASKED, messages=[{"role": "user", "content": "![like](https://a.example/a.png)"}])

        assert (await rig.row()).charged == NO_IMAGE


class TestUsage:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_in_chats_words_is_the_price(self, rig: Rig, stream: bool) -> None:
        rig.sandbox.script("chat_usage")

        answer = await order(rig, model="gpt-image-1", stream=stream)

        assert answer.status == 200
        document = json.loads(answer.payloads[-1]) if stream else answer.json()
        assert document["usage"]["output_tokens"] == 1056
        assert document["usage"]["output_tokens_details"] == {"image_tokens": 1056}
        row = await rig.row()
        assert row.charged == row.upstream_cost == rig.sandbox.billed == tokens_price()
        assert row.confidence == "measured"


class TestLargePictures:
    @pytest.mark.parametrize("model", ["gpt-image-1", "gpt-4o-image"])
    async def test_in_the_first_event_above_a_megabyte(
        self, gateway: StartGateway, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        large = draw_image(64, 64) + bytes(2 << 20)  # what follows a PNG's end does not matter to it
        monkeypatch.setattr("gateway.sandbox.images.picture_forms.image_by_name", lambda name: large)
        rig = await gateway("limits: {event: 32MiB}")
        rig.sandbox.script(f"ok;form={'item_url_safe' if model == 'gpt-image-1' else 'delta_images'}")

        answer = await order(rig, model=model, response_format="b64_json")

        [item] = answer.json()["data"]
        assert base64.b64decode(item["b64_json"], validate=True) == large
        assert len(bought(rig)) == 1


async def test_a_picture_that_came_before_the_stream_broke_is_delivered(rig: Rig) -> None:
    rig.sandbox.script("cut;form=delta_images;after_events=3")

    answer = await order(rig, response_format="b64_json")

    [item] = answer.json()["data"]
    assert base64.b64decode(item["b64_json"]) == sandbox_image(sandbox_links(rig)[0])
    assert len(bought(rig)) == 1
    assert (await rig.row()).charged == IMAGE


async def test_a_client_that_leaves_has_bought_the_picture_beside_the_text(rig: Rig) -> None:
    rig.sandbox.script("slow;delay=20;form=delta_images_link")
    async with rig.client() as client:
        await client.ask(chat_body(**ASKED))
        await client.head()
        await client.until(b"here it is")
        await client.leave()

    row = await rig.row()

    assert (row.charged, row.images, row.status) == (IMAGE, 1, 499)
    assert len(bought(rig)) == 1
