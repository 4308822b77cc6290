"""How values are written on a page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gateway.core.outcomes.table import RULES, Verdict
from gateway.core.pricing.calendar import utc_time
from gateway.core.pricing.prices import usd_number

NOTHING = "–"

_ONWARD: Mapping[Verdict, str] = {
    Verdict.DONE: "",
    Verdict.FRESH_CONNECTION: "again over a new connection",
    Verdict.AS_ASKED: "again as the client asked",
    Verdict.NEXT_CREDENTIAL: "on to the next key",
    Verdict.NEXT_ENDPOINT: "on to the next host",
    Verdict.NEXT_TARGET: "on to the next upstream",
    Verdict.STOP: "",
}


def money(dollars: float | None) -> str:
    """``$12.50``, ``$0.00066``, ``–`` for what is not known: at least two places, at most six."""
    if dollars is None:
        return NOTHING
    whole, _, places = f"{abs(dollars):,.6f}".partition(".")
    shown = f"${whole}.{places[:2]}{places[2:].rstrip('0')}"
    return f"-{shown}" if dollars < 0 else shown


def nano_money(nano: int) -> str:
    """Nano-dollars, as ``money`` shows them."""
    return money(usd_number(nano))


def count(number: int | None) -> str:
    """``12,345``; ``–`` for none."""
    return NOTHING if number is None else f"{number:,}"


def seconds(value: float | None) -> str:
    """``0.123 s``, ``4.5 s``, ``3 min 20 s``."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value:.3f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def between(began: str, ended: str | None) -> str:
    """The time between two moments of RFC 3339, as ``seconds`` shows it."""
    if ended is None:
        return NOTHING
    return seconds((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds())


def clock(moment: str | None) -> str:
    """``2026-11-30 14:36:08`` of a moment in RFC 3339, which is UTC as all of the console's are."""
    return NOTHING if moment is None else moment.replace("T", " ").partition(".")[0].removesuffix("Z")


def wall(at_ns: int) -> str:
    """The same of Unix nanoseconds."""
    return clock(utc_time(at_ns))


def words(slug: str) -> str:
    """``connect_refused`` → ``connect refused``."""
    return slug.replace("_", " ")


def onward(slug: str) -> str:
    """Where a request goes after an attempt that ended like this; empty if it goes nowhere."""
    rule = RULES.get(slug)
    return "" if rule is None else _ONWARD[rule.onward]


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


FILTERS: Mapping[str, Callable[..., Any]] = {
    "money": money,
    "nano_money": nano_money,
    "count": count,
    "seconds": seconds,
    "between": between,
    "clock": clock,
    "wall": wall,
    "words": words,
    "onward": onward,
    "segment": segment,
}
"""What templates may write with."""
