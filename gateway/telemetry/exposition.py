"""Metrics as a scrape has them: Prometheus's text format and OpenMetrics, written piece by piece.

Ten thousand keys make a scrape of tens of megabytes. What is written takes few steps for each sample, the text of a
series' labels is kept, and a caller may do something else between two pieces.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4),
https://prometheus.io/docs/specs/om/open_metrics_spec/ (1.0.0). What is written equals what prometheus_client writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from gateway.core.pricing.prices import usd_number

CONTENT_TYPE_TEXT = "text/plain; version=0.0.4; charset=utf-8"
CONTENT_TYPE_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

LINES_AT_ONCE = 500
"""Lines of a piece, which take a quarter of a millisecond."""

END_OF_OPENMETRICS = b"# EOF\n"

_LARGEST_PLAIN = 1_000_000
"""From here on Go writes an exponent."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram's value: how many observations fell in each bucket, the infinite one last, and their sum."""

    counts: Sequence[int]
    sum: float


Value = float | Buckets

Merge = Literal["sum", "max", "min"]
"""How one gauge of several processes becomes one: the sum of all, the largest, the smallest."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """One metric at a scrape.

    ``name``: of a counter without ``_total``. ``series``: the text of the labels (``label_text``), in order, and the
    value. ``bounds``: of a histogram's buckets, without the infinite one. ``merge``: of a gauge; the others add up.
    ``nano``: the values are whole nano-dollars, and written as US dollars.
    """

    name: str
    help: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    series: Iterable[tuple[str, Value]]
    bounds: tuple[float, ...] = ()
    merge: Merge = "sum"
    nano: bool = False


def label_text(names: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """What writes the labels of these names, sorted, from their values: ``a="x",b="y"``."""
    order = sorted(range(len(names)), key=lambda place: names[place])
    form = ",".join(f'{names[place]}="%s"' for place in order)

    def write(values: Sequence[str]) -> str:
        return form % tuple([_escaped(values[place]) for place in order])

    return write


def pieces(metrics: Iterable[Exposed], *, openmetrics: bool) -> Iterator[bytes]:
    """The scrape. Each piece is the work of a moment."""
    for metric in metrics:
        yield _heading(metric, openmetrics).encode()
        lines: list[str] = []
        written = _histogram(metric) if metric.type == "histogram" else _samples(metric)
        for line in written:
            lines.append(line)
            if len(lines) == LINES_AT_ONCE:
                yield "".join(lines).encode()
                lines.clear()
        if lines:
            yield "".join(lines).encode()
    if openmetrics:
        yield END_OF_OPENMETRICS


def number_text(number: float) -> str:
    """A number as Go writes it."""
    if type(number) is int and 0 <= number < _LARGEST_PLAIN:
        return f"{number}.0"
    number = float(number)
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if math.isnan(number):
        return "NaN"
    text = repr(number)
    dot = text.find(".")
    if number > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{dot - 1:02d}"
    return text


def _escaped(text: str) -> str:
    if '"' in text or "\\" in text or "\n" in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text


def _heading(metric: Exposed, openmetrics: bool) -> str:
    name, meaning = metric.name, metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        meaning = meaning.replace('"', r"\"")
    elif metric.type == "counter":
        name += "_total"
    return f"# HELP {name} {meaning}\n# TYPE {name} {metric.type}\n"


def _samples(metric: Exposed) -> Iterator[str]:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    for labels, value in metric.series:
        assert not isinstance(value, Buckets)
        if metric.nano:
            value = usd_number(int(value))
        yield f"{name}{{{labels}}} {number_text(value)}\n" if labels else f"{name} {number_text(value)}\n"


def _histogram(metric: Exposed) -> Iterator[str]:
    name = metric.name
    starts = [f'{name}_bucket{{le="{number_text(bound)}"' for bound in (*metric.bounds, math.inf)]
    assert all(label > "le" for label in metric.labels)  # so that ``le`` comes first
    for labels, value in metric.series:
        assert isinstance(value, Buckets)
        rest, all_labels = (f",{labels}}} ", f"{{{labels}}}") if labels else ("} ", "")
        number = 0
        for start, number in zip(starts, accumulate(value.counts), strict=True):
            yield f"{start}{rest}{number_text(number)}\n"
        yield f"{name}_count{all_labels} {number_text(number)}\n"
        yield f"{name}_sum{all_labels} {number_text(value.sum)}\n"
