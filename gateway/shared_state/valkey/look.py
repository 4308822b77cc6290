"""A short look at a server: what it is, and how long it takes to answer. Nothing is written there."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from gateway.core.errors import OperatorError
from gateway.shared_state.base import SharedLook
from gateway.shared_state.valkey.lines import TROUBLES, Source

ANSWER_WITHIN = 4.0
"""Seconds."""

_VERSION = re.compile(r"redis_version:([0-9]+(?:\.[0-9]+)*)")


async def look_at_server(url: str) -> SharedLook:
    """Raises OperatorError if it does not answer, or for a URL that redis-py does not take."""
    try:
        source = Source(url)
    except ValueError as refused:
        raise OperatorError(f"shared_state: {refused}") from None
    line = source.line()
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await line.open()
            [told] = await line.ask([("INFO", "server")])
            began = time.perf_counter()
            await line.ask([("PING",)])
            took = time.perf_counter() - began
    except TimeoutError:
        raise OperatorError(f"{source.name} does not answer within {ANSWER_WITHIN:g} s") from None
    except TROUBLES as error:
        raise OperatorError(f"{source.name} does not answer: {str(error) or type(error).__name__}") from None
    finally:
        await line.close()
        await source.close()
    return SharedLook(source.name, _version(told), took)


def _version(told: Any) -> tuple[int, ...]:
    """Of a server's INFO; empty where a user of few rights is refused it."""
    text = told.get("redis_version", "") if isinstance(told, dict) else told
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    found = _VERSION.search(text if ":" in str(text) else f"redis_version:{text}")
    return tuple(map(int, found[1].split("."))) if found else ()
