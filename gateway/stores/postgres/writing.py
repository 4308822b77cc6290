"""Writing what is neither the ledger's nor a report's: one short transaction, and errors in the words of the store."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError, ledger_unavailable
from gateway.stores.postgres.pool import PostgresPool

if TYPE_CHECKING:
    import asyncpg

_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")


@asynccontextmanager
async def writing(pool: PostgresPool, within: float | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A transaction, durable at its end. Raises errors.ledger_unavailable() where the server does not do it, or not
    ``within`` so many seconds; what its user raises passes, and nothing is written then.
    """
    try:
        async with pool.transaction(within) as connection:
            yield connection
    except StoreError as error:
        if error.__cause__ is None:  # raised by the user, not by the pool
            raise
        raise ledger_unavailable() from error


async def lock_subject(connection: asyncpg.Connection[Any], subject: str) -> None:
    """Wait until no other transaction changes the subject (table ``versions``), and let none until this one ends."""
    await connection.execute("SELECT 1 FROM versions WHERE subject = $1 FOR UPDATE", subject)


def storable(text: str) -> bool:
    """Whether the text can be in a row: no half of a character, and no NUL. What cannot was never kept."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_storable(text: str) -> str:
    """The text as a row can have it."""
    return text if storable(text) else _NO_CHARACTER.sub("\ufffd", text)
