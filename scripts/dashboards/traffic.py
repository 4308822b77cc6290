"""Traffic: how much is asked, how well and how fast it is answered. Pure."""

from __future__ import annotations

from scripts.dashboards.board import KEY, MODEL, TEAM, UPSTREAM, Board
from scripts.dashboards.panels import NUMBER, PER_SECOND, SECONDS, SHARE, Panel, Query
from scripts.dashboards.promql import each_step, per_second, quantile, rise, select, share, total

REQUESTS = select("gateway_requests_total")
FAILED = select("gateway_requests_total", 'status=~"5.."')
REFUSED = select("gateway_requests_total", 'status=~"4.."')
DURATION = "gateway_request_duration_seconds_bucket"
FIRST_TOKEN = "gateway_time_to_first_token_seconds_bucket"
OVERHEAD = "gateway_overhead_seconds_bucket"

TROUBLE = (("green", None), ("orange", 0.01), ("red", 0.05))


def quantiles(metric: str) -> list[Query]:
    """The three quantiles every duration is shown by."""
    return [Query(quantile(part, metric), name) for part, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))]


AT_A_GLANCE = (
    Panel(
        "stat",
        "Requests",
        "In the range shown.",
        [Query(total(rise(REQUESTS, "$__range")), "requests", instant=True)],
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "Failed",
        "The share answered with 5xx, or cut after a 200, in the range shown.",
        [
            Query(
                share(total(rise(FAILED, "$__range")), total(rise(REQUESTS, "$__range"))),
                "failed",
                instant=True,
            )
        ],
        SHARE,
        width=4,
        height=4,
        steps=TROUBLE,
    ),
    Panel(
        "stat",
        "Latency, p95",
        "From a request's arrival to its end, of late.",
        [Query(quantile(0.95, DURATION), "p95")],
        SECONDS,
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "Time to first token, p95",
        "From a request's arrival to the first content, of late.",
        [Query(quantile(0.95, FIRST_TOKEN), "p95")],
        SECONDS,
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "Overhead, p99",
        "The gateway's own time, waiting for upstreams excluded, of late.",
        [Query(quantile(0.99, OVERHEAD), "p99")],
        SECONDS,
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "In flight",
        "Requests being served now.",
        [Query(total(select("gateway_requests_in_flight")), "in flight")],
        width=4,
        height=4,
    ),
)

RATE = (
    Panel(
        "timeseries",
        "Requests, by model",
        "A second. `other`: models that are not configured.",
        [Query(total(per_second(REQUESTS), "model"), "{{model}}")],
        PER_SECOND,
    ),
    Panel(
        "timeseries",
        "Requests, by key",
        "A second. `other`: callers without a valid key.",
        [Query(total(per_second(REQUESTS), "key"), "{{key}}")],
        PER_SECOND,
    ),
    Panel(
        "timeseries",
        "Requests, by upstream",
        "A second, by the upstream that answered. `other`: refused before any was asked.",
        [Query(total(per_second(REQUESTS), "upstream"), "{{upstream}}")],
        PER_SECOND,
    ),
)

ERRORS = (
    Panel(
        "timeseries",
        "Share of errors",
        "failed: 5xx, ours or an upstream's. refused: 4xx, the caller's; limits and left clients (499) among them.",
        [
            Query(share(total(per_second(FAILED)), total(per_second(REQUESTS))), "failed"),
            Query(share(total(per_second(REFUSED)), total(per_second(REQUESTS))), "refused"),
        ],
        SHARE,
        steps=TROUBLE,
        most=1.0,
    ),
    Panel(
        "timeseries",
        "Errors, by status",
        "How many in each step.",
        [Query(total(each_step(select("gateway_requests_total", 'status!~"2.."')), "status"), "{{status}}")],
        NUMBER,
        bars=True,
        interval="1m",
    ),
    Panel(
        "timeseries",
        "Wrong keys",
        "Refused authentications, how many in each step.",
        [Query(total(each_step(select("gateway_auth_failures_total"))), "refused")],
        NUMBER,
        bars=True,
        interval="1m",
    ),
)

SPEED = (
    Panel(
        "timeseries",
        "Latency",
        "From a request's arrival to its end; streams to their last byte.",
        quantiles(DURATION),
        SECONDS,
    ),
    Panel(
        "timeseries",
        "Time to first token",
        "From a request's arrival to the first content.",
        quantiles(FIRST_TOKEN),
        SECONDS,
    ),
    Panel(
        "timeseries",
        "Overhead",
        "The gateway's own time, waiting for upstreams excluded.",
        quantiles(OVERHEAD),
        SECONDS,
    ),
    Panel("timeseries", "Latency, p95 by model", "", [Query(quantile(0.95, DURATION, "model"), "{{model}}")], SECONDS),
    Panel(
        "timeseries",
        "Time to first token, p95 by model and upstream",
        "",
        [Query(quantile(0.95, FIRST_TOKEN, "model", "upstream"), "{{model}} at {{upstream}}")],
        SECONDS,
    ),
    Panel("timeseries", "Overhead, p95 by route", "", [Query(quantile(0.95, OVERHEAD, "route"), "{{route}}")], SECONDS),
)

HOUSE = (
    Panel(
        "timeseries",
        "In flight, by route",
        "Requests being served.",
        [Query(total(select("gateway_requests_in_flight"), "route"), "{{route}}")],
    ),
    Panel(
        "timeseries",
        "Event loop lag",
        "By how much the gateway's loop was late. Above a tenth of a second it has too much to do.",
        [Query(f"max({select('gateway_event_loop_lag_seconds')})", "lag")],
        SECONDS,
    ),
    Panel(
        "timeseries",
        "Ledger rows pending",
        "Handed to the ledger, not yet committed. It should come back to 0 all the time.",
        [Query(total(select("gateway_ledger_rows_pending")), "pending")],
    ),
)

STORE_UP, SHARED_UP = select("gateway_store_up"), select("gateway_shared_state_up")
ENGINES = (
    Panel(
        "timeseries",
        "Gateways, and the engines they reach",
        "How many there are, how many can write their books, how many share limits and cooldowns. While all is well "
        "these are one line.",
        [
            Query(f"count({select('gateway_build_info')})", "gateways"),
            Query(f"sum({STORE_UP})", "with the store"),
            Query(f"sum({SHARED_UP})", "with the shared state"),
        ],
    ),
    Panel(
        "timeseries",
        "Waiting for the ledger, p99",
        "Until the store had committed a row. A request waits for its intent before anything is asked upstream.",
        [Query(quantile(0.99, "gateway_ledger_wait_seconds_bucket", "row"), "{{row}}")],
        SECONDS,
    ),
    Panel(
        "timeseries",
        "Settlements in spill files",
        "Written beside the store because it was gone or slow. They are booked once it is back.",
        [Query(total(select("gateway_ledger_rows_spilled")), "spilled")],
    ),
)

TRAFFIC = Board(
    "Traffic",
    "How much is asked, how well and how fast it is answered.",
    "now-6h",
    (KEY, TEAM, MODEL, UPSTREAM),
    {
        "At a glance": AT_A_GLANCE,
        "Rate": RATE,
        "Errors": ERRORS,
        "Speed": SPEED,
        "The gateway itself": HOUSE,
        "Engines": ENGINES,
    },
)
