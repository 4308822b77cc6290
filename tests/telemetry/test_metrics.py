"""What a scrape shows of what happened: exact names, exact money, and labels that cannot run away."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.types import Usage
from gateway.telemetry.metrics import BudgetFigure, BudgetFigures, Figures, Metrics, MoneySources
from gateway.telemetry.series import MAX_SERIES, Count, Distribution, Family, LabelSpace

USD = 1_000_000_000
CHAT = "/v1/chat/completions"
API = "https://api.piapi.ai"
SPACE = LabelSpace(
    routes=frozenset({CHAT}),
    models=frozenset({"gpt-4o", "gpt-4o-image"}),
    upstreams=frozenset({"piapi", "backup"}),
    endpoints=frozenset({API}),
    keys=frozenset({"alice", "bob"}),
    teams=frozenset({"growth"}),
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3", SPACE)


def finished(owed: Sequence[tuple[str, Any, int]] = (), **facts: Any) -> ExchangeRecord:
    """A request that has ended. ``owed``: upstream, reason and nano-dollars of each attempt."""
    given = {
        "route": CHAT,
        "listed_model": "gpt-4o",
        "upstream": "piapi",
        "status": 200,
        "key": "alice",
        "team": "growth",
        "duration": 1.0,
        "attempts": [AttemptRecord(upstream, "", "", cost=nano, reason=reason) for upstream, reason, nano in owed],
    }
    return ExchangeRecord("id", **(given | facts))


UNPRICED = {"state": "settled", "confidence": "unknown"}


def scrape(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = metrics.render()[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    wanted = {label.rstrip("_"): text for label, text in labels.items()}
    return scrape(metrics).get((name, frozenset(wanted.items())))


def total(metrics: Metrics, name: str) -> float:
    return sum(number for (each, _), number in scrape(metrics).items() if each == name)


def all_that_the_contract_names(metrics: Metrics) -> None:
    metrics.set_sources(
        lambda: Figures(
            endpoints=[("piapi", API, True), ("piapi", "https://proxy.piapi.ai", False)],
            upstream_keys=[("piapi", "second", False)],
            pending=7,
            lag=0.25,
            auth_failures=3,
            admin_auth_failures=5,
            catalogue_age=12,
        ),
        lambda: MoneySources(
            budgets=BudgetFigures(
                keys=[BudgetFigure("alice", "growth", 50 * USD, 40 * USD)],
                teams=[BudgetFigure("", "growth", 500 * USD, 0)],
            ),
            charged=[("alice", "growth", 7 * USD)],
        ),
    )
    metrics.budget_crossed("alice", "growth", 80)
    metrics.ledger_wait("intent", 0.0003)
    metrics.enter(CHAT)
    metrics.attempt("piapi", API, "cf_524")
    metrics.failover("gpt-4o", "piapi", "backup", "cf_524")
    metrics.observe(
        finished(
            charged=500,
            owed=(("piapi", "unknown", 300), ("backup", "billed", 500)),
            usage=Usage(10, 4, 20, images=1),
            first_content=0.4,
            overhead=0.0002,
            **UNPRICED,
        )
    )


def test_every_metric_of_the_contract_is_there_with_its_labels_and_no_other(metrics: Metrics):
    all_that_the_contract_names(metrics)
    seen: dict[str, set[str]] = {}
    for family in parse_text(metrics.render()[0].decode()):
        for sample in family.samples:
            seen.setdefault(sample.name, set()).update(set(sample.labels) - {"le"})
    histograms = {
        "gateway_request_duration_seconds": {"route", "model", "upstream"},
        "gateway_time_to_first_token_seconds": {"model", "upstream"},
        "gateway_overhead_seconds": {"route"},
        "gateway_ledger_wait_seconds": {"row"},
    }
    assert seen == {
        "gateway_requests_total": {"route", "model", "upstream", "status", "key", "team"},
        "gateway_cost_usd_total": {"key", "team", "model", "upstream"},
        "gateway_upstream_cost_usd_total": {"upstream", "model", "reason"},
        "gateway_tokens_total": {"key", "team", "model", "upstream", "type"},
        "gateway_images_total": {"key", "team", "model", "upstream"},
        "gateway_unpriced_requests_total": {"key", "team", "model", "upstream"},
        "gateway_unpriced_tokens_total": {"key", "team", "model", "upstream", "type"},
        **{name + end: labels for name, labels in histograms.items() for end in ("_bucket", "_sum", "_count")},
        "gateway_upstream_attempts_total": {"upstream", "endpoint", "outcome"},
        "gateway_failovers_total": {"model", "from", "to", "reason"},
        "gateway_endpoint_available": {"upstream", "endpoint"},
        "gateway_upstream_key_available": {"upstream", "upstream_key"},
        "gateway_requests_in_flight": {"route"},
        "gateway_ledger_rows_pending": set(),
        "gateway_event_loop_lag_seconds": set(),
        "gateway_shared_state_up": set(),
        "gateway_ledger_rows_spilled": set(),
        "gateway_store_up": set(),
        "gateway_key_budget_usd": {"key", "team"},
        "gateway_key_budget_used_usd": {"key", "team"},
        "gateway_team_budget_usd": {"team"},
        "gateway_team_budget_used_usd": {"team"},
        "gateway_budget_crossed_total": {"key", "team", "percent"},
        "gateway_ledger_charged_usd": {"key", "team"},
        "gateway_auth_failures_total": set(),
        "gateway_admin_auth_failures_total": set(),
        "gateway_cache_bytes": set(),
        "gateway_jobs_running": set(),
        "gateway_catalogue_age_days": set(),
        "gateway_build_info": {"version"},
    }


def test_how_long_requests_wait_for_the_ledger_is_told_by_what_they_wait_for(metrics: Metrics):
    for seconds in (0.0004, 0.005, 0.0051):
        metrics.ledger_wait("intent", seconds)
    metrics.ledger_wait("task", 7.0)
    assert value(metrics, "gateway_ledger_wait_seconds_bucket", row="intent", le="0.005") == 2
    assert value(metrics, "gateway_ledger_wait_seconds_count", row="intent") == 3
    assert value(metrics, "gateway_ledger_wait_seconds_bucket", row="task", le="5.0") == 0
    assert value(metrics, "gateway_ledger_wait_seconds_count", row="task") == 1


def test_a_finished_exchange_is_counted_everywhere(metrics: Metrics):
    all_that_the_contract_names(metrics)
    alice = {"key": "alice", "team": "growth", "model": "gpt-4o", "upstream": "piapi"}
    assert value(metrics, "gateway_requests_total", route=CHAT, status="200", **alice) == 1
    assert value(metrics, "gateway_cost_usd_total", **alice) == 5e-7
    assert value(metrics, "gateway_tokens_total", type="input", **alice) == 10
    assert value(metrics, "gateway_tokens_total", type="cached_input", **alice) == 4
    assert value(metrics, "gateway_tokens_total", type="output", **alice) == 20
    assert value(metrics, "gateway_images_total", **alice) == 1
    assert value(metrics, "gateway_upstream_cost_usd_total", upstream="piapi", model="gpt-4o", reason="unknown") == 3e-7
    assert value(metrics, "gateway_upstream_attempts_total", upstream="piapi", endpoint=API, outcome="cf_524") == 1
    assert value(metrics, "gateway_failovers_total", model="gpt-4o", from_="piapi", to="backup", reason="cf_524") == 1


def test_what_has_no_price_is_counted_apart_and_what_is_free_is_not(metrics: Metrics):
    alice = {"key": "alice", "team": "growth", "upstream": "piapi"}
    metrics.observe(finished(usage=Usage(10, 4, 20)))
    metrics.observe(finished(usage=Usage(7, 0, 3), **UNPRICED))
    metrics.observe(finished(listed_model="made-up-by-a-client", usage=Usage(5, 5, 1, images=2), **UNPRICED))
    assert value(metrics, "gateway_unpriced_requests_total", model="gpt-4o", **alice) == 1
    assert value(metrics, "gateway_unpriced_tokens_total", model="gpt-4o", type="input", **alice) == 7
    assert value(metrics, "gateway_unpriced_tokens_total", model="gpt-4o", type="cached_input", **alice) is None
    assert value(metrics, "gateway_unpriced_tokens_total", model="gpt-4o", type="output", **alice) == 3
    assert value(metrics, "gateway_unpriced_requests_total", model="other", **alice) == 1
    assert value(metrics, "gateway_unpriced_tokens_total", model="other", type="cached_input", **alice) == 5
    assert total(metrics, "gateway_tokens_total") == 14 + 20 + 7 + 3 + 10 + 1, "they are in the figures of all as well"


def test_gauges_are_asked_at_the_scrape(metrics: Metrics):
    all_that_the_contract_names(metrics)
    assert value(metrics, "gateway_endpoint_available", upstream="piapi", endpoint=API) == 1
    assert value(metrics, "gateway_endpoint_available", upstream="piapi", endpoint="https://proxy.piapi.ai") == 0
    assert value(metrics, "gateway_upstream_key_available", upstream="piapi", upstream_key="second") == 0
    assert value(metrics, "gateway_ledger_rows_pending") == 7
    assert value(metrics, "gateway_event_loop_lag_seconds") == 0.25
    assert value(metrics, "gateway_build_info", version="1.2.3") == 1


def test_money_is_told_by_budget_and_by_the_ledger(metrics: Metrics):
    all_that_the_contract_names(metrics)
    assert value(metrics, "gateway_key_budget_usd", key="alice", team="growth") == 50
    assert value(metrics, "gateway_key_budget_used_usd", key="alice", team="growth") == 40
    assert value(metrics, "gateway_team_budget_usd", team="growth") == 500
    assert value(metrics, "gateway_team_budget_used_usd", team="growth") == 0
    assert value(metrics, "gateway_ledger_charged_usd", key="alice", team="growth") == 7
    assert value(metrics, "gateway_budget_crossed_total", key="alice", team="growth", percent="80") == 1
    assert value(metrics, "gateway_auth_failures_total") == 3
    assert value(metrics, "gateway_admin_auth_failures_total") == 5
    assert value(metrics, "gateway_catalogue_age_days") == 12


def test_requests_in_flight_go_up_and_down(metrics: Metrics):
    metrics.enter(CHAT)
    metrics.enter(CHAT)
    assert value(metrics, "gateway_requests_in_flight", route=CHAT) == 2
    metrics.leave(CHAT)
    metrics.leave(CHAT)
    assert value(metrics, "gateway_requests_in_flight", route=CHAT) == 0


def test_buckets_reach_as_far_as_the_contract_says(metrics: Metrics):
    metrics.observe(finished(duration=900.0, first_content=120.0, overhead=0.00005))
    text = metrics.render()[0].decode()
    for name, bound in (("request_duration", "900.0"), ("time_to_first_token", "120.0"), ("overhead", "5e-05")):
        line = rf'gateway_{name}_seconds_bucket{{[^}}]*le="{re.escape(bound)}"[^}}]*}} 1\.0\n'
        assert re.search(line, text), name
    assert "_created" not in text


class TestMoney:
    def test_it_is_exact_where_floats_are_not(self, metrics: Metrics):
        for _ in range(1000):
            metrics.observe(finished(charged=100_000_001))
        assert total(metrics, "gateway_cost_usd_total") == 100.000001

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["alice", "bob", "eve"]), st.integers(0, 10**12)), max_size=40))
    def test_the_counters_sum_up_to_the_ledgers_sum(self, spent: list[tuple[str, int]]):
        metrics = Metrics("1", SPACE)
        for key, nano in spent:
            metrics.observe(finished([("piapi", "billed", nano)], key=key, charged=nano))
        ledger = sum(nano for _, nano in spent)
        assert round(total(metrics, "gateway_cost_usd_total") * 10**9) == ledger
        assert total(metrics, "gateway_upstream_cost_usd_total") == ledger / 10**9


class TestLabels:
    def test_what_is_not_configured_or_missing_is_other(self, metrics: Metrics):
        metrics.observe(finished(route="/x", listed_model="evil", upstream=None, key="", team="none", status=7))
        labels = dict.fromkeys(("route", "model", "upstream", "key", "team", "status"), "other")
        assert value(metrics, "gateway_requests_total", **labels) == 1

    def test_no_authentication_and_no_team_have_their_own_values(self, metrics: Metrics):
        metrics.observe(finished(key="anonymous", team=None, status=499))
        labels = {"route": CHAT, "model": "gpt-4o", "upstream": "piapi", "status": "499"}
        assert value(metrics, "gateway_requests_total", key="anonymous", team="", **labels) == 1

    def test_a_hundred_thousand_model_names_make_one_series(self, metrics: Metrics):
        for number in range(100_000):
            metrics.attempt("piapi", f"https://{number}", "ok")
            metrics.failover(f"model-{number}", "piapi", "backup", "cf_524")
        metrics.observe(finished(listed_model="model-1"))
        assert len(scrape(metrics)) < 100
        assert (
            value(metrics, "gateway_upstream_attempts_total", upstream="piapi", endpoint="other", outcome="ok") == 1e5
        )

    def test_a_reload_changes_the_values_and_keeps_the_counts(self, metrics: Metrics):
        metrics.observe(finished())
        metrics.configure(LabelSpace(routes=SPACE.routes, models=frozenset({"new"}), upstreams=SPACE.upstreams))
        metrics.observe(finished(listed_model="new", key="anonymous", team=None))
        metrics.observe(finished())
        models = {dict(labels).get("model") for name, labels in scrape(metrics) if name == "gateway_requests_total"}
        assert models == {"gpt-4o", "new", "other"}
        assert total(metrics, "gateway_requests_total") == 3

    def test_beyond_the_cap_everything_is_folded_and_sums_stay_true(self):
        keys = [f"key-{number}" for number in range(MAX_SERIES + 500)]
        metrics = Metrics("1", LabelSpace(frozenset({CHAT}), SPACE.models, SPACE.upstreams, keys=frozenset(keys)))
        for key in keys:
            metrics.observe(finished(key=key, team=None, charged=1_000_000, usage=Usage(1)))
        series = [labels for name, labels in scrape(metrics) if name == "gateway_cost_usd_total"]
        assert len(series) == MAX_SERIES + 1
        assert round(total(metrics, "gateway_cost_usd_total"), 9) == 2.5
        assert value(metrics, "gateway_series_dropped_total", metric="gateway_cost_usd_total") == 500
        other = dict.fromkeys(("key", "team", "model", "upstream"), "other")
        assert value(metrics, "gateway_tokens_total", type="input", **other) == 500

    @settings(deadline=None)
    @given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
    def test_any_configured_name_can_be_scraped(self, model: str, key: str, team: str):
        metrics = Metrics("1", LabelSpace(frozenset({CHAT}), frozenset({model}), keys=frozenset({key, team})))
        metrics.observe(finished(listed_model=model, key=key, team=team))
        assert total(metrics, "gateway_requests_total") == 1


class TestFormat:
    @pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=0.0.4", "text/plain; version=foo"])
    def test_prometheus_text_is_the_rule(self, metrics: Metrics, accept: str):
        all_that_the_contract_names(metrics)
        body, content_type = metrics.render(accept)
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert {family.name for family in parse_text(body.decode())} >= {"gateway_requests", "gateway_build_info"}

    @pytest.mark.parametrize(
        "accept",
        [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain",
            "application/openmetrics-text; version=nonsense; escaping=zzz",
        ],
    )
    def test_openmetrics_where_it_is_asked_for(self, metrics: Metrics, accept: str):
        all_that_the_contract_names(metrics)
        body, content_type = metrics.render(accept)
        assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert body.endswith(b"# EOF\n")
        assert "gateway_cost_usd" in {family.name for family in parse_openmetrics(body.decode())}


def test_a_bound_belongs_to_its_bucket():
    distribution = Distribution((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 99.0):
        distribution.observe(seconds)
    assert distribution.counts() == [2, 2, 1]
    assert distribution.sum == 104.0


def test_folding_keeps_the_last_labels_it_is_told_to():
    family = Family("x", "X.", ("model", "type"), Count, kept=1)
    for number in range(MAX_SERIES + 2):
        family.of((str(number), "input")).value += 1
    assert {labels: count.value for labels, count in family}[("other", "input")] == 2
    assert family.dropped == 2


class TestKinds:
    """Requests of one kind count in series that were looked up once."""

    def test_they_count_the_same_as_when_each_is_looked_up(self, metrics: Metrics, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("gateway.telemetry.request_series.MOST_KINDS", 2)
        for number in range(12):
            key = ("alice", "bob", "eve")[number % 3]
            metrics.observe(finished([("piapi", "billed", 5)], key=key, charged=5, usage=Usage(3, 1, 2)))
            assert len(metrics._of_requests._kinds) <= 2
        for key in ("alice", "bob", "other"):
            owner = {"key": key, "team": "growth", "model": "gpt-4o", "upstream": "piapi"}
            assert value(metrics, "gateway_tokens_total", **owner, type="input") == 12
            assert value(metrics, "gateway_cost_usd_total", **owner) == 20 / USD
        assert total(metrics, "gateway_upstream_cost_usd_total") == 60 / USD

    def test_a_key_that_is_named_later_gets_series_of_its_own(self, metrics: Metrics):
        metrics.observe(finished(key="eve"))
        metrics.name_key("eve", None)
        metrics.observe(finished(key="eve"))
        counts = scrape(metrics)
        found = {
            dict(labels)["key"]: count for (name, labels), count in counts.items() if name == "gateway_requests_total"
        }
        assert found == {"other": 1, "eve": 1}

    def test_each_observation_that_finds_no_room_is_counted_as_folded(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("gateway.telemetry.series.MAX_SERIES", 1)
        metrics = Metrics("1", SPACE)
        for key in ("alice", "bob", "bob"):
            metrics.observe(finished(key=key, charged=1))
        assert value(metrics, "gateway_series_dropped_total", metric="gateway_cost_usd_total") == 2
        assert round(total(metrics, "gateway_cost_usd_total") * USD) == 3
