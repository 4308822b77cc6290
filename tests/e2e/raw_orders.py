"""Image orders over raw HTTP, the sandbox's own images, fetching without pauses, and a canary."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from gateway.sandbox.images.png import image_by_name, image_name
from gateway.sandbox.wire.answers import Role

from .harness import ALICE, PROMPT, Answer, RawClient, Rig

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
VARIATIONS = "/v1/images/variations"

IMAGE, NO_IMAGE = 20_000_000, 660_000
"""Nano-dollars for an answer of PiAPI's gpt-4o-image with images, and for one without."""

TABLE = {
    "low": {"1024x1024": 11_000_000, "1024x1536": 16_000_000, "1536x1024": 16_000_000},
    "medium": {"1024x1024": 42_000_000, "1024x1536": 63_000_000, "1536x1024": 63_000_000},
    "high": {"1024x1024": 167_000_000, "1024x1536": 250_000_000, "1536x1024": 250_000_000},
}
"""Nano-dollars for an image of gpt-image-1 (PiAPI's documentation, GPT-4o Image Generation API)."""


def sandbox_image(link: str) -> bytes:
    """The PNG behind one of the sandbox's links."""
    image = image_by_name(link.rpartition("/")[2])
    assert image is not None
    return image


PIAPI: tuple[Role, ...] = ("api", "proxy")
WORDS = len(PROMPT.split())
"""Tokens the sandbox counts for the usual prompt."""

BY_BACKUP = sandbox_image("/" + image_name(f"{PROMPT}0", 1024, 1024))
"""What the backup makes of it."""

BACKUP_COST = WORDS * 5_000 + 439 * 30_000
"""Nano-dollars for that: an image of gpt-image-2.6-flare, of medium quality."""

ATTEMPTS = "gateway_upstream_attempts_total"
FAILOVERS = "gateway_failovers_total"
NO_BACKUP = "upstreams: {backup: {keys: []}}"


async def order(
    rig: Rig,
    *,
    path: str = GENERATIONS,
    key: str | None = ALICE,
    body: bytes | None = None,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Answer:
    """One order over raw HTTP; ``fields`` are added to model and prompt, ``body`` stands in place of all of them.

    The connection is closed after it: a stream of images has no ``[DONE]`` by which its end is known.
    """
    headers = {"content-type": content_type, "connection": "close", **(headers or {})}
    async with rig.client() as client:
        await client.ask(order_body(**fields) if body is None else body, key, headers, target=path)
        return await client.rest(await client.head())


def order_body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-image", "prompt": PROMPT, **fields}).encode()


async def fetched(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """Whatever comes back from ``url``, asked without any key."""
    client = await RawClient.connect(url)
    try:
        await client.ask(method=method, target=urlsplit(url).path, key=None, headers=headers)
        return await client.rest(await client.head())
    finally:
        await client.close()


def sandbox_links(
    rig: Rig, count: int = 1, *, prompt: str = PROMPT, role: Role = "api", size: tuple[int, int] = (1024, 1024)
) -> list[str]:
    """The links that the sandbox's answer to ``prompt`` holds."""
    names = (image_name(f"{prompt}{number}", *size) for number in range(count))
    return [f"{rig.sandbox.urls[role]}/files/{name}" for name in names]


def files_asked(rig: Rig) -> list[str]:
    """The roles at which images were asked for, in order."""
    return [request.role for request in rig.sandbox.requests if request.path.startswith("/files/")]


def orders_asked(rig: Rig) -> list[str]:
    """The roles at which something was ordered, in order."""
    return [request.role for request in rig.sandbox.requests if request.method == "POST"]


def without_pauses(rig: Rig) -> list[float]:
    """From now on nobody waits between two tries for an image; what would have been waited is told."""
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    rig.gateway._images._fetcher._sleep = pause
    return waited


def told(error: openai.APIStatusError) -> tuple[int, str | None, str | None]:
    """Status, type and code, after checking that the error has all four fields."""
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.body["message"]
    return error.status_code, error.type, error.code


@dataclass
class Canary:
    """A server. ``seen``: what it was sent, one item a connection."""

    url: str = ""
    seen: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def canary(answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") -> AsyncIterator[Canary]:
    """A server that remembers whoever comes, and gives every one the same ``answer``."""
    bird = Canary()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bird.seen.append(await reader.read(1 << 16))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    async with server:
        bird.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield bird
