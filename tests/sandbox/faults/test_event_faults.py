"""Faults in the events of a stream: errors, usage, events missing, wrong or without end."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import STREAM, Client, ask
from tests.sandbox.event_client import chunks, text_of


async def test_errors_that_travel_as_events(sandbox: Sandbox) -> None:
    first = await chunks(sandbox, "sse_error_first;code=429;error=slow_down;message=later")
    assert first == [{"error": {"message": "later", "type": "rate_limit_error", "param": None, "code": "slow_down"}}]

    late = await chunks(sandbox, "sse_error_late;after_events=3;done=1")
    assert [("error" in event, event == "[DONE]") for event in late[2:]] == [
        (False, False),
        (True, False),
        (False, True),
    ]

    string = await chunks(sandbox, "sse_error_string")
    assert string == [{"error": "generation_failed", "code": "generation_failed"}, "[DONE]"]

    flat = await ask(sandbox, STREAM, "sse_event_error_flat")
    assert flat.body.startswith(b'event: error\ndata: {"message":')

    delta = await chunks(sandbox, "delta_error")
    assert delta[1]["choices"][0]["delta"] == {"error": "timeout"}
    assert delta[2]["choices"][0]["finish_reason"] == "stop"
    assert delta[3] == "[DONE]"


async def test_streams_without_what_they_should_have(sandbox: Sandbox) -> None:
    assert await chunks(sandbox, "sse_empty") == []
    assert await chunks(sandbox, "sse_only_done") == ["[DONE]"]
    assert text_of(await chunks(sandbox, "sse_no_content")) == ""

    no_done = await chunks(sandbox, "no_done")
    assert no_done[-2]["choices"][0]["finish_reason"] == "stop"
    assert no_done[-1]["usage"]["total_tokens"] > 0

    no_usage = await chunks(sandbox, "no_usage")
    assert no_usage[-1] == "[DONE]"
    assert not any(event.get("usage") for event in no_usage[:-1])


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ("empty", {}),
        ("null", None),
        ("zeros", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        ("negative", {"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -5}),
        ("huge", dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 2**63)),
    ],
)
async def test_usage_that_says_nothing_or_nonsense(sandbox: Sandbox, value: str, usage: object) -> None:
    events = await chunks(sandbox, f"zero_usage;value={value}")

    assert events[-2]["choices"] == []
    assert events[-2]["usage"] == usage


async def test_usage_in_other_places(sandbox: Sandbox) -> None:
    true = (await chunks(sandbox, "ok"))[-2]["usage"]

    mixed = await chunks(sandbox, "usage_mixed")
    assert mixed[-2]["choices"][0]["finish_reason"] == "stop"
    assert mixed[-2]["usage"] == true

    everywhere = await chunks(sandbox, "usage_everywhere")
    assert everywhere[0]["usage"]["completion_tokens"] == 1
    assert everywhere[-2]["usage"] == true


async def test_another_terminator(sandbox: Sandbox) -> None:
    assert (await chunks(sandbox, "odd_done"))[-1] == "[none]"


async def test_events_that_should_not_be(sandbox: Sandbox) -> None:
    bad = (await ask(sandbox, STREAM, "bad_event;after_events=2")).payloads
    assert bad[2] == b'{"choices":['
    assert bad[-1] == b"[DONE]"

    wrong = await chunks(sandbox, "wrong_index;index=7")
    assert {event["choices"][0]["index"] for event in wrong[1:-3]} == {7}

    changing = await chunks(sandbox, "changing_id")
    assert len({event["id"] for event in changing[:-1]}) == len(changing) - 1

    huge = (await ask(sandbox, STREAM, "huge_event;size=1500000")).payloads
    assert max(map(len, huge)) > 1_500_000


async def test_an_endless_answer_waits_for_its_reader(sandbox: Sandbox) -> None:
    """It must not fill the memory while the client does not read: bytes sent stay within the sockets' buffers."""
    client = await Client.connect(sandbox)
    client.writer.transport.pause_reading()
    client.send(STREAM, "endless")
    await sandbox.until(lambda: sandbox.in_flight == 1)
    await asyncio.sleep(0.1)
    client.writer.transport.abort()
    await sandbox.until_idle()

    assert sandbox.requests[0].ending == "client_gone"
    assert 0 < sandbox.requests[0].bytes_sent < 32 << 20
    assert sandbox.bill[0].whole is False
    assert sandbox.bill[0].output_tokens > 0
