"""Which requests are alike to an upstream that will not stream some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.wire.request_shape import chat_shape, images_shape

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
AUDIO: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


def shape(**fields: Any) -> bytes:
    return chat_shape({**HELLO, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        {"model": "another"},
        {"temperature": 0.3, "max_tokens": 5, "seed": 1, "user": "u", "metadata": {"a": "b"}},
        {"stream": False, "stream_options": None},
        {"modalities": ["text"]},
        {"response_format": {"type": "text"}},
        {"n": 1, "tools": [], "logprobs": False, "top_logprobs": None},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_what_is_no_matter(fields: dict[str, Any]) -> None:
    assert shape(**fields) == shape()


def test_every_shape_is_another() -> None:
    shapes = [
        shape(),
        shape(modalities=["audio"]),
        shape(**AUDIO),
        shape(**{**AUDIO, "audio": {"format": "pcm16"}}),
        shape(response_format={"type": "json_object"}),
        shape(response_format={"type": "json_schema", "json_schema": {}}),
        shape(tools=[{"type": "function"}]),
        shape(n=2),
        shape(logprobs=True),
        shape(enable_thinking=True),
        shape(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
    ]
    assert len(set(shapes)) == len(shapes)
    assert {len(one) for one in shapes} == {16}


def test_order_and_values_beside_the_point_are_no_matter() -> None:
    turned = {"audio": {"format": "wav", "voice": "ash"}, "modalities": ["audio", "text", "audio"]}
    assert shape(**turned) == shape(**AUDIO)
    assert shape(tools=[{"a": 1}]) == shape(tools=[{"b": 2}, {}])


ODD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["modalities", "audio", "response_format", "n", "messages", "x", "\ud800"]), ODD)
)
def test_any_request_has_one(fields: dict[str, Any]) -> None:
    assert len(chat_shape(fields)) == 16


def test_orders_for_images() -> None:
    order = ImagesRequest("generation", "m", "a cat")
    shapes = [
        images_shape(one)
        for one in (
            order,
            replace(order, kind="edit", images=(SourceImage(b"x"),)),
            replace(order, n=2),
            replace(order, options={"output_format": "webp"}),
            replace(order, options={"output_format": "png"}),
        )
    ]
    assert len(set(shapes)) == len(shapes)
    assert images_shape(replace(order, prompt="a dog", size="1024x1024")) == shapes[0]
