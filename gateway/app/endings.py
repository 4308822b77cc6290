"""What the log is told of models that end: at the start, after a reload, and at the beginning of every day.

Many end at a time, so that one warning counts them, and each has its line at level ``info``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from gateway.config import Config, EndWarning, end_warnings
from gateway.core.routing.endings import DAY_NS, WARN_DAYS
from gateway.runtime import today
from gateway.telemetry.log import Log

LAST_TOLD = 30
"""Days after an end until which it is told every day; later only at a start or reload."""


def tell_of_ends(config: Config, log: Log, last_told: int | None = None) -> None:
    """One warning for all models that have ended or soon will; in full if there is only one.

    ``last_told``: how many days after an end it is still told; None for always.
    """
    found = [one for one in end_warnings(config, today.now_ns()) if last_told is None or -one.days <= last_told]
    if len(found) > 1:
        _tell_of_many(found, log)
    tell = log.info if len(found) > 1 else log.warning
    for one in found:
        event = "model_ended" if one.days < 0 else "model_ends"
        successor = ", ".join(one.successors) or None
        tell(event, model=one.model, shutdown=one.shutdown, successor=successor, message=one.sentence)


def _tell_of_many(found: Sequence[EndWarning], log: Log) -> None:
    """How many they are, and which is next: of those still to come the first, else the last that ended."""
    over = [one for one in found if one.days < 0]
    coming = [one for one in found if one.days >= 0]
    nearest = min(coming, key=lambda one: one.days) if coming else max(over, key=lambda one: one.days)
    gone = sum(one.gone for one in found)
    log.warning(
        "models_end",
        ended=len(over),
        ending=len(coming),
        unserved=gone,
        nearest=nearest.model,
        shutdown=nearest.shutdown,
        successor=", ".join(nearest.successors) or None,
        message=f"{len(found)} models have ended or end within {WARN_DAYS} days, "
        f"and {gone} of them nothing else serves; "
        f"the nearest is '{nearest.model}', {'ended' if nearest.days < 0 else 'ending'} on {nearest.shutdown}; "
        "'piapi-gateway check' lists them with the lines to change",
    )


class Configured(Protocol):
    """A running gateway. ``config``: the one in force."""

    @property
    def config(self) -> Config: ...


async def watch_ends(gateway: Configured, log: Log) -> None:
    """Tell it again at the beginning of every day, in UTC."""
    while True:
        await asyncio.sleep(1 + (DAY_NS - today.now_ns() % DAY_NS) / 1_000_000_000)
        tell_of_ends(gateway.config, log, LAST_TOLD)
