"""Answers on a transport that only records; h11 reads what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import internal_error
from gateway.server.client import AT_ONCE
from tests.heads import client_of, request_of


class Bench:
    """One client, and what came of it."""

    def __init__(self, method: str = "POST", *, version: str = "1.1", keep_alive: bool = True) -> None:
        self.method = method
        self.request = request_of(method=method, version=version)
        self.connection: Any = self.request.connection
        self.client = client_of(self.request, keep_alive=keep_alive)

    @property
    def written(self) -> bytes:
        return self.connection.written

    def start(self, status: int = 200, *headers: tuple[bytes, bytes], length: int | None = None) -> None:
        at_once(self.client.start(status, headers, length=length))

    def write(self, data: bytes) -> None:
        at_once(self.client.write(data))

    def finish(self) -> None:
        at_once(self.client.finish())

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
)
def test_every_answer_in_pieces_reads_as_it_was_meant(method, status, pieces, announced, keep_alive):
    bench = Bench(method, keep_alive=keep_alive)
    whole = b"".join(pieces)
    bench.start(status, (b"x-a", b"1"), length=len(whole) if announced else None)
    for piece in pieces:
        bench.write(piece)
    assert not bench.client.finished
    bench.finish()

    response, body, client = bench.read()
    assert response.status_code == status
    assert body == (b"" if method == "HEAD" or status in (204, 304) else whole)
    fields = dict(response.headers)
    assert (fields[b"x-a"], fields[b"date"]) == (b"1", b"Sun, 29 Nov 2026 12:00:00 GMT")
    assert (b"content-length" in fields) == announced
    assert client.their_state is (h11.DONE if keep_alive else h11.MUST_CLOSE)
    assert (bench.client.finished, bench.connection.answers) == (True, 1)


@given(
    method=st.sampled_from(["GET", "HEAD"]),
    status=st.sampled_from([200, 204, 401, 503]),
    whole=st.binary(max_size=40),
    keep_alive=st.booleans(),
)
def test_every_whole_answer_is_one_write_that_reads_as_it_was_meant(method, status, whole, keep_alive):
    bench = Bench(method, keep_alive=keep_alive)
    at_once(bench.client.respond(status, (), whole))
    response, body, client = bench.read()
    assert (response.status_code, body) == (status, b"" if method == "HEAD" or status == 204 else whole)
    assert client.their_state is (h11.DONE if keep_alive else h11.MUST_CLOSE)
    assert len(bench.connection.transport.writes) == 1
    assert (bench.client.finished, bench.connection.answers) == (True, 1)


def test_a_piece_is_a_chunk_and_is_left_to_write_where_that_is_not_possible_at_once():
    bench = Bench()
    assert not bench.client.write_now(b"too early")
    bench.start()
    assert bench.client.write_now(b"first ")
    assert not bench.client.write_now(b"")  # it would be the last chunk
    bench.connection.flow.writing_paused = True
    assert not bench.client.write_now(b"too much")
    bench.connection.flow.writing_paused = False
    assert bench.client.write_now(b"second")
    bench.finish()
    assert not bench.client.write_now(b"too late")
    assert bench.read()[1] == b"first second"

    announced = Bench()
    announced.start(200, length=2)
    assert not announced.client.write_now(b"hi")


def test_a_client_that_knows_no_chunks_gets_the_bare_bytes_until_the_connection_closes():
    bench = Bench(version="1.0", keep_alive=False)
    bench.start()
    assert not bench.client.write_now(b"left to write")
    bench.write(b"first ")
    bench.write(b"second")
    bench.finish()
    head, _, body = bench.written.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"first second"
    assert (bench.client.finished, bench.client.keep_alive) == (True, False)


def test_an_answer_before_the_request_is_complete_ends_the_connection():
    request = request_of(method="POST", body=None)
    at_once(client_of(request).respond(413, (), b"{}"))
    assert b"\r\nconnection: close\r\n" in request.connection.written


def test_the_page_that_asked_is_told_so_in_every_kind_of_answer():
    for answer in ("respond", "start"):
        bench = Bench()
        bench.client.cors = ((b"vary", b"origin"),)
        at_once(bench.client.respond(200, (), b"{}") if answer == "respond" else bench.client.start(200, ()))
        assert b"\r\nvary: origin\r\n" in bench.written


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([("write", b"a")], "no answer has begun"),
        ([("finish",)], "no answer has begun"),
        ([("start", 200, ()), ("start", 200, ())], "begun already"),
        ([("start", 200, ()), ("respond", 200, (), b"")], "begun already"),
        ([("respond", 200, (), b""), ("respond", 200, (), b"")], "begun already"),
        ([("start", 200, ()), ("finish",), ("write", b"a")], "no answer has begun"),
        ([("start", 200, ()), ("finish",), ("finish",)], "no answer has begun"),
        ([("start", 101, ())], "101"),
        ([("start", 200, ((b"x", b"a\r\ny: b"),))], "line end"),
        ([("length", 1), ("write", b"ab")], "longer"),
        ([("length", 3), ("write", b"ab"), ("finish",)], "shorter"),
    ],
)
def test_what_is_no_answer_is_an_error_of_who_writes_it_and_not_written(steps, what):
    bench = Bench()

    def take(name, *arguments):
        if name == "length":
            bench.start(200, length=arguments[0])
        else:
            at_once(getattr(bench.client, name)(*arguments))

    *before, last = steps
    for step in before:
        take(*step)
    written = bench.written
    with pytest.raises((RuntimeError, ValueError), match=what):
        take(*last)
    assert bench.written == written


def test_an_answer_that_cannot_be_written_has_not_begun():
    """So that an error can still be answered."""
    bench = Bench()
    with pytest.raises(ValueError, match="line end"):
        at_once(bench.client.respond(200, [(b"x", b"a\nb")], b""))
    assert not bench.client.started
    assert bench.written == b""


def test_nothing_is_written_to_a_client_that_left():
    bench = Bench()
    bench.start()
    before = bench.written
    bench.client.left()
    bench.write(b"a")
    assert not bench.client.write_now(b"a")  # left to ``write``
    bench.finish()
    at_once(bench.client.stream_error(internal_error()))
    at_once(bench.client.fail(internal_error()))
    assert bench.written == before
    assert (bench.client.finished, bench.connection.answers) == (False, 0)

    early = Bench()
    early.client.left(stalled=True)
    at_once(early.client.respond(200, (), b"{}"))
    assert (early.written, early.client.gone, early.client.stalled) == (b"", True, True)


def test_a_client_leaves_once_and_not_after_its_answer():
    bench, told = Bench(), []
    bench.client.watch(lambda: told.append("left"))
    bench.client.left()
    bench.client.left(stalled=True)
    assert (told, bench.client.stalled) == (["left"], False)
    bench.client.watch(lambda: told.append("late"))
    assert told == ["left", "late"]

    answered = Bench()
    answered.client.watch(lambda: told.append("answered"))
    at_once(answered.client.respond(200, (), b""))
    answered.client.left()
    assert (told, answered.client.gone) == (["left", "late"], False)


@pytest.mark.parametrize("how", ["write", "finish", "start", "respond", "emit"])
async def test_a_writer_waits_for_room_and_no_longer_than_its_client_stays(how):
    for ended in (False, True):
        bench = Bench()
        if how in ("write", "finish"):
            bench.start()
        before = bench.written
        bench.connection.flow.pause_writing()
        arguments = {"write": (b"late",), "start": (200, ()), "respond": (200, (), b""), "emit": (b"late", True)}
        writing = asyncio.get_running_loop().create_task(getattr(bench.client, how)(*arguments.get(how, ())))
        await asyncio.sleep(0)
        assert bench.written == before
        if ended:
            bench.client.left()
        bench.connection.flow.resume_writing()
        await writing
        assert (bench.written == before) == ended


async def test_of_several_that_wait_for_room_one_writes_the_head():
    bench = Bench()
    bench.connection.flow.pause_writing()
    loop = asyncio.get_running_loop()
    writing = [loop.create_task(bench.client.emit(piece, True)) for piece in (b"a", b"b", b"c")]
    await asyncio.sleep(0)
    bench.connection.flow.resume_writing()
    await asyncio.gather(*writing)
    bench.finish()
    assert bench.read()[1] == b"abc"


@pytest.mark.parametrize("size", [AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
async def test_a_large_piece_is_written_in_slices(size):
    bench = Bench()
    body = bytes(size)
    await bench.client.emit(body, True)
    await bench.client.write(body)
    await bench.client.finish()
    assert bench.read()[1] == body * 2
    assert max(map(len, bench.connection.transport.writes)) <= AT_ONCE + 512
