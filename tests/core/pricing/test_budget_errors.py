"""What a client is told whom a budget does not let in."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import orjson
import pytest

from gateway.core.pricing.budget_errors import RETRY_AFTER, Exceeded, Unpriced
from gateway.core.pricing.calendar import ALL_TIME, period_at
from gateway.core.types import Budget

from .prices import USD

NOW = int(datetime(2026, 11, 22, 8, 47, tzinfo=UTC).timestamp()) * 1_000_000_000
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_used_up_budget_is_openais_insufficient_quota_and_not_to_be_retried():
    limit = Budget(50 * USD, "month")
    month = period_at("month", NOW, BERLIN)
    refusal = Exceeded(("key", "alice"), limit, month, USD // 8, 50 * USD - 1, USD, BERLIN)
    error = refusal.error()
    assert (error.status, error.should_retry, error.retry_after) == (429, False, None)
    assert orjson.loads(error.body()) == {
        "error": {
            "message": "The budget of the key 'alice' is $50.00 a month, of which $49.999999999 are spent and $1.00 "
            "reserved by running requests; this request may cost up to $0.125. It begins anew at "
            "2026-12-01T00:00:00+01:00.",
            "type": "insufficient_quota",
            "param": None,
            "code": "insufficient_quota",
        }
    }


def test_what_only_running_requests_are_in_the_way_of_may_be_sent_again():
    limit = Budget(50 * USD, "week")
    week = period_at("week", NOW, BERLIN)
    refusal = Exceeded(("key", "alice", "gpt-4o*"), limit, week, 2 * USD, 48 * USD, USD, BERLIN)
    error = refusal.error()
    assert (refusal.reason, refusal.passing) == ("reserved", True)
    assert (error.status, error.type, error.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert error.should_retry
    assert error.retry_after == RETRY_AFTER
    assert error.message == (
        "The budget of the key 'alice' for 'gpt-4o*' is $50.00 a week, of which $48.00 are spent and $1.00 reserved by "
        "running requests; this request may cost up to $2.00. Try again when they have ended: they may cost less than "
        "is reserved."
    )


@pytest.mark.parametrize(
    ("asked", "charged", "reserved", "held", "reason"),
    [
        (2, 8, 1, 0, "reserved"),
        (2, 8, 1, 1, "used_up"),  # what is held counts as spent
        (2, 9, 0, 0, "used_up"),
        (2, 9, 5, 0, "used_up"),
        (11, 0, 0, 0, "too_large"),
        (11, 0, 5, 5, "too_large"),
        (10, 0, 1, 0, "reserved"),
        (None, 9, 1, 0, "reserved"),
        (None, 9, 1, 1, "used_up"),
        (None, 10, 0, 0, "used_up"),
        (1, 25, 0, 0, "used_up"),
    ],
)
def test_why_there_is_no_room(asked: int | None, charged: int, reserved: int, held: int, reason: str):
    """Of ten."""
    refusal = Exceeded(("team", "t"), Budget(10, "total"), ALL_TIME, asked, charged, reserved, UTC, held=held)
    assert refusal.reason == reason
    assert refusal.error().should_retry == (reason == "reserved")
    assert refusal.error().code == ("rate_limit_exceeded" if reason == "reserved" else "insufficient_quota")


def test_a_request_above_the_whole_budget_is_told_what_helps():
    refusal = Exceeded(("key", "alice"), Budget(USD, "total"), ALL_TIME, 2 * USD, 0, 0, UTC)
    assert "more than the whole budget; a request with a smaller bound on its output may fit" in refusal.message()


def test_a_total_does_not_begin_anew_and_an_unknown_price_is_not_named():
    refusal = Exceeded(("team", "growth"), Budget(20 * USD, "total"), ALL_TIME, None, 20 * USD, 0, UTC)
    assert refusal.message() == (
        "The budget of the team 'growth' is $20.00 in total, of which $20.00 are spent and $0.00 reserved by running "
        "requests. It does not begin anew."
    )


def test_an_unknown_price_is_a_model_that_is_not_allowed():
    error = Unpriced(("key", "alice")).error("gpt-4-gizmo-" + "x" * 100)
    assert (error.status, error.type, error.code, error.param) == (
        403,
        "permission_error",
        "model_not_allowed",
        "model",
    )
    assert "budget of the key 'alice'" in error.message
    assert "x" * 65 not in error.message
    assert not error.should_retry
