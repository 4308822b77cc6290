"""Clients that are slow to send or slow to read, and upstreams that are slow but work."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from urllib.parse import urlsplit

import pytest

from gateway.server.body import read_body
from gateway.server.limits import ServerLimits
from gateway.upstream.connection import BUFFER_LIMIT

from .conftest import StartGateway
from .harness import Rig, chat_body, eventually
from .moments import connect, raw_request, received

MEBIBYTE = 1 << 20
WRITE_BUFFER = 64 * 1024
"""Bytes that a transport of asyncio or uvloop holds before it pauses its writer."""


class SlowReader:
    """A client with hardly any buffer, that reads only when told to."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)

    async def ask(self, body: bytes) -> None:
        place = urlsplit(self._rig.gateway.main_url)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (place.hostname, place.port))
        await loop.sock_sendall(self._socket, raw_request(body))

    async def read(self, size: int) -> bytes:
        """At least ``size`` bytes, or all there is."""
        got = b""
        while len(got) < size and (piece := await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)):
            got += piece
        return got

    def close(self) -> None:
        self._socket.close()


async def standing_still(rig: Rig) -> int:
    """Wait until every buffer between the upstream and the client is full; returns what was received by then."""
    before = -1
    while before != received(rig) or before <= 0:
        before = received(rig)
        await asyncio.sleep(0.1)
    return before


class TestSlowReaders:
    async def test_hold_the_upstream_back_and_lose_nothing(self, rig: Rig) -> None:
        rig.sandbox.script("ok;chunks=60000")
        reader = SlowReader(rig)
        await reader.ask(chat_body(stream=True))
        try:
            held = await standing_still(rig)
            assert held < 10 * MEBIBYTE  # of the 15 MiB the upstream has; the rest is the kernel's buffers
            [connection] = [one for server in rig.gateway._servers for one in server._state.connections]
            assert connection.transport.get_write_buffer_size() <= WRITE_BUFFER + 2 * BUFFER_LIMIT
            assert rig.sandbox.in_flight == 1

            await reader.read(4 * MEBIBYTE)
            await eventually(lambda: received(rig) > held, "more from the upstream")

            whole = b""
            while not whole.endswith(b"0\r\n\r\n"):
                whole = (whole + await reader.read(1))[-1000:]
            assert b"data: [DONE]" in whole
        finally:
            reader.close()
        row = await rig.row()
        assert (row.outcomes, row.status, row.output_tokens) == (["ok"], 200, 60_000)
        assert row.charged == rig.sandbox.billed

    async def test_are_not_taken_for_a_slow_upstream(self, gateway: StartGateway) -> None:
        """The upstream is silent for a moment after the client kept us from listening for longer than we would wait."""
        rig = await gateway("upstreams: {piapi: {timeouts: {idle: 400ms}}}")
        for server in rig.gateway._servers:
            for listening in server._listeners:
                for one in listening.sockets:
                    with socket.fromfd(one.fileno(), one.family, one.type) as listener:
                        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # accepted sockets inherit it
        rig.sandbox.script("huge_event;size=900000;more=1;seconds=0.9;delay=30")
        reader = SlowReader(rig)
        await reader.ask(chat_body(stream=True))
        try:
            await eventually(lambda: received(rig) > 900_000, "the big event")
            await asyncio.sleep(0.6)
            assert rig.sandbox.requests[0].ending == "running"
            whole = b""
            while not whole.endswith(b"0\r\n\r\n"):
                whole = (whole + await reader.read(1))[-1000:]
            assert b"data: [DONE]" in whole
        finally:
            reader.close()
        assert (await rig.row()).outcomes == ["ok"]

    async def test_that_take_nothing_at_all_are_cut_off_and_pay_for_what_ran(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.app.listening.ServerLimits", partial(ServerLimits, write_stall=0.3))
        monkeypatch.setattr("gateway.exchange.exchange.READ_ON_SECONDS", 0.1)
        rig = await gateway()
        rig.sandbox.script("endless")
        reader = SlowReader(rig)
        await reader.ask(chat_body(stream=True))
        row = await rig.row()
        reader.close()
        assert (row.outcomes, row.status, row.confidence) == (["client_stalled"], 499, "estimated")
        assert row.charged > 0
        assert row.costs == [(row.charged, "billed")]
        figures = await rig.figures()
        assert figures.total("gateway_upstream_attempts_total", outcome="client_stalled") == 1
        await rig.sandbox.until(lambda: rig.sandbox.open_connections == 0)


class TestSlowWriters:
    async def test_a_body_that_stops_coming_is_answered_408(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.endpoints.chat.read_body", partial(read_body, idle=0.2))
        body = chat_body()
        async with rig.client() as client:
            client.writer.write(raw_request(body, len(body) + 1))
            head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"x-should-retry: false" in head
        assert rig.sandbox.requests == []
        assert await rig.rows(0) == []
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", status="408", key="alice", upstream="other") == 1
        assert figures.total("gateway_requests_in_flight") == 0

    async def test_a_body_that_comes_slowly_is_served(self, rig: Rig) -> None:
        _, writer = await connect(rig)
        body = chat_body()
        for place in range(0, len(raw_request(body)), 20):
            writer.write(raw_request(body)[place : place + 20])
            await asyncio.sleep(0.002)
        assert (await rig.row()).status == 200
        writer.close()
        await writer.wait_closed()


class TestBigBodies:
    LIMIT = "limits: {body: 10KiB}"

    async def test_an_announced_one_is_refused_before_it_is_read(self, gateway: StartGateway) -> None:
        rig = await gateway(self.LIMIT)
        reader, writer = await connect(rig)
        writer.write(raw_request(b"{", 10 * 1024 + 1))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in head
        writer.close()
        await writer.wait_closed()
        assert (await rig.figures()).total("gateway_requests_total", status="413", key="alice") == 1
        assert await rig.rows(0) == []

    async def test_the_limit_itself_is_allowed(self, gateway: StartGateway) -> None:
        rig = await gateway(self.LIMIT)
        bare = len(chat_body(messages=[{"role": "user", "content": ""}]))
        for size, status in ((10 * 1024, 200), (10 * 1024 + 1, 413)):
            answer = await rig.chat(messages=[{"role": "user", "content": "x" * (size - bare)}])
            assert answer.status == status
        assert answer.error()["code"] == "request_too_large"
        assert answer.header("x-should-retry") == "false"
        assert len(rig.sandbox.requests) == 1


class TestSlowUpstreams:
    """What arrives slowly, but arrives, is no fault."""

    QUICK = "upstreams: {piapi: {timeouts: {idle: 500ms}}}"

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_a_long_answer_is_not_cut_off_while_content_comes(self, stream: bool, gateway: StartGateway) -> None:
        """Twice the idle time is the most that content may lag, not the most that an answer may take."""
        rig = await gateway(self.QUICK)
        rig.sandbox.script("slow;delay=20;chunks=60")
        answer = await rig.chat(stream=stream)
        assert answer.status == 200
        assert b"error" not in answer.body
        assert [request.role for request in rig.sandbox.requests] == ["api"]
        assert (await rig.row()).outcomes == ["ok"]

    @pytest.mark.parametrize("place", [1, 4])
    async def test_comments_between_events_are_not_for_who_asked_for_no_stream(self, place: int, rig: Rig) -> None:
        rig.sandbox.script(f"drip;after_events={place};interval=5;count=3")
        answer = await rig.chat()
        assert (answer.status, answer.header("content-type")) == (200, "application/json")
        assert answer.json()["choices"][0]["finish_reason"] == "stop"

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_comments_alone_keep_no_answer_alive(self, stream: bool, gateway: StartGateway) -> None:
        rig = await gateway(self.QUICK)
        rig.sandbox.script("drip;after_events=4;interval=20", role="api")
        answer = await rig.chat(stream=stream)
        row = await rig.row()
        if stream:
            assert answer.stream_error()["code"] == "upstream_stream_interrupted"
            assert row.outcomes == ["stall_idle"]
        else:
            assert answer.status == 200
            assert row.outcomes == ["stall_idle", "ok"]
