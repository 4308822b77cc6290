"""The metrics of the gateway, for Prometheus.

Observations go into plain dictionaries (telemetry/series.py) on the event loop; a scrape turns them into text, piece by
piece (telemetry/exposition.py). Labels
take configured values only; any other value, and a missing one, is ``other``. A missing team is empty. Money is kept in
whole nano-dollars and divided at the scrape, so that the counters match the ledger exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import chain
from time import monotonic
from typing import Literal

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.types import ANONYMOUS, NO_TEAM, OTHER
from gateway.telemetry.cache_series import CacheSeries
from gateway.telemetry.exposition import (
    CONTENT_TYPE_OPENMETRICS,
    CONTENT_TYPE_TEXT,
    Buckets,
    Exposed,
    pieces,
)
from gateway.telemetry.figures import Figures as Figures
from gateway.telemetry.figures import gauge, shown, total
from gateway.telemetry.money import BudgetFigure as BudgetFigure
from gateway.telemetry.money import BudgetFigures as BudgetFigures
from gateway.telemetry.money import MoneySources as MoneySources
from gateway.telemetry.money import money_gauges
from gateway.telemetry.recent_traffic import RecentTraffic
from gateway.telemetry.request_series import RequestSeries
from gateway.telemetry.series import Count, Distribution, Family, LabelSpace, known
from gateway.telemetry.series_memory import SeriesMemory

JobEvent = Literal["completed", "failed", "unknown", "cancelled", "joined", "resumed"]

LEDGER_WAIT_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """All metrics of the gateway. To be called from the event loop's thread only."""

    def __init__(self, version: str, space: LabelSpace, recent: RecentTraffic | None = None) -> None:
        """``recent``: told of every request as well; None for one by the machine's clock."""
        self.recent = RecentTraffic(monotonic) if recent is None else recent
        self._version = version
        self._figures: Callable[[], Figures] | None = None
        self._money: Callable[[], MoneySources] | None = None
        self._listed_routes: frozenset[str] = frozenset()
        self._in_flight: dict[str, int] = {}
        self._of_requests = RequestSeries()
        counts = partial(Family[Count], make=Count)
        self._attempts = counts(
            "gateway_upstream_attempts_total", "Attempts upstream.", ("upstream", "endpoint", "outcome"), kept=1
        )
        self._failovers = counts(
            "gateway_failovers_total",
            "Changes of upstream, endpoint or key.",
            ("model", "from", "to", "reason"),
            kept=1,
        )
        self._learned = counts(
            "gateway_learned_starts_total",
            "Requests that began at another endpoint or upstream than configured, since those like them take long.",
            ("model", "upstream"),
        )
        self._cache = CacheSeries()
        self._crossed = counts(
            "gateway_budget_crossed_total",
            "Budgets of which a percentage was used up; key is empty for a team's.",
            ("key", "team", "percent"),
            kept=1,
        )
        self._refused = counts("gateway_budget_refused_total", "Requests refused for want of budget.", ("key", "team"))
        self._still_running = counts(
            "gateway_still_running_total",
            "Answers that told a client, before its time was over, that its paid work goes on; counted here alone.",
            ("route", "model", "key", "team"),
        )
        self._jobs = counts(
            "gateway_jobs_total",
            "Jobs, the paid work that has a life of its own: what happened to them.",
            ("event",),
            kept=1,
        )
        self._ledger_wait = Family(
            "gateway_ledger_wait_seconds",
            "Seconds a request waited until the ledger had committed a row of it.",
            ("row",),
            partial(Distribution, LEDGER_WAIT_BUCKETS),
        )
        self._waits: dict[str, Distribution] = {}
        self._attempts_of: dict[tuple[str, str, str], Count] = {}  # of configured endpoints, known outcomes
        self.configure(space)

    def configure(self, space: LabelSpace) -> None:
        """Accept other label values from now on, after a reload. What was counted stays."""
        self._accept(
            replace(
                space,
                routes=space.routes | self._listed_routes,
                keys={*space.keys, ANONYMOUS},
                teams={*space.teams, NO_TEAM},
            )
        )

    def name_key(self, key: str, team: str | None) -> None:
        """Accept this key and its team as labels, until the next ``configure``."""
        space = replace(self._space, keys=_with(self._space.keys, key))
        self._accept(space if team is None else replace(space, teams=_with(space.teams, team)))

    def _accept(self, space: LabelSpace) -> None:
        self._space = space
        self._of_requests.configure(space)
        self._attempts_of = {}

    def named_models(self) -> frozenset[str]:
        """The models that are accepted as labels."""
        return self._space.models

    def name_routes(self, routes: frozenset[str]) -> None:
        """Accept these routes as labels, also after a reload."""
        self._listed_routes |= routes
        self.configure(self._space)

    def set_sources(self, figures: Callable[[], Figures], money: Callable[[], MoneySources]) -> None:
        """Set what a scrape asks. ``money``: for budgets and charges."""
        self._figures, self._money = figures, money

    def observe(self, record: ExchangeRecord) -> None:
        """Count a request that has ended. To be called once for each, where it is settled."""
        self.recent.observe(record)
        self._of_requests.observe(record)

    def attempt(self, upstream: str, endpoint: str, outcome: str) -> None:
        """Count an attempt.

        ``outcome``: ``ok`` or a slug of the fault catalogue.
        """
        try:
            self._attempts_of[upstream, endpoint, outcome].value += 1
        except KeyError:
            space = self._space
            labels = (known(upstream, space.upstreams), known(endpoint, space.endpoints), outcome)
            count = self._attempts.of(labels)
            count.value += 1
            if self._attempts.has(labels):
                self._attempts_of[upstream, endpoint, outcome] = count

    def job(self, event: JobEvent) -> None:
        """Count what happened to a job."""
        self._jobs.of((event,)).value += 1

    def ledger_wait(self, row: Literal["intent", "task"], seconds: float) -> None:
        """Count the time a request waited for a commit, from handing the row over until it went on."""
        wait = self._waits.get(row)
        if wait is None:
            wait = self._waits[row] = self._ledger_wait.of((row,))
        wait.observe(seconds)

    def budget_crossed(self, key: str, team: str | None, percent: int) -> None:
        """Count a budget's alert.

        ``key``: empty for a team's own budget.
        """
        space = self._space
        labels = (known(key, space.keys) if key else "", known(team or NO_TEAM, space.teams), str(percent))
        self._crossed.of(labels).value += 1

    def budget_refused(self, key: str, team: str | None) -> None:
        """Count a request that its key's or team's budget had no room for."""
        self._refused.of(self._owner(key, team)).value += 1

    def still_running(self, route: str, model: str | None, key: str, team: str | None) -> None:
        """Count an answer ``still_running``: no error, so no other metric has it.

        ``model``: the listed one; None for one that is not listed.
        """
        space = self._space
        self._still_running.of(
            (known(route, space.routes), known(model, space.models), *self._owner(key, team))
        ).value += 1

    def budget_may_refuse(self, key: str, team: str | None) -> None:
        """Show such a key's count from zero, so that its first refusal is seen as an increase."""
        self._refused.of(self._owner(key, team))

    def _owner(self, key: str, team: str | None) -> tuple[str, str]:
        return known(key, self._space.keys), known(team or NO_TEAM, self._space.teams)

    def failover(self, model: str, from_: str, to: str, reason: str) -> None:
        """Count a change from one upstream to another, or to another endpoint or key of the same (equal names)."""
        space = self._space
        names = (known(model, space.models), known(from_, space.upstreams), known(to, space.upstreams))
        self._failovers.of((*names, reason)).value += 1

    def cache_hit(self, key: str, team: str | None, model: str, saved: int) -> None:
        """Count a request that was answered from the cache. ``saved``: nano-dollars that the answer had cost."""
        labels = (*self._owner(key, team), known(model, self._space.models))
        self._cache.hits.of(labels).value += 1
        self._cache.saved.of(labels).value += saved

    def cache_missed(self, key: str, team: str | None, model: str) -> None:
        """Count a request that could have been answered from the cache, if it had held the answer."""
        self._cache.misses.of((*self._owner(key, team), known(model, self._space.models))).value += 1

    def begun_elsewhere(self, model: str, upstream: str) -> None:
        """Count a request that began elsewhere than configured by what was learned. ``upstream``: that was asked."""
        self._learned.of((known(model, self._space.models), known(upstream, self._space.upstreams))).value += 1

    def enter(self, route: str) -> None:
        """Count a request that has come in."""
        route = route if route in self._space.routes else OTHER
        if route in self._in_flight:
            self._in_flight[route] += 1
        else:
            self._in_flight[route] = 1

    def leave(self, route: str) -> None:
        """Count the end of a request that had come in."""
        self._in_flight[route if route in self._space.routes else OTHER] -= 1

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The scrape's body and its content type: OpenMetrics where ``accept`` names it, else Prometheus's own text."""
        body, content_type = self.pieces(accept)
        return b"".join(body), content_type

    def pieces(self, accept: str = "") -> tuple[Iterator[bytes], str]:
        """``render`` in pieces, each the work of a moment; some are empty. What was counted is as it was when the first
        one was asked for.
        """
        openmetrics = "application/openmetrics-text" in accept
        return (
            pieces(self.exposed(), openmetrics=openmetrics),
            CONTENT_TYPE_OPENMETRICS if openmetrics else CONTENT_TYPE_TEXT,
        )

    def exposed(self) -> Iterator[Exposed]:
        """Every metric as it is now."""
        counts, distributions = self._families()
        # All figures are taken at once, which takes a millisecond for thousands of series; they are written later.
        taken = [*map(_counter, counts), *map(_histogram, distributions), *self._of_this_moment()]
        yield from taken
        yield from self._asked_for()

    def looked_at(self) -> Iterator[Exposed]:
        """What stands in no memory that is shared: all but the families."""
        yield from self._of_this_moment()
        yield from self._asked_for()

    def keep_in(self, memory: SeriesMemory) -> None:
        """Have another process read what is counted from now on; to be called before anything is."""
        counts, distributions = self._families()
        for count in counts:
            count.keep_in(memory)
        for distribution in distributions:
            distribution.keep_in(memory)

    def _families(self) -> tuple[Sequence[Family[Count]], Sequence[Family[Distribution]]]:
        of = self._of_requests
        counted = (
            *(of.requests, of.tokens, of.images, of.unpriced, of.unpriced_tokens),
            *(self._attempts, self._failovers, self._learned, self._crossed, self._refused, self._still_running),
            *(self._cache.hits, self._cache.misses, self._jobs),
            *(of.cost, of.upstream_cost, self._cache.saved),
        )
        return counted, (of.duration, of.first_token, of.overhead, self._ledger_wait)

    def _of_this_moment(self) -> list[Exposed]:
        in_flight = [((route,), number) for route, number in self._in_flight.items()]
        build, meaning = [((self._version,), 1)], "Always 1; its label is the version."
        return [
            _dropped(chain(*self._families())),
            gauge("gateway_requests_in_flight", "Requests being served.", ("route",), in_flight, "sum"),
            gauge("gateway_build_info", meaning, ("version",), build, "max"),
        ]

    def _asked_for(self) -> Iterator[Exposed]:
        if self._figures is not None:
            yield from shown(self._figures())
        if self._money is not None:
            for name, meaning, labels, samples in money_gauges(self._money()):
                yield gauge(name, meaning, labels, samples, "max")  # each process sees the whole of it


def _with(values: Set[str], value: str) -> Set[str]:
    if isinstance(values, set):
        values.add(value)
        return values
    return {*values, value}


def _counter(family: Family[Count]) -> Exposed:
    values = [count.value for count in family.values()]
    series = zip(family.texts(), values, strict=False)
    return Exposed(family.name.removesuffix("_total"), family.help, "counter", family.labels, series, nano=family.nano)


def _histogram(family: Family[Distribution]) -> Exposed:
    found = family.values()
    counts, sums = [one.counts() for one in found], [one.sum for one in found]
    written = zip(family.texts(), counts, sums, strict=False)
    series = ((text, Buckets(held, total)) for text, held, total in written)
    return Exposed(family.name, family.help, "histogram", family.labels, series, found[0].bounds if found else ())


def _dropped(families: Iterable[Family[Count] | Family[Distribution]]) -> Exposed:
    return total(
        "gateway_series_dropped_total",
        "Observations folded into `other` for want of series.",
        ("metric",),
        [((family.name,), family.dropped) for family in families if family.dropped],
    )
