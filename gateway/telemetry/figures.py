"""What is kept elsewhere and only looked at when metrics are scraped, as gauges and counters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.telemetry.exposition import Exposed, Merge, label_text


@dataclass(frozen=True, slots=True)
class Figures:
    """What is kept elsewhere, as it is at a scrape.

    ``endpoints``: upstream, endpoint, available.
    ``upstream_keys``: upstream, the pool entry's name, available.
    ``pending``: the ledger's rows not yet committed.
    ``lag``: seconds by which the event loop was late.
    ``auth_failures``: requests with a missing or wrong key. ``admin_auth_failures``: with such an admin key.
    ``cache_bytes``: what kept answers take in memory.
    ``learned``: upstream, operation, model there, quantile, and the seconds within which such a share of orders ends.
    ``catalogue_age``: days since the built-in prices were last looked through.
    ``jobs``: those that have not ended.
    ``spilled``: settlements that lie beside the store, which has not taken them yet.
    ``store_up``, ``shared_state_up``: whether the engines can be used.
    """

    endpoints: Iterable[tuple[str, str, bool]]
    upstream_keys: Iterable[tuple[str, str, bool]]
    pending: int
    lag: float
    auth_failures: int
    admin_auth_failures: int
    catalogue_age: int
    cache_bytes: int = 0
    learned: Iterable[tuple[str, str, str, str, float]] = ()
    jobs: int = 0
    store_up: bool = True
    shared_state_up: bool = True
    spilled: int = 0


def gauge(
    name: str, help: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]], merge: Merge
) -> Exposed:
    """A gauge. ``samples``: the labels' values and a number. ``merge``: how those of several processes become one."""
    text = label_text(labels)
    series = ((text(values), number) for values, number in samples)
    return Exposed(name, help, "gauge", labels, series, merge=merge)


def total(name: str, help: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], int]]) -> Exposed:
    """A counter that is kept elsewhere."""
    text = label_text(labels)
    series = ((text(values), number) for values, number in samples)
    return Exposed(name.removesuffix("_total"), help, "counter", labels, series)


def shown(figures: Figures) -> Iterator[Exposed]:
    """All of them."""
    yield gauge(
        "gateway_endpoint_available",
        "1 if an endpoint takes requests, 0 while it is ejected.",
        ("upstream", "endpoint"),
        (((upstream, endpoint), float(up)) for upstream, endpoint, up in figures.endpoints),
        "min",
    )
    yield gauge(
        "gateway_upstream_key_available",
        "1 if an upstream key may be used, 0 while it rests on more than one request's word.",
        ("upstream", "upstream_key"),
        (((upstream, name), float(up)) for upstream, name, up in figures.upstream_keys),
        "min",
    )
    yield gauge(
        "gateway_ledger_rows_pending",
        "Rows handed to the ledger, not yet committed.",
        (),
        [((), figures.pending)],
        "sum",
    )
    meaning = "Settlements in the spill file, which the store has not taken yet; they are pending, too."
    yield gauge("gateway_ledger_rows_spilled", meaning, (), [((), figures.spilled)], "sum")
    meaning = "Seconds by which the event loop was late."
    yield gauge("gateway_event_loop_lag_seconds", meaning, (), [((), figures.lag)], "max")
    meaning = "1 if the ledger takes requests, 0 while its store is gone or damaged."
    yield gauge("gateway_store_up", meaning, (), [((), float(figures.store_up))], "min")
    meaning = "1 if what gateways share can be used, 0 while it is gone; always 1 with memory://."
    yield gauge("gateway_shared_state_up", meaning, (), [((), float(figures.shared_state_up))], "min")
    yield gauge("gateway_jobs_running", "Jobs that have not ended.", (), [((), figures.jobs)], "sum")
    meaning = "Days since the built-in prices were last looked through."
    yield gauge("gateway_catalogue_age_days", meaning, (), [((), figures.catalogue_age)], "max")
    meaning = "Bytes of answers kept for equal requests."
    yield gauge("gateway_cache_bytes", meaning, (), [((), figures.cache_bytes)], "sum")
    yield gauge(
        "gateway_learned_duration_seconds",
        "Seconds within which such a share of a model's latest orders ended, of all sizes, once twelve were seen.",
        ("upstream", "operation", "upstream_model", "quantile"),
        ((tuple(labels), seconds) for *labels, seconds in figures.learned),
        "max",
    )
    yield total(
        "gateway_auth_failures_total",
        "Requests with a missing or wrong key.",
        (),
        [((), figures.auth_failures)],
    )
    yield total(
        "gateway_admin_auth_failures_total",
        "Requests to the admin listener with a missing or wrong admin key.",
        (),
        [((), figures.admin_auth_failures)],
    )
