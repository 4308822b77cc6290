"""Intents: what waits for its commit is committed together, in one statement, before anything is bought.

A store that fails costs intents their request, at once. Of those that were on their way just then it is not known
whether they are in the books: they are given to be settled as released.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.core import errors
from gateway.stores.postgres import inserts, link
from gateway.stores.postgres.link import (
    RETRY_SECONDS,
    Health,
    Link,
    doubtful_errors,
    engine_errors,
    passing_errors,
)
from gateway.stores.postgres.months import Months
from gateway.stores.records import ExchangeRecord

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

IDLE_SECONDS = 5.0
"""Without an intent, until the server is asked whether it is still there."""

TRIES = 5
"""Of a transaction that others are in the way of."""

Admit = Callable[["Connection", Sequence[ExchangeRecord], float], Awaitable[Mapping[str, Exception]]]
"""Asks the budgets of these, and writes those down that have room, within so many seconds; returns the ids of those
that are refused, with what each caller is told."""

log = logging.getLogger("gateway.stores")


class IntentWriter:
    """Commits intents on a connection of its own. Belongs to one loop.

    ``doubtful``: is told of intents whose commit failed, and which may be in the books all the same.
    ``acknowledged``: is called after each batch, however it went.
    ``under_way``: the ids of those whose commit is not known yet.
    """

    def __init__(
        self,
        own: Link,
        health: Health,
        months: Months,
        gateway: str,
        admit: Admit,
        doubtful: Callable[[ExchangeRecord], None],
        acknowledged: Callable[[], None],
    ) -> None:
        self.under_way: set[str] = set()
        self._link = own
        self._health = health
        self._months = months
        self._gateway = gateway
        self._admit = admit
        self._doubtful = doubtful
        self._acknowledged = acknowledged
        self._queue: list[tuple[ExchangeRecord, Future[None]]] = []
        self._wake = asyncio.Event()
        self._ending = False

    @property
    def pending(self) -> int:
        """Intents that wait, or are on their way."""
        return len(self._queue) + len(self.under_way)

    def put(self, intent: ExchangeRecord) -> Future[None]:
        """Hand over an intent. The future ends with its commit, or raises errors.ledger_unavailable(), or what
        ``Admit`` says. Cancelled before it is under way, it is not written.
        """
        waiter: Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((intent, waiter))
        self._wake.set()
        return waiter

    def wake(self) -> None:
        """Look again whether the store is usable."""
        self._wake.set()

    def end(self) -> None:
        """Let ``run`` return when all that waits is written."""
        self._ending = True
        self._wake.set()

    async def run(self) -> None:
        """Write until the end."""
        try:
            while self._queue or not self._ending:
                if not self._health.usable:
                    await self._try_again()
                elif not self._queue:
                    await self._rest()
                else:
                    await self._write(self._take())
        finally:
            self._refuse()
            await self._link.close()

    async def _rest(self) -> None:
        """Wait for intents; now and then see whether the server is still there."""
        self._wake.clear()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            await self._probe("SELECT 1")

    def _take(self) -> list[tuple[ExchangeRecord, Future[None]]]:
        taken, self._queue = self._queue[: inserts.MAX_ROWS], self._queue[inserts.MAX_ROWS :]
        return [(intent, waiter) for intent, waiter in taken if not waiter.done()]

    async def _write(self, batch: list[tuple[ExchangeRecord, Future[None]]]) -> None:
        if not batch:
            return
        self.under_way.update(intent.id for intent, _ in batch)
        try:
            for _ in range(TRIES):
                try:
                    refused = await self._commit([intent for intent, _ in batch])
                except passing_errors() as error:
                    passing = error
                else:
                    break
            else:
                raise passing
        except inserts.unfit() as error:
            await self._write_singly(batch, error)
        except engine_errors() as error:
            self._fail(batch, error)
        else:
            for intent, waiter in batch:
                _answer(waiter, refused.get(intent.id))
        finally:
            for _, waiter in batch:
                _answer(waiter, errors.ledger_unavailable())  # those a mistake of ours has left without an answer
            self.under_way.clear()
            self._acknowledged()

    async def _commit(self, intents: list[ExchangeRecord]) -> Mapping[str, Exception]:
        """Commit them, but those that their budgets refuse, which are returned."""
        connection = await self._link.synced(any(intent.paid for intent in intents))
        if missing := self._months.missing(intent.at_ns for intent in intents):
            await self._months.make(connection, missing)
        if all(intent.claims is None for intent in intents):
            await inserts.insert_intents(connection, intents, self._gateway, link.ANSWER_SECONDS)
            return {}
        return await self._admit(connection, intents, link.ANSWER_SECONDS)

    async def _write_singly(self, batch: list[tuple[ExchangeRecord, Future[None]]], error: Exception) -> None:
        """One of them fits no row: only that one shall fail."""
        if len(batch) == 1:
            log.error("an intent fits no row of the ledger: %s", error)
            _answer(batch[0][1], errors.ledger_unavailable())
            return
        for one in batch:
            if self._health.usable and not one[1].done():
                await self._write([one])
            else:
                _answer(one[1], errors.ledger_unavailable())

    def _fail(self, batch: list[tuple[ExchangeRecord, Future[None]]], error: Exception) -> None:
        self._health.failed(link.INTENTS, error)
        self._link.drop()
        for intent, waiter in batch:
            if isinstance(error, doubtful_errors()) and not waiter.cancelled():  # one that was, its caller settles
                self._doubtful(intent)
            _answer(waiter, errors.ledger_unavailable())
        self._refuse()

    def _refuse(self) -> None:
        waiting, self._queue = self._queue, []
        for _, waiter in waiting:
            _answer(waiter, errors.ledger_unavailable())

    async def _try_again(self) -> None:
        """Write what means nothing but that writing works, or wait for the next time to try."""
        self._refuse()
        if self._ending:
            return
        await self._probe("UPDATE probe SET beats = beats + 1")
        if not self._health.usable:
            await asyncio.sleep(RETRY_SECONDS)

    async def _probe(self, statement: str) -> None:
        try:
            connection = await self._link.connection()
            await connection.execute(statement, timeout=link.ANSWER_SECONDS)
        except engine_errors() as error:
            self._health.failed(link.INTENTS, error)
            self._link.drop()
        else:
            self._health.worked(link.INTENTS)


def _answer(waiter: Future[None], refusal: Exception | None) -> None:
    if waiter.done():  # its task was cancelled
        return
    if refusal is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(refusal)
