"""One of several client processes: opens all its connections first, then asks on all of them in the same moment.

``python -m soak.rush`` reads from standard input a JSON object (``host``, ``port``, ``orders``: a list of ``name``,
``path``, ``key``, ``body`` and ``count``), says ``ready``, waits for a line, and prints how often each was answered
how, as a JSON object of ``NAME STATUS CODE`` → count; the code is that of an error.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from typing import Any

OPENED_AT_ONCE = 50
"""Connections in the making: more would overrun the listener's queue."""

PATIENCE = 90.0
"""Seconds after which the answers should all have come."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def rush(task: dict[str, Any], turn: asyncio.Event, ready: asyncio.Event) -> Counter[str]:
    """Open a connection for every order, set ``ready``, wait for ``turn``, ask; how often each was answered how."""
    opening = asyncio.Semaphore(OPENED_AT_ONCE)

    async def connect() -> Connection:
        async with opening:
            return await asyncio.open_connection(task["host"], task["port"])

    orders = [order for order in task["orders"] for _ in range(order["count"])]
    connections = await asyncio.gather(*(connect() for _ in orders))
    ready.set()
    await turn.wait()
    async with asyncio.timeout(PATIENCE):
        return Counter(await asyncio.gather(*map(_ask, connections, orders)))


async def _ask(connection: Connection, order: dict[str, Any]) -> str:
    reader, writer = connection
    body = json.dumps(order["body"]).encode()
    writer.write(
        f"POST {order['path']} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {order['key']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        + body
    )
    try:
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status = head.split(b" ")[1].decode()
    code = "" if status == "200" else json.loads(content)["error"]["code"]
    return f"{order['name']} {status} {code}".rstrip()


async def _main() -> None:
    task = json.loads(await asyncio.to_thread(sys.stdin.readline))
    turn, ready = asyncio.Event(), asyncio.Event()

    async def wait_for_turn() -> None:
        await ready.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        turn.set()

    answered, _ = await asyncio.gather(rush(task, turn, ready), wait_for_turn())
    print(json.dumps(answered), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main())
