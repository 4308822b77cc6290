"""What the console shows and does, as the running gateway offers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.billing.ledger import LedgerService
from gateway.billing.usage import Period
from gateway.console.reading import Reading, Recent
from gateway.console.spend import Spent
from gateway.console.visitors import ConsoleDoor
from gateway.images.results import ImageResults
from gateway.jobs.waiting import Waiting
from gateway.keys.service import KeyService
from gateway.stores.base import UsageReports
from gateway.stores.job_records import JobRecords
from gateway.stores.records import Held, UsageRow

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the gateway's own API answered. ``document``: None for what is no JSON object."""

    status: int
    headers: Mapping[str, str]
    document: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class OverviewBooks:
    """What the first page shows of the store, as it was at ``at_ns``, Unix nanoseconds.

    ``today``, ``month``: all of it. ``by_key``: what each key cost this month, and it as the admin API shows it, empty
    if it is gone. ``running``: requests that have not ended, of all gateways that share the store, the oldest first.
    ``latest``, ``held``: rows of the admin API. ``jobs``: rows of those that have not ended, the oldest first.
    """

    at_ns: int
    today: Spent
    month: Spent
    by_key: Sequence[tuple[Spent, Row]]
    by_team: Sequence[Spent]
    by_model: Sequence[Spent]
    by_upstream: Sequence[Spent]
    running: Sequence[Held]
    latest: Sequence[Row]
    held: Sequence[Row]
    jobs: Sequence[Row]


@dataclass(frozen=True, slots=True)
class ConsoleSource:
    """Everything that reads the store goes by ``reading``, and raises StoreError or GatewayError.

    ``books``: keeps what the first page shows. ``starts``: when today and this month began, and now, Unix nanoseconds.
    ``period``: two moments as texts, the second perhaps empty → the period; raises ValueError. ``used``: a period and
    fields to group by → what was used. ``running``: requests that have not ended. ``zone``: the name of the time zone
    that days begin in. ``upstreams``: what ``GET /admin/v1/upstreams`` answers. ``rotating``: held while a key is
    rotated. ``models``: those that can be asked for: chat, and pictures. ``teams``: those that the configuration names.
    ``keyless``: whether the main listener asks for no key. ``key_name``: a virtual key → its name; None if it opens
    nothing. ``ask``: a path, a virtual key (empty for none), a body and an Idempotency-Key → what the main listener
    answers; raises GatewayError if it does not.
    """

    door: ConsoleDoor
    reading: Reading
    books: Recent[OverviewBooks]
    starts: Callable[[], tuple[int, int, int]]
    period: Callable[[str, str], Period]
    used: Callable[[Period, Sequence[str]], Awaitable[Sequence[UsageRow]]]
    running: Callable[[], Awaitable[Sequence[Held]]]
    zone: Callable[[], str]
    upstreams: Callable[[], Awaitable[dict[str, Any]]]
    keys: KeyService
    rotating: asyncio.Lock
    ledger: LedgerService
    reports: UsageReports
    job_records: JobRecords
    waiting: Waiting
    models: Callable[[], tuple[Sequence[str], Sequence[str]]]
    teams: Callable[[], Sequence[str]]
    keyless: Callable[[], bool]
    key_name: Callable[[str], str | None]
    images: ImageResults
    ask: Callable[[str, str, Mapping[str, Any], str], Awaitable[Reply]]
