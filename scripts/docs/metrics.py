"""docs/metrics.md: every metric, from a scrape of the real class after one observation of everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.types import Usage
from gateway.telemetry.exposition import Exposed, number_text
from gateway.telemetry.metrics import BudgetFigure, BudgetFigures, Figures, Metrics, MoneySources
from gateway.telemetry.series import MAX_SERIES, LabelSpace
from scripts.docs.markdown import code, page, table

LABELS: Mapping[str, str] = {
    "route": "The route's path, such as `/v1/chat/completions`.",
    "model": "The model as clients name it; of a budget for some models, the pattern as it was set.",
    "upstream": "The upstream that served the request, or that was asked: a name under `upstreams`.",
    "endpoint": "The URL of one of its endpoints.",
    "upstream_key": "The name of a key in an upstream's pool; never its value.",
    "status": "The HTTP status. A stream that was cut after its 200 counts as the 502, 503 or 504 it came to, a client "
    "that left as 499.",
    "key": "The virtual key's name. `anonymous` without authentication; empty where a budget is the team's own.",
    "team": "The key's team, or empty.",
    "reason": "Of a failover: the outcome that caused it (see [outcomes](outcomes.md)). Of what is owed upstream: "
    "`billed`, `suspected_duplicate` or `unknown`.",
    "type": "Of tokens: `input` (which includes `cached_input`), `cached_input` or `output`.",
    "outcome": "What the attempt came to: `ok`, or one of the [outcomes](outcomes.md).",
    "from": "The upstream that was left.",
    "to": "The upstream that was tried next; equal to `from` where only the endpoint or the key changed.",
    "percent": "`80` or `100`, or what the key's or team's `alert` says.",
    "row": "What was waited for: `intent`, the row before anything is bought, or `task`, the id of a task.",
    "event": "How a job ended (`completed`, `failed`, `unknown` or `cancelled`), that a re-send `joined` it, or that "
    "it was `resumed` after a restart.",
    "metric": "The name of the metric.",
    "operation": "How a model is bought at the upstream: `chat`, `images`, `task`, `images_async`.",
    "upstream_model": "The model as the upstream calls it, if the configuration names it; else `other`.",
    "quantile": "Of what was learned: the share of orders that end within so long: `0.1`, `0.5` or `0.9`.",
    "version": "The gateway's version.",
}
"""Every label there is and what its values mean."""

_INTRODUCTION = f"""\
`GET /metrics` on the admin listener (`http://127.0.0.1:8401/metrics`) answers in Prometheus's text format, or in
OpenMetrics where the scraper asks for it. With an admin key it needs that key as a Bearer token, unless
`admin.open_metrics` is true.

- Labels take configured values only: what a client makes up counts as `other`. No metric has more than {MAX_SERIES}
  series; what comes beyond is folded into `other`, and `gateway_series_dropped_total` counts it, so sums stay true.
- Money follows the ledger to the nano-dollar. Counters begin at 0 with every start; `gateway_ledger_charged_usd` does
  not.
- Grafana dashboards, recording rules and alerts that use these metrics are in [`deploy/`](../deploy/README.md)."""

_QUESTIONS = """\
What a key has spent today, how many requests failed, how long the slowest percent took:

```promql
sum by (key) (increase(gateway_cost_usd_total[1d]))
sum(rate(gateway_requests_total{status=~"5.."}[5m])) / sum(rate(gateway_requests_total[5m]))
histogram_quantile(0.99, sum by (le) (rate(gateway_request_duration_seconds_bucket[5m])))
```"""


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """A metric as a scrape shows it. ``bounds``: of a histogram's buckets, without the infinite one."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str
    bounds: tuple[str, ...]


class Unlabelled(Exception):
    """A metric without a series, or labels that are not explained; the message names them."""


def metrics() -> Iterator[MetricFacts]:
    """Every metric of the gateway, in the order of a scrape."""
    for metric in observed().exposed():
        if not list(metric.series):
            raise Unlabelled(f"{metric.name} has no series: observe it in scripts/docs/metrics.py")
        yield _facts(metric)


def metrics_page() -> str:
    """The whole page."""
    found = list(metrics())
    labels = {label for one in found for label in one.labels}
    if labels != LABELS.keys():
        raise Unlabelled(f"LABELS of scripts/docs/metrics.py and the labels in use differ: {labels ^ LABELS.keys()}")
    rows = ((code(one.name), one.type, ", ".join(map(code, one.labels)) or "–", one.meaning) for one in found)
    histograms = ((code(one.name), ", ".join(one.bounds)) for one in found if one.bounds)
    return page(
        "Metrics",
        _INTRODUCTION,
        "## All metrics",
        table(("metric", "type", "labels", "meaning"), rows),
        "## Labels",
        table(("label", "values"), ((code(label), text) for label, text in LABELS.items())),
        "## Buckets",
        "A histogram `X` has the series `X_bucket`, `X_sum` and `X_count`. Its buckets end at so many seconds, "
        "and at infinity:",
        table(("histogram", "bounds"), histograms),
        "## Questions to begin with",
        _QUESTIONS,
    )


def observed() -> Metrics:
    """Metrics that have seen one of everything."""
    metrics = Metrics("0", LabelSpace())
    metrics.set_sources(
        lambda: Figures(
            [("upstream", "https://example.com", True)],
            [("upstream", "key-1", True)],
            *(0, 0.0, 0, 0, 1),
            learned=[("upstream", "chat", "model", "0.9", 1.0)],
        ),
        lambda: MoneySources(
            BudgetFigures(
                keys=[BudgetFigure("k", "t", 1, 1)],
                models=[BudgetFigure("k", "t", 1, 1, "m")],
                teams=[BudgetFigure("", "t", 1, 1)],
            ),
            [("k", "t", 1)],
        ),
    )
    usage = Usage(input_tokens=1, cached_input_tokens=1, output_tokens=1, images=1)
    for number in range(MAX_SERIES + 1):  # one more than a family holds, so that folding shows too
        metrics.attempt("u", "e", f"outcome-{number}")
    record = ExchangeRecord(
        *("id", 1, "k", "t", "r", "m"),
        attempts=[AttemptRecord("u", "e", "c", cost=1)],
        state="settled",
        status=200,
        upstream="u",
        charged=1,
        usage=usage,
    )
    record.duration = record.first_content = record.overhead = 1.0
    metrics.observe(record)
    metrics.ledger_wait("intent", 0.0)
    metrics.job("completed")
    metrics.budget_crossed("k", "t", 80)
    metrics.budget_refused("k", "t")
    metrics.still_running("r", "m", "k", "t")
    metrics.begun_elsewhere("m", "u")
    metrics.cache_hit("k", "t", "m", 1)
    metrics.cache_missed("k", "t", "m")
    metrics.failover("m", "u", "u", "upstream_5xx")
    metrics.enter("r")
    return metrics


def _facts(metric: Exposed) -> MetricFacts:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    return MetricFacts(name, metric.type, metric.labels, metric.help, tuple(map(number_text, metric.bounds)))
