"""Images: what pictures were made, how long they took, why they failed. Pure."""

from __future__ import annotations

from scripts.dashboards.board import KEY, TEAM, UPSTREAM, Board, Variable
from scripts.dashboards.panels import SECONDS, SHARE, USD, Panel, Query
from scripts.dashboards.promql import each_step, quantile, rise, select, share, total

PICTURES = select("gateway_images_total")
COST = select("gateway_cost_usd_total")
REQUESTS = select("gateway_requests_total")
FAILED = select("gateway_requests_total", 'status!~"2.."')
FAILOVERS = select("gateway_failovers_total")
DURATION = "gateway_request_duration_seconds_bucket"
TASKS = select(
    "gateway_upstream_attempts_total",
    'outcome=~"task_failed|task_unknown|task_poll|asset_unavailable|content_policy|no_image"',
)

PICTURE_MODEL = Variable("model", "Model", "label_values(gateway:picture_model:group, model)", all_value=None)
"""Only models that are asked for pictures; ``All`` is the list of them, so that chat stays out."""

AT_A_GLANCE = (
    Panel(
        "stat",
        "Pictures",
        "Made and charged for in the range shown.",
        [Query(total(rise(PICTURES, "$__range")), "pictures", instant=True)],
        width=6,
        height=4,
    ),
    Panel(
        "stat",
        "Charged for them",
        "In the range shown, answers without a picture included.",
        [Query(total(rise(COST, "$__range")), "charged", instant=True)],
        USD,
        width=6,
        height=4,
    ),
    Panel(
        "stat",
        "A picture costs",
        "On average in the range shown.",
        [Query(share(total(rise(COST, "$__range")), total(rise(PICTURES, "$__range"))), "a picture", instant=True)],
        USD,
        width=6,
        height=4,
    ),
    Panel(
        "stat",
        "Failed or refused",
        "The share of requests for pictures that ended in an error, in the range shown.",
        [
            Query(
                share(total(rise(FAILED, "$__range")), total(rise(REQUESTS, "$__range"))),
                "failed or refused",
                instant=True,
            )
        ],
        SHARE,
        width=6,
        height=4,
        steps=(("green", None), ("orange", 0.05), ("red", 0.2)),
    ),
)

MADE = (
    Panel(
        "timeseries",
        "Pictures, by model",
        "How many in each step.",
        [Query(total(each_step(PICTURES), "model"), "{{model}}")],
        bars=True,
        interval="1m",
    ),
    Panel(
        "bargauge",
        "Pictures, by key",
        "In the range shown.",
        [Query(f"sort_desc({total(rise(PICTURES, '$__range'), 'key')})", "{{key}}", instant=True)],
    ),
    Panel(
        "bargauge",
        "Charged, by model and upstream",
        "In the range shown.",
        [
            Query(
                f"sort_desc({total(rise(COST, '$__range'), 'model', 'upstream')})",
                "{{model}} at {{upstream}}",
                instant=True,
            )
        ],
        USD,
    ),
)

WAIT = (
    Panel(
        "timeseries",
        "Wait, p50 by model",
        "From the order to the picture's last byte, failures included. Buckets end at 900 s.",
        [Query(quantile(0.5, DURATION, "model"), "{{model}}")],
        SECONDS,
        width=12,
    ),
    Panel(
        "timeseries",
        "Wait, p95 by model and upstream",
        "From the order to the picture's last byte, failures included.",
        [Query(quantile(0.95, DURATION, "model", "upstream"), "{{model}} at {{upstream}}")],
        SECONDS,
        width=12,
    ),
)

FAILURES = (
    Panel(
        "timeseries",
        "Attempts that failed and were made elsewhere, by reason",
        "How many in each step; the words are explained in docs/outcomes.md.",
        [Query(total(each_step(FAILOVERS), "reason"), "{{reason}}")],
        bars=True,
        interval="1m",
    ),
    Panel(
        "timeseries",
        "Refused, failed and lost pictures, by reason",
        "How many in each step: attempts that ended as only pictures' attempts do, of all models. content_policy: "
        "moderation; task_failed: a task that failed, at no charge; task_poll: not done in time; asset_unavailable: "
        "made, but not to be fetched; no_image: an answer in words only.",
        [Query(total(each_step(TASKS), "outcome"), "{{outcome}}")],
        bars=True,
        interval="1m",
    ),
    Panel(
        "timeseries",
        "Requests that ended in an error, by model and status",
        "How many in each step. 400: refused; 429: limits and budgets; 502, 504: what the client was told in the end.",
        [Query(total(each_step(FAILED), "model", "status"), "{{model}}: {{status}}")],
        bars=True,
        interval="1m",
    ),
)

IMAGES = Board(
    "Images",
    "What pictures were made, how long they took, why they failed.",
    "now-24h",
    (KEY, TEAM, PICTURE_MODEL, UPSTREAM),
    {"At a glance": AT_A_GLANCE, "Made": MADE, "Wait": WAIT, "Failures by reason": FAILURES},
)
