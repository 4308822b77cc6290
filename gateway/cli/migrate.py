"""``piapi-gateway migrate``: a SQLite store carried over to a PostgreSQL."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.command import STORE, CommandResult, UsageError, as_json, complete, report
from gateway.core.errors import StoreError

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.stores.migration import Migrated

_SQLITE, _POSTGRES = "sqlite:///", ("postgresql://", "postgres://")
_WIDTH = 30


def add_migrate_parser(commands: Any) -> None:
    """Add ``migrate`` to a parser's commands."""
    parser = commands.add_parser(
        "migrate",
        help="carry a SQLite store over to a PostgreSQL",
        description=_MEANING,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from", dest="source", metavar="URL", help="sqlite:///FILE; default: 'store' of the configuration"
    )
    parser.add_argument(
        "--to", dest="target", metavar="URL", help="postgresql://…, empty; default: 'store' of the configuration"
    )
    parser.add_argument("--json", action="store_true", help="for scripts")
    complete(parser, lambda options: report("migrate", _migrate, options, STORE))


def _migrate(config: Config, options: argparse.Namespace) -> CommandResult:
    import asyncio

    from gateway.stores.engines import migrate_store

    if options.source is None and options.target is None and config.store.startswith(_POSTGRES):
        return _bring_up_to_date(config, options)
    source, target = options.source or config.store, options.target or config.store
    if not source.startswith(_SQLITE):
        raise UsageError("migrate: --from must be sqlite:///FILE; the configuration names no such store")
    if not target.startswith(_POSTGRES):
        raise UsageError("migrate: --to must be postgresql://…; the configuration names no such store")
    progress = _Progress(shown=sys.stderr.isatty())
    try:
        done = asyncio.run(migrate_store(source, target, time.time_ns(), progress.show))
    finally:
        progress.clear()
    text = as_json(_as_row(done)) if options.json else _summary(done)
    if done.problems:
        return CommandResult(text, done.problems)
    notes, problems = _what_is_left(done), []
    if done.has_keys:
        try:
            notes.insert(1, _keep_pepper(done, config))
        except StoreError as error:
            problems.append(str(error))
    return CommandResult(text, problems, notes)


def _bring_up_to_date(config: Config, options: argparse.Namespace) -> CommandResult:
    """What a gateway would do as it starts, by itself: for a rollout that is to end here if it fails."""
    import asyncio

    from gateway.stores.engines import bring_up_to_date

    name, version = asyncio.run(bring_up_to_date(config.store, time.time_ns()))
    if options.json:
        return CommandResult(as_json({"store": name, "schema": version}))
    return CommandResult(f"{name} has the schema of this version ({version}).")


class _Progress:
    """A bar on a terminal, and nothing elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._last = ""

    def show(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` rows; ``what``: what is under way."""
        share = min(done / max(total, 1), 1.0)
        bar = "#" * int(share * _WIDTH)
        line = f"[{bar:<{_WIDTH}}] {int(share * 100):3d} % of {total:,} rows: {what}"
        if self._shown and line != self._last:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
            self._last = line

    def clear(self) -> None:
        if self._last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _summary(done: Migrated) -> str:
    from gateway.core.pricing.prices import format_usd

    found = done.compared
    if found is None:
        return f"{done.source} was carried over to {done.target} before; nothing was changed."
    if done.problems:
        return (
            f"{done.source} was copied to {done.target}, and is not the same there: no gateway serves from it. "
            "Give --to an empty database, and run this again."
        )
    return (
        f"{done.source} → {done.target}: {sum(done.rows.values()):,} rows.\n"
        f"Compared by key and month, and alike: {found.requests:,} request(s) of {found.months} month(s), "
        f"${format_usd(found.charged)} charged; {found.keys} virtual key(s)."
    )


def _keep_pepper(done: Migrated, config: Config) -> str:
    """Put the pepper where the gateways of the configuration look for it. Returns the sentence that says so.

    Raises StoreError: it is not there, or another one is in that place.
    """
    from gateway.keys.hashing import copy_pepper

    own, place = done.pepper_file, config.pepper_file(None).absolute()
    if config.key_pepper or own is None:
        return "every gateway needs GATEWAY_KEY_PEPPER as it was, or the keys open nothing"
    copy_pepper(own, place)
    return (
        f"the keys' pepper was put into {place}, where gateways of this configuration look for it: images.dir must be "
        "one folder for all of them; or set GATEWAY_KEY_PEPPER for every one of them, to what this prints: "
        f"od -An -v -tx1 {own} | tr -d ' \\n'"
    )


def _what_is_left(done: Migrated) -> list[str]:
    left = [f"write it into the configuration of every gateway: store: {done.target} (with its user and password)"]
    if done.open:
        left.append(
            f"requests that the end of a process had cut short, which the first gateway books as unknown: {done.open}"
        )
    left.append(f"{Path(done.source).name} was not changed: keep it until the new store has proven itself")
    left.append("kept pictures and large answers stay where they are, in images.dir, which all gateways must see")
    return left


def _as_row(done: Migrated) -> dict[str, Any]:
    found = done.compared
    return {
        "from": done.source,
        "to": done.target,
        "ended_before": found is None,
        "rows": done.rows,
        "compared": None
        if found is None
        else {
            "requests": found.requests,
            "charged_nano_usd": found.charged,
            "keys": found.keys,
            "months": found.months,
            "alike": not done.problems,
        },
        "open": done.open,
    }


_MEANING = """\
Carry everything in a SQLite store over to a PostgreSQL: keys, books, balances, jobs, responses, alerts.
No gateway may be using either. The SQLite store is only read, and stays as it is. What was interrupted,
by a kill as well, goes on where it stopped when the same command is run again. At the end both are compared:
what each key was charged in each month, every row counted, every key. Until then no gateway serves from it.

Without --from and --to, where the configuration's 'store' is a PostgreSQL: bring its schema up to date, as a gateway
would that starts, and end. Gateways may be using it. The chart's Job does so before new pods start."""

_EXAMPLE = """\
example:
  piapi-gateway migrate --from sqlite:///gateway.db --to postgresql://gateway@db.internal/gateway

The password may be in PGPASSWORD, in ~/.pgpass or in the configuration's 'store' (then leave --to out),
so that no list of processes shows it."""
