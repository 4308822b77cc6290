"""Connections that break: at every offset, before and after the head, reused and fresh; and callers that go away."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Endpoint, Phase
from gateway.upstream.connection import BUFFER_LIMIT, UpstreamConnection
from gateway.upstream.pool import ConnectionPool

from .conftest import DIALER, Ask, read_all
from .peer import Do, Peer, Script, turns

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FIXED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("end", [Do.EOF, Do.RST])
@pytest.mark.parametrize("answer", [FIXED, CHUNKED], ids=["fixed", "chunked"])
async def test_an_answer_cut_off_at_every_offset_is_never_taken_for_whole(
    ask: Ask, pool: ConnectionPool, answer: bytes, end: Do
) -> None:
    head_length = answer.index(b"\r\n\r\n") + 4
    scripts: list[Script] = [[Do.REQUEST, answer[:offset], end] for offset in range(len(answer))]
    async with Peer(*scripts) as peer:
        for offset in range(len(answer)):
            with pytest.raises(TransportError) as caught:
                await read_all(await ask(peer.endpoint()))
            phase = Phase.UNKNOWN if offset < head_length else Phase.ANSWERED
            assert (caught.value.slug, caught.value.phase) == ("connection_reset", phase), offset
            assert pool.open_count == 0


async def test_an_answer_that_ends_with_its_connection_must_end_cleanly(ask: Ask) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    async with Peer([Do.REQUEST, head, b"hello", Do.EOF], [Do.REQUEST, head, b"hel", Do.RST]) as peer:
        assert await read_all(await ask(peer.endpoint())) == b"hello"
        with pytest.raises(TransportError) as caught:
            await read_all(await ask(peer.endpoint()))
        assert caught.value.phase is Phase.ANSWERED


async def test_what_came_before_the_break_is_handed_out_first(ask: Ask) -> None:
    async with Peer([Do.REQUEST, FIXED[:-2], Do.EOF]) as peer:
        response = await ask(peer.endpoint())
        await asyncio.sleep(0.02)
        assert await response.receive() == b"hel"
        with pytest.raises(TransportError):
            await response.receive()
        response.close()


@pytest.mark.parametrize("end", [Do.EOF, Do.RST])
async def test_a_kept_connection_closed_without_a_byte_is_told_apart(ask: Ask, pool: ConnectionPool, end: Do) -> None:
    async with Peer([Do.REQUEST, OK, Do.REQUEST, end]) as peer:
        await read_all(await ask(peer.endpoint()))
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint())
        assert (caught.value.slug, caught.value.phase) == ("reused_conn_reset", Phase.UNKNOWN)
        assert pool.open_count == 0


async def test_a_kept_connection_closed_within_the_answer_is_an_ordinary_reset(ask: Ask) -> None:
    async with Peer([Do.REQUEST, OK, Do.REQUEST, b"H", Do.EOF]) as peer:
        await read_all(await ask(peer.endpoint()))
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint())
        assert caught.value.slug == "connection_reset"


async def test_a_fresh_connection_closed_without_a_byte_is_an_ordinary_reset(ask: Ask) -> None:
    async with Peer([Do.REQUEST, Do.EOF]) as peer:
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint())
        assert (caught.value.slug, caught.value.phase) == ("connection_reset", Phase.UNKNOWN)


async def cancelled(work: asyncio.Future[Any]) -> None:
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_caller_that_goes_while_waiting_for_the_head_leaves_nothing(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, FIXED[:10]]) as peer:
        waiting = asyncio.get_running_loop().create_task(ask(peer.endpoint()))
        await peer.until_asked()
        await cancelled(waiting)
        assert pool.open_count == 0
        await peer.until_gone()


async def test_a_caller_that_goes_while_waiting_for_the_body_leaves_nothing(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, FIXED[:-2]]) as peer:
        response = await ask(peer.endpoint())
        assert await response.receive() == b"hel"
        waiting = asyncio.get_running_loop().create_task(response.receive())
        await turns()
        await cancelled(waiting)
        assert pool.open_count == 0
        response.close()
        await peer.until_gone()


async def test_a_response_closed_before_its_end_closes_the_connection(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, FIXED[:-2]]) as peer:
        response = await ask(peer.endpoint())
        response.close()
        response.close()
        assert pool.open_count == 0
        await peer.until_gone()
        with pytest.raises(RuntimeError, match="closed"):
            await response.receive()


async def test_a_response_closed_while_it_is_read_ends_the_reading(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, FIXED[:-5]]) as peer:
        response = await ask(peer.endpoint())
        reading = asyncio.get_running_loop().create_task(response.receive())
        await turns()
        response.close()
        with pytest.raises(TransportError, match="closed by the gateway"):
            await reading
        assert pool.open_count == 0


async def test_a_response_has_one_reader_at_a_time(ask: Ask) -> None:
    async with Peer([Do.REQUEST, FIXED[:-5]]) as peer:
        response = await ask(peer.endpoint())
        first = asyncio.get_running_loop().create_task(response.receive())
        await turns()
        with pytest.raises(RuntimeError, match="read already"):
            await response.receive()
        with pytest.raises(TransportError):
            await first
        response.close()


async def test_a_caller_that_goes_at_any_moment_leaves_nothing(pool: ConnectionPool) -> None:
    """Cancelled after every number of loop turns a whole exchange takes; no socket of ours stays open."""
    steps: Script = [Do.REQUEST, *[CHUNKED[place : place + 7] for place in range(0, len(CHUNKED), 7)]]
    async with Peer(steps) as peer:

        async def whole() -> bytes:
            response = await pool.request(peer.endpoint(), "POST", "/", [], b"{}", connect_timeout=5, fresh=True)
            return await read_all(response)

        for delay in itertools.count():
            work = asyncio.get_running_loop().create_task(whole())
            await turns(delay)
            if not work.cancel():
                break
            await cancelled(work)
            assert pool.open_count == 0
        assert await work == b"hello"
        assert delay > 10
        await peer.until_gone(peer.accepted - 1)


async def test_a_dial_that_is_cancelled_closes_its_socket() -> None:
    started = asyncio.Event()

    async def never(
        endpoint: Endpoint, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    pool = ConnectionPool(never)
    endpoint = Endpoint("http://h", "http", "h", 80)
    dialling = asyncio.get_running_loop().create_task(pool.request(endpoint, "POST", "/", [], b"", connect_timeout=5))
    await started.wait()
    assert pool.open_count == 1
    await cancelled(dialling)
    assert pool.open_count == 0
    await pool.close()


async def test_a_dial_that_succeeds_after_the_pool_was_closed_is_closed_too() -> None:
    late = asyncio.Event()

    async def dial(
        endpoint: Endpoint, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await late.wait()
        return await DIALER(endpoint, protocol_factory)

    pool = ConnectionPool(dial)
    async with Peer([Do.REQUEST, OK]) as peer:
        asking = asyncio.get_running_loop().create_task(
            pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
        )
        await turns()
        await pool.close()
        late.set()
        with pytest.raises(TransportError) as caught:
            await asking
        assert (caught.value.slug, caught.value.phase) == ("connect_refused", Phase.UNSENT)
        await peer.until_gone()
        assert peer.requests == []


async def test_a_dial_that_takes_too_long_is_a_connect_timeout() -> None:
    async def never(
        endpoint: Endpoint, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await asyncio.Event().wait()
        raise AssertionError

    pool = ConnectionPool(never)
    with pytest.raises(TransportError) as caught:
        await pool.request(Endpoint("http://h", "http", "h", 80), "POST", "/", [], b"", connect_timeout=0.01)
    assert (caught.value.slug, caught.value.phase) == ("connect_timeout", Phase.UNSENT)
    assert pool.open_count == 0
    await pool.close()


async def test_a_flood_that_nobody_reads_stays_in_the_socket(ask: Ask) -> None:
    """32 MiB are offered; we hold two reads' worth at most until somebody takes them, and then get every byte."""
    size = 32 * 1024 * 1024
    body = os.urandom(1024) * (size // 1024)
    async with Peer(
        [Do.REQUEST, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, body, Do.REQUEST, OK]
    ) as peer:
        response = await ask(peer.endpoint())
        held = -1
        while held != response.bytes_received:
            held = response.bytes_received
            await asyncio.sleep(0.02)
        assert BUFFER_LIMIT < held <= 3 * BUFFER_LIMIT
        first = await response.receive()
        assert len(first) <= held
        assert first + await read_all(response) == body
        assert await read_all(await ask(peer.endpoint())) == b"ok"
        assert peer.accepted == 1


async def test_a_whole_answer_that_nobody_reads_does_not_harm_the_next(ask: Ask) -> None:
    size = BUFFER_LIMIT + 1
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"a" * size
    async with Peer([Do.REQUEST, answer, Do.REQUEST, OK], [Do.REQUEST, OK]) as peer:
        response = await ask(peer.endpoint())
        await asyncio.sleep(0.02)
        response.close()
        assert await read_all(await ask(peer.endpoint())) == b"ok"


async def test_a_large_body_is_written_whole(ask: Ask) -> None:
    body = os.urandom(5 * 1024 * 1024)
    async with Peer([Do.REQUEST, OK, Do.REQUEST, OK]) as peer:
        for _ in range(2):
            assert await read_all(await ask(peer.endpoint(), body=body)) == b"ok"
            assert peer.requests.pop().partition(b"\r\n\r\n")[2] == body
        assert peer.accepted == 1


async def test_an_early_answer_is_delivered_though_the_body_is_not_taken(ask: Ask, pool: ConnectionPool) -> None:
    body = bytes(30 * 1024 * 1024)
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nno!"
    async with Peer([Do.HEAD, refusal]) as peer:
        response = await ask(peer.endpoint(), body=body)
        assert response.status == 413
        assert await read_all(response) == b"no!"
        assert pool.open_count == 0  # half a request is on its way: nothing may follow it


async def test_a_large_body_waits_for_a_slow_peer(ask: Ask) -> None:
    body = os.urandom(1024) * 24 * 1024
    ready = asyncio.Event()
    async with Peer([Do.HEAD, ready, Do.BODY, OK]) as peer:
        asking = asyncio.get_running_loop().create_task(ask(peer.endpoint(), body=body))
        await peer.until_asked()
        await asyncio.sleep(0.05)
        ready.set()
        assert await read_all(await asking) == b"ok"
        assert peer.requests[0].endswith(body)


async def test_a_peer_that_ends_its_side_while_the_body_is_stuck_is_a_reset(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.HEAD, Do.FIN]) as peer:
        async with asyncio.timeout(5):
            with pytest.raises(TransportError) as caught:
                await ask(peer.endpoint(), body=bytes(30 * 1024 * 1024))
        assert (caught.value.slug, caught.value.phase) == ("connection_reset", Phase.UNKNOWN)
        assert pool.open_count == 0


async def test_a_body_goes_on_being_written_while_the_answer_is_read(ask: Ask) -> None:
    body = os.urandom(9 * 1024 * 1024)
    async with Peer([Do.HEAD, OK[:-2], Do.BODY, OK[-2:], Do.REQUEST, OK]) as peer:
        assert await read_all(await ask(peer.endpoint(), body=body)) == b"ok"
        assert peer.requests[0].endswith(body)
        assert (await ask(peer.endpoint())).reused


async def test_an_early_answer_is_delivered_though_the_peer_then_closes(ask: Ask, pool: ConnectionPool) -> None:
    body = bytes(30 * 1024 * 1024)
    refusal = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\n\r\nno!"
    async with Peer([Do.HEAD, refusal, Do.EOF]) as peer:
        response = await ask(peer.endpoint(), body=body)
        assert response.status == 413
        response.close()
        assert pool.open_count == 0


async def test_a_peer_that_closes_while_the_body_is_written_is_a_reset(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.HEAD, Do.RST]) as peer:
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint(), body=bytes(30 * 1024 * 1024))
        assert (caught.value.slug, caught.value.phase) == ("connection_reset", Phase.UNKNOWN)
        assert pool.open_count == 0


@pytest.mark.parametrize(
    "script",
    [
        [Do.REQUEST, OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")],
        [Do.REQUEST, Do.EOF],
        [Do.REQUEST, FIXED[:-1], Do.EOF],
        [Do.REQUEST, b"no HTTP"],
        [Do.REQUEST, b"HTTP/1.1 101 Switching\r\n\r\n"],
    ],
    ids=["whole", "no answer", "cut", "bad", "refused"],
)
async def test_a_connection_is_freed_without_the_cycle_collector(ask: Ask, script: Script) -> None:
    """The gateway freezes the collector, so what only it could free would stay."""

    def connections() -> int:
        return sum(isinstance(held, UpstreamConnection) for held in gc.get_objects())

    async with Peer(script) as peer:
        gc.collect()
        gc.disable()
        try:
            before = connections()
            for _ in range(5):
                with contextlib.suppress(TransportError):
                    await read_all(await ask(peer.endpoint()))
            await turns()
            assert connections() == before
        finally:
            gc.enable()


async def test_closing_the_pool_ends_what_runs() -> None:
    pool = ConnectionPool(DIALER)
    async with Peer([Do.REQUEST, FIXED[:-2]], [Do.REQUEST], [Do.REQUEST, OK]) as peer:

        async def ask() -> object:
            return await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)

        reading = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
        assert await reading.receive() == b"hel"
        waiting = asyncio.get_running_loop().create_task(ask())
        await peer.until_asked(2)
        resting = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
        await read_all(resting)
        await pool.close()
        assert pool.open_count == 0
        await peer.until_gone(3)
        for broken, phase in ((reading.receive(), Phase.ANSWERED), (waiting, Phase.UNKNOWN)):
            with pytest.raises(TransportError) as caught:
                await broken
            assert (caught.value.slug, caught.value.phase) == ("connection_reset", phase)
        with pytest.raises(RuntimeError, match="closed"):
            await ask()
