"""Faults below the answer, looked at byte by byte: a cut lacks its terminator, a reset is a reset."""

from __future__ import annotations

import h11
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, STREAM, Client, ask

LAST = b"0\r\n\r\n"


async def test_a_cut_stream_has_whole_events_and_no_terminator(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "cut;after_events=3")

    assert received.ending == "fin"
    assert not received.raw.endswith(LAST)
    assert received.cut_body.count(b"data: ") == 3
    assert received.cut_body.endswith(b"}\n\n")
    with pytest.raises(h11.RemoteProtocolError):
        _ = received.body


async def test_a_reset_is_a_reset_and_loses_nothing_sent_before(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "rst;after_events=3")

    assert received.ending == "reset"
    assert received.cut_body.count(b"data: ") == 3


async def test_a_stream_can_be_cut_at_every_byte(sandbox: Sandbox) -> None:
    whole = (await ask(sandbox, STREAM)).body
    for at in (0, 1, 5, 6, 7, 100, len(whole) - 1, len(whole), len(whole) + 9):
        received = await ask(sandbox, STREAM, f"cut_bytes;at={at}")
        assert len(received.cut_body) == min(at, len(whole))
        assert not received.raw.endswith(LAST)


async def test_a_whole_answer_is_cut_short_of_its_length(sandbox: Sandbox) -> None:
    for scenario in ("cut", "cut_bytes;at=10"):
        received = await ask(sandbox, HELLO, scenario)
        assert 0 < len(received.after_head) < int(received.headers[b"content-length"])
        assert received.ending == "fin"


async def test_a_chunk_is_announced_and_not_delivered(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "truncated_chunk")

    assert received.raw.endswith(b"\r\n400\r\ndata: {")
    assert received.ending == "fin"


async def test_a_chunk_size_that_is_no_number_breaks_a_strict_reader(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "bad_chunk")

    with pytest.raises(h11.RemoteProtocolError):
        _ = received.cut_body


@pytest.mark.parametrize(("reset", "ending"), [(1, "reset"), (0, "fin")])
async def test_no_answer_at_all(sandbox: Sandbox, reset: int, ending: str) -> None:
    received = await ask(sandbox, STREAM, f"reset_before_head;reset={reset}")

    assert (received.raw, received.ending) == (b"", ending)


async def test_a_reused_connection_is_closed_under_the_second_request(sandbox: Sandbox) -> None:
    sandbox.script("reused_reset", times=None)
    client = await Client.connect(sandbox)
    client.send(HELLO)
    first = await client.receive_until(b'"fp_sandbox"}')
    client.send(HELLO)
    second = await client.receive()
    await client.close()

    assert first.status == 200
    assert (second.raw, second.ending) == (b"", "fin")
    assert [(request.connection, request.nth) for request in sandbox.requests] == [(1, 1), (1, 2)]


async def test_an_early_answer_comes_while_the_body_is_on_its_way(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    client.send(b"{", "early_close;code=413", announce=1000)
    received = await client.receive()
    await client.close()

    assert received.status == 413
    assert received.headers[b"connection"] == b"close"
    assert received.ending == "fin"


async def test_a_connection_that_seems_to_stay_open_is_closed(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    client.send(HELLO, "silent_close")
    received = await client.receive()
    await client.close()

    assert received.json["object"] == "chat.completion"
    assert b"connection" not in received.headers
    assert received.ending == "fin"


async def test_a_body_may_end_with_its_connection(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "until_close")

    assert not {b"content-length", b"transfer-encoding"} & set(received.headers)
    assert received.body.endswith(b"data: [DONE]\n\n")


async def test_interim_answers_come_before_the_real_one(sandbox: Sandbox) -> None:
    received = await ask(sandbox, HELLO, "informational;code=103;count=2")

    assert received.raw.startswith(b"HTTP/1.1 103 Early Hints\r\nx-sandbox: 1\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n")
    assert received.json["object"] == "chat.completion"


async def test_a_head_above_every_limit(sandbox: Sandbox) -> None:
    received = await ask(sandbox, HELLO, "big_head;size=70000")

    assert received.raw.find(b"\r\n\r\n") > 70_000


async def test_bytes_that_are_no_http(sandbox: Sandbox) -> None:
    received = await ask(sandbox, HELLO, "garbage")

    with pytest.raises(h11.RemoteProtocolError):
        _ = received.body


async def test_an_unsolicited_second_answer(sandbox: Sandbox) -> None:
    received = await ask(sandbox, HELLO, "extra_bytes")

    assert received.raw.count(b"HTTP/1.1 200 OK") == 2
    assert received.raw.endswith(b'{"unsolicited": true}')


async def test_trickled_bytes_are_the_same_bytes(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "trickle;size=1")

    assert received.payloads[-1] == b"[DONE]"


async def test_every_byte_in_a_chunk_of_its_own(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "bytewise")

    assert received.after_head.startswith(b"1\r\nd\r\n1\r\na\r\n")
    assert b"\r\n1\r\n\xe2\r\n1\r\n\x9c\r\n1\r\n\x93\r\n" in received.after_head, "a character in three chunks"
    assert received.payloads[-1] == b"[DONE]"


async def test_a_trailer_follows_the_last_chunk(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "trailers")

    assert received.raw.endswith(b"\r\n0\r\nx-checksum: sandbox\r\n\r\n")
    assert received.payloads[-1] == b"[DONE]"


async def test_an_answer_that_is_all_there_but_never_ended(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    client.send(STREAM, "hang_after_done")
    received = await client.receive_until(b"data: [DONE]\n\n\r\n")
    more = await client.receive(quiet=0.05)
    await client.close()

    assert received.cut_body.endswith(b"data: [DONE]\n\n")
    assert (more.raw, more.ending) == (b"", "open")
