"""What is known of an upstream's endpoints and models."""

from __future__ import annotations

import pytest

from gateway.core.outcomes.table import RULES, Scope
from gateway.core.routing.breaker import GOOD_STANDING, OpenBreaker
from gateway.core.routing.health import MODELS_REMEMBERED, SLOW_FOR, UpstreamHealth
from gateway.core.types import CostClass, FailoverPolicy, Phase
from tests.core.builders import Chance, ended, endpoint, key, upstream

API, PROXY = "https://api.piapi.ai", "https://proxy.piapi.ai"
A = key("a")
MIDDLE = Chance(0.5)


def health() -> UpstreamHealth:
    return UpstreamHealth(upstream(), FailoverPolicy())


def happens(
    known: UpstreamHealth,
    slug: str,
    now: float,
    *,
    at: str = API,
    times: int = 1,
    model: str = "m",
    phase: Phase | None = None,
    key_name: str = "a",
    retry_after: float | None = None,
) -> None:
    place = next(one for one in known.every_endpoint(model, now) if one.url == at)
    for _ in range(times):
        ticket = known.begin(place, model, now)
        known.report(ticket, key(key_name), ended(slug, phase, retry_after=retry_after), now, MIDDLE)


def order(known: UpstreamHealth, now: float, *, model: str = "m", cost: CostClass = CostClass.TOKENS) -> list[str]:
    return [one.url for one in known.endpoints(model, cost, now)]


def test_at_first_the_configured_order_holds() -> None:
    assert order(health(), 0.0) == [API, PROXY]


EJECTING = [slug for slug, rule in RULES.items() if rule.against in (Scope.ENDPOINT, Scope.ORIGIN)]


@pytest.mark.parametrize("slug", EJECTING)
def test_failures_of_a_host_eject_it(slug: str) -> None:
    known = health()
    happens(known, slug, 0.0, times=5)
    assert order(known, 0.0) == [PROXY]
    assert not known.available(API, 0.0)
    assert known.available(PROXY, 0.0)


@pytest.mark.parametrize("slug", sorted(set(RULES) - set(EJECTING)))
def test_other_endings_do_not(slug: str) -> None:
    known = health()
    happens(known, slug, 0.0, times=30)
    assert known.available(API, 0.0)


@pytest.mark.parametrize("slug", ["ok", "key_invalid", "rate_limited", "rejected", "model_missing"])
def test_a_host_that_answers_properly_is_alive(slug: str) -> None:
    known = health()
    happens(known, "stall_head", 0.0, times=4)
    happens(known, slug, 0.0)
    happens(known, "stall_head", 0.0, times=4)
    assert known.available(API, 0.0)


@pytest.mark.parametrize("slug", ["client_gone_wait", "deadline", "cf_524", "sse_event_too_big"])
def test_what_proves_nothing_does_not_interrupt_a_row_of_failures(slug: str) -> None:
    known = health()
    happens(known, "stall_head", 0.0, times=4)
    happens(known, slug, 0.0)
    happens(known, "stall_head", 0.0)
    assert not known.available(API, 0.0)


def test_a_recovered_host_comes_back_with_its_first_content() -> None:
    known = health()
    happens(known, "connect_refused", 0.0, times=5)
    assert order(known, 10.0, cost=CostClass.PAID) == [PROXY]
    assert order(known, 10.0) == [API, PROXY]
    ticket = known.begin(endpoint("api.piapi.ai"), "m", 10.0)
    assert order(known, 11.0) == [PROXY]
    known.answering(ticket, 11.0)
    assert order(known, 11.0) == [API, PROXY]


def test_a_host_too_slow_for_a_model_comes_last_for_it_only() -> None:
    known = health()
    happens(known, "cf_524", 0.0, model="slow")
    assert order(known, 1.0, model="slow") == [PROXY, API]
    assert order(known, 1.0, model="quick") == [API, PROXY]
    assert [one.url for one in known.every_endpoint("slow", 1.0)] == [PROXY, API]
    assert order(known, SLOW_FOR, model="slow") == [API, PROXY]


def test_a_model_that_fails_everywhere_is_left_alone() -> None:
    known = health()
    happens(known, "upstream_5xx", 0.0, times=4)
    happens(known, "upstream_5xx", 0.0, at=PROXY)
    assert order(known, 0.0) == []
    assert order(known, 0.0, model="other") == [API, PROXY]
    assert len(known.every_endpoint("m", 0.0)) == 2


def test_its_hosts_are_not_blamed_for_it() -> None:
    known = health()
    for _ in range(20):
        happens(known, "upstream_5xx", 0.0)
        happens(known, "upstream_5xx", 0.0, at=PROXY)
    assert known.available(API, 0.0)
    assert known.available(PROXY, 0.0)


def test_a_model_that_fails_at_one_host_is_that_hosts_fault_whatever_the_key() -> None:
    known = health()
    for name in ("a", "b", "a", "b", "a", "b", "a"):
        happens(known, "upstream_5xx", 0.0, key_name=name)
    assert order(known, 0.0) == [PROXY]
    assert order(known, 0.0, model="other") == [PROXY]


def test_with_one_host_only_keys_tell_the_model_from_the_host() -> None:
    one_host = upstream(hosts=("api.piapi.ai",))
    known = UpstreamHealth(one_host, FailoverPolicy())
    happens(known, "upstream_5xx", 0.0, times=4)
    happens(known, "upstream_5xx", 0.0, key_name="b")
    assert order(known, 0.0) == []
    assert order(known, 0.0, model="other") == [API]
    known = UpstreamHealth(one_host, FailoverPolicy())
    happens(known, "upstream_5xx", 0.0, times=5)
    assert not known.available(API, 0.0)


def test_a_stray_failure_elsewhere_does_not_turn_a_hosts_fault_into_the_models() -> None:
    """Forty requests were under way to a host that broke: its ejection explains them all."""
    known = health()
    host = endpoint("api.piapi.ai")
    for ticket in [known.begin(host, "m", 0.0) for _ in range(40)]:
        known.report(ticket, A, ended("upstream_5xx"), 0.1, MIDDLE)
    happens(known, "upstream_5xx", 0.2, at=PROXY)
    assert order(known, 0.2) == [PROXY]
    happens(known, "upstream_5xx", 0.2, at=PROXY, times=4)
    assert order(known, 0.2) == []
    assert order(known, 0.2, model="other") == [PROXY]


def test_a_paid_failure_that_cost_nothing_is_no_sign_of_life() -> None:
    known = health()
    happens(known, "upstream_5xx", 0.0, times=5, phase=Phase.REJECTED)
    assert not known.available(API, 0.0)


def test_who_is_in_use_comes_first_where_there_is_no_better_way() -> None:
    known = health()
    happens(known, "upstream_5xx", 0.0, times=5)
    assert [one.url for one in known.every_endpoint("m", 0.0)] == [PROXY, API]


def test_a_success_forgets_a_models_failures() -> None:
    known = health()
    for _ in range(10):
        happens(known, "upstream_5xx", 0.0, times=2)
        happens(known, "upstream_5xx", 0.0, times=2, at=PROXY)
        happens(known, "ok", 0.0)
        happens(known, "ok", 0.0, at=PROXY)
    assert order(known, 0.0) == [API, PROXY]
    assert known.snapshot(0.0).models == []


def test_whom_to_rely_on() -> None:
    known = health()
    api, proxy = endpoint("api.piapi.ai"), endpoint("proxy.piapi.ai")
    happens(known, "stall_head", 0.0, times=GOOD_STANDING - 1)
    assert known.reliable(api, "m", 0.0)
    happens(known, "stall_head", 0.0)
    assert not known.reliable(api, "m", 0.0)
    assert known.reliable(api, "m", 60.0)  # nothing was seen of late
    happens(known, "cf_524", 60.0, at=PROXY)
    assert not known.reliable(proxy, "m", 60.0)
    assert known.reliable(proxy, "other", 60.0)
    happens(known, "model_missing", 60.0, model="gone")
    assert not known.reliable(proxy, "gone", 60.0)


def test_a_missing_model_is_not_asked_for_again_for_a_minute() -> None:
    known = health()
    happens(known, "model_missing", 0.0)
    assert order(known, 59.0) == []
    assert order(known, 60.0) == [API, PROXY]


def test_an_overloaded_upstream_is_left_alone_as_long_as_it_asks() -> None:
    known = health()
    happens(known, "upstream_5xx", 0.0, retry_after=20.0)
    assert order(known, 19.0) == []
    probe = known.begin(known.every_endpoint("m", 20.0)[0], "m", 20.0)
    assert order(known, 20.0) == []
    known.answering(probe, 21.0)
    assert order(known, 21.0) == [API, PROXY]


def test_clients_cannot_fill_the_memory() -> None:
    known = health()
    for number in range(MODELS_REMEMBERED + 50):
        happens(known, "model_missing", 0.0, model=f"m{number}")
        happens(known, "cf_524", 0.0, model=f"m{number}")
    assert len(known.snapshot(0.0).models) == MODELS_REMEMBERED
    assert order(known, 1.0, model=f"m{MODELS_REMEMBERED + 49}") == []


def test_a_reload_keeps_what_is_known_and_both_sides_learn() -> None:
    before = health()
    happens(before, "connect_refused", 0.0, times=5)
    after = UpstreamHealth(upstream(hosts=("api.piapi.ai", "new.example")), FailoverPolicy(eject_max=60.0))
    after.adopt(before)
    assert order(after, 0.0) == ["https://new.example"]
    ticket = before.begin(endpoint("api.piapi.ai"), "m", 10.0)
    before.report(ticket, A, ended("ok"), 11.0, MIDDLE)
    assert after.available(API, 11.0)


def test_what_status_shows() -> None:
    known = health()
    happens(known, "connect_refused", 0.0, times=5)
    happens(known, "model_missing", 0.0, at=PROXY, model="gone")
    shown = known.snapshot(1.0)
    assert [(one.name, one.state, one.seconds) for one in shown.endpoints] == [
        (API, "open", 9.0),
        (PROXY, "closed", 0.0),
    ]
    assert [(one.name, one.state, one.seconds) for one in shown.models] == [("gone", "open", 59.0)]


class TestToldToOthers:
    """What one gateway has found of endpoints and models, at another."""

    @staticmethod
    def pair() -> tuple[UpstreamHealth, UpstreamHealth]:
        first, second = health(), health()
        first.on_breaker = lambda kind, name, breaker: second.hear_breaker(kind, name, breaker.shown(0.0), 0.0)
        first.on_slow = lambda url, model: second.hear_slow(url, model, SLOW_FOR, 0.0)
        return first, second

    def test_an_endpoint_is_left_and_returned_to(self) -> None:
        first, second = self.pair()
        happens(first, "cf_origin_down", 0.0, times=5)
        assert order(second, 0.0) == [PROXY]
        happens(first, "ok", 0.0)
        assert order(second, 0.0) == [API, PROXY]

    def test_a_model_that_is_missing_is_not_asked_for(self) -> None:
        first, second = self.pair()
        happens(first, "model_missing", 0.0)
        assert order(second, 0.0) == []
        assert order(second, 0.0, model="another") == [API, PROXY]
        happens(first, "ok", 0.0)
        assert order(second, 0.0) == [API, PROXY]
        assert second.snapshot(0.0).models == []

    def test_a_host_that_is_too_slow_for_a_model_comes_last(self) -> None:
        first, second = self.pair()
        happens(first, "cf_524", 0.0)
        assert order(second, 0.0) == [PROXY, API]
        second.hear_slow(API, "m", 1.0, 0.0)
        assert order(second, 2.0) == [PROXY, API], "something older shortens nothing"

    def test_a_strange_endpoint_is_passed_over(self) -> None:
        known = health()
        known.hear_breaker("endpoint", "https://elsewhere", OpenBreaker(0.0, 10.0, None, 1), 0.0)
        known.hear_breaker("model", "unknown", None, 0.0)
        assert order(known, 0.0) == [API, PROXY]

    def test_a_reload_goes_on_telling(self) -> None:
        first, second = self.pair()
        happens(first, "model_missing", 0.0, model="n")
        after = health()
        after.adopt(first)
        after.on_breaker = first.on_breaker
        happens(after, "cf_origin_down", 0.0, times=5)
        assert order(second, 0.0) == [PROXY]
        happens(after, "ok", 0.0, model="n", at=PROXY)
        assert order(second, 0.0, model="n") == [PROXY]
