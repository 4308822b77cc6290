"""PiAPI's account page, ``GET /account/info``, which costs nothing to ask.

Shape: PiAPI's own command line client. How many tasks may run at once differs from plan to plan, so it is asked for and
never assumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway.core.errors import TransportError
from gateway.core.json_weight import read_json
from gateway.core.types import Credential, Upstream
from gateway.upstream.free_read import read_free
from gateway.upstream.pool import ConnectionPool

T = TypeVar("T")

ACCOUNT_INFO_PATH = "/account/info"
ACCOUNT_KEY_HEADER = "x-api-key"

ACCOUNT_TIMEOUT = 10.0
"""Seconds for all hosts together."""

ACCOUNT_ANSWER_LIMIT = 256 * 1024
"""Bytes of an answer. A real one has about a thousand."""

PLAUSIBLE = range(1, 10_001)
"""The numbers of parallel tasks that are believed; any other number is ignored."""


def account_data(document: object) -> Mapping[str, Any] | None:
    """The account in an answer's parsed JSON; None if there is none."""
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, dict) else None


async def task_limit(pool: ConnectionPool, upstream: Upstream, credential: Credential) -> int | None:
    """How many tasks the account of ``credential`` may run at once; None if that cannot be learned now."""
    return await ask_account(pool, upstream, credential, _limit)


async def ask_account(
    pool: ConnectionPool, upstream: Upstream, credential: Credential, read: Callable[[Mapping[str, Any]], T | None]
) -> T | None:
    """The result of ``read`` for the account of ``credential``; None if no host answers now.

    The hosts are asked one after the other. Each may take its share of what is left of ``ACCOUNT_TIMEOUT``, so that a
    silent host does not keep the next one from being asked. Upstreams of other dialects have no account page.
    """
    if upstream.dialect != "piapi":
        return None
    loop = asyncio.get_running_loop()
    end = loop.time() + ACCOUNT_TIMEOUT
    hosts = len(upstream.endpoints)
    for place, endpoint in enumerate(upstream.endpoints):
        try:
            async with asyncio.timeout((end - loop.time()) / (hosts - place)):
                key = (ACCOUNT_KEY_HEADER.encode(), credential.value.encode())
                answer = await read_free(pool, endpoint, ACCOUNT_INFO_PATH, (key,), ACCOUNT_ANSWER_LIMIT)
            document = read_json(answer.body or b"")
        except (TransportError, TimeoutError, ValueError):  # ValueError: no JSON, or a key no header can hold
            continue
        data = account_data(document)
        if data is not None and (found := read(data)) is not None:
            return found
    return None


def _limit(data: Mapping[str, Any]) -> int | None:
    count = data.get("max_concurrent_task_count")
    return count if type(count) is int and count in PLAUSIBLE else None
