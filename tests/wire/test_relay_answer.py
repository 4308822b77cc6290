"""Whole answers of relayed routes: read without their numbers, priced without another byte changed, safely labelled."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.answer_cost import AnswerCost
from gateway.wire.relay_answer import content_type_of, shortened, with_cost

COST = AnswerCost("0.0000125")


class Labelled:
    def __init__(self, label: bytes | None) -> None:
        self._label = label

    def get(self, name: bytes) -> bytes | None:
        return self._label


def embeddings(count: int, size: int, usage: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": place, "embedding": [place + 0.5] * size} for place in range(count)]
    return {"object": "list", "data": data, "model": "m", "usage": usage}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_million_numbers_are_not_read(indent: int | None) -> None:
    document = embeddings(3, 1536, {"prompt_tokens": 3})
    short = shortened(json.dumps(document, indent=indent).encode())
    assert len(short) < 1000
    read = orjson.loads(short)
    assert read["usage"] == {"prompt_tokens": 3}
    assert [one["embedding"] for one in read["data"]] == [[], [], []]


def test_what_is_short_or_no_embedding_stays() -> None:
    body = json.dumps(embeddings(1, 40, {})).encode()
    assert shortened(body) == body
    words = json.dumps({"text": "[1, 2, 3] " * 1000}).encode()
    assert shortened(words) == words


@pytest.mark.parametrize("usage", [{"prompt_tokens": 3, "total_tokens": 3}, {"a": {"b": {"c": 1}}}, {}, {"cost": 7}])
@pytest.mark.parametrize("indent", [None, 1])
def test_the_cost_stands_in_the_usage_and_nowhere_else(usage: Any, indent: int | None) -> None:
    body = json.dumps(embeddings(2, 8, usage), indent=indent).encode()
    priced = with_cost(body, usage, COST)
    assert orjson.loads(priced) == {**orjson.loads(body), "usage": {**usage, "cost": 0.0000125}}
    assert b'"cost":0.0000125' in priced
    at = body.rindex(b'"usage"')
    assert priced[:at] == body[:at]


@pytest.mark.parametrize("usage", [None, "much", 3])
def test_an_answer_without_a_usage_stays(usage: Any) -> None:
    body = json.dumps({"usage": usage}).encode()
    assert with_cost(body, usage, COST) == body


def test_a_usage_that_is_not_where_it_was_read_stays() -> None:
    body = b'{"usage": {"prompt_tokens": 1}, "choices": [{"usage": {"prompt_tokens": 2}}]}'
    assert with_cost(body, {"prompt_tokens": 1}, COST) == body
    assert with_cost(b'{"usage": {"a": 1', {"a": 1}, COST) == b'{"usage": {"a": 1'
    assert with_cost(b"{}", {"a": 1}, COST) == b"{}"
    assert with_cost(b'{"usage" 1}', {"a": 1}, COST) == b'{"usage" 1}'


@given(st.text())
def test_a_text_that_speaks_of_usage_is_left_alone(text: str) -> None:
    document = {"choices": [{"text": text + '"usage": {"prompt_tokens": 3}'}], "usage": {"prompt_tokens": 3}}
    priced = orjson.loads(with_cost(json.dumps(document).encode(), document["usage"], COST))
    assert priced["choices"] == document["choices"]
    assert priced["usage"] == {"prompt_tokens": 3, "cost": 0.0000125}


@pytest.mark.parametrize(
    ("told", "label"),
    [
        (b"audio/mpeg", b"audio/mpeg"),
        (b"Audio/WAV; charset=binary", b"audio/wav; charset=binary"),
        (b"application/octet-stream", b"application/octet-stream"),
        (b"text/html", b"audio/opus"),
        (b"image/svg+xml", b"audio/opus"),
        (b"audio/mpeg\r\nset-cookie: a=b", b"audio/opus"),
        (None, b"audio/opus"),
    ],
)
def test_no_label_makes_a_browser_run_a_sound(told: bytes | None, label: bytes) -> None:
    assert content_type_of(Labelled(told), {"response_format": "opus"}, is_sound=True) == label


def test_what_has_no_label_is_plain_text_or_mp3() -> None:
    assert content_type_of(Labelled(None), {"response_format": "srt"}, is_sound=False) == b"text/plain; charset=utf-8"
    assert content_type_of(Labelled(b"text/vtt"), {}, is_sound=False) == b"text/vtt"
    assert content_type_of(Labelled(None), {"response_format": "new"}, is_sound=True) == b"audio/mpeg"
