"""The first page: what was spent, what runs now, how upstreams are, the latest requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.billing.usage import LATEST_NS, Period
from gateway.console import spend
from gateway.console.pages import Answer, page
from gateway.console.reading import WITHIN, aside
from gateway.console.source import ConsoleSource, OverviewBooks, Row
from gateway.console.spend import Spent
from gateway.console.visitors import Visitor
from gateway.core.errors import ClientError, GatewayError, StoreError
from gateway.endpoints.admin.jobs import job_row
from gateway.endpoints.admin.requests import request_row
from gateway.server.request import Request

LATEST = 10
"""Requests that the first page shows."""

MOST_RUNNING = 20
"""Requests, and jobs, that run, the oldest first: what hangs is among them."""


async def show(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /``. A store that cannot be read keeps nothing else from being shown."""
    status, books = await asyncio.gather(source.upstreams(), _in_time(source))
    others = [row for row in status["gateways"] if not row["self"] and row["state"] == "live"]
    return await page(
        "overview.html",
        visitor=visitor,
        status=status,
        zone=source.zone(),
        in_flight=status["in_flight"] + sum(row["in_flight"] for row in others),
        alone=not others,
        trouble=books if isinstance(books, str) else "",
        books=None if isinstance(books, str) else books,
        most_running=MOST_RUNNING,
    )


async def _in_time(source: ConsoleSource) -> OverviewBooks | str:
    """What the books say, or why they say nothing."""
    day_ns, _, _ = source.starts()
    try:
        async with asyncio.timeout(WITHIN):
            return await source.books.of(day_ns, lambda: source.reading.whole(lambda: _read(source)))
    except TimeoutError:
        return f"The store did not answer within {WITHIN:g} seconds. Look at its disk or server, and at the log."
    except (StoreError, GatewayError) as error:
        return str(error)


async def _read(source: ConsoleSource) -> OverviewBooks:
    """One after the other: the page takes no more of the store than one reader does."""
    day_ns, month_ns, now_ns = source.starts()
    today = await source.used(Period(day_ns, now_ns + 1), ["upstream"])
    this_month = Period(month_ns, now_ns + 1)
    by_upstream = await source.used(this_month, ["upstream"])
    by_key = await _ranked(source, this_month, "key")
    jobs = await source.job_records.since(LATEST_NS)
    return OverviewBooks(
        at_ns=now_ns,
        today=spend.total(today),
        month=spend.total(by_upstream),
        by_key=[(one, await _key(source, one.name)) for one in by_key],
        by_team=await _ranked(source, this_month, "team"),
        by_model=await _ranked(source, this_month, "model"),
        by_upstream=spend.by("upstream", by_upstream),
        running=await source.running(),
        latest=[request_row(one) for one in await source.reports.latest(LATEST)],
        held=(await source.ledger.held())["data"],
        jobs=[job_row(one) for one in jobs if one.exchange],
    )


async def _ranked(source: ConsoleSource, period: Period, field: str) -> Sequence[Spent]:
    return await aside(spend.by, field, await source.used(period, [field]))


async def _key(source: ConsoleSource, name: str | None) -> Row:
    if name is None:
        return {}
    try:
        return await source.keys.listing.show(name)
    except ClientError:
        return {}
