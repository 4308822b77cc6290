"""The client that posts to webhooks, over the gateway's own connections. Loaded once an operator has named one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx2

from gateway import __version__
from gateway.core.connection_options import ConnectionOptions
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.transport import PoolTransport

TRY_SECONDS = 10.0
"""For one try, from connecting to the answer's head."""


class WebhookClient:
    """Posts JSON. No redirect is followed, and no body is read."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._transport = PoolTransport(pool)
        self._client = httpx2.AsyncClient(
            transport=self._transport,
            timeout=TRY_SECONDS,
            trust_env=False,
            headers={"user-agent": f"piapi-gateway/{__version__}", "content-type": "application/json"},
        )

    def connect_by(self, options: ConnectionOptions) -> None:
        """How hosts are connected to from now on."""
        self._transport.options = options

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
        """The answer's status and its ``retry-after``; 0 and what went wrong if there was no answer."""
        try:
            async with (
                asyncio.timeout(TRY_SECONDS),
                self._client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                return answer.status_code, answer.headers.get("retry-after")
        except (httpx2.HTTPError, TimeoutError) as error:
            return 0, f"{type(error).__name__}: {error}"

    async def close(self) -> None:
        await self._client.aclose()
