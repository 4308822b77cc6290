"""Pieces of PromQL, so that every panel filters, counts and names in the same way. Pure.

A metric is filtered by each variable of the dashboards that it has a label for, and by nothing that names a scrape
target (``job``, ``instance``): the dashboards show whatever gateways the data source knows.
"""

from __future__ import annotations

from collections.abc import Mapping

OWNER = ("key", "team")
SOLD = ("key", "team", "model", "upstream")

METRICS: Mapping[str, tuple[str, ...]] = {
    "gateway_requests_total": ("route", "model", "upstream", "status", "key", "team"),
    "gateway_cost_usd_total": SOLD,
    "gateway_upstream_cost_usd_total": ("upstream", "model", "reason"),
    "gateway_tokens_total": (*SOLD, "type"),
    "gateway_images_total": SOLD,
    "gateway_unpriced_requests_total": SOLD,
    "gateway_unpriced_tokens_total": (*SOLD, "type"),
    "gateway_request_duration_seconds_bucket": ("route", "model", "upstream", "le"),
    "gateway_time_to_first_token_seconds_bucket": ("model", "upstream", "le"),
    "gateway_overhead_seconds_bucket": ("route", "le"),
    "gateway_upstream_attempts_total": ("upstream", "endpoint", "outcome"),
    "gateway_failovers_total": ("model", "from", "to", "reason"),
    "gateway_learned_starts_total": ("model", "upstream"),
    "gateway_learned_duration_seconds": ("upstream", "operation", "upstream_model", "quantile"),
    "gateway_cache_hits_total": (*OWNER, "model"),
    "gateway_cache_misses_total": (*OWNER, "model"),
    "gateway_cache_saved_usd_total": (*OWNER, "model"),
    "gateway_endpoint_available": ("upstream", "endpoint"),
    "gateway_upstream_key_available": ("upstream", "upstream_key"),
    "gateway_requests_in_flight": ("route",),
    "gateway_auth_failures_total": (),
    "gateway_admin_auth_failures_total": (),
    "gateway_event_loop_lag_seconds": (),
    "gateway_ledger_rows_pending": (),
    "gateway_ledger_rows_spilled": (),
    "gateway_ledger_wait_seconds_bucket": ("row", "le"),
    "gateway_build_info": ("version",),
    "gateway_store_up": (),
    "gateway_shared_state_up": (),
    "gateway_key_budget_usd": OWNER,
    "gateway_key_budget_used_usd": OWNER,
    "gateway_team_budget_usd": ("team",),
    "gateway_team_budget_used_usd": ("team",),
    "gateway_budget_crossed_total": (*OWNER, "percent"),
    "gateway_ledger_charged_usd": OWNER,
}
"""What the panels ask for, with its labels."""

FILTERS: Mapping[str, str] = {
    "key": "key",
    "team": "team",
    "model": "model",
    "upstream": "upstream",
    "from": "upstream",
}
"""Label → the variable it is filtered by. A failover belongs to the upstream that was left."""


def select(metric: str, *conditions: str) -> str:
    """The metric under the dashboard's variables and further conditions (``status=~"5.."``). KeyError: unknown."""
    chosen = [f'{label}=~"${FILTERS[label]}"' for label in METRICS[metric] if label in FILTERS]
    matchers = ", ".join((*chosen, *conditions))
    return f"{metric}{{{matchers}}}" if matchers else metric


def rise(selected: str, window: str) -> str:
    """By how much counters rose within ``window``, with what they began with if they began within it.

    ``increase`` alone takes the first sample of a series for its zero, and so never sees the first charge of a new
    key, the first 524 of a host. A series without a sample in the hour before the window is new.
    """
    return f"(({selected} unless last_over_time({selected}[1h] offset {window})) or increase({selected}[{window}]))"


def each_step(selected: str) -> str:
    """By how much counters rose in each step of the chart, exactly: one event is 1, not the 1.33 of ``increase``.

    Compared with the last sample of the hour before, so that a failed scrape makes no bar. After a restart a counter
    is its own rise; what came between the last scrape before it and the restart is not seen.
    """
    return f"(({selected} - last_over_time({selected}[1h] offset $__interval)) >= 0 or {selected})"


def per_second(selected: str) -> str:
    """How fast counters rise."""
    return f"rate({selected}[$__rate_interval])"


def total(expression: str, *by: str) -> str:
    """The sum, one series for each set of these labels."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def quantile(share: float, metric: str, *by: str) -> str:
    """A quantile of a histogram, one series for each set of these labels."""
    return f"histogram_quantile({share:g}, {total(per_second(select(metric)), 'le', *by)})"


def named(expression: str, label: str, name: str) -> str:
    """``name`` where the label is empty, so that the legend is not."""
    return f'label_replace({expression}, "{label}", "{name}", "{label}", "")'


def or_none(part: str, whole: str) -> str:
    """0 where there is no part of what there is; still nothing where there is nothing at all."""
    return f"({part} or 0 * {whole})"


def share(part: str, whole: str) -> str:
    """The share of a part in a whole; no series while the whole is nothing."""
    return f"{or_none(part, whole)} / ({whole} > 0)"
