"""A job as its client is told of it, pages of jobs, and messages about them.

``{"id": "job_…", "object": "gateway.job", "status": …}``; its fields:

    id, object, status (queued, in_progress, completed, failed, cancelled), created_at (Unix seconds), model
    progress    0 to 100: an estimate until it has ended
    cost_usd    what the key is charged; null until it is known
    result      the document that the request would have been answered with; null without one
    error       what it would have been refused with, as ``error`` of an answer has it; null without one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

JobStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]

OBJECT = "gateway.job"

ENDED: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled"})

MOST_BEFORE_END = 99
"""Progress that is estimated never says that it is done."""

MOST_IN_A_MESSAGE = 64 * 1024
"""Bytes of a result that a webhook is sent; a larger one, such as pictures in base64, is fetched by the job's id."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is told of a job.

    ``created_ns``: Unix time. ``cost_usd``: what the key is charged; None if it is not known. ``progress``: 0 to 1, of
    one that runs. ``result``: the answer's body, JSON; None without one. ``error``: the ``error`` object; None
    without one.
    """

    id: str
    status: JobStatus
    created_ns: int
    model: str
    progress: float = 0.0
    cost_usd: float | None = None
    result: bytes | None = None
    error: dict[str, Any] | None = None


def job_object(facts: JobFacts) -> bytes:
    """The document."""
    return orjson.dumps(_fields(facts, facts.result))


def job_page(page: Sequence[JobFacts], *, more: bool) -> bytes:
    """A page of them, as OpenAI's lists are. Results are left out: null, to be fetched one by one."""
    return orjson.dumps(
        {
            "object": "list",
            "data": [_fields(facts, None) for facts in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": more,
        }
    )


def job_deleted(id: str) -> bytes:
    """What follows a DELETE."""
    return orjson.dumps({"id": id, "object": OBJECT, "deleted": True})


def job_message(facts: JobFacts, timestamp: str) -> bytes:
    """What a webhook is told of a job that has ended. ``timestamp``: ISO 8601.

    A result that is too large for a message is null, and ``result_omitted`` true.
    """
    omitted = facts.result is not None and len(facts.result) > MOST_IN_A_MESSAGE
    data = _fields(facts, None if omitted else facts.result)
    if omitted:
        data["result_omitted"] = True
    return orjson.dumps({"type": message_type(facts.status), "timestamp": timestamp, "data": data})


def message_type(status: JobStatus) -> str:
    """``job.completed``, ``job.failed``, ``job.cancelled``."""
    return f"job.{status}"


def _fields(facts: JobFacts, result: bytes | None) -> dict[str, Any]:
    return {
        "id": facts.id,
        "object": OBJECT,
        "status": facts.status,
        "created_at": facts.created_ns // 1_000_000_000,
        "model": facts.model,
        "progress": _percent(facts),
        "cost_usd": facts.cost_usd,
        "result": None if result is None else orjson.Fragment(result),
        "error": facts.error,
    }


def _percent(facts: JobFacts) -> int:
    if facts.status == "completed":
        return 100
    return max(0, min(MOST_BEFORE_END, int(facts.progress * 100)))
