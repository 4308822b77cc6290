"""What an Images API says, believed as far as it can be true."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.images.types import MOST_READ, ImageFacts, MadeImage
from gateway.core.types import Usage
from gateway.wire.images_answer import (
    event_kind,
    facts_in,
    format_of,
    images_in,
    likely_output_tokens,
    others_in,
    usage_in,
    words_in,
)

B64 = base64.b64encode(b"an image").decode()
LINK = "https://img.theapi.app/temp/1.png"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("document", "event", "kind"),
    [
        ({"type": "image_generation.partial_image"}, None, "partial"),
        ({"type": "image_edit.partial_image"}, None, "partial"),
        ({"type": "image_generation.completed"}, b"image_generation.completed", "completed"),
        ({"type": "image_edit.completed"}, None, "completed"),
        ({}, b"image_generation.completed", "completed"),
        ({}, b"image_edit.partial_image", "partial"),
        ({"type": "image_generation.started"}, None, "other"),
        ({"type": "response.completed"}, None, "other"),
        ({"type": "error"}, None, "other"),
        ({"data": []}, None, "whole"),
        ({"data": {}}, None, "other"),
        ({"type": 7}, None, "other"),
        ({}, None, "other"),
    ],
)
def test_what_an_event_is(document: dict[str, Any], event: bytes | None, kind: str) -> None:
    assert event_kind(document, event) == kind


class TestImages:
    def test_of_a_whole_answer(self) -> None:
        data = [{"b64_json": B64, "revised_prompt": "A cat"}, {"url": LINK}, {"b64_json": B64, "url": LINK}]
        assert images_in({"data": data}) == (
            MadeImage(None, B64, "A cat"),
            MadeImage(LINK),
            MadeImage(LINK, B64),
        )

    def test_what_is_none_is_left_out(self) -> None:
        data = [{}, None, 7, {"b64_json": ""}, {"b64_json": "%"}, {"url": "ftp://x/y"}, {"url": 7, "b64_json": 7}]
        assert images_in({"data": data}) == ()
        assert images_in({"data": "none"}) == ()

    def test_a_data_url_is_bytes_wherever_it_stands(self) -> None:
        address = f"data:image/png;base64,{B64}"
        assert images_in({"url": address}) == (MadeImage(None, B64),)
        assert images_in({"b64_json": address}) == (MadeImage(None, B64),)

    @pytest.mark.parametrize(
        "document",
        [
            {"images": [{"url": LINK}]},
            {"images": [LINK]},
            {"data": [LINK]},
            {"data": {"url": LINK}},
            {"data": [{"image_url": {"url": LINK}}]},
            {"data": [{"b64_json": LINK}]},
            {"image_url": LINK},
            {"url": LINK},
            {"code": 200, "message": "success", "data": {"output": {"image_url": LINK, "image_urls": [LINK]}}},
            {"choices": [{"message": {"content": f"![x]({LINK})"}}]},
            {"choices": [{"message": {"images": [{"image_url": {"url": LINK}}]}}]},
        ],
    )
    def test_of_an_answer_of_another_shape(self, document: dict[str, Any]) -> None:
        assert [image.url for image in images_in(document)] == [LINK]

    def test_two_equal_ones_are_two(self) -> None:
        assert len(images_in({"data": [{"b64_json": B64}, {"b64_json": B64}]})) == 2

    @pytest.mark.parametrize(
        "document",
        [
            {"type": "image_generation.partial_image", "b64_json": B64},
            {"error": {"message": "no"}, "data": [{"url": LINK}]},
            {"type": "ping", "id": LINK},
            {"code": 200, "data": {"task_id": "1", "input": {"image_url": LINK}}},
            {"choices": []},
        ],
    )
    def test_not_of_a_preview_an_error_or_an_order(self, document: dict[str, Any]) -> None:
        assert images_in(document) == ()

    def test_a_chats_words_are_told(self) -> None:
        said = words_in({"choices": [{"message": {"content": "I cannot draw that."}}]})
        assert said is not None
        assert (said.refusal, said.against_rules) == ("I cannot draw that.", True)
        assert words_in({"data": []}) is None

    def test_the_format_is_that_of_the_bytes(self) -> None:
        webp, png = (base64.b64encode(head).decode() for head in (b"RIFF\x04\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n"))
        assert format_of([MadeImage(None, webp)]) == "webp"
        assert format_of([MadeImage(None, png), MadeImage(None, png)]) == "png"
        assert format_of([MadeImage(None, png), MadeImage(None, webp)]) is None
        assert format_of([MadeImage(LINK), MadeImage(None, B64)]) is None


class TestFacts:
    def test_are_taken_where_they_are_openais_words(self) -> None:
        told = {"size": "1536x864", "quality": "high", "background": "opaque", "output_format": "webp"}
        assert facts_in(told) == ImageFacts("1536x864", "high", "opaque", "webp")

    @pytest.mark.parametrize("value", ["auto", "", "x" * 5000, 7, None, ["high"], "1024x1024\r\n", "0x7"])
    def test_anything_else_tells_nothing(self, value: object) -> None:
        told = dict.fromkeys(("size", "quality", "background", "output_format"), value)
        assert facts_in(told) == ImageFacts()


def usage(stated: object) -> Any:
    return usage_in({"usage": stated}, images_sent=1, images_asked=2, prompt_bytes=100)


class TestUsage:
    def test_as_openai_states_it(self) -> None:
        found = usage(
            {
                "input_tokens": 350,
                "input_tokens_details": {"text_tokens": 27, "image_tokens": 323, "cached_tokens": 20},
                "output_tokens": 8320,
                "total_tokens": 8670,
            }
        )
        assert found.usage == Usage(350, 20, 8320, image_input_tokens=323, image_output_tokens=8320)
        assert found.document == {
            "input_tokens": 350,
            "input_tokens_details": {"text_tokens": 27, "image_tokens": 323, "cached_tokens": 20},
            "output_tokens": 8320,
            "total_tokens": 8670,
        }

    def test_without_details_all_input_is_text(self) -> None:
        found = usage({"input_tokens": 5, "output_tokens": 272})
        assert found.usage == Usage(5, 0, 272, image_output_tokens=272)
        assert found.document["input_tokens_details"] == {"text_tokens": 5, "image_tokens": 0}

    def test_details_are_part_of_the_input(self) -> None:
        found = usage({"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"image_tokens": 9}})
        assert found.usage.image_input_tokens == 5

    def test_in_chats_words(self) -> None:
        found = usage(
            {
                "prompt_tokens": 350,
                "prompt_tokens_details": {"text_tokens": 27, "image_tokens": 323, "cached_tokens": 20},
                "completion_tokens": 420,
                "completion_tokens_details": {"image_tokens": 400, "text_tokens": 20, "reasoning_tokens": 0},
                "total_tokens": 770,
            }
        )
        assert found.usage == Usage(350, 20, 420, image_input_tokens=323, image_output_tokens=400)
        assert found.document == {
            "input_tokens": 350,
            "input_tokens_details": {"text_tokens": 27, "image_tokens": 323, "cached_tokens": 20},
            "output_tokens": 420,
            "output_tokens_details": {"image_tokens": 400, "text_tokens": 20},
            "total_tokens": 770,
        }

    def test_a_detail_that_is_not_known_here_is_kept(self) -> None:
        found = usage(
            {
                "input_tokens": 5,
                "input_tokens_details": {"text_tokens": 5, "image_tokens": 0, "vector_tokens": 1},
                "output_tokens": 30,
                "output_tokens_details": {"image_tokens": 20, "text_tokens": 10, "svg_tokens": 4},
            }
        )
        assert found.document["input_tokens_details"]["vector_tokens"] == 1
        assert found.document["output_tokens_details"] == {"image_tokens": 20, "text_tokens": 10, "svg_tokens": 4}
        assert found.usage.image_output_tokens == 20

    @pytest.mark.parametrize(
        ("split", "pictures"),
        [
            (None, 30),
            ({}, 30),
            ({"image_tokens": 0, "text_tokens": 0}, 30),
            ({"text_tokens": 10}, 20),
            ({"image_tokens": 20}, 30),  # what is not said to be text is a picture
            ({"image_tokens": 99, "text_tokens": 99}, 30),
        ],
    )
    def test_without_a_whole_split_the_output_is_pictures(self, split: dict[str, int] | None, pictures: int) -> None:
        stated = {"input_tokens": 5, "output_tokens": 30, "output_tokens_details": split}
        assert usage(stated).usage.image_output_tokens == pictures

    @pytest.mark.parametrize(
        "stated",
        [
            {"input_tokens": 50, "output_tokens": 420, "prompt_tokens": 0, "completion_tokens": 0},
            {"input_tokens": 0, "output_tokens": 0, "prompt_tokens": 50, "completion_tokens": 420},
            {"input_tokens": None, "output_tokens": None, "prompt_tokens": 50, "completion_tokens": 420},
        ],
    )
    def test_in_both_words_the_ones_that_say_something_count(self, stated: Any) -> None:
        assert usage(stated).usage == Usage(50, 0, 420, image_output_tokens=420)

    @pytest.mark.parametrize(
        "stated",
        [
            None,
            {},
            [],
            {"input_tokens": 5},
            {"input_tokens": -5, "output_tokens": 272},
            {"input_tokens": 5, "output_tokens": 2.5},
            {"input_tokens": True, "output_tokens": 272},
            {"input_tokens": "5", "output_tokens": 272},
            {"input_tokens": 5, "output_tokens": 200_001},
            {"input_tokens": 130_101, "output_tokens": 272},
        ],
    )
    def test_what_cannot_be_true_is_not_believed(self, stated: object) -> None:
        assert usage(stated) is None

    def test_the_most_that_is_believed(self) -> None:
        assert usage({"input_tokens": 130_100, "output_tokens": 200_000}) is not None


def test_likely_tokens_are_the_dearest_that_may_be_meant() -> None:
    assert likely_output_tokens("1024x1024", "low") == 272
    assert likely_output_tokens("1536x1024", "medium") == 1584
    assert likely_output_tokens("1024x1024", None) == 4160
    assert likely_output_tokens(None, None) == 6240


@settings(max_examples=100)
@given(JSON)
def test_nothing_an_upstream_says_breaks_the_reading(value: Any) -> None:
    names = ("type", "data", "b64_json", "url", "revised_prompt", "size", "quality", "usage")
    document = dict.fromkeys(names, value)
    assert event_kind(document, None) in ("partial", "completed", "whole", "other")
    assert all(image.url or image.b64 for image in images_in(document))
    facts_in(document)
    usage({"input_tokens": value, "output_tokens": value, "input_tokens_details": value})


def test_images_without_end_are_not_read() -> None:
    links = [f"https://a.example/{number}.png" for number in range(1000)]
    document = {"data": [None, *({"url": link} for link in links)]}
    assert [image.url for image in images_in(document)] == links[:MOST_READ]


def test_fields_that_nothing_here_knows_are_kept_for_the_client():
    picture = {"b64_json": "aGk="}
    document = {"created": 1, "data": [picture], "svg_usage": {"total": 3}, "id": "x", "usage": {}, "error": None}
    assert others_in(document) == {"svg_usage": {"total": 3}, "id": "x"}
    assert others_in({**document, "result": {"images": ["https://img.example/a.png"]}}).keys() == {"svg_usage", "id"}
    event = {"type": "image_edit.completed", **picture, "svg_usage": {"total": 3}, "id": "x", "sequence_number": 4}
    assert others_in(event) == {"svg_usage": {"total": 3}}
    assert others_in({**event, "type": "image_edit.partial_image"}) == {}


def test_figures_that_nothing_here_knows_stay_in_the_usage():
    document = usage({"prompt_tokens": 5, "completion_tokens": 272, "prompt_tokens_details": {}, "frames": 9}).document
    assert document["frames"] == 9
    assert "prompt_tokens" not in document
