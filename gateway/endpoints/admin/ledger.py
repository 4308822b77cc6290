"""The admin API's routes for the ledger: compare it with PiAPI's balance, and remove old rows."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from gateway.billing.ledger import LedgerService
from gateway.core.errors import invalid_request
from gateway.endpoints.admin.json_body import Guard, answering, body_fields
from gateway.keys.fields import refuse_unknown
from gateway.wire.field_checks import a_boolean, a_string, missing

RECONCILE = "/admin/v1/reconcile"
PRUNE = "/admin/v1/prune"


def ledger_routes(service: LedgerService, guarded: Guard) -> list[Route]:
    """The routes of the ledger.

    ``guarded``: puts a handler behind the admin key.

    ``POST /admin/v1/reconcile``: ``{"since", "until"}``, both optional. ``POST /admin/v1/prune``: ``{"before",
    "dry_run"}``, the latter optional. Moments are written as ``usage --since`` takes them.
    """

    async def reconcile(request: Request) -> Any:
        fields = await body_fields(request)
        refuse_unknown(fields, ("since", "until"))
        moments = _text(fields, "since"), _text(fields, "until")
        try:
            return await service.reconcile(*moments)
        except ValueError as error:
            raise invalid_request(str(error), code="invalid_value") from None

    async def prune(request: Request) -> Any:
        fields = await body_fields(request)
        refuse_unknown(fields, ("before", "dry_run"))
        before, dry_run = _text(fields, "before"), fields.get("dry_run", False)
        a_boolean(dry_run, "dry_run")
        if before is None:
            raise missing("before")
        try:
            return await service.prune(before, dry_run=dry_run)
        except ValueError as error:
            raise invalid_request(str(error), param="before", code="invalid_value") from None

    works = {RECONCILE: reconcile, PRUNE: prune}
    return [Route(path, guarded(answering({"POST": work})), methods=["POST"]) for path, work in works.items()]


def _text(fields: dict[str, Any], name: str) -> str | None:
    """A field that is a string; None if it is absent or null."""
    value = fields.get(name)
    if value is not None:
        a_string(value, name)
    return value
