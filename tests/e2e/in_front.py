"""What tests of proxies in front of the gateway need: a port for one, and clients with addresses of their own."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

from tests.raw_client import PATH, RawClient, head_of


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def guess(url: str, number: int, source: str, *headers: str) -> int:
    """Ask with a key that nobody has, from an address of our own; the status."""
    there = urlsplit(url)
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(sock, (there.hostname, there.port))
    client = RawClient(*await asyncio.open_connection(sock=sock))
    body = json.dumps({"model": "gpt-4o"}).encode()
    lines = (f"host: {there.netloc}", f"content-length: {len(body)}", f"authorization: Bearer gw-guess-{number:020}")
    await client.send(head_of("POST", PATH, *lines, *headers) + body)
    status = (await client.answer()).status
    await client.close()
    return status
