"""``piapi-gateway backup DIR`` and ``restore DIR``: the store, copied while it is used and put back."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.command import STORE, CommandResult, as_json, complete, report

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.stores.records import Backup


def add_backup_parser(commands: Any) -> None:
    """Add ``backup`` to a parser's commands."""
    parser = commands.add_parser(
        "backup", help="copy the books and the keys, also while a gateway runs", description=_BACKUP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to; it is made, or an earlier backup replaced")
    parser.add_argument("--json", action="store_true", help="for scripts")
    complete(parser, lambda options: report("backup", _backup, options, STORE))


def add_restore_parser(commands: Any) -> None:
    """Add ``restore`` to a parser's commands."""
    parser = commands.add_parser(
        "restore", help="put a backup in the place of the books and the keys", description=_RESTORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that 'backup' made")
    parser.add_argument("--check", action="store_true", help="only look whether the backup is whole and right")
    parser.add_argument("--json", action="store_true", help="for scripts")
    complete(parser, lambda options: report("restore", _restore, options, STORE))


def _backup(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.stores.engines import back_up

    shown = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shown:
            print(f"\r{done * 100 // max(total, 1):3d} % of {total} pages", end="", file=sys.stderr, flush=True)

    made = back_up(config.store, options.folder, time.time_ns(), progress)
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr)
    notes = []
    if "gateway.db.pepper" not in made.files:
        notes.append("the pepper of the keys is in GATEWAY_KEY_PEPPER, not in the backup: keep it elsewhere")
    if options.json:
        return CommandResult(as_json(_as_row(made)), notes=notes)
    return CommandResult(f"{_summary(made)}\nTo put it back: piapi-gateway restore {options.folder}", notes=notes)


def _restore(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.stores.engines import look_at_backup, put_back

    if options.check:
        found = look_at_backup(options.folder)
        return CommandResult(as_json(_as_row(found)) if options.json else _summary(found))
    backup, aside = put_back(options.folder, config.store, time.time_ns())
    moved = [f"moved aside: {path}" for path in aside]
    if options.json:
        return CommandResult(
            as_json({**_as_row(backup), "store": config.store, "moved_aside": [str(one) for one in aside]})
        )
    lines = [_summary(backup), f"It stands in {config.store} now.", *moved]
    return CommandResult("\n".join(lines))


def _summary(backup: Backup) -> str:
    books, size = backup.books, sum(backup.files.values())
    return (
        f"{backup.folder}: {len(backup.files)} files, {size / 1_000_000:.1f} MB, of {backup.made_at}; books right: "
        f"settled {books.settled}, released {books.released}, unknown {books.unknown}, open {books.open}"
    )


def _as_row(backup: Backup) -> dict[str, Any]:
    books = backup.books
    return {
        "folder": str(backup.folder),
        "made_at": backup.made_at,
        "files": backup.files,
        "settled": books.settled,
        "released": books.released,
        "unknown": books.unknown,
        "open": books.open,
    }


_BACKUP = """\
Copy the books, the virtual keys and their pepper into a folder, and check the copy. It may run while a
gateway does: the copy is of one moment. Kept images are not in it; the configuration is a file of yours.
The folder holds secrets: it is for its owner alone."""

_RESTORE = """\
Put a backup in the place of the store, after its files and its books have proven right. No gateway may be
using the store. What stands there is moved aside, not removed. What was under way at the moment of the
backup is booked as unknown at the next start."""
