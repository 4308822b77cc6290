"""The metrics of the gateway, for Prometheus. The only file that knows prometheus_client.

Observations go into plain dictionaries (telemetry/series.py) on the event loop; a scrape turns them into text. Labels
take configured values only; any other value, and a missing one, is ``other``. A missing team is empty. Money is kept in
whole nano-dollars and divided at the scrape, so that the counters match the ledger exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as plain_text
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.core.pricing.prices import usd_number
from gateway.core.types import ANONYMOUS, NO_TEAM, OTHER, Usage
from gateway.telemetry.finished import FinishedExchange as FinishedExchange
from gateway.telemetry.finished import UpstreamCost as UpstreamCost
from gateway.telemetry.money import BudgetFigure as BudgetFigure
from gateway.telemetry.money import MoneySources as MoneySources
from gateway.telemetry.money import money_gauges
from gateway.telemetry.recent_traffic import RecentTraffic
from gateway.telemetry.series import Count, Distribution, Family, LabelSpace

DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600, 900)
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120)
OVERHEAD_BUCKETS = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
LEDGER_WAIT_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


@dataclass(frozen=True, slots=True)
class Sources:
    """The callables asked at a scrape, for values that are kept elsewhere.

    ``endpoints``: upstream, endpoint, available.
    ``upstream_keys``: upstream, the pool entry's name, available.
    ``pending``: the ledger's rows not yet committed.
    ``lag``: seconds by which the event loop was late.
    ``auth_failures``: requests with a missing or wrong key. ``admin_auth_failures``: with such an admin key.
    ``money``: budgets and charges.
    ``catalogue_age``: days since the built-in prices were last looked through.
    """

    endpoints: Callable[[], Iterable[tuple[str, str, bool]]]
    upstream_keys: Callable[[], Iterable[tuple[str, str, bool]]]
    pending: Callable[[], int]
    lag: Callable[[], float]
    auth_failures: Callable[[], int]
    admin_auth_failures: Callable[[], int]
    money: Callable[[], MoneySources]
    catalogue_age: Callable[[], int]


class Metrics(Collector):
    """All metrics of the gateway. To be called from the event loop's thread only."""

    def __init__(self, version: str, space: LabelSpace, recent: RecentTraffic | None = None) -> None:
        """``recent``: told of every request as well; None for one by the machine's clock."""
        self.recent = RecentTraffic(monotonic) if recent is None else recent
        self._version = version
        self._sources: Sources | None = None
        self._listed_routes: frozenset[str] = frozenset()
        self._in_flight: dict[str, int] = {}
        counts = partial(Family[Count], make=Count)
        owner = ("key", "team", "model", "upstream")
        self._requests = counts(
            "gateway_requests_total",
            "Requests answered or refused; route is `other` where there is none. Of health checks and on the admin "
            "listener only refusals count.",
            ("route", "model", "upstream", "status", "key", "team"),
        )
        self._cost = counts("gateway_cost_usd_total", "What the keys are charged, in US dollars.", owner)
        self._upstream_cost = counts(
            "gateway_upstream_cost_usd_total",
            "What is owed upstream, in US dollars.",
            ("upstream", "model", "reason"),
            kept=1,
        )
        self._tokens = counts(
            "gateway_tokens_total", "Tokens charged for; input includes cached_input.", (*owner, "type"), kept=1
        )
        self._images = counts("gateway_images_total", "Images charged for.", owner)
        self._unpriced = counts(
            "gateway_unpriced_requests_total", "Requests served at no known price; their cost is not counted.", owner
        )
        self._unpriced_tokens = counts(
            "gateway_unpriced_tokens_total",
            "Tokens of requests served at no known price; input includes cached_input.",
            (*owner, "type"),
            kept=1,
        )
        self._attempts = counts(
            "gateway_upstream_attempts_total", "Attempts upstream.", ("upstream", "endpoint", "outcome"), kept=1
        )
        self._failovers = counts(
            "gateway_failovers_total",
            "Changes of upstream, endpoint or key.",
            ("model", "from", "to", "reason"),
            kept=1,
        )
        self._crossed = counts(
            "gateway_budget_crossed_total",
            "Budgets of which a percentage was used up; key is empty for a team's.",
            ("key", "team", "percent"),
            kept=1,
        )
        self._refused = counts("gateway_budget_refused_total", "Requests refused for want of budget.", ("key", "team"))
        self._make_distributions()
        self.configure(space)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def _make_distributions(self) -> None:
        self._duration = Family(
            "gateway_request_duration_seconds",
            "Seconds from a request's arrival to its end.",
            ("route", "model", "upstream"),
            partial(Distribution, DURATION_BUCKETS),
        )
        self._first_token = Family(
            "gateway_time_to_first_token_seconds",
            "Seconds from a request's arrival to the first content.",
            ("model", "upstream"),
            partial(Distribution, FIRST_TOKEN_BUCKETS),
        )
        self._overhead = Family(
            "gateway_overhead_seconds",
            "Seconds of the gateway's own, waiting for upstreams excluded.",
            ("route",),
            partial(Distribution, OVERHEAD_BUCKETS),
        )
        self._ledger_wait = Family(
            "gateway_ledger_wait_seconds",
            "Seconds a request waited until the ledger had committed a row of it.",
            ("row",),
            partial(Distribution, LEDGER_WAIT_BUCKETS),
        )

    def configure(self, space: LabelSpace) -> None:
        """Accept other label values from now on, after a reload. What was counted stays."""
        self._space = replace(
            space,
            routes=space.routes | self._listed_routes,
            keys=space.keys | {ANONYMOUS},
            teams=space.teams | {NO_TEAM},
        )

    def name_routes(self, routes: frozenset[str]) -> None:
        """Accept these routes as labels, also after a reload."""
        self._listed_routes |= routes
        self.configure(self._space)

    def set_sources(
        self,
        *,
        endpoints: Callable[[], Iterable[tuple[str, str, bool]]],
        upstream_keys: Callable[[], Iterable[tuple[str, str, bool]]],
        pending: Callable[[], int],
        lag: Callable[[], float],
        auth_failures: Callable[[], int],
        admin_auth_failures: Callable[[], int],
        money: Callable[[], MoneySources],
        catalogue_age: Callable[[], int],
    ) -> None:
        """Set the callables that a scrape asks (see ``Sources``)."""
        self._sources = Sources(
            endpoints, upstream_keys, pending, lag, auth_failures, admin_auth_failures, money, catalogue_age
        )

    def observe(self, finished: FinishedExchange) -> None:
        """Count a request that has ended. To be called once for each, where it is settled."""
        self.recent.observe(finished)
        space = self._space
        route, model, upstream, key = finished.route, finished.model, finished.upstream, finished.key
        team = finished.team or NO_TEAM
        route = route if route in space.routes else OTHER
        model = model if model in space.models else OTHER
        upstream = upstream if upstream in space.upstreams else OTHER
        key = key if key in space.keys else OTHER
        team = team if team in space.teams else OTHER
        status = str(finished.status) if 100 <= finished.status <= 599 else OTHER
        self._requests.of((route, model, upstream, status, key, team)).value += 1
        if finished.charged:
            self._cost.of((key, team, model, upstream)).value += finished.charged
        for their_upstream, their_model, reason, nano in finished.upstream_costs:
            if nano:
                labels = (_known(their_upstream, space.upstreams), _known(their_model, space.models), reason)
                self._upstream_cost.of(labels).value += nano
        owner = (key, team, model, upstream)
        _count_tokens(self._tokens, finished.usage, owner)
        if finished.usage.images:
            self._images.of(owner).value += finished.usage.images
        if finished.unpriced:
            self._unpriced.of(owner).value += 1
            _count_tokens(self._unpriced_tokens, finished.usage, owner)
        if finished.duration is not None:
            self._duration.of((route, model, upstream)).observe(finished.duration)
        if finished.time_to_first_token is not None:
            self._first_token.of((model, upstream)).observe(finished.time_to_first_token)
        if finished.overhead is not None:
            self._overhead.of((route,)).observe(finished.overhead)

    def attempt(self, upstream: str, endpoint: str, outcome: str) -> None:
        """Count an attempt.

        ``outcome``: ``ok`` or a slug of the fault catalogue.
        """
        space = self._space
        labels = (_known(upstream, space.upstreams), _known(endpoint, space.endpoints), outcome)
        self._attempts.of(labels).value += 1

    def ledger_wait(self, row: Literal["intent", "task"], seconds: float) -> None:
        """Count the time a request waited for a commit, from handing the row over until it went on."""
        self._ledger_wait.of((row,)).observe(seconds)

    def budget_crossed(self, key: str, team: str | None, percent: int) -> None:
        """Count a budget's alert.

        ``key``: empty for a team's own budget.
        """
        space = self._space
        labels = (_known(key, space.keys) if key else "", _known(team or NO_TEAM, space.teams), str(percent))
        self._crossed.of(labels).value += 1

    def budget_refused(self, key: str, team: str | None) -> None:
        """Count a request that its key's or team's budget had no room for."""
        self._refused.of(self._owner(key, team)).value += 1

    def budget_may_refuse(self, key: str, team: str | None) -> None:
        """Show such a key's count from zero, so that its first refusal is seen as an increase."""
        self._refused.of(self._owner(key, team))

    def _owner(self, key: str, team: str | None) -> tuple[str, str]:
        return _known(key, self._space.keys), _known(team or NO_TEAM, self._space.teams)

    def failover(self, model: str, from_: str, to: str, reason: str) -> None:
        """Count a change from one upstream to another, or to another endpoint or key of the same (equal names)."""
        space = self._space
        names = (_known(model, space.models), _known(from_, space.upstreams), _known(to, space.upstreams))
        self._failovers.of((*names, reason)).value += 1

    def enter(self, route: str) -> None:
        """Count a request that has come in."""
        route = _known(route, self._space.routes)
        self._in_flight[route] = self._in_flight.get(route, 0) + 1

    def leave(self, route: str) -> None:
        """Count the end of a request that had come in."""
        self._in_flight[_known(route, self._space.routes)] -= 1

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The scrape's body and its content type: OpenMetrics where ``accept`` names it, else Prometheus's own text."""
        if "application/openmetrics-text" in accept:
            body: bytes = openmetrics_text(self._registry)  # type: ignore[no-untyped-call]
            return body, CONTENT_TYPE_OPENMETRICS
        return plain_text(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Metric]:
        """Every family as it is now, for the registry."""
        counted = (
            *(self._requests, self._tokens, self._images, self._unpriced, self._unpriced_tokens),
            *(self._attempts, self._failovers, self._crossed, self._refused),
        )
        money = (self._cost, self._upstream_cost)
        distributions = (self._duration, self._first_token, self._overhead, self._ledger_wait)
        for family in counted:
            yield _counter(family, float)
        for family in money:
            yield _counter(family, usd_number)
        for distribution in distributions:
            yield _histogram(distribution)
        dropped = CounterMetricFamily(
            "gateway_series_dropped_total", "Observations folded into `other` for want of series.", labels=("metric",)
        )
        for each in (*counted, *money, *distributions):
            if each.dropped:
                dropped.add_metric((each.name,), each.dropped)
        yield dropped
        yield _gauge(
            "gateway_requests_in_flight",
            "Requests being served.",
            ("route",),
            (((route,), number) for route, number in self._in_flight.items()),
        )
        yield _gauge("gateway_build_info", "Always 1; its label is the version.", ("version",), [((self._version,), 1)])
        if self._sources is not None:
            yield from _from_sources(self._sources)
            for gauge in money_gauges(self._sources.money()):
                yield _gauge(*gauge)


def _count_tokens(tokens: Family[Count], usage: Usage, owner: tuple[str, str, str, str]) -> None:
    for type, number in (
        ("input", usage.input_tokens),
        ("cached_input", usage.cached_input_tokens),
        ("output", usage.output_tokens),
    ):
        if number:
            tokens.of((*owner, type)).value += number


def _known(value: str | None, values: frozenset[str]) -> str:
    return value if value is not None and value in values else OTHER


def _counter(family: Family[Count], convert: Callable[[int], float]) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, count in family:
        metric.add_metric(labels, convert(count.value))
    return metric


def _histogram(family: Family[Distribution]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, distribution in family:
        bounds = [*map(floatToGoString, distribution.bounds), "+Inf"]
        metric.add_metric(labels, list(zip(bounds, distribution.cumulative(), strict=True)), distribution.sum)
    return metric


def _gauge(name: str, help: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    metric = GaugeMetricFamily(name, help, labels=labels)
    for values, number in samples:
        metric.add_metric(values, number)
    return metric


def _from_sources(sources: Sources) -> Iterator[Metric]:
    yield _gauge(
        "gateway_endpoint_available",
        "1 if an endpoint takes requests, 0 while it is ejected.",
        ("upstream", "endpoint"),
        (((upstream, endpoint), float(up)) for upstream, endpoint, up in sources.endpoints()),
    )
    yield _gauge(
        "gateway_upstream_key_available",
        "1 if an upstream key may be used, 0 while it rests on more than one request's word.",
        ("upstream", "upstream_key"),
        (((upstream, name), float(up)) for upstream, name, up in sources.upstream_keys()),
    )
    yield _gauge(
        "gateway_ledger_rows_pending", "Rows handed to the ledger, not yet committed.", (), [((), sources.pending())]
    )
    yield _gauge(
        "gateway_event_loop_lag_seconds", "Seconds by which the event loop was late.", (), [((), sources.lag())]
    )
    meaning = "Days since the built-in prices were last looked through."
    yield _gauge("gateway_catalogue_age_days", meaning, (), [((), sources.catalogue_age())])
    failures = CounterMetricFamily("gateway_auth_failures_total", "Requests with a missing or wrong key.")
    failures.add_metric((), sources.auth_failures())
    yield failures
    guesses = CounterMetricFamily(
        "gateway_admin_auth_failures_total", "Requests to the admin listener with a missing or wrong admin key."
    )
    guesses.add_metric((), sources.admin_auth_failures())
    yield guesses
