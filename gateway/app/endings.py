"""What the log is told of models that end: at the start, after a reload, and at the beginning of every day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.config import Config, end_warnings
from gateway.core.routing.endings import DAY_NS
from gateway.runtime import today
from gateway.telemetry.log import Log

LAST_TOLD = 30
"""Days after an end until which it is told every day; later only at a start or reload."""


def tell_of_ends(config: Config, log: Log, last_told: int | None = None) -> None:
    """One warning a model that has ended or soon will.

    ``last_told``: how many days after an end it is still told; None for always.
    """
    for one in end_warnings(config, today.now_ns()):
        if last_told is None or -one.days <= last_told:
            event = "model_ended" if one.days < 0 else "model_ends"
            successor = ", ".join(one.successors) or None
            log.warning(event, model=one.model, shutdown=one.shutdown, successor=successor, message=one.sentence)


async def watch_ends(config: Callable[[], Config], log: Log) -> None:
    """Tell it again at the beginning of every day, in UTC. ``config``: the one in force."""
    while True:
        await asyncio.sleep(1 + (DAY_NS - today.now_ns() % DAY_NS) / 1_000_000_000)
        tell_of_ends(config(), log, LAST_TOLD)
