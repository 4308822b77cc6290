"""The most input a request can be billed for: every byte of it, and the whole window for what is not in its bytes."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
import pytest

from gateway.wire.known_chat import brings_more, unknown_asked
from gateway.wire.most_input import HIDDEN_INPUT, UNKNOWN_WINDOW, most_input

WINDOW = 128_000


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def asked(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": list(parts)}], **fields}


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "A" * 400, "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 400, "filename": "a.pdf"}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [FUNCTION], "tool_choice": "auto", "parallel_tool_calls": False},
        {"tools": [{"name": "f", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]},
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
        {"stop": ["a"], "user": "u", "metadata": {"a": "b"}, "seed": 1, "logprobs": True, "top_logprobs": 3},
        {"temperature": 1.0, "top_p": 0.5, "n": 3, "max_tokens": 5, "stream_options": None, "store": True},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {"service_tier": "priority", "reasoning_effort": "high", "verbosity": "low", "prompt_cache_key": "k"},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
        {"thinking": {"type": "enabled", "budget_tokens": 1.2e4}, "min_p": 0.1, "repetition_penalty": 1.1},
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 800}}}},
        {"web_search_options": None, "enable_search": False, "file_ids": [], "plugins": None},
    ],
)
def test_plain_fields_count_by_their_bytes(fields: dict[str, Any]) -> None:
    body = {"model": "gpt-4o", "messages": [user("hi")], **fields}
    assert len(orjson.dumps(body)) < most_input(body, "gpt-4o", WINDOW) <= len(orjson.dumps(body)) + 1_000


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "function": {"arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "assistant", "content": "a", "refusal": None, "audio": None, "annotations": [], "function_call": None},
        {"role": "assistant", "content": "a", "reasoning_content": "b" * 50, "reasoning_details": [{"text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [SOUND]},
        {"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "words"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"text": "a"}]}]},
    ],
)
def test_plain_messages_count_by_their_bytes(message: dict[str, Any]) -> None:
    body = {"model": "gpt-4o", "messages": [message, user("go on")]}
    assert most_input(body, "gpt-4o", WINDOW) == len(orjson.dumps(body)) + HIDDEN_INPUT


@pytest.mark.parametrize(
    "fields",
    [
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"tools": [FUNCTION, {"type": "mcp", "server_url": "https://e"}]},
        {"tools": [{**FUNCTION, "server_url": "https://e"}]},
        {"tools": [{"type": "file_search", "function": {"name": "f"}}]},
        {"tools": [{"google_search": {}}]},
        {"tools": "all"},
        {"enable_search": True},
        {"cached_content": "cachedContents/1"},
        {"extra_body": {"google": {"cached_content": "cachedContents/1"}}},
        {"extra_body": "{}"},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"documents": [{"id": "1"}]},
        {"prediction": {"type": "content", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}},
        {"prediction": {"type": "file", "content": {"id": "file-1"}}},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"messages": [{"role": "user", "content": "a", "attachments": [{"file_id": "file-1"}]}]},
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": {"id": "rs_1"}}]},
    ],
)
def test_what_may_fetch_counts_as_the_whole_window(fields: dict[str, Any]) -> None:
    body = {"model": "gpt-4o", "messages": [user("hi")], **fields}
    assert most_input(body, "gpt-4o", WINDOW) == WINDOW
    assert most_input(body, "gpt-4o") == UNKNOWN_WINDOW


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "https://e/a.pdf"}},
        {"type": "file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://e/a.pdf"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "image", "source": {"type": "file", "file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"id": "audio_1"}},
        {"type": "input_audio", "input_audio": {"data": "https://e/a.wav", "format": "wav"}},
        {"type": "text", "text": "a", "file_ids": ["file-1"]},
        {"type": "text", "text": {"file_id": "file-1"}},
        {"type": "image_url", "image_url": {"url": "https://e/a", "file_id": "file-1"}},
        {"type": "video_url", "video_url": {"url": "https://e/a.mp4"}},
        {"type": "of tomorrow", "text": "a"},
        {"type": "document", "source": {"type": "url", "url": "https://e/a.pdf"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "file", "file": {"file_id": "1"}}]}},
        {"type": ["text"], "text": "a"},
    ],
)
def test_a_part_that_may_fetch_counts_as_the_whole_window(part: dict[str, Any]) -> None:
    for content in ([part], part, [{"type": "tool_result", "content": [part]}], [[part]]):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}
        assert most_input(body, "gpt-4o", WINDOW) == WINDOW


@pytest.mark.parametrize("model", ["gpt-4o-search-preview", "perplexity/sonar", "gpt-4o:online", "o3-deep-research"])
def test_a_model_that_searches_by_itself_does_so_with_every_request(model: str) -> None:
    assert most_input({"messages": [user("hi")]}, model, WINDOW) == WINDOW


def test_a_pictures_bytes_are_no_text() -> None:
    held = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
    assert 5_000 < most_input(asked(held), "gpt-4o", WINDOW) < 6_000
    assert 5_000 < most_input(asked(PICTURE), "gpt-4o", WINDOW) < 6_000
    in_more_detail = {"type": "image_url", "image_url": {"url": "https://e/a", "detail": "original"}}
    assert most_input(asked(in_more_detail), "gpt-4o", WINDOW) > 32_000


def test_what_is_only_called_a_picture_is_a_file() -> None:
    pdf = {"type": "image_url", "image_url": {"url": "data:application/pdf;base64," + "A" * 20_000}}
    assert most_input(asked(pdf), "gpt-4o", WINDOW) == WINDOW
    source = {"type": "image", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 20_000}}
    assert most_input(asked(source), "gpt-4o", WINDOW) == WINDOW


def test_a_packed_file_counts_as_more_than_its_bytes_and_a_plain_one_as_them() -> None:
    assert 16 * 400 < most_input(asked(FILE), "gpt-4o", WINDOW) < 16 * 400 + 2_000
    text = {"type": "file", "file": {"file_data": "data:text/plain;base64," + "A" * 400, "filename": "a.txt"}}
    assert most_input(asked(text), "gpt-4o", WINDOW) < 400 + 600


def test_the_size_that_is_known_already_is_not_counted_again() -> None:
    assert most_input({"messages": [user("hi")]}, "gpt-4o", WINDOW, size=700) == 700 + HIDDEN_INPUT


def test_fields_of_envelopes_are_looked_into() -> None:
    body = {"messages": [user("hi")], "extra_body": {"google": {"thinking_config": {}, "newer": 1}}, "newest": True}
    assert unknown_asked(body) == ["newer", "newest"]
    assert brings_more(body, "gemini")


def most(*messages: Any, model: str = "gpt-4o", **fields: Any) -> int:
    return most_input({"model": model, "messages": list(messages), **fields}, model)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": {"text": "x " * 500}},
        {"role": "user", "content": ["x " * 500]},
        {"role": "user", "content": [{"text": "x " * 500}]},
        {"role": "user", "content": [{"type": "text", "text": {"value": "x " * 500}}]},
        {"role": "user", "content": [["x " * 500]]},
        {"role": "user", "content": "", "parts": ["x " * 500]},
        {"role": "assistant", "reasoning_content": "x " * 500},
        {"role": {"name": "x " * 500}},
        {"role": "assistant", "tool_calls": {"arguments": {"a": "x " * 500}}},
    ],
)
def test_a_reservation_has_room_for_texts_of_any_shape(message):
    assert most(message) >= most({"role": "user", "content": ""}) + 500 - 1


def test_a_reservation_has_room_for_fields_that_are_not_known():
    assert most(user("hi"), system="x " * 500) >= most(user("hi")) + 1000
    assert most(user("hi"), documents=[{"text": "x " * 500}]) >= most(user("hi")) + 1000
    assert most(user("hi"), metadata={"a": "x " * 500}) >= most(user("hi")) + 1000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": "https://e/a"},
        {"type": "image_url"},
        {"type": "input_image", "image_url": "https://e/a"},
        {"image_url": {"url": "https://e/a"}},
        {"type": "image", "source": {"type": "url", "url": "https://e/a"}},
    ],
)
def test_an_image_in_another_vendors_words_is_an_image(part):
    asked = {"role": "user", "content": [part]}
    assert most(asked) >= most({"role": "user", "content": []}) + 5_000


FILM = {"type": "video_url", "video_url": {"url": "https://e/a.mp4"}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [FILM]},
        {"role": "user", "content": FILM},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
        {"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "https://e/a.pdf"}}]},
        {"role": "user", "content": [{"fileData": {"fileUri": "https://e/a"}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": [FILM]}]},
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
    ],
)
def test_a_reservation_has_room_for_media_that_are_only_named(message):
    assert most(message) >= 128_000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "document", "source": {"type": "text", "data": "words"}},
        {"type": "search_result", "url": "https://e/", "text": "words"},
        {"type": "text", "text": "https://e/a.mp4"},
    ],
)
def test_what_a_request_holds_counts_by_its_bytes(part):
    assert most({"role": "user", "content": [part]}) < 1_000


LINK = {"type": "image_url", "image_url": {"url": "https://e/a.mp4"}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "file", "file": {"file_data": " " * 20 + "https://e/a.pdf"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "ftp://e/a.pdf"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "file-abcdef"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "https://e/" + "a" * 300}}]},
        {"role": "user", "content": [LINK]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "HTTPS://E/A.PDF?x=1#y"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "gs://e/a"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://www.youtube.com/watch?v=1"}}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://e/a", "format": "video/mp4"}}],
        },
        {"role": "user", "content": "hi", "images": ["https://e/a.mov"]},
        {"role": "assistant", "content": "hi", "annotations": [{"type": "file", "file": {"hash": "a"}}]},
        {"role": "assistant", "content": "hi", "reasoning_details": [{"id": "rs_1"}]},
        {"role": "assistant", "content": "hi", "tool_calls": [{"id": "ig_1", "type": "image_generation_call"}]},
        {"role": "assistant", "id": "msg_1"},
    ],
)
def test_what_is_named_and_not_told_may_fill_the_window(message):
    assert most(message) >= 128_000


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "id": "msg_1", "content": "hi"},
        {"role": "assistant", "content": "hi", "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]},
        {"role": "assistant", "reasoning_details": [{"type": "reasoning.encrypted", "id": "rs_1", "data": "x" * 99}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}, "extra_content": {"google": {}}}]},
        {"role": "assistant", "content": "hi", "tool_calls": [], "annotations": [], "refusal": None},
    ],
)
def test_what_was_said_before_counts_by_its_bytes(message):
    assert most(message) < 1_000


@pytest.mark.parametrize("held", ["AAAA", "A" * 1200])
def test_a_picture_beside_the_text_is_a_picture(held):
    asked = most({"role": "user", "content": "hi", "images": [held, "https://e/a.png"]})
    assert 10_000 <= asked < 11_000


def test_a_packed_file_that_calls_itself_text_is_packed():
    def file(name):
        data = {"file_data": "data:text/plain;base64," + "A" * 1000, "filename": name}
        return most({"role": "user", "content": [{"type": "file", "file": data}]})

    assert file("a.xlsx") > 15_000 > 2_000 > file("a.txt")


@pytest.mark.parametrize(
    "extra",
    [
        {"web_search_options": {}},
        {"tools": [{"google_search": {}}]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"extra_body": {"web_search_options": {}}},
        {"model": "another"},
    ],
)
def test_an_envelope_may_hold_what_fetches(extra):
    body = {"messages": [{"role": "user", "content": "hi"}], "extra_body": extra}
    assert most_input(body, "gpt-4o", 128_000) == 128_000
    assert most_input({**body, "extra_body": {"top_k": 5, "thinking": True}}, "gpt-4o", 128_000) < 1_000


def test_a_switch_that_is_an_empty_object_is_on():
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert most_input({**body, "google_search": {}}, "gpt-4o", 128_000) == 128_000
    assert most_input({**body, "google_search": False, "metadata": {}}, "gpt-4o", 128_000) < 1_000


def test_an_image_in_a_tools_result_is_an_image():
    result = {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "https://e/a"}}]}
    assert most({"role": "user", "content": [result]}) >= 5_000


class TestTheContextWindow:
    PDF: ClassVar = {"type": "file", "file": {"filename": "a.pdf", "file_data": "x" * 1_000_000}}
    PICTURE: ClassVar = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}

    def most(self, *parts: dict[str, Any], model: str = "gpt-4o", context: int | None = 128_000) -> int:
        return most_input({"model": model, "messages": [{"role": "user", "content": list(parts)}]}, model, context)

    def test_holds_all_that_is_reserved_for_input(self) -> None:
        assert self.most(self.PDF) == 128_000
        assert self.most({"type": "text", "text": "word " * 200_000}) == 128_000
        assert self.most({"type": "of tomorrow", "data": ["x" * 900_000]}) == 128_000
        assert self.most(*[self.PICTURE] * 100) == 128_000
        assert self.most(self.PDF, model="claude-opus-4-6", context=1_000_000) == 1_000_000
        assert self.most(self.PDF, context=2_000_000) == self.most(self.PDF, context=None) > 1_000_000

    def test_is_no_bound_where_it_is_not_known_or_not_reached(self) -> None:
        assert self.most(self.PDF, context=None) > 1_000_000
        assert self.most({"type": "text", "text": "hello"}) == self.most(
            {"type": "text", "text": "hello"}, context=None
        )

    def test_of_a_model_that_bills_pictures_as_more_than_they_take_is_none_for_pictures(self) -> None:
        assert self.most(self.PDF, self.PICTURE, model="gpt-4o-mini") == 128_000 + 48_169
