"""The routes of the admin listener: metrics, usage, upstreams, keys, ledger, requests, jobs, reload. It shares none
with the main listener.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.billing.ledger import LedgerService
from gateway.core.defaults import USAGE_BY
from gateway.core.errors import ClientError, GatewayFault, StoreError, invalid_request
from gateway.endpoints.admin.deliveries import delivery_routes
from gateway.endpoints.admin.door import AdminDoor
from gateway.endpoints.admin.held import held_routes
from gateway.endpoints.admin.jobs import job_routes
from gateway.endpoints.admin.json_body import ADMITTED_AS, Handler
from gateway.endpoints.admin.keys import key_routes
from gateway.endpoints.admin.ledger import ledger_routes
from gateway.endpoints.admin.paths import METRICS_PATH, RELOAD_PATH, UPSTREAMS_PATH, USAGE_PATH
from gateway.endpoints.admin.requests import request_routes
from gateway.jobs.deliveries import Deliveries
from gateway.keys.service import KeyService
from gateway.runtime.in_turns import in_turns
from gateway.server.asgi import request_of
from gateway.stores.base import UsageReports
from gateway.stores.job_records import JobRecords


class ReloadAnswer(Protocol):
    """``problems``: why nothing was changed; ``as_json``: what was, if there are none."""

    @property
    def problems(self) -> Sequence[str]: ...
    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class AdminSource:
    """The data and actions of the admin routes; those that are no callables are its services and records.

    ``door``: asks for the admin key.
    ``usage``: ``since, until, by`` as texts → rows; raises ValueError for texts it cannot read.
    ``reload``: reads the configuration again; returns its problems, none if it is in force now, and the answer then.
    """

    door: AdminDoor
    open_metrics: Callable[[], bool]
    metrics: Callable[[str], tuple[Iterator[bytes], str]]
    usage: Callable[[str | None, str | None, list[str]], Awaitable[list[dict[str, Any]]]]
    upstreams: Callable[[], Awaitable[dict[str, Any]]]
    keys: KeyService
    ledger: LedgerService
    reports: UsageReports
    jobs: JobRecords
    deliveries: Deliveries
    reload: Callable[[], Awaitable[ReloadAnswer]]


def admin_routes(source: AdminSource) -> list[Route]:
    """The routes behind ``admin.listen``; if an admin key is set, each requires it."""
    admin = _Admin(source)
    return [
        Route(METRICS_PATH, admin.guarded(admin.metrics, unless=source.open_metrics)),
        Route(USAGE_PATH, admin.guarded(admin.usage)),
        Route(UPSTREAMS_PATH, admin.guarded(admin.upstreams)),
        *key_routes(source.keys, admin.guarded),
        *ledger_routes(source.ledger, admin.guarded),
        *held_routes(source.ledger, admin.guarded),
        *request_routes(source.reports, admin.guarded),
        *job_routes(source.jobs, admin.guarded),
        *delivery_routes(source.deliveries, admin.guarded),
        Route(RELOAD_PATH, admin.guarded(admin.reload), methods=["POST"]),
    ]


class _Admin:
    """The handlers of the admin routes."""

    def __init__(self, source: AdminSource) -> None:
        self._source = source

    def guarded(self, handler: Handler, *, unless: Callable[[], bool] = lambda: False) -> Handler:
        """The handler behind the admin key, if one is set. A reload may change the key.

        ``unless``: true where no key is required.
        """

        async def check_and_handle(request: Request) -> Response:
            request.scope[ADMITTED_AS] = self._source.door.enter(request_of(request.scope), open_to_all=unless())
            return await handler(request)

        return check_and_handle

    async def metrics(self, request: Request) -> Response:
        pieces, content_type = self._source.metrics(request.headers.get("accept", ""))
        return Response(await in_turns(pieces), headers={"content-type": content_type})

    async def usage(self, request: Request) -> Response:
        query = request.query_params
        by = [field for field in query.get("by", USAGE_BY).split(",") if field]
        try:
            rows = await self._source.usage(query.get("since"), query.get("until"), by)
        except ValueError as error:
            raise invalid_request(str(error), code="invalid_value") from None
        except StoreError as error:
            raise GatewayFault(503, "service_unavailable_error", "ledger_unavailable", str(error)) from None
        return _json({"object": "list", "data": rows})

    async def upstreams(self, _: Request) -> Response:
        return _json(await self._source.upstreams())

    async def reload(self, _: Request) -> Response:
        reloaded = await self._source.reload()
        if reloaded.problems:
            message = "\n".join(["The configuration was not changed:", *reloaded.problems])
            raise ClientError(400, "invalid_request_error", "config_rejected", message)
        return _json(reloaded.as_json())


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
