"""Listening, two servers in one loop, and closing with and without patience."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import resource
import signal
import socket

import pytest

from gateway.server.listener import ListenError, start_server
from gateway.telemetry.log import Log
from tests.raw_client import RawClient, message

from .conftest import front_door


async def hello(request, client):
    await client.respond(200, (), b'"hello"')


async def get(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    client = RawClient(reader, writer)
    answer = await client.request("GET", "/")
    await client.leave()
    return answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_server_listens_on_a_free_port_of_a_host(host):
    try:
        server = await start_server(front_door(hello), host, 0)
    except ListenError:
        if host != "::1":
            raise
        pytest.skip("this machine has no IPv6")
    assert server.port > 0
    assert await get(host, server.port) == b'"hello"'
    await server.close(1)
    with pytest.raises(OSError):
        await get(host, server.port)


async def test_two_servers_share_a_loop_and_neither_touches_its_signals():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    first = await start_server(front_door(hello), "127.0.0.1", 0)
    second = await start_server(front_door(hello), "127.0.0.1", 0)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    await first.close(1)
    assert await get("127.0.0.1", second.port) == b'"hello"'
    await second.close(1)


async def test_a_port_in_use_is_named_with_the_reason():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}: the address is already in use"):
            await start_server(front_door(hello), "127.0.0.1", port)


@pytest.mark.parametrize("host", ["not a host", "192.0.2.1"])
async def test_a_host_that_is_not_this_machine_is_named(host):
    with pytest.raises(ListenError, match=re.escape(f"cannot listen on {host}:8400")):
        await start_server(front_door(hello), host, 8400)


async def test_closing_waits_for_what_runs_and_lets_go_of_what_idles(connect):
    go_on = asyncio.Event()

    async def endpoint(request, client):
        await client.start(200, ())
        await go_on.wait()
        await client.write(b'"late"')
        await client.finish()

    server = await start_server(front_door(endpoint), "127.0.0.1", 0)
    idle, busy = await connect(server), await connect(server)
    await busy.send(message("POST", "/", b"a"))
    await busy.head()
    closing = asyncio.get_running_loop().create_task(server.close(5))
    assert await idle.closed() == b""
    with pytest.raises(OSError):
        await RawClient.connect(server.port)
    assert not closing.done()
    go_on.set()
    assert await busy.closed() == b'6\r\n"late"\r\n0\r\n\r\n'
    await closing
    assert server.connections == server.requests == 0


async def test_what_outlasts_the_patience_is_cut_and_sees_its_client_leave(connect):
    ended = asyncio.get_running_loop().create_future()

    async def endpoint(request, client):
        gone = asyncio.Event()
        client.watch(gone.set)
        await client.start(200, ())
        await gone.wait()
        ended.set_result(client.gone)

    server = await start_server(front_door(endpoint), "127.0.0.1", 0)
    client = await connect(server)
    await client.send(message("POST", "/", b"a"))
    await client.head()
    await server.close(0.05)
    assert ended.result() is True
    assert server.connections == server.requests == 0


async def test_a_server_can_stop_accepting_long_before_it_closes(connect):
    server = await start_server(front_door(hello), "127.0.0.1", 0)
    server.stop_accepting()
    server.stop_accepting()
    with pytest.raises(OSError):
        await RawClient.connect(server.port)
    await server.close(1)


async def test_a_crash_of_the_application_goes_to_the_log():
    """No handler of its own, no raw lines on stderr: one line of ours, with the traceback."""

    async def broken(request, client):
        raise ZeroDivisionError("oh")

    written = io.StringIO()
    log = Log(stream=written)
    undo = log.bridge_stdlib()
    try:
        server = await start_server(broken, "127.0.0.1", 0)
        assert b"internal_error" in await get("127.0.0.1", server.port)
        await server.close(1)
    finally:
        undo()
    log.close()
    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (line["event"], line["level"], line["logger"]) == ("stdlib", "error", "gateway.server")
    assert "ZeroDivisionError: oh" in line["traceback"]


async def test_a_machine_out_of_descriptors_does_not_end_the_listening():
    """On uvloop, the loop that serves: what cannot be accepted is closed at once, and listening goes on."""
    loop = asyncio.get_running_loop()
    if not type(loop).__module__.startswith("uvloop"):
        pytest.skip("asyncio's own loop, which never serves, logs thousands of complaints")
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    server = await start_server(front_door(hello), "127.0.0.1", 0)
    flood = [socket.socket() for _ in range(20)]
    held: list[int] = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for each in flood:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", server.port))
        for each in flood:
            assert await asyncio.wait_for(closed(each), 5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)
        for each in flood:
            each.close()
    assert complaints == []
    assert await get("127.0.0.1", server.port) == b'"hello"'
    await server.close(1)


async def closed(sock: socket.socket) -> bool:
    """Wait until the other side has closed."""
    try:
        return await asyncio.get_running_loop().sock_recv(sock, 1) == b""
    except ConnectionError:
        return True
