"""When a held answer's head goes out, what keeps the connection alive until then, and that the two never mix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
import pytest

from gateway.core.errors import internal_error
from gateway.core.headers import Headers
from tests.heads import client_of, request_of

EVENT_STREAM = b"text/event-stream; charset=utf-8"
PING = b": ping\n\n"
ONE = b"data: one\n\n"
SOON = 0.01
"""Seconds that stand for HOLD and for the time between beats."""


class Held:
    """A client whose answer is held, and what it got. ``attempts``: what the headers tell: they are asked for when the
    head goes out, not before.
    """

    def __init__(self, *, stream: bool, heartbeat: float = 0.0, **more: Any) -> None:
        self.request = request_of(method="POST")
        self.connection: Any = self.request.connection
        self.client = client_of(self.request)
        self.attempts = 0
        self.client.hold(stream=stream, heartbeat=heartbeat, headers=self.headers, **more)

    def headers(self) -> Headers:
        return ((b"x-gateway-attempts", b"%d" % self.attempts),)

    def read(self) -> tuple[h11.Response, bytes, bool]:
        """Head, body so far, and whether that is all of it. There is one head only, or h11 raises."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(self.connection.written)
        response = reader.next_event()
        assert isinstance(response, h11.Response), "no head"
        body = b""
        while isinstance(event := reader.next_event(), h11.Data):
            body += bytes(event.data)
        assert reader.trailing_data[0] == b""
        return response, body, isinstance(event, h11.EndOfMessage)

    @property
    def body(self) -> bytes:
        return self.read()[1]

    @property
    def fields(self) -> dict[bytes, bytes]:
        return dict(self.read()[0].headers)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)

    async def beats(self, count: int, beat: bytes = PING) -> None:
        await self.until(lambda: bool(self.connection.written) and self.body.count(beat) >= count)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.server.client.HOLD", SOON)
    monkeypatch.setattr("gateway.server.client.PING_EVERY", SOON)


@pytest.fixture
async def stream(request: pytest.FixtureRequest) -> Held:
    if "soon" in request.fixturenames:  # before the timer is set
        request.getfixturevalue("soon")
    return Held(stream=True)


class TestStreams:
    async def test_the_head_goes_out_with_the_first_bytes_in_one_write(self, stream: Held) -> None:
        stream.attempts = 2
        await stream.client.emit(ONE, True)
        assert len(stream.connection.transport.writes) == 1
        stream.attempts = 3
        await stream.client.emit(b"data: two\n\n", True)
        await stream.client.complete(None, ((b"x-gateway-cost-usd", b"1"),))
        response, body, ended = stream.read()
        assert (response.status_code, body, ended) == (200, ONE + b"data: two\n\n", True)
        assert stream.fields[b"content-type"] == EVENT_STREAM
        assert stream.fields[b"x-gateway-attempts"] == b"2"
        assert b"x-gateway-cost-usd" not in stream.fields

    async def test_a_failure_before_the_head_is_a_true_status(self, stream: Held) -> None:
        stream.attempts = 3
        await stream.client.fail(internal_error(), ((b"x-gateway-cost-usd", b"0"),))
        response, body, ended = stream.read()
        assert (response.status_code, body, ended) == (500, internal_error().body(), True)
        assert (stream.fields[b"x-gateway-attempts"], stream.fields[b"x-gateway-cost-usd"]) == (b"3", b"0")
        assert stream.fields[b"content-type"] == b"application/json"

    async def test_a_failure_after_the_head_is_an_event_and_ends_the_connection(self, stream: Held) -> None:
        await stream.client.emit(ONE, True)
        await stream.client.fail(internal_error())
        assert stream.read()[1:] == (ONE + b"data: " + internal_error().body() + b"\n\n", True)
        assert not stream.client.keep_alive

    async def test_nothing_is_sent_to_one_that_has_gone(self, stream: Held) -> None:
        stream.client.left()
        await stream.client.emit(ONE, True)
        await stream.client.complete(None)
        assert stream.connection.written == b""

    @pytest.mark.usefixtures("soon")
    async def test_when_nothing_comes_for_long_the_head_and_comments_go_out(self, stream: Held) -> None:
        await stream.beats(3)
        stream.attempts = 1
        await stream.client.emit(ONE, True)
        await stream.client.complete(None)
        response, body, ended = stream.read()
        assert (response.status_code, ended) == (200, True)
        assert (stream.fields[b"content-type"], stream.fields[b"x-gateway-attempts"]) == (EVENT_STREAM, b"0")
        assert body == PING * body.count(PING) + ONE

    @pytest.mark.usefixtures("soon")
    async def test_a_failure_behind_the_comments_is_an_event(self, stream: Held) -> None:
        await stream.beats(1)
        await stream.client.fail(internal_error())
        assert stream.read()[0].status_code == 200
        assert stream.body.endswith(b"data: " + internal_error().body() + b"\n\n")

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("beats", [0, 2], ids=["before the first", "between two"])
    @pytest.mark.parametrize("ending", ["emit", "complete", "fail", "left", "release"])
    async def test_no_beat_comes_after_anything_else(self, beats: int, ending: str, stream: Held) -> None:
        client = stream.client
        if beats:
            await stream.beats(beats)
        if ending == "emit":
            await client.emit(ONE, True)
        elif ending == "complete":
            await client.complete(None if beats else b"{}")
        elif ending == "fail":
            await client.fail(internal_error())
        elif ending == "left":
            client.left()
        else:
            client.release()
        written = stream.connection.written
        await asyncio.sleep(3 * SOON)
        assert stream.connection.written == written

    @pytest.mark.usefixtures("soon")
    async def test_a_comment_of_the_upstreams_commits_to_nothing_and_ours_go_on(self, stream: Held) -> None:
        await stream.beats(1)
        await stream.client.emit(b": upstream\n\n", False)
        await stream.beats(3)
        await stream.client.emit(ONE, True)
        await stream.client.complete(None)
        assert stream.body.replace(PING, b"") == b": upstream\n\n" + ONE

    @pytest.mark.usefixtures("soon")
    async def test_a_client_that_has_bytes_still_to_take_is_sent_no_beat(self, stream: Held) -> None:
        stream.connection.flow.pause_writing()
        await asyncio.sleep(3 * SOON)
        assert stream.connection.written == b""
        stream.connection.flow.resume_writing()
        await stream.beats(2)

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("ending", ["emit", "complete", "fail"])
    async def test_what_waits_for_room_writes_no_second_head_behind_a_beat(self, ending: str, stream: Held) -> None:
        """The client takes no more when the first content comes, or the end; meanwhile the time for a beat passes."""
        await stream.beats(1)
        stream.connection.flow.pause_writing()
        works = {
            "emit": lambda: stream.client.emit(ONE, True),
            "complete": lambda: stream.client.complete(None),
            "fail": lambda: stream.client.fail(internal_error()),
        }
        writing = asyncio.get_running_loop().create_task(works[ending]())
        await asyncio.sleep(3 * SOON)
        assert not writing.done()
        stream.connection.flow.resume_writing()
        await writing
        assert stream.read()[0].status_code == 200

    async def test_an_error_still_has_its_way_if_the_content_was_cancelled_while_it_waited(self, stream: Held) -> None:
        """The request's time is up while its first content waits for the client."""
        stream.connection.flow.pause_writing()
        loop = asyncio.get_running_loop()
        emitting = loop.create_task(stream.client.emit(ONE, True))
        await asyncio.sleep(SOON)
        emitting.cancel()
        await asyncio.wait({emitting})
        failing = loop.create_task(stream.client.fail(internal_error()))
        await asyncio.sleep(SOON)
        stream.connection.flow.resume_writing()
        await failing
        assert stream.read()[0].status_code == 500


class TestWholeAnswers:
    async def test_one_answer_with_its_headers(self) -> None:
        held = Held(stream=False, heartbeat=60)
        held.attempts = 1
        await held.client.complete(b'{"id":1}', ((b"x-gateway-cost-usd", b"0.01"),))
        response, body, ended = held.read()
        assert (response.status_code, body, ended) == (200, b'{"id":1}', True)
        assert held.fields[b"content-type"] == b"application/json"
        assert (held.fields[b"x-gateway-attempts"], held.fields[b"x-gateway-cost-usd"]) == (b"1", b"0.01")
        assert len(held.connection.transport.writes) == 1

    async def test_another_status_while_the_work_goes_on(self) -> None:
        held = Held(stream=False)
        await held.client.complete(b'{"task_id":1}', status=201)
        assert (held.read()[0].status_code, held.body) == (201, b'{"task_id":1}')

    @pytest.mark.usefixtures("soon")
    async def test_without_a_heartbeat_nothing_goes_out_before_it(self) -> None:
        """A whole answer has no hold: its status stays true however long it takes."""
        held = Held(stream=False)
        await asyncio.sleep(3 * SOON)
        assert held.connection.written == b""
        await held.client.fail(internal_error())
        assert held.read()[0].status_code == 500

    async def test_a_heartbeat_is_white_space_before_the_answer(self) -> None:
        held = Held(stream=False, heartbeat=SOON)
        await held.beats(3, b" ")
        await held.client.complete(b'{"id":1}')
        await asyncio.sleep(2 * SOON)
        response, body, ended = held.read()
        assert (response.status_code, body.lstrip(b" "), ended) == (200, b'{"id":1}', True)
        assert (held.fields[b"content-type"], held.fields[b"x-gateway-attempts"]) == (b"application/json", b"0")

    async def test_an_error_behind_a_heartbeat_is_the_body(self) -> None:
        held = Held(stream=False, heartbeat=SOON)
        await held.beats(1, b" ")
        await held.client.fail(internal_error())
        response, body, ended = held.read()
        assert (response.status_code, body.lstrip(b" "), ended) == (200, internal_error().body(), True)


class TestWhatNothingMayStandAround:
    """A sound, or a text."""

    def bare(self, *, stream: bool) -> Held:
        return Held(stream=stream, heartbeat=SOON, bare=True, label=lambda: b"audio/mpeg")

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("stream", [False, True])
    async def test_gets_its_own_label_and_no_beats(self, stream: bool) -> None:
        held = self.bare(stream=stream)
        await asyncio.sleep(3 * SOON)
        assert held.connection.written == b""
        if stream:
            await held.client.emit(b"sound", True)
            await held.client.complete(None)
        else:
            await held.client.complete(b"sound")
        assert (held.body, held.fields[b"content-type"]) == (b"sound", b"audio/mpeg")
        assert b"cache-control" not in held.fields

    async def test_is_cut_off_by_an_error_behind_its_head(self) -> None:
        held = self.bare(stream=True)
        await held.client.emit(b"half a sound", True)
        await held.client.fail(internal_error())
        assert (held.read()[1:], held.connection.cut) == ((b"half a sound", False), True)

    async def test_is_a_true_status_before_that(self) -> None:
        held = self.bare(stream=True)
        await held.client.fail(internal_error())
        assert (held.read()[0].status_code, held.fields[b"content-type"]) == (500, b"application/json")


async def test_a_handler_may_choose_how_its_client_is_told_of_errors() -> None:
    class Shouting:
        def body(self, error: Any) -> bytes:
            return b"NO"

        def last_event(self, error: Any) -> bytes:
            return b"event: NO\n\n"

    whole, stream = Held(stream=False), Held(stream=True)
    whole.client.error_form = stream.client.error_form = Shouting()
    await whole.client.fail(internal_error())
    assert whole.body == b"NO"
    await stream.client.emit(ONE, True)
    await stream.client.fail(internal_error())
    assert stream.body == ONE + b"event: NO\n\n"
