"""The raw client as the sandbox's tests use it: requests that name a scenario, and every byte that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import orjson

from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Role
from tests.raw_client import PATH, RawClient, head_of
from tests.raw_client import Received as Received
from tests.raw_client import payloads as payloads

HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello there"}]}
STREAM = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}


class Client(RawClient):
    """One connection to a sandbox."""

    @classmethod
    async def to(cls, sandbox: Sandbox, role: Role = "api") -> Self:
        return await cls.connect(sandbox.urls[role])

    async def order(
        self,
        content: Any = None,
        scenario: str | None = None,
        *,
        method: str = "POST",
        path: str = PATH,
        key: str | None = "sk-test",
        headers: Mapping[str, str] | None = None,
        announce: int | None = None,
    ) -> None:
        """``announce``: a Content-Length other than the body's, to keep the sandbox waiting for more."""
        body = b"" if content is None else content if isinstance(content, bytes) else orjson.dumps(content)
        fields = {"host": "sandbox", "content-length": str(len(body) if announce is None else announce)}
        if key is not None:
            fields["authorization"] = f"Bearer {key}"
        if scenario is not None:
            fields["x-sandbox-scenario"] = scenario
        fields |= headers or {}
        await self.send(head_of(method, path, *(f"{name}: {value}" for name, value in fields.items())) + body)


async def ask(sandbox: Sandbox, content: Any = None, scenario: str | None = None, **options: Any) -> Received:
    """One request on a connection of its own that the server is asked to close, and everything that came back."""
    role: Role = options.pop("role", next(iter(sandbox.urls)))
    headers = {"connection": "close", **options.pop("headers", {})}
    client = await Client.to(sandbox, role)
    try:
        await client.order(content, scenario, headers=headers, **options)
        return await client.receive()
    finally:
        await client.close()
