"""Upstreams: who is there, who failed and why, what failing over may have cost. Pure."""

from __future__ import annotations

from scripts.dashboards.board import MODEL, UPSTREAM, Board
from scripts.dashboards.panels import SECONDS, SHARE, USD, Panel, Query
from scripts.dashboards.promql import each_step, or_none, per_second, rise, select, share, total

ENDPOINT = select("gateway_endpoint_available")
POOL_KEY = select("gateway_upstream_key_available")
ATTEMPTS = select("gateway_upstream_attempts_total")
GOOD = select("gateway_upstream_attempts_total", 'outcome="ok"')
BAD = select("gateway_upstream_attempts_total", 'outcome!="ok"')
EDGE_TIMEOUTS = select("gateway_upstream_attempts_total", 'outcome="cf_524"')
FAILOVERS = select("gateway_failovers_total")
OWED = select("gateway_upstream_cost_usd_total")
DUPLICATES = select("gateway_upstream_cost_usd_total", 'reason="suspected_duplicate"')
LEARNED_P90 = select("gateway_learned_duration_seconds", 'quantile="0.9"')
STARTS = select("gateway_learned_starts_total")
DOUBTFUL = select("gateway_upstream_cost_usd_total", 'reason!="billed"')

PRESENT = (("red", None), ("orange", 0.95), ("green", 0.99))
ANY = (("green", None), ("orange", 1))

AT_A_GLANCE = (
    Panel(
        "stat",
        "Endpoints in use",
        "The share of hosts that are not ejected, now.",
        [Query(f"avg({ENDPOINT})", "in use", instant=True)],
        SHARE,
        width=4,
        height=4,
        steps=PRESENT,
    ),
    Panel(
        "stat",
        "Upstream keys in use",
        "The share of the pool's keys that are not resting, now.",
        [Query(f"avg({POOL_KEY})", "in use", instant=True)],
        SHARE,
        width=4,
        height=4,
        steps=PRESENT,
    ),
    Panel(
        "stat",
        "Failovers",
        "Changes of upstream or of host in the range shown.",
        [Query(total(rise(FAILOVERS, "$__range")), "failovers", instant=True)],
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "524s",
        "Answers given up by Cloudflare after 120 seconds, in the range shown.",
        [Query(or_none(total(rise(EDGE_TIMEOUTS, "$__range")), total(ATTEMPTS)), "524s", instant=True)],
        width=4,
        height=4,
        steps=ANY,
    ),
    Panel(
        "stat",
        "Suspected duplicates",
        "What may have been bought twice in the range shown. Keys do not pay for it.",
        [Query(or_none(total(rise(DUPLICATES, "$__range")), total(OWED)), "suspected duplicates", instant=True)],
        USD,
        height=4,
        steps=(("green", None), ("orange", 0.01)),
    ),
)

AVAILABILITY = (
    Panel(
        "state-timeline",
        "Endpoints",
        "out: ejected after failures in a row, until a request has found it working.",
        [Query(f"min by (upstream, endpoint) ({ENDPOINT})", "{{upstream}} {{endpoint}}")],
        width=16,
    ),
    Panel(
        "bargauge",
        "Availability of endpoints",
        "The share of the range shown in which an endpoint was in use.",
        [
            Query(
                f"avg by (upstream, endpoint) (avg_over_time({ENDPOINT}[$__range]))",
                "{{upstream}} {{endpoint}}",
                instant=True,
            )
        ],
        SHARE,
        steps=PRESENT,
        most=1.0,
    ),
    Panel(
        "timeseries",
        "Attempts that succeeded, by endpoint",
        "A share of all attempts there; left clients count as failed.",
        [
            Query(
                share(
                    total(per_second(GOOD), "upstream", "endpoint"), total(per_second(ATTEMPTS), "upstream", "endpoint")
                ),
                "{{upstream}} {{endpoint}}",
            )
        ],
        SHARE,
        width=12,
        most=1.0,
    ),
    Panel(
        "timeseries",
        "Failed attempts, by outcome",
        "How many in each step; the words are explained in docs/outcomes.md.",
        [Query(total(each_step(BAD), "outcome"), "{{outcome}}")],
        width=12,
        bars=True,
        interval="1m",
    ),
)

KEYS = (
    Panel(
        "state-timeline",
        "Upstream keys",
        "out: resting after a 401, 402, 403 or 429, as a whole or for every model it was used for.",
        [Query(f"min by (upstream, upstream_key) ({POOL_KEY})", "{{upstream}} {{upstream_key}}")],
        width=16,
    ),
    Panel(
        "bargauge",
        "Cooldowns, by upstream key",
        "How often a key went to rest in the range shown.",
        [
            Query(
                f"sum by (upstream, upstream_key) (resets({POOL_KEY}[$__range]))",
                "{{upstream}} {{upstream_key}}",
                instant=True,
            )
        ],
        steps=ANY,
    ),
)

FAILING_OVER = (
    Panel(
        "timeseries",
        "Failovers, by reason",
        "How many in each step; the reason is the outcome of the attempt before.",
        [Query(total(each_step(FAILOVERS), "reason"), "{{reason}}")],
        bars=True,
        interval="1m",
    ),
    Panel(
        "bargauge",
        "Failovers, from and to",
        "In the range shown. The same name twice: to another host of the same upstream.",
        [Query(f"sort_desc({total(rise(FAILOVERS, '$__range'), 'from', 'to')})", "{{from}} to {{to}}", instant=True)],
    ),
    Panel(
        "bargauge",
        "Failovers, by model",
        "In the range shown.",
        [Query(f"sort_desc({total(rise(FAILOVERS, '$__range'), 'model')})", "{{model}}", instant=True)],
    ),
)

DOUBT = (
    Panel(
        "timeseries",
        "524s, by endpoint",
        "How many in each step. The upstream may go on working, and bill.",
        [Query(total(each_step(EDGE_TIMEOUTS), "upstream", "endpoint"), "{{upstream}} {{endpoint}}")],
        bars=True,
        interval="1m",
    ),
    Panel(
        "timeseries",
        "Suspected duplicates, by model",
        "US dollars in each step: bought again because nobody said what became of the first.",
        [Query(total(each_step(DUPLICATES), "upstream", "model"), "{{model}} at {{upstream}}")],
        USD,
        bars=True,
        interval="1m",
    ),
    Panel(
        "bargauge",
        "Doubtful cost, by upstream and reason",
        "US dollars in the range shown that no key pays for. piapi-gateway usage --reconcile tells what was billed.",
        [
            Query(
                f"sort_desc({total(rise(DOUBTFUL, '$__range'), 'upstream', 'reason')})",
                "{{upstream}}: {{reason}}",
                instant=True,
            )
        ],
        USD,
        steps=(("orange", None),),
    ),
)

LEARNED = (
    Panel(
        "timeseries",
        "How long orders take, by model",
        "The seconds within which 90 of a hundred orders end, of all sizes, as it was learned. Beyond the wall of an "
        "endpoint (120 s at api.piapi.ai) they begin at another.",
        [Query(f"max by (upstream, upstream_model) ({LEARNED_P90})", "{{upstream_model}} at {{upstream}}")],
        SECONDS,
    ),
    Panel(
        "timeseries",
        "Begun elsewhere by what was learned",
        "How many requests in each step began at another endpoint or upstream than configured.",
        [Query(total(each_step(STARTS), "model", "upstream"), "{{model}} at {{upstream}}")],
        bars=True,
        interval="1m",
    ),
)

UPSTREAMS = Board(
    "Upstreams",
    "Which hosts and keys are in use, what failed and why, and what failing over may have cost.",
    "now-6h",
    (MODEL, UPSTREAM),
    {
        "At a glance": AT_A_GLANCE,
        "Availability": AVAILABILITY,
        "Keys of the pool": KEYS,
        "Failovers": FAILING_OVER,
        "Learned": LEARNED,
        "In doubt": DOUBT,
    },
)
