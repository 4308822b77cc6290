"""Faults in how a stream is sent: its framing, and the silence between its events."""

from __future__ import annotations

import orjson
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import STREAM, Client, ask, payloads
from tests.sandbox.event_client import chunks, text_of


async def test_a_clean_end_in_the_middle(sandbox: Sandbox) -> None:
    ended = await chunks(sandbox, "clean_eof;after_events=3")
    assert len(ended) == 3
    assert all(event["choices"][0]["finish_reason"] is None for event in ended)

    finished = await chunks(sandbox, "clean_eof;after_events=3;finish=1")
    assert [event["choices"][0]["finish_reason"] for event in finished] == [None, None, None, "stop"]


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


async def test_unicode_line_separators_stay_inside_the_text(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "u2028")

    assert "\u2028".encode() in received.body
    assert {"\u2028", "\u2029", "\u0085"} <= set(text_of(await chunks(sandbox, "u2028")))


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
