"""What ``status`` tells of the last minutes."""

from __future__ import annotations

import pytest

from gateway.core.exchange_record import ExchangeRecord
from gateway.telemetry.recent_traffic import SPAN, RecentTraffic


class Traffic:
    def __init__(self) -> None:
        self.now = 1000.0
        self.recent = RecentTraffic(lambda: self.now)

    def come(self, status: int = 200, seconds: float | None = 1.0, upstream: str | None = "piapi") -> None:
        self.recent.observe(
            ExchangeRecord("id", upstream=upstream, status=status, duration=seconds, first_content=seconds)
        )


def test_rates_are_of_the_last_five_minutes():
    traffic = Traffic()
    traffic.now += SPAN
    for status in (200, 200, 400, 429, 499, 500, 504, 503, 200, 200):
        traffic.come(status)
    assert traffic.recent.rates() == {
        "requests_per_minute": 2.0,
        "errors_per_minute": 0.6,
        "refused_per_minute": 0.4,
    }
    traffic.now += SPAN + 20
    assert set(traffic.recent.rates().values()) == {0.0}


def test_a_gateway_that_has_just_started_is_not_counted_down():
    traffic = Traffic()
    traffic.now += 60
    traffic.come()
    assert traffic.recent.rates()["requests_per_minute"] == 1.0


def test_times_are_of_an_upstreams_successes():
    traffic = Traffic()
    for seconds in range(1, 101):
        traffic.come(seconds=float(seconds))
    traffic.come(status=502, seconds=900.0)
    traffic.come(upstream=None, seconds=900.0)
    assert traffic.recent.latency("piapi") == {"p50": 50.0, "p95": 95.0, "first_token_p50": 50.0, "requests": 100}
    assert traffic.recent.latency("backup") is None
    traffic.now += SPAN + 1
    assert traffic.recent.latency("piapi") is None


@pytest.mark.parametrize("seconds", [None, 2.0])
def test_what_was_refused_before_it_was_whole_has_no_time(seconds: float | None):
    traffic = Traffic()
    traffic.come(status=200, seconds=seconds)
    assert (traffic.recent.latency("piapi") is None) == (seconds is None)
