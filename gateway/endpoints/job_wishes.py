"""What a client wishes of the job that its request becomes, by headers: all are looked at before anything is bought.

prefer: respond-async        (RFC 7240) 202 and the job's id at once, on routes for pictures
x-gateway-webhook: NAME      which of the configuration's webhooks is told of its end
x-gateway-patience: 90s      how long the client waits; the SDKs have headers of their own (core/jobs/patience.py)
"""

from __future__ import annotations

from gateway.core.errors import invalid_request
from gateway.core.jobs.patience import patience_of
from gateway.jobs.deliveries import Deliveries
from gateway.jobs.waiting import Wishes
from gateway.server.request import Request

PREFER = b"prefer"
WEBHOOK = b"x-gateway-webhook"


def wishes_of(request: Request, deliveries: Deliveries, *, may_be_async: bool = False) -> Wishes:
    """``may_be_async``: whether its route can answer before the work is done.

    Raises ClientError 400 for a patience that is no duration, and for a webhook that is not configured."""
    try:
        patience = patience_of(request.fields)
    except ValueError as error:
        raise invalid_request(
            f"Invalid 'x-gateway-patience': {error}.", param="x-gateway-patience", code="invalid_value"
        ) from None
    webhook = request.fields.get(WEBHOOK, b"").decode("latin-1").strip()
    if webhook:
        deliveries.check(webhook)
    return Wishes(patience, webhook, may_be_async and prefers_async(request))


def prefers_async(request: Request) -> bool:
    """Whether ``respond-async`` is among the preferences (RFC 7240, section 4.1)."""
    for value in request.every(PREFER):
        for preference in value.lower().split(b","):
            if preference.partition(b";")[0].strip() == b"respond-async":
                return True
    return False
