"""Pictures in the fields of an answer: beside a chat's text, as its parts, as an Images API's data."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.images.types import MOST_READ, MadeImage
from gateway.wire.chat_pictures import ChatPictures, pictures_of_chat
from gateway.wire.picture_parts import pictures_of_answer, spoken
from gateway.wire.pictures_as_chat import as_completion, event_of_pictures

LINK = "https://cdn.example/a.png"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
DATA = f"data:image/png;base64,{PNG}"
WAV = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt " + bytes(64)).decode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([LINK, DATA, PNG]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["images", "data", "url", "b64_json", "content", "type", "image_url", "source", "message"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("message", "pictures"),
    [
        ({"images": [{"type": "image_url", "image_url": {"url": LINK}}]}, [MadeImage(LINK)]),
        ({"images": [{"image_url": {"url": DATA}}, {"url": LINK}]}, [MadeImage(None, PNG), MadeImage(LINK)]),
        ({"images": [DATA]}, [MadeImage(None, PNG)]),
        ({"images": [PNG]}, [MadeImage(None, PNG)]),
        ({"images": [{"b64_json": PNG}]}, [MadeImage(None, PNG)]),
        ({"images": {"url": LINK}}, [MadeImage(LINK)]),
        ({"images": LINK}, [MadeImage(LINK)]),
        ({"content": [{"type": "image_url", "image_url": {"url": LINK}}]}, [MadeImage(LINK)]),
        ({"content": [{"type": "image_url", "image_url": LINK}]}, [MadeImage(LINK)]),
        ({"content": [{"type": "output_image", "image_url": {"url": DATA}}]}, [MadeImage(None, PNG)]),
        ({"content": [{"type": "image", "image": DATA}]}, [MadeImage(None, PNG)]),
        ({"content": [{"type": "image", "url": LINK}]}, [MadeImage(LINK)]),
        ({"content": [{"type": "image", "source": {"type": "url", "url": LINK}}]}, [MadeImage(LINK)]),
        ({"content": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}, [MadeImage(None, PNG)]),
        ({"content": [{"file_data": {"file_uri": LINK}}]}, [MadeImage(LINK)]),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "image_generation_call", "result": PNG}]},
            [MadeImage(None, PNG)],
        ),
        ({"content": {"type": "image_url", "image_url": {"url": LINK}}}, [MadeImage(LINK)]),
        ({"content": [{"type": "text", "text": f"see {LINK}"}]}, []),
        ({"content": [{"type": "audio", "data": WAV}]}, []),
        ({"content": [{"inline_data": {"mime_type": "audio/wav", "data": WAV}}]}, []),
        ({"content": [{"type": "video_url", "video_url": {"url": "https://cdn.example/a.mp4"}}]}, []),
        ({"audio": {"data": WAV}, "tool_calls": [{"function": {"arguments": LINK}}]}, []),
        ({"content": LINK}, []),
    ],
)
def test_what_a_message_holds_beside_its_text(message: dict[str, Any], pictures: list[MadeImage]) -> None:
    assert list(spoken(message).pictures) == pictures


def test_words_beside_a_picture_are_words() -> None:
    parts = [{"type": "text", "text": "Here "}, {"type": "image_url", "image_url": {"url": LINK}}, "it is."]
    said = spoken({"content": parts, "refusal": "No.", "reasoning": "Hm."})
    assert (said.words, said.refusal, said.thoughts) == ("Here it is.", "No.", "Hm.")


def test_thoughts_hold_no_pictures() -> None:
    said = spoken({"content": [{"type": "thinking", "thinking": "x", "url": LINK}, {"thought": True, "text": LINK}]})
    assert said.pictures == ()


@pytest.mark.parametrize(
    "document",
    [
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}}]},
        {"artifacts": [{"base64": PNG}]},
        {"predictions": [{"bytesBase64Encoded": PNG}]},
        {"type": "response.output_item.done", "item": {"type": "image_generation_call", "result": PNG}},
        {"type": "response.completed", "response": {"output": [{"type": "image_generation_call", "result": PNG}]}},
        {"output": DATA},
        {"image": PNG},
    ],
)
def test_what_other_vendors_answer(document: dict[str, Any]) -> None:
    assert pictures_of_answer(document) == (MadeImage(None, PNG),)


class TestAStream:
    def test_that_repeats_its_picture_brings_one(self) -> None:
        reader = ChatPictures()
        image = {"type": "image_url", "image_url": {"url": DATA}}
        for delta in ({"content": f"![x]({DATA})"}, {"images": [image]}, {"content": "", "images": [image]}):
            reader.take({"choices": [{"index": 0, "delta": delta}]})
        assert reader.result().images == (MadeImage(None, PNG),)
        assert reader.count() == 1

    def test_of_growing_messages_is_read_once(self) -> None:
        reader = ChatPictures()
        text = f"Progress 10%\nProgress 90%\n![x]({LINK})"
        for end in range(0, len(text) + 1, 7):
            reader.take({"choices": [{"index": 0, "message": {"content": text[:end]}}]})
        reader.take({"choices": [{"index": 0, "message": {"content": text}}]})
        assert reader.result().images == (MadeImage(LINK),)
        assert reader.progress == 90

    def test_that_ends_with_its_whole_message_is_read_once(self) -> None:
        reader = ChatPictures()
        reader.take({"choices": [{"delta": {"content": "Hello. "}}]})
        reader.take({"choices": [{"delta": {"content": f"![x]({LINK})"}}]})
        reader.take({"choices": [{"delta": {}, "message": {"content": f"Hello. ![x]({LINK})"}}]})
        assert reader.count() == 1

    def test_with_pictures_outside_of_its_choices(self) -> None:
        reader = ChatPictures()
        reader.take({"choices": [], "images": [{"url": LINK}]})
        reader.take({"choices": [{"delta": {}, "images": [DATA]}]})
        assert reader.result().images == (MadeImage(LINK), MadeImage(None, PNG))

    def test_whose_picture_is_damaged_still_made_one(self) -> None:
        found = pictures_of_chat({"choices": [{"message": {"content": "![x](data:image/png;base64,abcde)"}}]})
        assert (found.images, found.unreadable) == ((), 1)

    def test_that_thinks_of_a_picture_has_none(self) -> None:
        found = pictures_of_chat({"choices": [{"message": {"content": "", "reasoning_content": f"![x]({LINK})"}}]})
        assert found.images == ()


class TestInAChatsWords:
    def test_an_images_answer_is_a_completion(self) -> None:
        usage = {"input_tokens": 5, "input_tokens_details": {"text_tokens": 5}, "output_tokens": 7, "total_tokens": 12}
        document = {"created": 9, "data": [{"url": f"{LINK}?a=(b)"}, {"b64_json": PNG}], "usage": usage}

        completion = as_completion(document, lambda fields: {"id": "1", **fields})

        [choice] = completion["choices"]
        assert choice["message"]["content"] == f"![image]({LINK}?a=%28b%29)\n![image]({DATA})"
        assert (completion["id"], completion["created"], choice["finish_reason"]) == ("1", 9, "stop")
        assert completion["usage"] == {
            "prompt_tokens": 5,
            "prompt_tokens_details": {"text_tokens": 5},
            "completion_tokens": 7,
            "total_tokens": 12,
        }

    @pytest.mark.parametrize(
        "document",
        [None, [], {"choices": []}, {"type": "ping"}, {"error": "no", "url": LINK}, {"usage": {}}, {"data": []}],
    )
    def test_nothing_else_is_touched(self, document: Any) -> None:
        assert as_completion(document, dict) is document
        assert event_of_pictures(document, dict) is None


@settings(max_examples=150)
@given(JSON)
def test_nothing_an_upstream_sends_breaks_the_reading(value: Any) -> None:
    spoken({"content": value, "images": value, "refusal": value, "reasoning": value})
    document = value if isinstance(value, dict) else {"data": value, "output": value}
    assert all(one.url or one.b64 for one in pictures_of_answer(document))
    reader = ChatPictures()
    reader.take({"choices": value, "images": value})
    reader.take({"choices": [value, {"delta": value, "message": value}]})
    reader.result()


def test_pictures_without_end_are_not_read() -> None:
    links = [f"https://a.example/{number}.png" for number in range(5000)]
    assert len(pictures_of_answer({"data": links})) == MOST_READ
    assert len(spoken({"images": links}).pictures) == MOST_READ
    deep: Any = LINK
    for _ in range(5000):
        deep = [deep]
    assert pictures_of_answer({"data": deep}) == ()
