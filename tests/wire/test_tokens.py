"""Counting a request by OpenAI's rules; a word counts as one token here, so that the sums can be followed."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.core.types import Usage
from gateway.exchange.tokenizer import Tokenizer
from gateway.wire.chat_images import images_from_chat
from gateway.wire.chat_request import parse_chat_request, upstream_body
from gateway.wire.most_input import most_input
from gateway.wire.tokens import MOST_COUNTED, count_input, rough_tokens, text_of_request
from gateway.wire.usage_bounds import believable_usage


def words(text: str) -> int:
    return len(text.split())


def test_each_message_costs_three_and_the_answer_is_primed_with_three():
    hello = {"role": "user", "content": "hello there you"}
    assert count_input({"messages": [hello]}, words) == 3 + (3 + 1 + 3)
    assert count_input({"messages": [hello, hello]}, words) == 3 + 2 * (3 + 1 + 3)
    assert count_input({"messages": [{"role": "assistant", "content": None}]}, words) == 3 + (3 + 1)


def test_a_name_costs_one_beside_its_text():
    assert count_input({"messages": [{"role": "user", "name": "ada", "content": "hi"}]}, words) == 3 + (3 + 1 + 1 + 2)


def test_images_cost_by_tiles_and_their_bytes_cost_nothing():
    def image(**detail: str) -> dict:
        return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A A " * 1000, **detail}}

    for part, tokens in [
        (image(detail="low"), 85),
        (image(detail="high"), 765),
        (image(detail="auto"), 765),
        (image(), 765),
        ({"type": "file", "file": {"file_data": "a b c"}}, 0),
    ]:
        body = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "look here"}, part]}]}
        assert count_input(body, words) == 3 + 3 + 1 + 2 + 2 * tokens


def test_every_text_the_model_reads_is_counted():
    body = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no way"}], "refusal": "never"},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "assistant", "function_call": {"name": "g", "arguments": "[]"}},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "functions": [],
        "response_format": {"type": "json_object"},
        "metadata": {"not": "read"},
    }
    assert text_of_request(body) == [
        *("system", "be brief", "assistant", "never", "no way"),
        *("assistant", '[{"id":"c","function":{"name":"f","arguments":"{}"}}]'),
        *("assistant", '{"name":"g","arguments":"[]"}'),
        '[{"type":"function","function":{"name":"f"}}]',
        '{"type":"json_object"}',
    ]


def user(text: str) -> dict:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    "messages",
    [
        [user("one two three " * 30_000)] * 48,  # 20 MB in messages of half a megabyte
        [user("one two three ")] * 50_000,  # many small ones: calling costs more than counting
        [{"role": "user", "content": [{"type": "text", "text": "one two three "}] * 50_000}],
    ],
)
def test_a_whole_request_has_one_budget(messages):
    tokenizer = Tokenizer()
    calls: list[int] = []

    def counted(text: str) -> int:
        calls.append(len(text))
        return tokenizer.count(text)

    texts = text_of_request({"messages": messages})
    tokens = count_input({"messages": messages}, counted)
    assert len(calls) == 1
    one_by_one = sum(tokenizer.count(text) * times for text, times in Counter(texts).items())
    assert tokens == pytest.approx(3 + 3 * len(messages) + one_by_one, rel=0.01)


def test_below_its_budget_a_request_is_counted_text_by_text():
    messages = [user("a b " * 1_000)] * 50
    texts: list[str] = []

    def counted(text: str) -> int:
        texts.append(text)
        return words(text)

    assert count_input({"messages": messages}, counted) == 3 + 50 * (3 + 1 + 2_000)
    assert texts == ["user", "a b " * 1_000] * 50
    texts.clear()
    count_input({"messages": [user("x" * MOST_COUNTED)]}, counted)
    assert len(texts) == 1


def test_a_rough_guess_is_a_quarter_rounded_up():
    assert [rough_tokens(size) for size in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*("role", "content", "type", "text", "name", "refusal", "image_url", "url", "detail")])
            | st.sampled_from([*("tool_calls", "function_call", "function", "arguments", "audio", "newer")]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
odd_messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "x"]), json_values), min_size=1
)
odd_fields = st.dictionaries(
    st.sampled_from(["tools", "functions", "response_format", "thinking", "web_search_options", "newer", "provider"]),
    json_values,
)


@settings(max_examples=300)
@given(odd_messages, odd_fields, st.sampled_from([None, 1, 50]))
def test_no_shape_of_a_request_stops_the_counting(messages, fields, limit):
    """Nor the check of what an upstream says it used, nor the reading of an order for an image."""
    request = parse_chat_request({"model": "m", "messages": messages, "max_tokens": limit, **fields})
    known = count_input(request.body, words)
    assert 0 < known <= most_input(request.body, "gpt-4o")
    size = len(upstream_body(request, "m"))
    assert believable_usage(Usage(known, 0, 1), request, request_bytes=size, answer_bytes=400)
    assert not believable_usage(Usage(10**12, 0, 1), request, request_bytes=size, answer_bytes=400)
    with suppress(ClientError):
        images_from_chat(request, {})
