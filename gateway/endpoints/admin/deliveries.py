"""The admin API's route for what webhooks were told of jobs, and how that went."""

from __future__ import annotations

from datetime import UTC
from typing import Any, get_args

from starlette.requests import Request
from starlette.routing import Route

from gateway.core.pricing.calendar import iso_time
from gateway.endpoints.admin.json_body import Guard, answering, page_limit
from gateway.endpoints.admin.paths import DELIVERIES_PATH
from gateway.jobs.deliveries import Deliveries
from gateway.keys.fields import refuse_unknown
from gateway.stores.delivery_records import Delivery, DeliveryState
from gateway.wire.field_checks import wrong_value

PAGE, MOST_OF_A_PAGE = 50, 1_000

_STATES = get_args(DeliveryState)


def delivery_routes(deliveries: Deliveries, guarded: Guard) -> list[Route]:
    """The one route. ``guarded``: puts a handler behind the admin key.

    ``GET /admin/v1/webhooks/deliveries?limit=&after=&webhook=&state=&job=``, all optional, the newest first.
    """

    async def page(request: Request) -> Any:
        query = request.query_params
        refuse_unknown(query, ("limit", "after", "webhook", "state", "job"))
        limit, state = page_limit(query.get("limit"), PAGE, MOST_OF_A_PAGE), query.get("state", "")
        if state and state not in _STATES:
            raise wrong_value("state", f"expected one of {', '.join(_STATES)}")
        found = await deliveries.page(
            limit + 1,
            query.get("after", ""),
            webhook=query.get("webhook", ""),
            state=state,
            job=query.get("job", ""),
        )
        return {"object": "list", "data": [_row(one) for one in found[:limit]], "has_more": len(found) > limit}

    return [Route(DELIVERIES_PATH, guarded(answering({"GET": page})), methods=["GET"])]


def _row(delivery: Delivery) -> dict[str, Any]:
    """Without the message, which may be large, and without the address, which may hold a secret."""
    pending = delivery.state == "pending"
    return {
        "id": delivery.id,
        "webhook": delivery.webhook,
        "job": delivery.job,
        "key": delivery.key,
        "asked_at": iso_time(delivery.at_ns, UTC),
        "state": delivery.state,
        "type": delivery.type or None,
        "tries": delivery.tries,
        "status": delivery.status or None,
        "reason": delivery.reason or None,
        "next_at": iso_time(delivery.next_ns, UTC) if pending else None,
    }
