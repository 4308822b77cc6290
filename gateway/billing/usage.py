"""What was spent, for people and scripts: a period, fields to group by, rows with US dollars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import orjson

from gateway.core.defaults import USAGE_FIELDS
from gateway.core.pricing.calendar import day_as_written, iso_time
from gateway.core.pricing.prices import usd_number
from gateway.stores.base import UsageReports
from gateway.stores.records import PriceUse, UsageRow

FIGURES = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "cost_usd")

UNPRICED = ("unpriced_requests", "unpriced_input_tokens", "unpriced_output_tokens", "unpriced_images")
"""What was done at a price that is not known; its cost is not, or not wholly, in ``cost_usd``."""

DOUBTS = (*UNPRICED, "estimated_requests", "estimated_cost_usd", "unknown_requests")
"""How much of the figures is not certain."""

MOST_PRICES = 16
"""Prices told of a row. A row for each model has as many as its price changed, times its targets."""

LATEST_NS = 2**63 - 1
"""The last moment that 64 bits can tell, in 2262."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since_ns`` (inclusive) until ``until_ns`` (exclusive), Unix nanoseconds."""

    since_ns: int
    until_ns: int


def parse_period(since: str, until: str | None, now_ns: int, zone: tzinfo) -> Period:
    """Two moments as texts, the second not included. Raises ValueError, saying what would be right."""
    period = Period(parse_moment(since, now_ns, zone), parse_moment(until, now_ns, zone) if until else now_ns + 1)
    if period.since_ns >= period.until_ns:
        raise ValueError(f"since ({since}) must be earlier than until ({until or 'now'}){_how(since, until)}")
    return period


def _how(since: str, until: str | None) -> str:
    """What would make a period of two moments that are none."""
    if not until:
        return ", and it lies ahead"
    since, until = since.strip(), until.strip()
    if since != until:
        return f"; the other way round: since {until} until {since}"
    written = _DATE.match(since)
    if written is None or since[written.end() :] not in ("", "Z"):
        return ", which is not included"
    following = date.fromisoformat(written[0]) + timedelta(days=1)
    return f", which is not included; for that day: since {since} until {following}{since[written.end() :]}"


def parse_moment(text: str, now_ns: int, zone: tzinfo) -> int:
    """``30d`` (so long ago), ``2026-11-22`` or ``2026-11-22T08:00`` (in ``zone`` unless it names one) → Unix ns.

    Raises ValueError, also for a moment that no column of a store can hold.
    """
    moment_ns = _moment_ns(text, now_ns, zone)
    if moment_ns > LATEST_NS:
        raise ValueError(f"'{text}' is no moment the ledger can know; the last is in 2262")
    return moment_ns


def _moment_ns(text: str, now_ns: int, zone: tzinfo) -> int:
    if ago := _AGO.fullmatch(text.strip()):
        return max(0, now_ns - int(ago[1]) * _SECONDS[ago[2]] * 1_000_000_000)
    try:
        if (day := day_as_written(text, zone)) is not None:
            return max(0, day.start_ns)
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"'{text}' is no moment: write an age such as 30d, 12h or 45m, "
            "or a date such as 2026-11-22, 2026-11-22T08:00 or 2026-11-22T08:00+01:00"
        ) from None
    except OverflowError:
        raise ValueError(f"'{text}' is no moment the ledger can know") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        since_epoch = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"'{text}' is no moment the ledger can know") from None
    microseconds = (since_epoch.days * 86400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds
    return max(0, microseconds * 1000)


def parse_fields(text: str) -> list[str]:
    """``key,day`` → the fields to group by. Raises ValueError naming the known ones."""
    fields = [field.strip() for field in text.split(",") if field.strip()]
    for field in fields:
        if field not in USAGE_FIELDS:
            raise ValueError(f"cannot group by '{field}': choose from {', '.join(USAGE_FIELDS)}")
    if len(set(fields)) < len(fields):
        raise ValueError(f"'{text}' names a field twice")
    return fields


async def usage_rows(reports: UsageReports, period: Period, by: Sequence[str], zone: tzinfo) -> list[dict[str, Any]]:
    """The ledger's rows, grouped, as the JSON output has them. Raises StoreError; ValueError for unknown fields."""
    fields = parse_fields(",".join(by))
    rows = await reports.usage(since_ns=period.since_ns, until_ns=period.until_ns, by=fields, time_zone=zone)
    return [_as_dict(row, fields) for row in rows]


def _as_dict(row: UsageRow, fields: Sequence[str]) -> dict[str, Any]:
    return {
        **{field: row.group[field] for field in fields},
        "requests": row.requests,
        "input_tokens": row.input_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "output_tokens": row.output_tokens,
        "images": row.images,
        "cost_usd": usd_number(row.cost_nano),
        "unpriced_requests": row.unpriced_requests,
        "unpriced_input_tokens": row.unpriced_input_tokens,
        "unpriced_output_tokens": row.unpriced_output_tokens,
        "unpriced_images": row.unpriced_images,
        "estimated_requests": row.estimated_requests,
        "estimated_cost_usd": usd_number(row.estimated_cost_nano),
        "unknown_requests": row.unknown_requests,
        "prices": [_price(use) for use in row.prices[:MOST_PRICES]],
        "more_prices": max(0, len(row.prices) - MOST_PRICES),
    }


def _price(use: PriceUse) -> dict[str, Any]:
    """``price``: US dollars under the configuration's names, None if it was not known. ``tier``: None for none."""
    booked = use.booked
    return {
        "upstream": booked.upstream,
        "model": booked.model,
        "tier": booked.tier or None,
        "price": orjson.loads(booked.price) if booked.price else None,
        "from": iso_time(use.since_ns, UTC),
        "requests": use.requests,
        "unpriced_requests": use.unpriced,
    }
