"""What every engine of the store offers, as protocols. The rooms above know these, never an engine.

    Store              one engine, opened to serve: everything below, until it is closed
    ├── ledger         Ledger: what requests write before and after an upstream is called
    ├── keys           KeyRecords: virtual keys, read and changed
    ├── teams          TeamRecords: the teams that were in force, with their budgets
    ├── usage          UsageReports: sums, checks, and what pruning would remove
    ├── balances       BalanceRecords: snapshots of upstream accounts, held against the ledger
    ├── alerts         AlertRecords: alerts of budgets, until they are told and after
    ├── responses      ResponseRecords: answers of the Responses API, for the keys that got them
    ├── response_places  ResponsePlaceRecords: where upstreams keep theirs
    ├── jobs           JobRecords: paid work under way, and what it came to
    ├── deliveries     DeliveryRecords: what webhooks are told of jobs, until they were told and after
    ├── durations      DurationRecords: what was learned of how long orders take
    └── gateways       GatewayRecords: the gateways that share the store, until they left or were taken over
    FleetRecords       what gateways that share one know of one another's work (``Store.fleet``)
    StoreReader        the same books, read beside a running gateway or without one

A new engine has to pass the conformance suites in ``tests/stores/``, one for each protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Protocol

from gateway.core.types import Budget
from gateway.stores.alert_records import AlertRecords
from gateway.stores.budget_records import BudgetRecords
from gateway.stores.delivery_records import DeliveryRecords
from gateway.stores.duration_records import DurationRecords
from gateway.stores.fleet_records import FleetRecords
from gateway.stores.gateway_records import GatewayRecords
from gateway.stores.job_records import JobRecords
from gateway.stores.key_records import KeyReader as KeyReader
from gateway.stores.key_records import KeyRecords as KeyRecords
from gateway.stores.records import (
    AuditEntry,
    Balance,
    BalancePeriod,
    Correction,
    ExchangeRecord,
    Held,
    Pruned,
    TaskRecord,
    UnknownExchange,
    UsageRow,
    Verification,
)
from gateway.stores.response_records import ResponsePlaceRecords, ResponseRecords
from gateway.stores.seen_exchanges import SeenExchange


class Ledger(Protocol):
    """Append-only books. Writing is group-committed by one writer.

    ``budgets``: the budgets that it counts for several gateways; None if one gateway has the store to itself.
    """

    @property
    def budgets(self) -> BudgetRecords | None: ...

    @property
    def pending(self) -> int:
        """Rows handed over and not yet committed."""
        ...

    async def reserve(self, intent: ExchangeRecord) -> None:
        """Return once the intent is committed. Raise errors.ledger_unavailable() if it cannot be, ClaimRefused if one
        of the ``budgets`` has no room for what it claims.
        """
        ...

    def settle(self, settlement: ExchangeRecord) -> None:
        """Hand over a settlement; never blocks, never raises, committed with the next batch."""
        ...

    async def record_task(self, record: TaskRecord) -> None:
        """Return once the record is on the disk. Raise errors.ledger_unavailable() if it cannot be.

        A task that is known already stays whose it was.
        """
        ...

    async def find_task(self, task_id: str) -> TaskRecord | None:
        """The task of that id, the newest if several upstreams have one; sees every record that was acknowledged.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    async def correct(self, correction: Correction, audit: AuditEntry | None = None) -> bool:
        """Write down what became of an exchange of unknown outcome; False if that was known already.

        ``audit``: is written down with it, if anything is.
        Raise NotUnknown if it has another state, errors.ledger_unavailable() if it cannot be written.
        """
        ...

    async def unknown_exchanges(self, since_ns: int) -> list[UnknownExchange]:
        """The exchanges that came in at ``since_ns`` or later, are of unknown outcome and not corrected; oldest first.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    async def held(self, now_ns: int) -> list[Held]:
        """The exchanges that are open, or unknown and not corrected, and came in less than a day ago; oldest first.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        """Nano-dollars charged for what came in at ``start_ns`` or later, and before ``end_ns`` if that is given, by
        key, team and model; those of 0 may be missing.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    async def settle_left(self, gateways: Collection[str]) -> int:
        """Settle what these gateways, which are dead, left open: as they wrote down themselves where that is found,
        else as ``unknown``. Returns how many are unknown. Raise StoreError; the same can be asked again.
        """
        ...

    def spilled(self) -> int:
        """Settlements that lie in the spill file, as the store has not taken them yet; ``pending`` counts them too."""
        ...

    def usable(self) -> bool:
        """Whether intents are being committed at present (for /readyz)."""
        ...

    async def prune(self, before_ns: int, now_ns: int) -> Pruned:
        """Remove what came in before ``before_ns``, rounded down to an hour of UTC, and is settled or released.

        Sums of usage stay as they are. Raise errors.ledger_unavailable() if the store cannot be written; a part may be
        done by then, and the same can be asked again.
        """
        ...


class TeamReader(Protocol):
    """The teams that configurations in force have named."""

    async def seen(self) -> Mapping[str, Budget | None]:
        """Every team that was ever named in a configuration in force, and the budget it had in the last of them that
        named it. Raise StoreError if the store cannot be read.
        """
        ...


class TeamRecords(TeamReader, Protocol):
    """The same teams, written down."""

    async def remember(self, teams: Mapping[str, Budget | None], now_ns: int) -> None:
        """Return once it is durable that these are in force; others stay as they were last.

        Raise errors.ledger_unavailable() if it cannot be written, StoreError if it cannot be read.
        """
        ...


class UsageReports(Protocol):
    """The ledger, summed up. All methods raise StoreError if it cannot be read."""

    async def usage(self, *, since_ns: int, until_ns: int, by: Sequence[str], time_zone: tzinfo) -> Sequence[UsageRow]:
        """Sum up the requests that came in ``since_ns <= at < until_ns`` (Unix nanoseconds), sorted by group.

        A request counts at the time it came in, whenever it was settled. Settled and unknown ones count; released ones
        (nothing was bought) and those still running do not. ``by``: fields out of ``key``, ``team``, ``model`` (as
        requested), ``upstream`` (the one that settled it), ``day`` (YYYY-MM-DD of ``time_zone``). Where rows were
        pruned, a period begins and ends with an hour of UTC. Raise ValueError for an unknown field in ``by``.
        """
        ...

    async def verify(self) -> Verification:
        """Check the whole ledger; wrong rows are its ``problems``."""
        ...

    async def prunable(self, before_ns: int) -> Pruned:
        """What pruning before ``before_ns``, a full hour of UTC, would remove now."""
        ...

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        """``Ledger.charged_since``, for readers beside it."""
        ...

    async def held(self, now_ns: int) -> Sequence[Held]:
        """``Ledger.held``, for readers beside it."""
        ...

    async def audit(self, since_ns: int) -> Sequence[AuditEntry]:
        """What admins did at ``since_ns`` or later, oldest first; of very many the newest."""
        ...

    async def latest(
        self, limit: int, *, before: str | None = None, key: str | None = None, request_id: str | None = None
    ) -> Sequence[SeenExchange]:
        """At most ``limit`` of the exchanges that came in last, newest first; settled, running or of unknown outcome.

        ``limit``: 1 to MOST_SEEN. ``before``: the id of an exchange, from the first one older than which it goes on;
        than one that is gone nothing is older. ``key``, ``request_id``: only those of this key, of this request.
        Without them it goes back as far as the books do. With them it goes through what came in at most FILTERED_NS (31
        days) before ``before`` did, or before now, and no further, however few it finds.
        """
        ...


class BalanceRecords(Protocol):
    """Snapshots of what is left on upstream accounts."""

    async def record(self, snapshots: Sequence[Balance]) -> None:
        """Return once the snapshots are durable; a second one of the same moment changes nothing.

        Raise errors.ledger_unavailable() if they cannot be written.
        """
        ...

    async def periods(self, since_ns: int, until_ns: int) -> Sequence[BalancePeriod]:
        """The periods between snapshots taken at ``since_ns <= at < until_ns``, by upstream, key and time.

        What was in flight at a snapshot counts where it came in; the upstream may bill it a period later. Two keys of
        one account show the same balance, each with its own share of what is owed. Raise StoreError.
        """
        ...


class StoreReader(Protocol):
    """A store's books, read beside a running gateway or without one. Nothing is made, locked or changed.

    ``name``: as ``Store.name``, so that one store has one name. ``pepper_file``: as ``Store.pepper_file``.
    """

    @property
    def name(self) -> str: ...

    @property
    def keys(self) -> KeyReader: ...

    @property
    def teams(self) -> TeamReader: ...

    @property
    def pepper_file(self) -> Path | None: ...

    @property
    def usage(self) -> UsageReports: ...

    async def exists(self) -> bool:
        """Whether the store was made; one that was not holds no keys, and its books cannot be read."""
        ...


class Store(Protocol):
    """One engine, opened to serve. ``name``: what errors call it, without secrets.

    ``pepper_file``: where the pepper of its keys lies beside it; None if it has no place for one.
    ``made``: whether there was none in this place before.
    ``recovered``: requests an earlier process had left open, settled as ``unknown`` when this one opened the store.
    ``booked_late``: settlements an earlier process could not write, written now.
    ``unchecked``: whether it is still to be looked through, beside the work (``check``): its last writer did not end
        well, and it is large.
    """

    @property
    def name(self) -> str: ...

    @property
    def pepper_file(self) -> Path | None: ...

    @property
    def made(self) -> bool: ...

    @property
    def recovered(self) -> int: ...

    @property
    def booked_late(self) -> int: ...

    @property
    def unchecked(self) -> bool: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def keys(self) -> KeyRecords: ...

    @property
    def teams(self) -> TeamRecords: ...

    @property
    def usage(self) -> UsageReports: ...

    @property
    def balances(self) -> BalanceRecords: ...

    @property
    def alerts(self) -> AlertRecords: ...

    @property
    def responses(self) -> ResponseRecords: ...

    @property
    def response_places(self) -> ResponsePlaceRecords: ...

    @property
    def deliveries(self) -> DeliveryRecords: ...

    @property
    def jobs(self) -> JobRecords: ...

    @property
    def durations(self) -> DurationRecords: ...

    @property
    def fleet(self) -> FleetRecords | None:
        """What several gateways that share the store know of one another's work; None where it is one's alone."""
        ...

    @property
    def gateways(self) -> GatewayRecords: ...

    async def check(self, told: Callable[[str, int, int], None]) -> str:
        """Look the store through. Returns what is damaged and what to do, empty for nothing; a damaged one takes no
        more intents. ``told``: is called, in a thread, with the name of each part, its number and how many there are.
        """
        ...

    async def mark(self) -> None:
        """Note how far the books are settled, so that the next start is quick; called now and then."""
        ...

    async def watch(self) -> str:
        """Look whether the store is still in its place; called every second or so.

        Returns what is wrong and what to do, empty for nothing. As long as something is, the ledger is not usable.
        """
        ...

    async def close(self) -> None:
        """Commit what is pending and let go of the store."""
        ...
