"""The latest requests, each with its attempts and why it went on from one to the next."""

from __future__ import annotations

from urllib.parse import urlencode

from gateway.console.pages import Answer, page
from gateway.console.source import ConsoleSource
from gateway.console.visitors import Visitor
from gateway.endpoints.admin.requests import request_row
from gateway.server.query import query_of
from gateway.server.request import Request
from gateway.stores.seen_exchanges import SeenExchange

PAGE = 50

_FILTERS = ("key", "request_id")


async def show(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/requests?key=&request_id=&before=``, all optional."""
    query = query_of(request)
    filters = {name: query[name].strip() for name in _FILTERS if query.get(name, "").strip()}
    before = query.get("before")

    async def read() -> list[SeenExchange]:
        return list(await source.reports.latest(PAGE + 1, before=before, **filters))

    found = await source.reading.of(read)
    shown = found[:PAGE]
    older = urlencode({**filters, "before": shown[-1].id}) if len(found) > PAGE else ""
    return await page(
        "requests.html",
        visitor=visitor,
        rows=[request_row(one) for one in shown],
        filters=filters,
        older=older,
        newest=before is None,
        live=before is None and not filters,  # a filter may look through a month of the books
    )
