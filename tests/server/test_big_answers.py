"""Answers of many megabytes: written in parts, whole, and with everybody else's turns between them."""

from __future__ import annotations

import asyncio
import os

from gateway.runtime.tasks import TrackedTasks
from gateway.server.client import AT_ONCE, Client
from tests.server.test_client_over_sockets import endpoint, message


async def test_an_answer_of_megabytes_arrives_whole_and_others_have_their_turn(serve, connect) -> None:
    body = os.urandom(9 * AT_ONCE + 7)
    turns = 0

    async def answer(client: Client) -> None:
        nonlocal turns
        pinging = TrackedTasks(lambda *_: None).spawn(ping(), "ping")
        await client.respond(200, ((b"connection", b"close"),), body)
        pinging.cancel()

    async def ping() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    client = await connect(await serve(endpoint(answer)))
    await client.send(message("POST", "/", b"a", "Connection: close"))
    await client.head()
    assert await client.closed() == body
    assert turns >= 9


async def test_a_client_that_leaves_in_the_middle_ends_the_answer(serve, connect) -> None:
    ended = asyncio.Event()

    async def answer(client: Client) -> None:
        await client.respond(200, (), b"a" * (32 << 20))
        ended.set()

    client = await connect(await serve(endpoint(answer)), rcvbuf=65_536)
    await client.send(message("POST", "/", b"a"))
    await client.head()
    assert not ended.is_set()
    client.writer.transport.abort()
    async with asyncio.timeout(10):
        await ended.wait()
