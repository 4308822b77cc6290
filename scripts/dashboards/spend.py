"""Spend: who spends what, on which model, through which upstream, and what is left. Pure."""

from __future__ import annotations

from scripts.dashboards.board import KEY, MODEL, TEAM, UPSTREAM, Board
from scripts.dashboards.panels import SHARE, USD, Panel, Query
from scripts.dashboards.promql import each_step, named, or_none, per_second, rise, select, total

LEDGER = select("gateway_ledger_charged_usd")
COST = select("gateway_cost_usd_total")
OWED = select("gateway_upstream_cost_usd_total")
KEY_BUDGET, KEY_USED = select("gateway_key_budget_usd"), select("gateway_key_budget_used_usd")
TEAM_BUDGET, TEAM_USED = select("gateway_team_budget_usd"), select("gateway_team_budget_used_usd")
CROSSED = select("gateway_budget_crossed_total")
SAVED = select("gateway_cache_saved_usd_total")
HITS, MISSES = select("gateway_cache_hits_total"), select("gateway_cache_misses_total")
UNPRICED = select("gateway_unpriced_requests_total")

ALARM = (("green", None), ("orange", 0.8), ("red", 1.0))
LEFT = (("red", None), ("green", 0.000001))


def per_hour(*by: str) -> str:
    """US dollars an hour."""
    return f"{total(per_second(COST), *by)} * 3600"


AT_A_GLANCE = (
    Panel(
        "stat",
        "Today",
        "Charged to keys since midnight, from the ledger. The dashboard's time zone should be the gateway's.",
        [Query(f"sum({LEDGER} - min_over_time({LEDGER}[$__range]))", "today", instant=True)],
        USD,
        width=4,
        height=5,
        today=True,
    ),
    Panel(
        "stat",
        "This month",
        "Charged to keys in the calendar month, from the ledger. Neither a restart nor the range changes it.",
        [Query(f"sum({LEDGER})", "this month", instant=True)],
        USD,
        width=4,
        height=5,
    ),
    Panel(
        "stat",
        "Forecast for the month",
        "The ledger's month carried on to its end: at the month's own pace, and at that of the last seven days.",
        [
            Query(f"sum({LEDGER}) / scalar(gateway:month_elapsed:ratio)", "as this month so far", instant=True),
            Query(
                f"sum({LEDGER}) + sum(increase({LEDGER}[7d])) / 7 * scalar(gateway:month_remaining:days)",
                "as the last 7 days",
                instant=True,
            ),
        ],
        USD,
        height=5,
    ),
    Panel(
        "stat",
        "Owed upstream",
        "What the upstreams will bill for the range shown, all reasons, whoever pays.",
        [Query(total(rise(OWED, "$__range")), "owed upstream", instant=True)],
        USD,
        width=4,
        height=5,
    ),
    Panel(
        "stat",
        "Budgets at 80 % or more",
        "Of keys and teams, now.",
        [
            Query(or_none(f"count({KEY_USED} / {KEY_BUDGET} >= 0.8)", f"count({KEY_BUDGET})"), "keys", instant=True),
            Query(
                or_none(f"count({TEAM_USED} / {TEAM_BUDGET} >= 0.8)", f"count({TEAM_BUDGET})"), "teams", instant=True
            ),
        ],
        width=4,
        height=5,
        steps=(("green", None), ("orange", 1)),
    ),
)

BUDGETS = (
    Panel(
        "bargauge",
        "Left of the budget, by key",
        "What a key may still spend in its budget's day, month or life. What running requests reserved is not left.",
        [Query(f"{total(KEY_BUDGET, 'key')} - {total(KEY_USED, 'key')}", "{{key}}", instant=True)],
        USD,
        steps=LEFT,
    ),
    Panel(
        "bargauge",
        "Left of the budget, by team",
        "What all keys of a team may still spend together.",
        [Query(f"{total(TEAM_BUDGET, 'team')} - {total(TEAM_USED, 'team')}", "{{team}}", instant=True)],
        USD,
        steps=LEFT,
    ),
    Panel(
        "timeseries",
        "Share of the budget used",
        "At 1 a key's or team's requests are refused until its next day or month begins.",
        [
            Query(f"{total(KEY_USED, 'key')} / {total(KEY_BUDGET, 'key')}", "{{key}}"),
            Query(f"{total(TEAM_USED, 'team')} / {total(TEAM_BUDGET, 'team')}", "team {{team}}"),
        ],
        SHARE,
        steps=ALARM,
    ),
    Panel(
        "bargauge",
        "Budgets crossed since the gateway started",
        "How often a budget passed 80 % or 100 %. A crossing by the team itself is listed under (team).",
        [
            Query(
                named(named(f"{total(CROSSED, 'key', 'team', 'percent')} > 0", "key", "(team)"), "team", "no team"),
                "{{key}}, {{team}}: {{percent}} %",
                instant=True,
            )
        ],
        width=12,
        height=6,
        steps=(("orange", None),),
    ),
    Panel(
        "timeseries",
        "This month, by team",
        "The ledger's calendar month so far.",
        [Query(named(total(LEDGER, "team"), "team", "no team"), "{{team}}")],
        USD,
        width=12,
        height=6,
    ),
)

_KEYS_TABLE = {
    "transformations": [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {"key": 0, "team": 1, "Value #A": 2, "Value #B": 3, "Value #C": 4},
                "renameByName": {
                    "key": "Key",
                    "team": "Team",
                    "Value #A": "Charged this month",
                    "Value #B": "Budget",
                    "Value #C": "Left of it",
                },
            },
        },
    ]
}

WHO = (
    Panel(
        "table",
        "Keys",
        "Charged this calendar month, from the ledger; budgets may be of a day, a month or for good.",
        [
            Query(named(total(LEDGER, "key", "team"), "team", "no team"), "{{key}} {{team}}", instant=True),
            Query(named(total(KEY_BUDGET, "key", "team"), "team", "no team"), "{{key}} {{team}}", instant=True),
            Query(
                named(f"{total(KEY_BUDGET, 'key', 'team')} - {total(KEY_USED, 'key', 'team')}", "team", "no team"),
                "{{key}} {{team}}",
                instant=True,
            ),
        ],
        USD,
        width=12,
        more=_KEYS_TABLE,
    ),
    Panel(
        "timeseries",
        "Spending, by key",
        "US dollars an hour.",
        [Query(per_hour("key"), "{{key}}")],
        USD,
        width=12,
    ),
)

WHAT = (
    Panel(
        "bargauge",
        "By model",
        "Charged in the range shown. Counted since the gateway started; the ledger's own sums: piapi-gateway usage.",
        [Query(f"sort_desc({total(rise(COST, '$__range'), 'model')})", "{{model}}", instant=True)],
        USD,
    ),
    Panel(
        "bargauge",
        "By upstream",
        "Charged in the range shown, by the upstream that served.",
        [Query(f"sort_desc({total(rise(COST, '$__range'), 'upstream')})", "{{upstream}}", instant=True)],
        USD,
    ),
    Panel(
        "bargauge",
        "Owed, by upstream and reason",
        "billed: the key pays for it. suspected_duplicate: bought again because its fate was unknown; unknown: may "
        "have been bought. Both are on the house.",
        [
            Query(
                f"sort_desc({total(rise(OWED, '$__range'), 'upstream', 'reason')})",
                "{{upstream}}: {{reason}}",
                instant=True,
            )
        ],
        USD,
    ),
    Panel("timeseries", "Spending, by model", "US dollars an hour.", [Query(per_hour("model"), "{{model}}")], USD),
    Panel(
        "timeseries", "Spending, by upstream", "US dollars an hour.", [Query(per_hour("upstream"), "{{upstream}}")], USD
    ),
    Panel(
        "timeseries",
        "Tokens a minute",
        "Charged for; input includes cached_input.",
        [Query(f"{total(per_second(select('gateway_tokens_total')), 'type')} * 60", "{{type}}")],
    ),
)

UNKNOWN = (
    Panel(
        "stat",
        "Spend without a price",
        "Requests in the range shown that were served at no known price. What they cost is in no other figure here, "
        "and no budget stops it: give their models a price under models: and reload. What is free is not counted.",
        [
            Query(
                or_none(
                    total(rise(UNPRICED, "$__range")),
                    total(rise(select("gateway_requests_total"), "$__range")),
                ),
                "requests",
                instant=True,
            )
        ],
        width=4,
        steps=(("green", None), ("orange", 1)),
    ),
    Panel(
        "bargauge",
        "Without a price, by model, upstream and key",
        "Requests in the range shown. The model other is one that the configuration does not name: "
        "piapi-gateway usage --by model tells which.",
        [
            Query(
                f"sort_desc({total(rise(UNPRICED, '$__range'), 'model', 'upstream', 'key')})",
                "{{model}} at {{upstream}}: {{key}}",
                instant=True,
            )
        ],
        width=10,
        steps=(("orange", None),),
    ),
    Panel(
        "timeseries",
        "Tokens without a price, by model",
        "How many in each step; input includes cached_input.",
        [Query(total(each_step(select("gateway_unpriced_tokens_total")), "model", "type"), "{{model}}: {{type}}")],
        width=10,
        bars=True,
        interval="1m",
    ),
)

KEPT = (
    Panel(
        "timeseries",
        "Saved by the cache, by model",
        "US dollars in each step: what the answers had cost that were given again.",
        [Query(total(each_step(SAVED), "model"), "{{model}}")],
        USD,
        width=12,
        bars=True,
        interval="1m",
    ),
    Panel(
        "timeseries",
        "Answers from the cache, by model",
        "The share of the requests that it had an answer for, of those that it may have one for.",
        [
            Query(
                f"{total(per_second(HITS), 'model')} / "
                f"({total(per_second(HITS), 'model')} + {total(per_second(MISSES), 'model')} > 0)",
                "{{model}}",
            )
        ],
        SHARE,
        width=12,
        most=1.0,
    ),
)

SPEND = Board(
    "Spend",
    "Who spends what, on which model, through which upstream, and what is left of the budgets.",
    "now-7d",
    (KEY, TEAM, MODEL, UPSTREAM),
    {
        "At a glance": AT_A_GLANCE,
        "Budgets": BUDGETS,
        "Who": WHO,
        "On what": WHAT,
        "Kept answers": KEPT,
        "Without a price": UNKNOWN,
    },
)
