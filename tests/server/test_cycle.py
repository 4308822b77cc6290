"""A request and its answer as ASGI sees them, on a transport that only records; h11 reads what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.cycle import READ_AHEAD, RequestCycle
from gateway.server.flow import FlowControl
from gateway.server.limits import ServerLimits
from gateway.server.state import ListenerState

DATE = b"date: Sun, 29 Nov 2026 12:00:00 GMT\r\n"


class Transport:
    """Takes everything that is written, and says which direction is paused."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.reading = True
        self.closing = False

    def write(self, data: bytes) -> None:
        assert data, "a write of nothing is a system call for nothing"
        self.writes.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing


class Bench:
    """One cycle, and what came of it."""

    def __init__(
        self,
        method: str = "POST",
        *,
        chunks: bool = True,
        expects_continue: bool = False,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.transport = Transport()
        self.flow = FlowControl(self.transport, 60.0, lambda: None)
        self.completed = 0
        state = ListenerState(app=None, limits=ServerLimits(), date=DATE)
        self.cycle = RequestCycle(
            self.transport,
            self.flow,
            state,
            self._complete,
            head_only=method == "HEAD",
            chunks=chunks,
            expects_continue=expects_continue,
            keep_alive=keep_alive,
        )

    def _complete(self) -> None:
        self.completed += 1

    @property
    def written(self) -> bytes:
        return b"".join(self.transport.writes)

    def start(self, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        at_once(self.cycle.send({"type": "http.response.start", "status": status, "headers": headers}))

    def body(self, data: bytes, *, more: bool = False) -> None:
        at_once(self.cycle.send({"type": "http.response.body", "body": data, "more_body": more}))

    def read(self) -> tuple[h11.Response, bytes, h11.Connection]:
        """The answer as h11 reads it: head, body, and the connection afterwards."""
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=self.method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(self.written)
        response = client.next_event()
        assert isinstance(response, h11.Response)
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        assert client.trailing_data == (b"", False)
        return response, body, client


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of what does not need to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise AssertionError("it waits")


@given(
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    status=st.sampled_from([200, 204, 304, 404, 418, 599]),
    pieces=st.lists(st.binary(max_size=20), max_size=5),
    announced=st.booleans(),
    keep_alive=st.booleans(),
    hold=st.booleans(),
)
def test_every_answer_by_messages_reads_as_it_was_meant(method, status, pieces, announced, keep_alive, hold):
    bench = Bench(method, keep_alive=keep_alive)
    whole = b"".join(pieces)
    headers = [(b"x-a", b"1"), *([(b"content-length", b"%d" % len(whole))] if announced else [])]
    if hold:
        bench.cycle.hold_head()
    bench.start(status, *headers)
    for piece in pieces:
        bench.body(piece, more=True)
    assert not bench.cycle.complete
    bench.body(b"")

    response, body, client = bench.read()
    assert response.status_code == status
    assert body == (b"" if method == "HEAD" or status in (204, 304) else whole)
    fields = dict(response.headers)
    assert (fields[b"x-a"], fields[b"date"]) == (b"1", b"Sun, 29 Nov 2026 12:00:00 GMT")
    assert (b"content-length" in fields) == announced
    assert client.their_state is (h11.DONE if keep_alive else h11.MUST_CLOSE)
    assert (bench.cycle.complete, bench.completed) == (True, 1)


@given(
    method=st.sampled_from(["GET", "HEAD"]),
    status=st.sampled_from([200, 401, 503]),
    whole=st.binary(max_size=40),
    keep_alive=st.booleans(),
)
def test_every_whole_answer_is_one_write_that_reads_as_it_was_meant(method, status, whole, keep_alive):
    bench = Bench(method, keep_alive=keep_alive)
    at_once(bench.cycle.answer(status, [(b"content-length", b"%d" % len(whole))], whole))
    response, body, client = bench.read()
    assert (response.status_code, body) == (status, b"" if method == "HEAD" else whole)
    assert client.their_state is (h11.DONE if keep_alive else h11.MUST_CLOSE)
    assert len(bench.transport.writes) == 1
    assert (bench.cycle.complete, bench.completed) == (True, 1)


def test_a_piece_is_a_chunk_and_is_left_to_send_where_that_is_not_possible():
    bench = Bench()
    assert not bench.cycle.piece(b"too early")
    bench.start()
    assert bench.cycle.piece(b"first ")
    assert not bench.cycle.piece(b"")  # it would be the last chunk
    bench.flow.writing_paused = True
    assert not bench.cycle.piece(b"too much")
    bench.flow.writing_paused = False
    assert bench.cycle.piece(b"second")
    bench.body(b"")
    assert not bench.cycle.piece(b"too late")
    assert bench.read()[1] == b"first second"

    announced = Bench()
    announced.start(200, (b"content-length", b"2"))
    assert not announced.cycle.piece(b"hi")


def test_a_client_that_knows_no_chunks_gets_the_bare_bytes_until_the_connection_closes():
    bench = Bench(chunks=False, keep_alive=False)
    bench.start()
    assert not bench.cycle.piece(b"left to send")
    bench.body(b"first ", more=True)
    bench.body(b"second")
    head, _, body = bench.written.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"first second"
    assert (bench.cycle.complete, bench.cycle.keep_alive) == (True, False)


def test_a_head_that_is_held_goes_out_with_the_first_piece_or_at_the_latest_when_asked():
    bench = Bench()
    bench.cycle.hold_head()
    bench.start()
    assert bench.transport.writes == []
    assert bench.cycle.piece(b"data")
    assert len(bench.transport.writes) == 1
    assert bench.written.endswith(b"\r\n\r\n4\r\ndata\r\n")

    broken = Bench()
    broken.cycle.hold_head()
    broken.start()
    broken.cycle.flush()
    broken.cycle.flush()
    assert len(broken.transport.writes) == 1


def test_an_application_may_say_that_the_connection_closes():
    bench = Bench()
    bench.start(200, (b"content-length", b"0"), (b"connection", b"close"))
    bench.body(b"")
    assert bench.written.lower().count(b"connection: close") == 1
    assert not bench.cycle.keep_alive


LENGTH_1 = ("http.response.start", {"headers": [(b"content-length", b"1")]})
LENGTH_3 = ("http.response.start", {"headers": [(b"content-length", b"3")]})


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([("http.response.body", {"body": b"a"})], "cannot be sent"),
        ([("http.response.start", {}), ("http.response.start", {})], "cannot be sent"),
        ([("http.response.start", {}), ("http.response.body", {}), ("http.response.body", {})], "cannot be sent"),
        ([("websocket.accept", {})], "cannot be sent"),
        ([("http.response.start", {"headers": [(b"transfer-encoding", b"chunked")]})], "framed"),
        ([("http.response.start", {"status": 101})], "101"),
        ([("http.response.start", {"headers": [(b"x", b"a\r\ny: b")]})], "line end"),
        (
            [
                ("http.response.start", {"headers": [(b"content-length", b"1")]}),
                ("http.response.body", {"body": b"ab"}),
            ],
            "longer",
        ),
        (
            [
                ("http.response.start", {"headers": [(b"content-length", b"3")]}),
                ("http.response.body", {"body": b"ab"}),
            ],
            "shorter",
        ),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_application(messages, what):
    bench = Bench()
    *before, (last, fields) = messages
    for kind, known in before:
        at_once(bench.cycle.send({"type": kind, "status": 200, **known}))
    with pytest.raises((RuntimeError, ValueError), match=what):
        at_once(bench.cycle.send({"type": last, "status": 200, **fields}))


def test_a_second_whole_answer_is_refused_and_not_written():
    bench = Bench()
    at_once(bench.cycle.answer(200, [(b"content-length", b"0")], b""))
    before = bench.written
    with pytest.raises(RuntimeError, match="begun already"):
        at_once(bench.cycle.answer(200, [(b"content-length", b"0")], b""))
    assert bench.written == before


def test_an_answer_that_cannot_be_written_has_not_begun():
    """So that an error can still be answered."""
    bench = Bench()
    with pytest.raises(ValueError, match="line end"):
        at_once(bench.cycle.answer(200, [(b"x", b"a\nb"), (b"content-length", b"0")], b""))
    assert not bench.cycle.started
    assert bench.transport.writes == []


def test_nothing_is_written_to_a_client_that_left():
    bench = Bench()
    bench.start()
    before = bench.written
    bench.cycle.disconnect()
    bench.body(b"a", more=True)
    assert bench.cycle.piece(b"a")  # there is nothing to wait for
    bench.body(b"")
    at_once(bench.cycle.answer(200, [], b""))
    assert bench.written == before
    assert (bench.cycle.complete, bench.completed) == (False, 0)


async def test_a_writer_waits_for_room_and_no_longer_than_its_client_stays():
    for ended in (False, True):
        bench = Bench()
        bench.start()
        before = bench.written
        bench.flow._transport.get_extra_info = lambda _: None
        bench.flow._transport.get_write_buffer_size = lambda: 1
        bench.flow.pause_writing()
        sending = asyncio.get_running_loop().create_task(
            bench.cycle.send({"type": "http.response.body", "body": b"late"})
        )
        await asyncio.sleep(0)
        assert bench.written == before
        if ended:
            bench.cycle.disconnect()
        bench.flow.resume_writing()
        await sending
        assert (bench.written == before) == ended


def received(bench: Bench) -> tuple[str, bytes, bool]:
    message = at_once(bench.cycle.receive())
    return message["type"], message.get("body", b""), message.get("more_body", False)


def test_a_body_is_received_in_the_pieces_that_came_together():
    bench = Bench()
    bench.cycle.feed(b"a")
    assert received(bench) == ("http.request", b"a", True)
    bench.cycle.feed(b"b")
    bench.cycle.feed(b"c")
    bench.cycle.feed_end()
    assert received(bench) == ("http.request", b"bc", False)


async def test_receiving_waits_for_what_comes_next():
    bench = Bench()
    loop = asyncio.get_running_loop()
    for feed, expected in (
        (lambda: bench.cycle.feed(b"a"), {"type": "http.request", "body": b"a", "more_body": True}),
        (bench.cycle.feed_end, {"type": "http.request", "body": b"", "more_body": False}),
        (bench.cycle.disconnect, {"type": "http.disconnect"}),
    ):
        receiving = loop.create_task(bench.cycle.receive())
        await asyncio.sleep(0)
        assert not receiving.done()
        feed()
        assert await receiving == expected
    assert await bench.cycle.receive() == {"type": "http.disconnect"}


async def test_a_complete_answer_ends_the_receiving_too():
    bench = Bench()
    bench.cycle.feed_end()
    await bench.cycle.receive()
    receiving = asyncio.get_running_loop().create_task(bench.cycle.receive())
    await asyncio.sleep(0)
    await bench.cycle.answer(200, [(b"content-length", b"0")], b"")
    assert await receiving == {"type": "http.disconnect"}


async def test_a_receiver_may_be_cancelled_and_another_come_but_not_two_at_once():
    bench = Bench()
    first = asyncio.get_running_loop().create_task(bench.cycle.receive())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="received already"):
        await bench.cycle.receive()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    bench.cycle.feed(b"a")
    assert (await bench.cycle.receive())["body"] == b"a"


def test_reading_pauses_when_the_application_is_behind():
    bench = Bench()
    bench.cycle.feed(b"a" * READ_AHEAD)
    assert bench.transport.reading
    bench.cycle.feed(b"a")
    assert not bench.transport.reading
    assert received(bench) == ("http.request", b"a" * (READ_AHEAD + 1), True)
    assert bench.transport.reading
    bench.cycle.feed(b"a" * READ_AHEAD)
    assert bench.transport.reading


def test_a_client_is_told_to_go_on_once_and_only_before_the_answer():
    bench = Bench(expects_continue=True)
    bench.cycle.feed_end()
    received(bench)
    assert bench.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    bench.cycle.feed_end()
    received(bench)
    assert bench.written == b"HTTP/1.1 100 Continue\r\n\r\n"

    answered = Bench(expects_continue=True)
    at_once(answered.cycle.answer(413, [(b"content-length", b"0")], b""))
    received(answered)
    assert b" 100 " not in answered.written

    closing = Bench(expects_continue=True)
    closing.transport.closing = True
    closing.cycle.disconnect()
    received(closing)
    assert closing.written == b""
