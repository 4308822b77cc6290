"""The admin API's routes for the ledger: check it, compare it with PiAPI's balance, and remove old rows."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from gateway.billing.ledger import LedgerService
from gateway.core.errors import invalid_request
from gateway.endpoints.admin.json_body import Guard, JsonHandler, answering, body_fields
from gateway.endpoints.admin.paths import PRUNE_PATH, RECONCILE_PATH, VERIFY_PATH
from gateway.keys.fields import refuse_unknown
from gateway.wire.field_checks import a_boolean, a_string, missing


def ledger_routes(service: LedgerService, guarded: Guard) -> list[Route]:
    """The routes of the ledger.

    ``guarded``: puts a handler behind the admin key.

    ``GET /admin/v1/verify``. ``POST /admin/v1/reconcile``: ``{"since", "until"}``, both optional. ``POST
    /admin/v1/prune``: ``{"before", "dry_run"}``, the latter optional. Moments are as ``usage --since`` takes them.
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

    async def verify(_: Request) -> Any:
        return await service.verify()

    works: dict[str, dict[str, JsonHandler]] = {
        RECONCILE_PATH: {"POST": reconcile},
        PRUNE_PATH: {"POST": prune},
        VERIFY_PATH: {"GET": verify},
    }
    return [Route(path, guarded(answering(methods)), methods=list(methods)) for path, methods in works.items()]


def _text(fields: dict[str, Any], name: str) -> str | None:
    """A field that is a string; None if it is absent or null."""
    value = fields.get(name)
    if value is not None:
        a_string(value, name)
    return value
