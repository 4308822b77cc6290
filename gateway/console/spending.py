"""What was spent in any period, grouped as one likes; for a month's end, and for spreadsheets."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

from gateway.billing.usage import Period
from gateway.console import spend
from gateway.console.pages import SECURITY, Answer, page
from gateway.console.reading import aside
from gateway.console.source import ConsoleSource
from gateway.console.visitors import Visitor
from gateway.core.defaults import USAGE_FIELDS
from gateway.core.errors import invalid_request
from gateway.server.request import Request

MOST = 500
"""Rows that the page shows, the dearest first; the file for spreadsheets has all."""

DEFAULT_SINCE, DEFAULT_BY = "30d", ["key", "model"]


async def show(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/spend?since=&until=&by=``, ``by`` as often as there are fields."""
    since, until, by = _asked(request)
    problem, rows = "", []
    try:
        period = source.period(since, until)
    except ValueError as error:
        problem = str(error)
    else:
        found = await source.reading.of(lambda: source.used(period, by))
        rows = await aside(spend.dearest, found)
    return await page(
        "spend.html",
        200 if not problem else 400,
        visitor=visitor,
        since=since,
        until=until,
        by=by,
        fields=USAGE_FIELDS,
        rows=rows[:MOST],
        more=max(0, len(rows) - MOST),
        total=await aside(spend.total, rows),
        problem=problem,
        query=urlencode([("since", since), ("until", until), *(("by", field) for field in by)]),
        zone=source.zone(),
    )


async def table(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/spend.csv``, with the same query."""
    since, until, by = _asked(request)
    try:
        period: Period = source.period(since, until)
    except ValueError as error:
        raise invalid_request(str(error), code="invalid_value") from None
    rows = await source.reading.of(lambda: source.used(period, by))
    headers = (
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", b'attachment; filename="spend.csv"'),
        (b"cache-control", b"no-store"),
    )
    return Answer(200, (*SECURITY, *headers), await aside(spend.as_csv, by, rows))


def _asked(request: Request) -> tuple[str, str, list[str]]:
    query = parse_qs(request.query.decode("latin-1"))
    by = [field for field in USAGE_FIELDS if field in query.get("by", ())]
    return query.get("since", [DEFAULT_SINCE])[-1], query.get("until", [""])[-1], by or DEFAULT_BY
