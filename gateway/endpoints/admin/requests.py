"""The admin API's route for the requests that came in last: how each ended, and what its attempts came to."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from gateway.core.pricing.calendar import utc_time
from gateway.core.pricing.prices import usd_number
from gateway.core.types import Phase
from gateway.endpoints.admin.json_body import Guard, answering, page_limit
from gateway.endpoints.admin.paths import REQUESTS_PATH
from gateway.keys.fields import refuse_unknown
from gateway.stores.base import UsageReports
from gateway.stores.seen_exchanges import MOST_SEEN, SeenAttempt, SeenExchange

PAGE, MOST_OF_A_PAGE = 50, MOST_SEEN - 1


def request_routes(reports: UsageReports, guarded: Guard) -> list[Route]:
    """The one route. ``guarded``: puts a handler behind the admin key.

    ``GET /admin/v1/requests?limit=&before=&key=&request_id=``, all optional, the newest first.
    """

    async def page(request: Request) -> Any:
        query = request.query_params
        refuse_unknown(query, ("limit", "before", "key", "request_id"))
        limit = page_limit(query.get("limit"), PAGE, MOST_OF_A_PAGE)
        found = await reports.latest(
            limit + 1,
            before=query.get("before") or None,
            key=query.get("key") or None,
            request_id=query.get("request_id") or None,
        )
        return {"object": "list", "data": [request_row(one) for one in found[:limit]], "has_more": len(found) > limit}

    return [Route(REQUESTS_PATH, guarded(answering({"GET": page})), methods=["GET"])]


def request_row(seen: SeenExchange) -> dict[str, Any]:
    """One row, as JSON has it. What is not known, as long as it runs or for good, is null.

    ``seconds``: from its arrival to its end; null where it was cut short by the end of a process.
    ``upstream_cost_usd``: of one of unknown outcome, what may have been spent.
    """
    settled_ns, known = seen.settled_ns, seen.state not in ("open", "unknown")
    return {
        "id": seen.id,
        "request_id": seen.request_id,
        "key": seen.key,
        "team": seen.team,
        "route": seen.route,
        "model": seen.model,
        "answered_model": seen.answered_model,
        "state": seen.state,
        "status": seen.status or None,
        "created_at": utc_time(seen.at_ns),
        "settled_at": None if settled_ns is None else utc_time(settled_ns),
        "seconds": round((settled_ns - seen.at_ns) / 1e9, 3) if settled_ns and seen.status else None,
        "upstream": seen.upstream,
        "endpoint": seen.endpoint,
        "task_id": seen.task_id,
        "input_tokens": seen.input_tokens,
        "cached_input_tokens": seen.cached_input_tokens,
        "output_tokens": seen.output_tokens,
        "images": seen.images,
        "cost_usd": usd_number(seen.charged) if known else None,
        "confidence": seen.confidence,
        "upstream_cost_usd": None if settled_ns is None else usd_number(seen.upstream_cost),
        "reserved_usd": usd_number(seen.reserved),
        "paid_by": seen.paid_by,
        "corrected": seen.corrected,
        "attempts": [_attempt(one) for one in seen.attempts],
    }


def _attempt(seen: SeenAttempt) -> dict[str, Any]:
    """``cost_reason``: why it is booked so; null where it cost nothing."""
    return {
        "upstream": seen.upstream,
        "endpoint": seen.endpoint,
        "upstream_key": seen.credential,
        "outcome": seen.outcome,
        "phase": Phase(seen.phase).name.lower(),
        "cost_usd": usd_number(seen.cost),
        "cost_reason": seen.reason if seen.cost else None,
        "task_id": seen.task_id,
    }
