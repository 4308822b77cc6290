"""An upstream's word on what was used is taken as far as the bytes on the wire can bear it."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from gateway.core.types import Usage
from gateway.exchange.tokenizer import Tokenizer
from gateway.wire.chat_request import ChatRequest, parse_chat_request, upstream_body
from gateway.wire.tokens import count_input
from gateway.wire.usage_bounds import believable_usage
from gateway.wire.usage_reading import read_usage

HELLO: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


def asked(**fields: Any) -> ChatRequest:
    return parse_chat_request({**HELLO, **fields})


def parts(*contents: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, *contents]}]


def believed(request: ChatRequest, tokens_in: int, tokens_out: int, answer_bytes: int = 400) -> bool:
    sent = len(upstream_body(request, request.model))
    usage = Usage(tokens_in, 0, tokens_out)
    return believable_usage(usage, request, request_bytes=sent, answer_bytes=answer_bytes)


def test_a_short_answer_that_is_said_to_have_used_millions_is_not_believed():
    lie = read_usage({"prompt_tokens": 99_999_999, "completion_tokens": 99_999_999})
    assert lie is not None
    assert not believable_usage(lie, asked(max_tokens=5), request_bytes=150, answer_bytes=400)
    assert not believed(asked(max_tokens=5), 9, 99_999_999)
    assert not believed(asked(max_tokens=5), 99_999_999, 2)


@pytest.mark.parametrize(
    ("fields", "answer_bytes", "tokens_out"),
    [
        ({}, 400, 2),
        ({}, 400, 128_000),  # all of it hidden reasoning
        ({"n": 4}, 1_600, 4 * 128_000),
        ({"max_tokens": 5}, 1_000_000, 900_000),  # an upstream that does not know the bound, or text of single bytes
        ({"max_completion_tokens": 30_000}, 400, 30_000),
        ({"max_completion_tokens": 30_000, "n": 3}, 1_200, 90_000),
        ({"max_tokens": 5, "thinking": {"type": "enabled", "budget_tokens": 60_000}}, 400, 60_005),
        ({"max_tokens": 5, "enable_thinking": True}, 400, 60_000),
    ],
)
def test_output_that_can_be_true_is_believed(fields, answer_bytes, tokens_out):
    assert believed(asked(**fields), 9, tokens_out, answer_bytes)


def test_hidden_output_is_bounded_by_what_the_client_allowed():
    assert not believed(asked(max_tokens=5), 9, 2_000)
    assert not believed(asked(max_tokens=5, max_completion_tokens=30_000), 9, 32_000)
    assert not believed(asked(n=2, max_tokens=5), 9, 3_000)
    assert not believed(asked(), 9, 300_000)


@pytest.mark.parametrize(
    ("fields", "tokens_in"),
    [
        ({}, 25_000),  # the provider's own system prompt
        ({"messages": parts({"type": "image_url", "image_url": {"url": "https://e/a"}})}, 48_169),
        ({"messages": parts(*[{"type": "image_url", "image_url": {"url": "https://e/a"}}] * 10)}, 481_690),
        ({"messages": parts({"type": "file", "file": {"file_id": "file-1"}})}, 900_000),
        ({"messages": parts({"type": "video_url", "video_url": {"url": "https://e/a"}})}, 1_000_000),
        ({"messages": [*HELLO["messages"], {"role": "assistant", "audio": {"id": "a"}}]}, 100_000),
        ({"web_search_options": {}}, 200_000),
        ({"tools": [{"type": "web_search"}]}, 200_000),
        ({"tools": [{"google_search": {}}]}, 200_000),
        ({"tools": {"web_search": {}}}, 200_000),
        ({"enable_search": True}, 200_000),
        ({"search_parameters": {"mode": "on"}}, 200_000),
        ({"messages": parts({"file_data": {"file_uri": "https://e/a"}})}, 900_000),
        ({"messages": [{"role": "user", "content": {"type": "video_url", "video_url": "https://e/a"}}]}, 900_000),
    ],
)
def test_input_that_can_be_true_is_believed(fields, tokens_in):
    assert believed(asked(**fields), tokens_in, 2)
    assert not believed(asked(), max(tokens_in, 40_000), 2)


def test_what_shows_in_its_bytes_gets_no_more():
    function = {"type": "function", "function": {"name": "f"}}
    assert not believed(asked(tools=[function], messages=parts({"type": "refusal", "refusal": "no"})), 40_000, 2)


def test_no_text_has_more_tokens_than_the_bound():
    counter = Tokenizer()
    choose = random.Random(7)
    for alphabet in ("\x00\x01\x1b", "!@#$%^&*()", "中文龥龤", "😀🫠🏴", "aZ0 \n", "\u0301\u0e33"):
        text = "".join(choose.choices(alphabet, k=60_000))
        request = asked(messages=[{"role": "user", "content": text}], max_tokens=1)
        answer = orjson.dumps({"choices": [{"delta": {"content": text}}]})
        used = Usage(count_input(request.body, counter.count), 0, counter.count(text))
        sent = len(upstream_body(request, request.model))
        assert believable_usage(used, request, request_bytes=sent, answer_bytes=len(answer))


PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": "x" * 200_000}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("messages", "extra", "tokens_in", "believable"),
    [
        (parts(PDF), {}, 128_000, True),
        (parts(PDF), {}, 128_001, False),
        (parts(), {}, 128_001, False),
        (parts(PICTURE), {}, 128_000 + 48_169, True),  # gpt-4o-mini bills a picture as more than it takes
        (parts(PDF), {"web_search_options": {}}, 500_000, True),
        (parts(PDF), {"tools": [{"type": "function", "function": {"name": "f"}}]}, 500_000, False),
        (parts(PDF), {"plugins_of_tomorrow": 1}, 500_000, True),
    ],
)
def test_no_more_input_is_believed_than_the_models_window_has(
    messages: list[dict[str, Any]], extra: dict[str, Any], tokens_in: int, believable: bool
):
    request = asked(messages=messages, **extra)
    usage = Usage(tokens_in, 0, 10)
    assert believable_usage(usage, request, 128_000, request_bytes=6_000_000, answer_bytes=400) == believable
    assert believable_usage(usage, request, None, request_bytes=6_000_000, answer_bytes=400), "not known, no bound"
