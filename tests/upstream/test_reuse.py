"""Which connections serve again, in which order, and for how long."""

from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest

from gateway.core.connection_options import ConnectionOptions
from gateway.core.errors import TransportError
from gateway.core.types import Phase
from gateway.upstream.dialer import Address, SystemDialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response

from .conftest import DIALER, Ask, read_all
from .peer import Do, Peer, Script, turns

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
AGAIN_AND_AGAIN: Script = [Do.REQUEST, OK] * 20


async def test_the_connection_that_rested_last_serves_first(ask: Ask, pool: ConnectionPool) -> None:
    """Each connection answers with its own number, so that the order shows."""

    def numbered(number: int) -> Script:
        return [Do.REQUEST, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number] * 9

    async with Peer(*(numbered(number) for number in range(3))) as peer:
        open_at_once = [await ask(peer.endpoint()) for _ in range(3)]
        for response in (open_at_once[1], open_at_once[2], open_at_once[0]):
            await read_all(response)
        assert (pool.idle_count, pool.open_count) == (3, 3)
        served = []
        held: list[Response] = []
        for _ in range(3):
            held.append(await ask(peer.endpoint()))
            served.append(await held[-1].receive())
        assert served == [b"0", b"2", b"1"]
        assert all(response.reused for response in held)
        for response in held:
            response.close()
        assert await read_all(await ask(peer.endpoint())) == b"1"
        assert peer.accepted == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"x",
        OK + OK,
        OK + b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["close", "close in a list", "HTTP/1.0", "garbage behind", "a second answer", "a 1xx behind"],
)
async def test_a_connection_that_may_not_serve_again_is_closed(ask: Ask, pool: ConnectionPool, answer: bytes) -> None:
    async with Peer([Do.REQUEST, answer], AGAIN_AND_AGAIN) as peer:
        assert await read_all(await ask(peer.endpoint())) == b"ok"
        assert pool.open_count == 0
        response = await ask(peer.endpoint())
        assert not response.reused
        assert await read_all(response) == b"ok"


async def test_http_1_0_serves_again_where_it_says_so(ask: Ask) -> None:
    answer = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"
    async with Peer([Do.REQUEST, answer] * 2) as peer:
        assert await read_all(await ask(peer.endpoint())) == b"ok"
        assert (await ask(peer.endpoint())).reused


@pytest.mark.parametrize("late", [b"x", b"\r\n", OK], ids=["garbage", "an empty line", "an answer to nothing"])
async def test_bytes_that_come_while_resting_close_the_connection(ask: Ask, pool: ConnectionPool, late: bytes) -> None:
    more = asyncio.Event()
    async with Peer([Do.REQUEST, OK, more, late], AGAIN_AND_AGAIN) as peer:
        await read_all(await ask(peer.endpoint()))
        assert pool.idle_count == 1
        more.set()
        await peer.until_gone()
        assert (pool.idle_count, pool.open_count) == (0, 0)
        assert not (await ask(peer.endpoint())).reused


async def test_bytes_that_come_before_the_body_is_read_close_the_connection(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, OK, b"late"]) as peer:
        response = await ask(peer.endpoint())
        await asyncio.sleep(0.02)
        assert await read_all(response) == b"ok"
        assert pool.open_count == 0


@pytest.mark.parametrize("end", [Do.EOF, Do.RST])
async def test_a_resting_connection_that_the_peer_closes_is_dropped_at_once(
    ask: Ask, pool: ConnectionPool, end: Do
) -> None:
    now = asyncio.Event()
    async with Peer([Do.REQUEST, OK, now, end], AGAIN_AND_AGAIN) as peer:
        await read_all(await ask(peer.endpoint()))
        now.set()
        await turns(20)
        assert (pool.idle_count, pool.open_count) == (0, 0)
        assert await read_all(await ask(peer.endpoint())) == b"ok"


async def test_a_peer_that_closes_before_the_answer_is_read_loses_nothing(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, OK, Do.EOF]) as peer:
        response = await ask(peer.endpoint())
        await asyncio.sleep(0.02)
        assert await read_all(response) == b"ok"
        assert (pool.idle_count, pool.open_count) == (0, 0)


async def test_fresh_takes_what_rested_for_less_than_a_second_or_dials(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0
    pool = ConnectionPool(DIALER)
    async with Peer(AGAIN_AND_AGAIN) as peer:

        async def ask_at(seconds: float, *, fresh: bool) -> bool:
            nonlocal ahead
            ahead = seconds
            response = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=50, fresh=fresh)
            await read_all(response)
            return response.reused

        clock = _LoopWithClock(loop, lambda: real() + ahead)
        monkeypatch.setattr("gateway.upstream.pool.asyncio.get_running_loop", lambda: clock)
        assert not await ask_at(0, fresh=True)
        assert await ask_at(0.5, fresh=True)
        assert not await ask_at(2, fresh=True)
        assert pool.open_count == 2  # the old one is still good for what is not paid
        assert await ask_at(2, fresh=False)
        assert not await ask_at(63, fresh=False)
        monkeypatch.undo()
    await pool.close()


class _LoopWithClock:
    """The running loop with another clock for whoever asks it the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, time: object) -> None:
        self._loop = loop
        self.time = time

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


async def test_connections_that_rest_too_long_are_swept_away() -> None:
    pool = ConnectionPool(DIALER, idle_timeout=0.05)
    async with Peer(AGAIN_AND_AGAIN) as peer:
        for response in [
            await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5) for _ in range(3)
        ]:
            await read_all(response)
        assert pool.idle_count == 3
        await peer.until_gone(3)
        assert pool.open_count == 0
        await asyncio.sleep(0.06)
        assert pool._groups == {}  # nor is an origin without connections remembered, nor a timer kept for it
        assert pool._sweep_timer is None
    await pool.close()


async def test_no_more_than_max_idle_rest_and_the_oldest_goes() -> None:
    pool = ConnectionPool(DIALER, max_idle=2)
    async with Peer(AGAIN_AND_AGAIN) as peer:
        for response in [
            await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5) for _ in range(3)
        ]:
            await read_all(response)
        assert (pool.idle_count, pool.open_count) == (2, 2)
        await peer.until_gone(1)
    await pool.close()


async def test_max_idle_nought_keeps_none() -> None:
    pool = ConnectionPool(DIALER, max_idle=0)
    async with Peer(AGAIN_AND_AGAIN) as peer:
        for _ in range(2):
            response = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
            assert not response.reused
            await read_all(response)
            assert pool.open_count == 0
    await pool.close()


async def test_origins_do_not_share_and_base_paths_do(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer(AGAIN_AND_AGAIN) as one, Peer(AGAIN_AND_AGAIN) as other:
        await read_all(await ask(one.endpoint()))
        assert not (await ask(other.endpoint())).reused
        deeper = dataclasses.replace(one.endpoint(), base_path="/relay")
        assert (await ask(deeper)).reused
        assert [request.split(b" ")[1] for request in one.requests] == [b"/v1/chat", b"/relay/v1/chat"]
        assert b"\r\nhost: 127.0.0.1:%d\r\n" % one.port in one.requests[0]


async def test_what_may_not_be_sent_is_refused_before_a_socket_is_opened(pool: ConnectionPool) -> None:
    async with Peer(AGAIN_AND_AGAIN) as peer:
        with pytest.raises(ValueError):
            await pool.request(peer.endpoint(), "POST", "/", [(b"x", b"a\r\nb: c")], b"", connect_timeout=5)
        assert (peer.accepted, pool.open_count) == (0, 0)


async def test_a_peer_that_speaks_first_is_not_asked(ask: Ask, pool: ConnectionPool) -> None:
    """Its greeting may come after the request has gone, so either it was not sent or the answer is no HTTP."""
    async with Peer([b"220 smtp.example ESMTP\r\n"]) as peer:
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint())
        assert (caught.value.slug, caught.value.phase) in [
            ("connect_refused", Phase.UNSENT),
            ("bad_http", Phase.UNKNOWN),
        ]
        assert pool.open_count == 0


async def test_many_at_once_take_one_connection_each_and_leave_them_resting(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer(AGAIN_AND_AGAIN) as peer:

        async def one_after_the_other() -> None:
            for _ in range(5):
                assert await read_all(await ask(peer.endpoint())) == b"ok"

        await asyncio.gather(*(one_after_the_other() for _ in range(32)))
        assert pool.idle_count == pool.open_count == peer.accepted <= 32
        assert len(peer.requests) == 160


async def test_a_connection_that_is_too_old_is_replaced_by_one_to_where_the_host_is_now() -> None:
    """A host moves: connections that were made before lead to its old address until they are too old."""
    where = ["127.0.0.1"]

    async def resolve(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, (where[0], port))]

    options = ConnectionOptions(max_age=0.05)
    loop = asyncio.get_running_loop()
    async with Peer(AGAIN_AND_AGAIN) as old:
        server = await asyncio.start_server(old._accept, "127.0.0.2", old.port)
        async with server:
            pool = ConnectionPool(SystemDialer(resolve=resolve))
            endpoint = dataclasses.replace(old.endpoint("upstream.test"), options=options)
            began = loop.time()

            async def ask() -> Response:
                response = await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5)
                await read_all(response)
                return response

            await ask()
            where[0] = "127.0.0.2"
            while loop.time() - began < 0.06:
                await asyncio.sleep(0.01)
            assert not (await ask()).reused
            assert pool.open_count == pool.idle_count == 1
            await old.until_gone()
            await pool.close()


async def test_an_answer_that_outlasts_its_connections_age_is_read_to_its_end(pool: ConnectionPool) -> None:
    go_on = asyncio.Event()
    async with Peer([Do.REQUEST, OK[:-1], go_on, OK[-1:]]) as peer:
        endpoint = dataclasses.replace(peer.endpoint(), options=ConnectionOptions(max_age=0.01))
        response = await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5)
        await asyncio.sleep(0.02)
        go_on.set()
        assert await read_all(response) == b"ok"
        await peer.until_gone()
        assert pool.open_count == 0


async def test_a_host_that_moves_is_followed_while_requests_run() -> None:
    """Requests without a pause on eight connections, and one answer under way at the old place all along."""
    where = ["127.0.0.1"]

    async def resolve(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, (where[0], port))]

    go_on = asyncio.Event()
    for_ever: Script = [Do.REQUEST, OK] * 2000
    async with Peer([Do.REQUEST, OK[:-1], go_on, OK[-1:]], for_ever) as old:
        new = Peer(for_ever)
        server = await asyncio.start_server(new._accept, "127.0.0.2", old.port)
        async with server:
            pool = ConnectionPool(SystemDialer(resolve=resolve))
            endpoint = dataclasses.replace(old.endpoint("upstream.test"), options=ConnectionOptions(max_age=0.1))
            running = await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5)

            async def busy() -> None:
                while len(new.requests) < 100:
                    response = await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5)
                    assert await read_all(response) == b"ok"
                    await asyncio.sleep(0.001)  # so that the age, and not the script's length, ends a connection

            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(busy())
                await old.until_asked(20)
                where[0] = "127.0.0.2"
            await asyncio.sleep(0.15)  # the last connection to the old place is too old by now
            asked = len(old.requests)
            for _ in range(8):
                await read_all(await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5))
            assert len(old.requests) == asked  # nothing goes there any more
            go_on.set()
            assert await read_all(running) == b"ok"  # and what was under way there has come to its end
            await pool.close()
