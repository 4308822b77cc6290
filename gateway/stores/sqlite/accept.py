"""Going on with a store that has lost rows: an operator's word for it, kept in the audit log with what was lost."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.stores.records import AuditEntry
from gateway.stores.sqlite import audit
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.loss import Loss, find_loss, lost_file
from gateway.stores.sqlite.mark import file_state, read_mark
from gateway.stores.sqlite.schema import open_for_writing
from gateway.stores.sqlite.tally import count_anew
from gateway.stores.sqlite.watched_mark import WatchedMark


def accept_loss(path: Path, now_ns: int, who: str, reason: str) -> Loss:
    """Let the store be what it is now, and its mark. Returns what was missing; with nothing, nothing is changed.

    A file that is gone is made anew. Raises StoreInUse if a gateway is running, StoreError for a file that is damaged,
    which cannot be accepted.
    """
    path = path.resolve()
    lock = StoreLock.take(path)
    try:
        mark = read_mark(path)
        gone = lost_file(mark) if not file_state(path)[1] else None
        with closing(open_for_writing(path, now_ns, mark=mark, accepting=True)) as connection:
            lock.hold()
            connection.execute("PRAGMA synchronous = FULL")
            loss = gone or find_loss(connection, mark, recount=True)
            if not loss:
                return loss
            entry = AuditEntry(now_ns, who, "ledger.accept_loss", str(path), reason, _details(loss))
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM identity").fetchone()[0]:
                connection.execute("INSERT INTO identity VALUES (?)", (secrets.token_hex(16),))
            audit.append(connection, entry)
            count_anew(connection)
            connection.execute("COMMIT")
        WatchedMark(path, 0).end(False)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be written: {error}. Check its disk and who else has it open.") from error
    finally:
        lock.release()
    return loss


def _details(loss: Loss) -> dict[str, object]:
    return {
        "lost": list(loss.sentences),
        "rows": dict(loss.rows),
        "charged_nano": loss.charged,
        "upstream_cost_nano": loss.upstream_cost,
    }
