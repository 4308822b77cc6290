"""What is written for a scrape: byte for byte what prometheus_client writes, in pieces that are each soon done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.core.exchange_record import ExchangeRecord
from gateway.runtime.in_turns import in_turns
from gateway.runtime.tasks import TrackedTasks
from gateway.telemetry.exposition import (
    CONTENT_TYPE_OPENMETRICS,
    CONTENT_TYPE_TEXT,
    LINES_AT_ONCE,
    Buckets,
    Exposed,
    label_text,
    number_text,
    pieces,
)
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import MAX_SERIES, LabelSpace
from scripts.docs.metrics import observed

Series = list[tuple[tuple[str, ...], float | Buckets]]

numbers = st.one_of(
    st.integers(0, 2**53), st.floats(min_value=0, allow_nan=False), st.just(float("inf")), st.just(float("nan"))
)
texts = st.text(st.characters(codec="utf-8"), max_size=12)


def ended(key: str, model: str, status: int) -> ExchangeRecord:
    """A request for which a dollar was charged."""
    return ExchangeRecord("id", key=key, route="/x", listed_model=model, status=status, charged=10**9, duration=1.0)


class Reference(Collector):
    """The same metrics as prometheus_client has them."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def reference(metric: Exposed, series: Series) -> Metric:
    """A metric with its series, made by prometheus_client."""
    if metric.type == "counter":
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in series:
            assert not isinstance(value, Buckets)
            counter.add_metric(labels, value)
        return counter
    if metric.type == "gauge":
        gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in series:
            assert not isinstance(value, Buckets)
            gauge.add_metric(labels, value)
        return gauge
    histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
    for labels, value in series:
        assert isinstance(value, Buckets)
        histogram.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.sum)
    return histogram


def written(metric: Exposed, openmetrics: bool) -> bytes:
    return b"".join(pieces([metric], openmetrics=openmetrics))


def both_are_equal(metric: Exposed, series: Series) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Reference(reference(metric, series)))
    for openmetrics, generate in ((False, generate_latest), (True, generate_openmetrics)):
        text = label_text(metric.labels)
        shown = [(text(labels), value) for labels, value in series]
        exposed = Exposed(metric.name, metric.help, metric.type, metric.labels, shown, metric.bounds)
        assert written(exposed, openmetrics) == generate(registry)


@settings(deadline=None)
@given(st.sampled_from(["counter", "gauge"]), texts, st.lists(st.tuples(st.tuples(texts, texts), numbers), max_size=5))
def test_counters_and_gauges_are_written_as_prometheus_client_does(
    type: str, meaning: str, series: list[tuple[tuple[str, str], float]]
) -> None:
    metric = Exposed("gateway_x", meaning, type, ("team", "key"), ())  # type: ignore[arg-type]
    both_are_equal(metric, [*series])


@settings(deadline=None)
@given(texts, st.lists(st.tuples(texts, st.lists(st.integers(0, 10**7), min_size=4, max_size=4), st.floats(0, 1e9))))
def test_histograms_are_written_as_prometheus_client_does(
    meaning: str, series: list[tuple[str, list[int], float]]
) -> None:
    metric = Exposed("gateway_x_seconds", meaning, "histogram", ("route",), (), (0.00005, 1, 1000000.5))
    both_are_equal(metric, [((route,), Buckets(counts, sum)) for route, counts, sum in series])


def test_metrics_without_labels_are_written_as_prometheus_client_does() -> None:
    both_are_equal(Exposed("gateway_x", "X.", "gauge", (), ()), [((), 0.25)])
    both_are_equal(Exposed("gateway_x", "X.", "histogram", (), (), (1.0,)), [((), Buckets([1, 2], 0.5))])


@given(numbers | st.floats())
def test_numbers_are_written_as_go_does(number: float) -> None:
    assert number_text(number) == floatToGoString(number)


def test_the_content_types_are_those_of_prometheus_client() -> None:
    assert CONTENT_TYPE_TEXT == CONTENT_TYPE_PLAIN_0_0_4
    assert CONTENT_TYPE_OPENMETRICS == CONTENT_TYPE_LATEST


def test_everything_the_gateway_exposes_is_in_one_scrape() -> None:
    names = [metric.name for metric in observed().exposed()]
    body = observed().render()[0].decode()
    assert len(names) == len(set(names)) == body.count("# TYPE ")


def many_series() -> Metrics:
    keys = [f"key-{number}" for number in range(MAX_SERIES + 1)]
    metrics = Metrics("1", LabelSpace(frozenset({"/x"}), frozenset(keys), keys=frozenset(keys)))
    for key in keys:
        metrics.observe(ended(key, key, 200))
    return metrics


def test_no_piece_of_a_big_scrape_is_long() -> None:
    pieces_of_it = list(many_series().pieces()[0])
    lines = [piece.count(b"\n") for piece in pieces_of_it]
    assert sum(lines) > 20 * MAX_SERIES
    assert max(lines) <= LINES_AT_ONCE


def test_what_is_counted_while_a_scrape_is_written_is_not_in_it() -> None:
    metrics = many_series()
    before = metrics.render()[0]
    written, _ = metrics.pieces()
    begin = next(written)
    for number in range(5):
        metrics.observe(ended("key-1", f"key-{number}", 500))
    assert begin + b"".join(written) == before
    assert metrics.render()[0] != before


async def test_others_have_their_turn_while_a_scrape_is_written() -> None:
    turns = 0

    async def ping() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    pinging = TrackedTasks(lambda *_: None).spawn(ping(), "ping")
    metrics = many_series()
    await asyncio.sleep(0)
    before = turns
    body = await in_turns(metrics.pieces()[0])
    pinging.cancel()
    assert body == metrics.render()[0]
    assert turns - before > 5  # one turn for all of it would be 0
