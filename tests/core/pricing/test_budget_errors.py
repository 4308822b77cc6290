"""What a client is told whom a budget does not let in."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import orjson

from gateway.core.pricing.budget_errors import Exceeded, Unpriced
from gateway.core.pricing.calendar import ALL_TIME, period_at
from gateway.core.types import Budget

from .prices import USD

NOW = int(datetime(2026, 11, 22, 8, 47, tzinfo=UTC).timestamp()) * 1_000_000_000
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_used_up_budget_is_openais_insufficient_quota_and_not_to_be_retried():
    limit = Budget(50 * USD, "month")
    month = period_at("month", NOW, BERLIN)
    refusal = Exceeded(("key", "alice"), limit, month, USD // 8, 49 * USD, USD, BERLIN)
    error = refusal.error()
    assert (error.status, error.should_retry, error.retry_after) == (429, False, None)
    assert orjson.loads(error.body()) == {
        "error": {
            "message": "The budget of the key 'alice' is $50.00 a month, of which $49.00 are spent and $1.00 reserved "
            "by running requests; this request may cost up to $0.125. It begins anew at 2026-12-01T00:00:00+01:00.",
            "type": "insufficient_quota",
            "param": None,
            "code": "insufficient_quota",
        }
    }


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
