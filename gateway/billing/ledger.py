"""What can be done to the books, for the admin API of a running gateway and for the command line without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, tzinfo
from typing import Any, Protocol

from gateway.billing.balances import balance_rows
from gateway.billing.holds import (
    MOST_REASON,
    AmountHeld,
    audit_row,
    held_row,
    held_rows,
    release_entry,
    released,
)
from gateway.billing.usage import parse_moment, parse_period
from gateway.core.defaults import USAGE_SINCE
from gateway.core.in_force import InForce
from gateway.core.pricing.calendar import iso_time
from gateway.core.pricing.prices import usd_number
from gateway.core.types import Credential, Upstream
from gateway.stores.base import Store, UsageReports
from gateway.stores.budget_records import BudgetRecords
from gateway.stores.records import Balance, Held, NotUnknown, Pruned, prunable_before
from gateway.upstream.account import ask_account
from gateway.upstream.pool import ConnectionPool
from gateway.wire.account_answer import account_id, balance_nano

KEPT_NS = 3 * 24 * 3600 * 1_000_000_000
"""What came in less than so long ago is never pruned. An outcome may become known for a day, and PiAPI keeps a task's
images for three (doc.qubico.ai, output storage), in which its owner may still ask for them."""

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Told:
    """What an account said of itself. ``nano``: nano-dollars that are left. ``account``: its id, if it has one."""

    nano: int
    account: str | None


async def would_prune(reports: UsageReports, before: str, now_ns: int, zone: tzinfo) -> Shown:
    """``LedgerService.prune`` as a dry run, for which reading the books is enough."""
    before_ns = prunable_before(_horizon(before, now_ns, zone), now_ns)
    return _shown(await reports.prunable(before_ns), dry_run=True)


async def held_by_the_books(reports: UsageReports, now_ns: int) -> Shown:
    """What is held, by the books alone: ``LedgerService.held`` where no gateway runs."""
    return _list(held_rows(await reports.held(now_ns)))


async def audit_log(reports: UsageReports, since: str, now_ns: int, zone: tzinfo) -> Shown:
    """What admins did since a moment, oldest first. Raises ValueError for a moment that is none."""
    return _list([audit_row(entry) for entry in await reports.audit(parse_moment(since, now_ns, zone))])


async def verification(reports: UsageReports) -> Shown:
    """Whether the books are right: how many exchanges ended how, and ``problems``, one sentence each."""
    return {"object": "verification", **asdict(await reports.verify())}


class LedgerSettings(Protocol):
    """The settings that it goes by."""

    @property
    def upstreams(self) -> Mapping[str, Upstream]: ...
    @property
    def points_per_usd(self) -> int: ...
    @property
    def time_zone(self) -> tzinfo: ...


class LedgerService:
    """What can be done to the ledger: checked, pruned, and held against the accounts of the upstreams.

    ``pool``: to ask upstreams through.
    ``amount_held``: of a running gateway, what its budgets hold for an exchange; ``counted``: the budgets that the
    store counts instead, if it does; ``resolved``: is told that an exchange is charged so much, which frees what is
    held for it.

    Results are as JSON has them; times are UTC, money is US dollars. Methods raise StoreError, or
    errors.ledger_unavailable(), if the books cannot be read or written.
    """

    def __init__(
        self,
        store: Store,
        pool: ConnectionPool,
        in_force: InForce[LedgerSettings],
        *,
        wall_ns: Callable[[], int],
        amount_held: AmountHeld | None = None,
        resolved: Callable[[str, int], None] = lambda _, __: None,
        counted: BudgetRecords | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._in_force = in_force
        self._wall_ns = wall_ns
        self._amount_held = amount_held
        self._resolved = resolved
        self._counted = counted

    async def reconcile(self, since: str | None = None, until: str | None = None) -> Shown:
        """Ask every account of PiAPI's what is left on it, write that down, and hold what was drawn between all such
        snapshots of the period against the ledger.

        ``data``: rows as ``balance_rows`` describes them. ``unanswered``: the upstreams' keys whose account told
        nothing. Raises ValueError for moments that are none.
        """
        now_ns, settings = self._wall_ns(), self._in_force.snapshot
        period = parse_period(since or USAGE_SINCE, until, now_ns, settings.time_zone)
        asked = [
            (upstream, credential)
            for upstream in settings.upstreams.values()
            if upstream.dialect == "piapi"
            for credential in upstream.credentials
        ]
        told = await asyncio.gather(*(self._ask(upstream, credential) for upstream, credential in asked))
        taken: dict[Balance, str | None] = {}
        unanswered: list[Shown] = []
        for (upstream, credential), answer in zip(asked, told, strict=True):
            if answer is None:
                unanswered.append({"upstream": upstream.name, "upstream_key": credential.name})
            else:
                taken[Balance(upstream.name, credential.name, now_ns, answer.nano)] = answer.account
        await self._store.balances.record(list(taken))
        periods = await self._store.balances.periods(period.since_ns, period.until_ns)
        return {
            "object": "reconciliation",
            "at": iso_time(now_ns, UTC),
            "unanswered": unanswered,
            "data": balance_rows(periods, taken),
        }

    async def prune(self, before: str, *, dry_run: bool) -> Shown:
        """Let go of the rows from before a moment, or only count them; what they add up to stays in every report.

        What is unknown or open stays, and so does everything younger than KEPT_NS. ``before`` of the result: the full
        hour up to which rows could go. Raises ValueError for a moment that is none.
        """
        now_ns, zone = self._wall_ns(), self._in_force.snapshot.time_zone
        if dry_run:
            return await would_prune(self._store.usage, before, now_ns, zone)
        return _shown(await self._store.ledger.prune(_horizon(before, now_ns, zone), now_ns), dry_run=False)

    async def verify(self) -> Shown:
        """Check the whole books; see ``verification``."""
        return await verification(self._store.usage)

    async def held(self) -> Shown:
        """What is held for requests of unknown outcome; ``data``: rows as ``holds.held_row`` makes them."""
        holds = await self._store.usage.held(self._wall_ns())
        return _list(held_rows(holds, await self._amounts(holds)))

    async def release(self, ids: Sequence[str], reason: str, who: str) -> Shown:
        """Give back what is held for these exchanges: each is released in the books, charged nothing, and its budgets
        are free at once. ``who`` and ``reason`` go into the audit log with it.

        ``released``: their rows. ``refused``: ``{"id", "message"}`` of those that are not of unknown outcome; the
        others are done all the same. Raises ValueError for a reason that is none.
        """
        reason = reason.strip()
        if not reason or len(reason) > MOST_REASON or not reason.isprintable():
            raise ValueError(f"reason: expected one line of at most {MOST_REASON} characters, for the audit log")
        now_ns = self._wall_ns()
        known = {held.id: held for held in await self._store.usage.held(now_ns)}
        amount = await self._amounts(known.values())
        done: list[Shown] = []
        refused: list[Shown] = []
        for id in dict.fromkeys(ids):
            held = known.get(id)
            held_nano = None if amount is None else amount(id)
            try:
                entry = release_entry(held, id, now_ns, who, reason)
                if not await self._store.ledger.correct(released(id, now_ns, reason), entry):
                    raise NotUnknown(f"The outcome of {id} is known by now, or it was released before.")
            except NotUnknown as error:
                refused.append({"id": id, "message": str(error)})
                continue
            self._resolved(id, 0)
            reserved = 0 if held is None else held.reserved
            row = {"id": id, "held_usd": usd_number(reserved if held_nano is None else held_nano)}
            done.append({**held_row(held, 0), **row} if held is not None else row)
        return {"object": "release", "released": done, "refused": refused}

    async def audit(self, since: str) -> Shown:
        """What admins did; see ``audit_log``."""
        return await audit_log(self._store.usage, since, self._wall_ns(), self._in_force.snapshot.time_zone)

    async def _amounts(self, holds: Iterable[Held]) -> AmountHeld | None:
        """What is held for each of these by budgets; by those of the store, where it counts them. What counts on none
        of them is held by the books alone.
        """
        if self._counted is None:
            return self._amount_held
        amounts = {held.id: held.reserved for held in holds} | dict(await self._counted.held())
        return lambda id: amounts.get(id) or None

    async def _ask(self, upstream: Upstream, credential: Credential) -> _Told | None:
        points_per_usd = self._in_force.snapshot.points_per_usd

        def read(data: Any) -> _Told | None:
            nano = balance_nano(data, points_per_usd)
            return None if nano is None else _Told(nano, account_id(data))

        return await ask_account(self._pool, upstream, credential, read)


def _list(rows: Sequence[Shown]) -> Shown:
    return {"object": "list", "data": rows}


def _horizon(before: str, now_ns: int, zone: tzinfo) -> int:
    return min(parse_moment(before, now_ns, zone), now_ns - KEPT_NS)


def _shown(pruned: Pruned, *, dry_run: bool) -> Shown:
    return {
        "object": "pruning",
        "dry_run": dry_run,
        "before": iso_time(pruned.before_ns, UTC),
        "settled": pruned.settled,
        "released": pruned.released,
    }
