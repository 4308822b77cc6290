"""The admin API's routes for what budgets hold for requests of unknown outcome, and for the audit log."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from gateway.billing.ledger import LedgerService
from gateway.core.defaults import USAGE_SINCE
from gateway.core.errors import invalid_request
from gateway.endpoints.admin.json_body import Guard, JsonHandler, answering, body_fields, who_asks
from gateway.endpoints.admin.paths import AUDIT_PATH, HELD_PATH, RELEASE_PATH
from gateway.keys.fields import as_refusal, refuse_unknown
from gateway.wire.field_checks import a_string, each, missing, wrong_value

MOST_RELEASED = 1_000
"""Exchanges that one request may release."""

_strings = each(a_string)


def held_routes(service: LedgerService, guarded: Guard) -> list[Route]:
    """The routes of what is held, and of the audit log.

    ``guarded``: puts a handler behind the admin key.

    ``GET /admin/v1/held``. ``POST /admin/v1/held/release``: ``{"ids", "reason"}``. ``GET /admin/v1/audit?since=``, 30d
    unless said, as ``usage --since`` takes it.
    """

    async def held(_: Request) -> Any:
        return await service.held()

    async def release(request: Request) -> Any:
        fields = await body_fields(request)
        refuse_unknown(fields, ("ids", "reason"))
        ids, reason = fields.get("ids"), fields.get("reason")
        if ids is None:
            raise missing("ids")
        _strings(ids, "ids")
        if not 1 <= len(ids) <= MOST_RELEASED:
            raise wrong_value("ids", f"expected 1 to {MOST_RELEASED} of them")
        if reason is None:
            raise missing("reason")
        a_string(reason, "reason")
        try:
            return await service.release(ids, reason, who_asks(request))
        except ValueError as error:
            raise as_refusal(error) from None

    async def audit(request: Request) -> Any:
        refuse_unknown(request.query_params, ("since",))
        try:
            return await service.audit(request.query_params.get("since", USAGE_SINCE))
        except ValueError as error:
            raise invalid_request(str(error), param="since", code="invalid_value") from None

    works: dict[str, dict[str, JsonHandler]] = {
        HELD_PATH: {"GET": held},
        RELEASE_PATH: {"POST": release},
        AUDIT_PATH: {"GET": audit},
    }
    return [Route(path, guarded(answering(methods)), methods=list(methods)) for path, methods in works.items()]
