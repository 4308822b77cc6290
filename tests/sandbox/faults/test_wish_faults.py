"""Servers that refuse a stream or its options, and answer well what does without."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.faults.wish_faults import OPTIONS_WORDS, STREAM_WORDS
from tests.sandbox.client import HELLO, STREAM, ask, payloads

BARE = {**HELLO, "stream": True}
IN_JSON = [{"role": "user", "content": "Hello, in JSON"}]
AUDIO = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


@pytest.mark.parametrize("words", STREAM_WORDS)
async def test_no_stream(sandbox: Sandbox, words: str) -> None:
    scenario = f"refuses_stream;words={words};code=422"

    assert (await ask(sandbox, BARE, scenario)).status == 422
    whole = await ask(sandbox, HELLO, scenario)

    assert (whole.status, whole.json["object"]) == (200, "chat.completion")
    assert len(sandbox.bill) == 1


@pytest.mark.parametrize("words", OPTIONS_WORDS)
async def test_no_options(sandbox: Sandbox, words: str) -> None:
    scenario = f"refuses_stream_options;words={words}"

    assert (await ask(sandbox, STREAM, scenario)).status == 400

    assert payloads((await ask(sandbox, BARE, scenario)).body)[-1] == b"[DONE]"


@pytest.mark.parametrize(
    ("scenario", "odd"),
    [
        ("refuses_audio_stream", AUDIO),
        ("refuses_json_stream", {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
        ("refuses_json_stream", {"response_format": {"type": "json_object"}, "messages": IN_JSON}),
    ],
)
async def test_no_stream_of_some_shapes(sandbox: Sandbox, scenario: str, odd: dict[str, Any]) -> None:
    assert (await ask(sandbox, {**BARE, **odd}, scenario)).status == 400
    assert (await ask(sandbox, {**HELLO, **odd}, scenario)).status == 200
    assert (await ask(sandbox, BARE, scenario)).status == 200


async def test_one_after_the_other(sandbox: Sandbox) -> None:
    said = [(await ask(sandbox, body, "refuses_wishes")).status for body in (STREAM, BARE, HELLO)]
    assert said == [400, 400, 200]


@pytest.mark.parametrize(
    ("inside", "status", "begins"),
    [("event", 200, b'data: {"error"'), ("body", 200, b'{"error"'), ("text", 400, b"Your organization")],
)
async def test_told_in_other_places(sandbox: Sandbox, inside: str, status: int, begins: bytes) -> None:
    answer = await ask(sandbox, BARE, f"refuses_stream;inside={inside}")
    assert (answer.status, begins in answer.body) == (status, True)
