"""What the answers and events of relayed routes say of their use."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.types import Usage
from gateway.wire import relay_usage
from gateway.wire.relay_usage import (
    event_of_completion,
    event_of_speech,
    event_of_transcript,
    no_event,
    no_usage,
    tokens_of_input,
    transcript_as_events,
    usage_of_recording,
)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, 7),
        ({"total_tokens": 9}, 9),
        ({"input_tokens": 4}, 4),
        ({"prompt_tokens": 0, "total_tokens": 0}, 0),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": "many"}, None),
        ({}, None),
        (None, None),
        ("lots", None),
    ],
)
def test_embeddings_have_input_alone(usage: Any, tokens: int | None) -> None:
    read = tokens_of_input({"usage": usage})
    assert read == (None if tokens is None else Usage(tokens))


@pytest.mark.parametrize(
    ("document", "usage"),
    [
        ({"usage": {"type": "duration", "seconds": 12}}, Usage(audio_milliseconds=12_000)),
        ({"usage": {"type": "duration", "seconds": 0.4}}, Usage(audio_milliseconds=400)),
        ({"usage": {"seconds": 3}}, Usage(audio_milliseconds=3_000)),
        ({"duration": 8.47}, Usage(audio_milliseconds=9_000, confidence="estimated")),
        ({"duration": "8.47"}, Usage(audio_milliseconds=9_000, confidence="estimated")),
        ({"duration": "long"}, None),
        ({"duration": True}, None),
        ({"duration": float("nan")}, None),
        ({"duration": -1}, None),
        ({"usage": {"type": "duration", "seconds": 1e12}}, None),
        ({"usage": {"type": "duration"}}, None),
        ({"text": "hello"}, None),
        (
            {
                "usage": {
                    "type": "tokens", "input_tokens": 30, "output_tokens": 5, "total_tokens": 35,
                    "input_token_details": {"text_tokens": 4, "audio_tokens": 26},
                },
                "duration": 100,
            },
            Usage(30, 0, 5, audio_input_tokens=26),
        ),
        ({"usage": {"type": "tokens"}, "duration": 2}, Usage(audio_milliseconds=2_000, confidence="estimated")),
    ],
)  # fmt: skip
def test_a_transcript_tells_seconds_or_tokens(document: dict[str, Any], usage: Usage | None) -> None:
    assert usage_of_recording(document) == usage


def test_a_chunk_of_a_completion() -> None:
    said = event_of_completion({"choices": [{"text": "a"}, {"text": "b", "finish_reason": "stop"}, 7, {"text": 3}]})
    assert (said.content, said.text, said.ended, said.usage_only) == (True, "ab", 1, False)
    empty = event_of_completion({"choices": [{"text": "", "finish_reason": None}]})
    assert (empty.content, empty.ended) == (False, 0)
    told = event_of_completion({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    assert (told.usage_only, told.usage) == (True, Usage(1, 0, 2))
    assert not event_of_completion({"choices": "none"}).usage_only


def test_the_events_of_sounds() -> None:
    assert event_of_transcript({"type": "transcript.text.delta", "delta": "so"}).text == "so"
    done = event_of_transcript({"type": "transcript.text.done", "usage": {"type": "duration", "seconds": 1}})
    assert (done.last, done.content, done.usage) == (True, True, Usage(audio_milliseconds=1_000))
    assert event_of_transcript({"type": "transcript.of_tomorrow"}).content
    assert not event_of_transcript({"type": "status"}).content
    assert not event_of_transcript({}).content
    assert event_of_speech({"type": "speech.audio.delta", "audio": "AAAA"}).content
    assert event_of_speech({"type": "speech.audio.done"}).last
    assert not event_of_speech({"type": "speech.of_tomorrow"}).content


def test_a_whole_transcript_as_an_event() -> None:
    usage = {"type": "duration", "seconds": 1}
    (event,) = transcript_as_events({"text": "so", "usage": usage, "language": "en"})
    assert event == {"type": "transcript.text.done", "text": "so", "usage": usage}
    assert transcript_as_events({"words": []}) == []


def test_what_says_nothing() -> None:
    assert no_usage({"usage": {"prompt_tokens": 1}}) is None
    assert not no_event({"type": "x"}).content
    assert relay_usage.completion_as_events({"id": "x"}) == [{"id": "x"}]
