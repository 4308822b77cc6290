"""A request's headers as they are looked up, and its body as it comes and is taken."""

from __future__ import annotations

import asyncio

import pytest

from gateway.server.request import READ_AHEAD, SenderGone
from tests.heads import client_of, request_of

from .test_client import at_once


def test_of_several_headers_with_a_name_the_first_is_found_and_all_are_kept():
    request = request_of([(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"a", b"4")])
    assert request.fields == {b"a": b"1", b"b": b"2"}
    assert (request.every(b"a"), request.every(b"b"), request.every(b"c")) == ([b"1", b"3", b"4"], [b"2"], [])
    assert [value for name, value in request.headers if name == b"a"] == [b"1", b"3", b"4"]
    assert len(request.headers) == 4


def test_the_host_it_was_sent_to_can_stand_in_a_link():
    assert request_of([(b"host", b"gateway:8400")]).host == "gateway:8400"
    assert request_of([(b"host", b"a/b")]).host is None
    assert request_of().host is None


def test_a_body_is_taken_in_the_pieces_that_came_together():
    request = request_of(body=None)
    request.feed(b"a")
    assert (request.take(), request.complete) == (b"a", False)
    request.feed(b"b")
    request.feed(b"c")
    request.feed_end()
    assert (request.take(), request.complete) == (b"bc", True)
    assert request.take() == b""


async def test_receiving_waits_for_what_comes_next():
    request = request_of(body=None)
    loop = asyncio.get_running_loop()
    for feed, expected, complete in ((lambda: request.feed(b"a"), b"a", False), (request.feed_end, b"", True)):
        receiving = loop.create_task(request.receive())
        await asyncio.sleep(0)
        assert not receiving.done()
        feed()
        assert (await receiving, request.complete) == (expected, complete)


@pytest.mark.parametrize("ending", ["the client leaves", "it is answered"])
async def test_a_client_that_leaves_or_has_its_answer_ends_the_receiving(ending):
    request = request_of(body=None)
    client = client_of(request)
    receiving = asyncio.get_running_loop().create_task(request.receive())
    await asyncio.sleep(0)
    if ending == "it is answered":
        await client.respond(200, (), b"")
    else:
        client.left()
    for receive in (receiving, request.receive()):
        with pytest.raises(SenderGone):
            await receive
    with pytest.raises(SenderGone):
        request.take()


async def test_a_receiver_may_be_cancelled_and_another_come_but_not_two_at_once():
    request = request_of(body=None)
    first = asyncio.get_running_loop().create_task(request.receive())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="received already"):
        await request.receive()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    request.feed(b"a")
    assert await request.receive() == b"a"


def test_reading_pauses_when_the_reader_is_behind():
    request = request_of(body=None)
    transport = request.connection.transport
    request.feed(b"a" * READ_AHEAD)
    assert transport.reading
    request.feed(b"a")
    assert not transport.reading
    assert request.take() == b"a" * (READ_AHEAD + 1)
    assert transport.reading
    request.feed(b"a" * READ_AHEAD)
    assert transport.reading


def test_a_client_is_told_to_go_on_once_and_only_before_the_answer():
    request = request_of(body=None)
    request.expects_continue = True
    for _ in range(2):
        request.feed_end()
        request.take()
        assert request.connection.written == b"HTTP/1.1 100 Continue\r\n\r\n"

    answered = request_of(body=None)
    answered.expects_continue = True
    at_once(client_of(answered).respond(413, (), b""))
    with pytest.raises(SenderGone):
        answered.take()
    assert b" 100 " not in answered.connection.written

    closing = request_of(body=None)
    closing.expects_continue = closing.connection.transport.closing = True
    client_of(closing).left()
    with pytest.raises(SenderGone):
        closing.take()
    assert closing.connection.written == b""
