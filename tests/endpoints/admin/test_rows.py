"""Rows of the admin API: what of a request or a job is not known is null."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.endpoints.admin.jobs import job_row
from gateway.endpoints.admin.requests import request_row
from gateway.jobs.job_errors import error_json, outcome_unknown
from gateway.stores.job_records import StoredJob
from gateway.stores.seen_exchanges import SeenAttempt, SeenExchange

AT = 1_700_000_000_500_000_000
SECOND = 1_000_000_000

OPEN = SeenExchange("e", AT, "alice", None, "/v1/chat/completions", "gpt-4o", "req", None, 2 * SECOND)
SETTLED = replace(
    OPEN, state="settled", settled_ns=AT + SECOND, status=200, charged=3, upstream_cost=2, confidence="measured"
)
JOB = StoredJob(
    "job_1", "alice", None, "/v1/images/generations", "flux-dev", b"f", None, "e", "req", stream=False, created_ns=AT
)


def test_one_that_runs_has_no_end_and_no_cost() -> None:
    row = request_row(OPEN)
    for field in ("status", "settled_at", "seconds", "cost_usd", "upstream_cost_usd", "confidence", "upstream"):
        assert row[field] is None, field
    assert (row["state"], row["created_at"], row["reserved_usd"]) == ("open", "2023-11-14T22:13:20Z", 2.0)
    assert row["attempts"] == []


def test_money_is_dollars_and_time_is_utc() -> None:
    row = request_row(SETTLED)
    assert (row["cost_usd"], row["upstream_cost_usd"], row["seconds"]) == (3e-9, 2e-9, 1.0)
    assert row["settled_at"] == "2023-11-14T22:13:21Z"


def test_what_an_unknown_one_costs_its_key_is_not_known() -> None:
    row = request_row(replace(SETTLED, state="unknown", charged=0, confidence="unknown"))
    assert (row["cost_usd"], row["upstream_cost_usd"], row["status"]) == (None, 2e-9, 200)


def test_one_that_was_cut_short_was_answered_with_nothing() -> None:
    row = request_row(replace(SETTLED, state="unknown", status=0))
    assert (row["status"], row["seconds"], row["settled_at"]) == (None, None, "2023-11-14T22:13:21Z")


@pytest.mark.parametrize(("cost", "reason"), [(0, None), (5, "suspected_duplicate")])
def test_why_an_attempt_costs_something_is_told_where_it_does(cost: int, reason: str | None) -> None:
    made = SeenAttempt("piapi", "https://api.piapi.ai", "first", "cf_524", 2, cost, "suspected_duplicate", "task-1")
    [row] = request_row(replace(SETTLED, attempts=(made,)))["attempts"]
    assert row == {
        "upstream": "piapi",
        "endpoint": "https://api.piapi.ai",
        "upstream_key": "first",
        "outcome": "cf_524",
        "phase": "unknown",
        "cost_usd": cost / 1e9,
        "cost_reason": reason,
        "task_id": "task-1",
    }


def test_what_a_job_costs_is_null_until_it_is_known() -> None:
    over = replace(JOB, state="completed", ended_ns=AT + SECOND, purchased=True)
    assert job_row(JOB)["cost_usd"] is None
    assert job_row(over)["cost_usd"] is None
    assert job_row(replace(over, cost="0.02"))["cost_usd"] == 0.02
    assert job_row(replace(over, state="cancelled", purchased=False))["cost_usd"] == 0.0
    assert job_row(replace(over, state="unknown", cost="0.02"))["cost_usd"] is None


def test_a_job_tells_of_its_error_what_its_client_was_told() -> None:
    told = outcome_unknown()
    row = job_row(replace(JOB, state="unknown", ended_ns=AT, error=error_json(told), order=b'{"prompt": "secret"}'))
    assert row["error"] == {"status": 504, "code": told.code, "message": told.message}
    assert "secret" not in str(row)
