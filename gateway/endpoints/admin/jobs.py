"""The admin API's route for the jobs of all keys, without what they were asked and what they answered."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.routing import Route

from gateway.core.pricing.calendar import utc_time
from gateway.endpoints.admin.json_body import Guard, answering, page_limit
from gateway.endpoints.admin.paths import JOBS_PATH
from gateway.keys.fields import refuse_unknown
from gateway.stores.job_records import MAX_JOBS, JobRecords, StoredJob

PAGE, MOST_OF_A_PAGE = 50, MAX_JOBS


def job_routes(jobs: JobRecords, guarded: Guard) -> list[Route]:
    """The one route. ``guarded``: puts a handler behind the admin key.

    ``GET /admin/v1/jobs?limit=&after=&key=``, all optional, the newest first.
    """

    async def page(request: Request) -> Any:
        query = request.query_params
        refuse_unknown(query, ("limit", "after", "key"))
        limit = page_limit(query.get("limit"), PAGE, MOST_OF_A_PAGE)
        found = await jobs.latest(limit + 1, query.get("after") or None, query.get("key") or None)
        return {"object": "list", "data": [job_row(one) for one in found[:limit]], "has_more": len(found) > limit}

    return [Route(JOBS_PATH, guarded(answering({"GET": page})), methods=["GET"])]


def job_row(job: StoredJob) -> dict[str, Any]:
    """One row, as JSON has it. ``cost_usd``: what the key pays; null until that is known.

    ``error``: what its client was answered with; null without one.
    """
    return {
        "id": job.id,
        "key": job.key,
        "team": job.team,
        "route": job.route,
        "model": job.model,
        "state": job.state,
        "stream": job.stream,
        "created_at": utc_time(job.created_ns),
        "ended_at": None if job.ended_ns is None else utc_time(job.ended_ns),
        "request_id": job.request_id,
        "exchange": job.exchange,
        "cost_usd": _cost(job),
        "error": None if job.error is None else _error(job.error),
    }


def _cost(job: StoredJob) -> float | None:
    if job.ended_ns is None or job.state == "unknown":
        return None
    if job.cost is None:
        return None if job.purchased else 0.0
    return float(job.cost)


def _error(kept: bytes) -> dict[str, Any]:
    fields = orjson.loads(kept)
    return {name: fields.get(name) for name in ("status", "code", "message")}
