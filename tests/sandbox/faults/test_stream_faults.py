"""Faults inside a stream: what the events say, how they are framed, and the silence between them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Event, Framing
from tests.sandbox.client import STREAM, Client, ask, payloads


async def chunks(sandbox: Sandbox, scenario: str, content: Any = None) -> list[Any]:
    """The JSON events of a stream, ``[DONE]`` as text."""
    received = await ask(sandbox, content or STREAM, scenario)
    assert received.headers[b"content-type"].startswith(b"text/event-stream")
    return [payload.decode() if payload[:1] == b"[" else orjson.loads(payload) for payload in received.payloads]


def text_of(events: list[Any]) -> str:
    deltas = (event["choices"][0]["delta"] for event in events if isinstance(event, dict) and event.get("choices"))
    return "".join(delta.get("content") or "" for delta in deltas)


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


async def test_a_clean_end_in_the_middle(sandbox: Sandbox) -> None:
    ended = await chunks(sandbox, "clean_eof;after_events=3")
    assert len(ended) == 3
    assert all(event["choices"][0]["finish_reason"] is None for event in ended)

    finished = await chunks(sandbox, "clean_eof;after_events=3;finish=1")
    assert [event["choices"][0]["finish_reason"] for event in finished] == [None, None, None, "stop"]


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


async def test_every_framing_carries_the_same_events(sandbox: Sandbox) -> None:
    def shape(body: bytes) -> list[bytes]:
        """Payloads under any framing, without the fields that differ from answer to answer."""
        lines = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events, data = [], b""
        for line in lines:
            if line.startswith(b"data:"):
                data += line.removeprefix(b"data:").strip()
            elif not line and data:
                events.append(data if data[:1] == b"[" else orjson.dumps(orjson.loads(data)["choices"]))
                data = b""
        return events

    plain = shape((await ask(sandbox, STREAM, "ok")).body)
    for name, sign in {
        "crlf": b"\r\n\r\n",
        "cr": b"}\r\r",
        "no_space": b'data:{"id"',
        "multi_data": b"data: {\ndata:   ",
        "bom": b"\xef\xbb\xbfdata: ",
        "comments": b": ping\n\n\n\nid: 7\nretry: 3000\ndata: ",
    }.items():
        body = (await ask(sandbox, STREAM, name)).body
        assert sign in body, name
        assert shape(body) == plain, name


def test_a_named_event_keeps_its_name_in_every_framing() -> None:
    event = Event(b'{"a":1}', name=b"error")

    assert Framing().encode(event) == b'event: error\ndata: {"a":1}\n\n'
    assert Framing(newline=b"\r\n", space=False).encode(event) == b'event: error\r\ndata:{"a":1}\r\n\r\n'
    assert Framing(many_lines=True).encode(event) == b'event: error\ndata: {\ndata:   "a": 1\ndata: }\n\n'


async def test_unicode_line_separators_stay_inside_the_text(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "u2028")

    assert "\u2028".encode() in received.body
    assert {"\u2028", "\u2029", "\u0085"} <= set(text_of(await chunks(sandbox, "u2028")))


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
    """It must not fill our memory while nobody reads: what is sent stays within the sockets' buffers."""
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


@pytest.mark.parametrize(
    ("scenario", "before"),
    [
        ("stall_head", 0),
        ("stall_before_content", 1),
        ("stall_mid;after_events=4", 4),
        ("stall_after_finish", 17),
        ("drip;interval=60000", 1),
    ],
)
async def test_silence_after_exactly_so_many_events(sandbox: Sandbox, scenario: str, before: int) -> None:
    client = await Client.connect(sandbox, "proxy")
    client.send(STREAM, scenario)
    await sandbox.until(lambda: sandbox.in_flight == 1)
    received = await client.receive_events(before)
    more = await client.receive(quiet=0.05)
    await client.close()

    assert len(payloads(received.cut_body) if received.raw else []) == before
    assert (more.raw, more.ending) == (b"", "open")
    await sandbox.until_idle()
    assert sandbox.requests[0].ending == "client_gone"


async def test_silence_ends_and_the_rest_follows(sandbox: Sandbox) -> None:
    for scenario in ("stall_head;seconds=0.01", "stall_mid;seconds=0.01", "stall_after_finish;seconds=0.01"):
        assert (await chunks(sandbox, scenario))[-1] == "[DONE]"

    dripped = (await ask(sandbox, STREAM, "drip;interval=1;count=3")).body
    assert dripped.count(b": keepalive\n\n") == 3
    assert dripped.endswith(b"data: [DONE]\n\n")


async def test_cloudflare_stands_before_the_api_only() -> None:
    async with Sandbox(roles=("api", "proxy"), wall=0.03) as sandbox:
        page = await ask(sandbox, STREAM, "stall_head")
        assert page.status == 524
        assert page.headers[b"server"] == b"cloudflare"
        assert page.body.startswith(b"<!DOCTYPE html>")

        broken = await ask(sandbox, STREAM, "stall_mid;after_events=2")
        assert broken.ending == "reset"
        assert broken.cut_body.count(b"data: ") == 2

        patient = await ask(sandbox, STREAM, "stall_head;seconds=0.06", role="proxy")
        assert patient.status == 200
        assert b"cf-ray" not in patient.headers
        assert [request.ending for request in sandbox.requests] == ["walled", "walled", "complete"]


async def test_life_signs_keep_cloudflare_waiting() -> None:
    """Any byte starts its patience anew (Cloudflare: the maximum time between two read operations)."""
    async with Sandbox(wall=0.2) as sandbox:
        received = await ask(sandbox, STREAM, "drip;interval=20;count=15")

    assert received.payloads[-1] == b"[DONE]"
