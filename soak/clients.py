"""Clients: each sends one request and says how it was answered, if it was."""

from __future__ import annotations

import json
from asyncio import timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx2

from soak.audit import Answer
from soak.orders import TASK, Order

PATIENCE = 60.0
"""Seconds after which a client gives up an answer; no answer takes nearly as long."""


@asynccontextmanager
async def http_client() -> AsyncIterator[httpx2.AsyncClient]:
    """One that opens a connection for every request, as many at once as there are."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx2.AsyncClient(timeout=PATIENCE, limits=limits, trust_env=False, verify=False) as client:
        yield client


async def ask(client: httpx2.AsyncClient, url: str, order: Order) -> Answer | None:
    """The complete answer, or None if the client hung up before. httpx2.TransportError if the gateway broke off.

    Whoever ordered a task asks after it once.
    """
    try:
        async with timeout(order.leaves):
            answer = await client.post(f"{url}{order.path}", content=order.content, headers=order.headers)
            if order.path == TASK and answer.status_code == 200:
                task = json.loads(answer.content)["data"]["task_id"]
                await client.get(f"{url}{TASK}/{task}", headers={"authorization": order.headers["authorization"]})
    except TimeoutError:
        return None
    cost = answer.headers.get("x-gateway-cost-usd")
    told = None if cost is None else int(Decimal(cost) * 10**9)
    return Answer(order.marker, answer.status_code, told, task=order.path == TASK)
