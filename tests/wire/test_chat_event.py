"""Events as upstreams really send them: JSON, nearly JSON, and signs of life."""

from __future__ import annotations

import json
import math

import pytest

from gateway.wire.chat_event import (
    completes_a_stream,
    is_event_of_life,
    is_sign_of_life,
    parsed_leniently,
    parsed_strictly,
    readable,
    unwrapped,
)
from gateway.wire.sse import Event


def event(data: bytes) -> Event:
    return Event(data, None, b"data: " + data + b"\n\n")


@pytest.mark.parametrize(
    "data",
    [
        b": keepalive",
        b": OPENROUTER PROCESSING",
        b":",
        b"ping",
        b"PING",
        b"[HEARTBEAT]",
        b"heart-beat",
        b"keep-alive",
        b"keepalive...",
        b'"ping',
        b"OPENROUTER PROCESSING",
        b"<ping>",
        b": " + b"x" * 5000,
    ],
)
def test_words_that_only_show_that_the_upstream_lives(data: bytes) -> None:
    assert parsed_leniently(data) == {}


@pytest.mark.parametrize("data", [b"{nonsense", b"hello", b"pinging you", b"[DON", b"<html>", b"", b'{"a":', b"]"])
def test_what_is_neither_json_nor_a_known_form_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parsed_leniently(data)


def test_json_that_only_a_lenient_reader_takes() -> None:
    read = parsed_leniently(b'{"half":"x \\ud83d","no":NaN,"least":-Infinity,"long":' + b"9" * 5000 + b"}")
    assert read["half"] == "x \ud83d"
    assert math.isnan(read["no"])
    assert read["least"] == -math.inf
    with pytest.raises(ValueError):
        parsed_strictly(b'{"a":"\\ud83d"}')


def test_a_document_without_bottom_is_refused_by_both() -> None:
    for read in (parsed_strictly, parsed_leniently):
        with pytest.raises(ValueError, match="too deeply"):
            read(b"[" * 300 + b"]" * 300)


def test_data_within_data_is_taken_out() -> None:
    for inner in (b'{"a":1}', b"[DONE]"):
        for around in (b"data: ", b"data:", b"data: data:  "):
            taken = unwrapped(event(around + inner))
            assert (taken.data, taken.raw) == (inner, b"data: " + inner + b"\n\n")
    plain = event(b'{"a":"data:"}')
    assert unwrapped(plain) is plain


def test_bytes_that_are_no_text_are_marked() -> None:
    broken = event(b'{"a":"x \xed\xa0\xbd y"}')
    marked = readable(broken)
    assert json.loads(marked.data)["a"].strip("xy \ufffd") == ""
    assert marked.raw == b"data: " + marked.data + b"\n\n"
    whole = event('{"a":"ü"}'.encode())
    assert readable(whole) is whole


def test_signs_of_life_by_name() -> None:
    for name in ("type", "event", "object", "status"):
        assert is_sign_of_life({name: "ping"})
        assert is_sign_of_life({name: "HeartBeat"})
    assert not is_sign_of_life({"type": "error", "message": "ping"})
    assert is_event_of_life(b"Ping")
    assert not is_event_of_life(b"error")
    assert not is_event_of_life(None)


@pytest.mark.parametrize("data", [b"[DONE]", b'{"choices":[]}', b"{}"])
def test_whole_last_events(data: bytes) -> None:
    assert completes_a_stream(event(data))


@pytest.mark.parametrize("data", [b"[DON", b'{"choices":[', b"null", b"5", b"word"])
def test_last_events_that_may_have_been_cut(data: bytes) -> None:
    assert not completes_a_stream(event(data))
