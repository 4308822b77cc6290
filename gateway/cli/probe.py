"""The probe of ``piapi-gateway check --probe``: every endpoint of every upstream, asked with every key.

PiAPI is asked for the account (plan, balance, how many tasks may run at once), every other dialect for its models.
Nothing is bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx2

from gateway.cli.bounded_answer import read_bounded
from gateway.core.json_weight import TooHeavy, read_json
from gateway.core.types import Credential, Endpoint, Upstream
from gateway.upstream.account import ACCOUNT_INFO_PATH, ACCOUNT_KEY_HEADER, account_data
from gateway.upstream.model_list import LIST_LIMIT
from gateway.wire.model_question import models_path, question_headers

PROBE_TIMEOUT = 15.0
"""Seconds for one answer."""

LONGEST_WORDS = 200
"""Characters of an upstream's words that are shown."""


async def probe(
    upstreams: Iterable[Upstream], transport: httpx2.AsyncBaseTransport, within: float = PROBE_TIMEOUT
) -> list[dict[str, Any]]:
    """One row for each endpoint and key: ``upstream, endpoint, upstream_key, state, plan, balance_usd, concurrency``.

    ``state`` is ``ok`` or says what is wrong. Rows come in the order of the configuration. ``within``: seconds for one
    answer.
    """
    async with httpx2.AsyncClient(transport=transport, timeout=within, trust_env=False) as client:
        work = [
            _probe_one(client, upstream, endpoint, credential, within)
            for upstream in upstreams
            for endpoint in upstream.endpoints
            for credential in upstream.credentials
        ]
        return list(await asyncio.gather(*work))


async def _probe_one(
    client: httpx2.AsyncClient, upstream: Upstream, endpoint: Endpoint, credential: Credential, within: float
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "upstream": upstream.name,
        "endpoint": endpoint.url,
        "upstream_key": credential.name,
        "state": "ok",
        "plan": None,
        "balance_usd": None,
        "concurrency": None,
    }
    if upstream.dialect == "piapi":
        path, headers = ACCOUNT_INFO_PATH, {ACCOUNT_KEY_HEADER: credential.value}
    else:
        path = models_path(upstream.dialect)
        pairs = question_headers(upstream.dialect, credential.value)
        headers = {name.decode(): value.decode() for name, value in pairs}
    try:
        async with asyncio.timeout(within):
            answer, data = await read_bounded(client, "GET", endpoint.url + path, LIST_LIMIT, headers=headers)
    except httpx2.HTTPError as error:
        row["state"] = f"unreachable: {str(error)[:LONGEST_WORDS]}"
        return row
    except TimeoutError:
        row["state"] = f"unreachable: it sent no whole answer within {within:g} s"
        return row
    if answer.status_code != 200:
        row["state"] = _refusal(answer.status_code)
        return row
    if data is None:
        row["state"] = f"answered with more than {LIST_LIMIT} bytes, or compressed"
        return row
    try:
        body = await asyncio.to_thread(read_json, data)
    except TooHeavy as error:
        row["state"] = f"answered {error}"
        return row
    except ValueError:
        row["state"] = "answered something that is not JSON"
        return row
    if upstream.dialect == "piapi":
        row.update(_account(body))
    return row


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"the key is refused ({status}): replace it in the configuration"
    return f"answered {status}"


def _account(body: object) -> dict[str, Any]:
    """Plan, balance and concurrency from PiAPI's answer, as it states them."""
    data = account_data(body)
    if data is None:
        return {"state": "answered without account data"}
    return {
        "plan": _word(data.get("plan")),
        "balance_usd": _word(data.get("equivalent_in_usd")),
        "concurrency": _word(data.get("max_concurrent_task_count")),
    }


def _word(value: object) -> str | float | None:
    """A number, or a short text; None for anything else, which no table has room for."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_WORDS else value[:LONGEST_WORDS] + "…"
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
