"""``piapi-gateway ledger held`` and ``ledger audit``: what is held for requests of unknown outcome, given back by an
admin with a reason; and what admins did.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.cli.command import CommandResult, as_json
from gateway.core.defaults import USAGE_SINCE

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.config import Config

_HELD_COLUMNS = ("id", "key", "team", "model", "held_usd", "since", "until", "tasks", "why")
_AUDIT_COLUMNS = ("at", "who", "act", "subject", "reason", "details")

Shown = dict[str, Any]


def add_held_parsers(actions: Any) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Add ``held`` and ``audit`` to the ledger's actions."""
    raw = argparse.RawDescriptionHelpFormatter
    holding: argparse.ArgumentParser = actions.add_parser(
        "held", help="show and release what is held for requests of unknown outcome", description=_HELD_MEANING,
        epilog=_HELD_EXAMPLES, formatter_class=raw,
    )  # fmt: skip
    holding.set_defaults(action=_held)
    holding.add_argument(
        "--release", nargs="+", action="extend", default=[], metavar="ID", help="give back what is held for these"
    )
    holding.add_argument("--reason", metavar="TEXT", help="why, for the audit log; needed with --release")
    auditing: argparse.ArgumentParser = actions.add_parser(
        "audit", help="show what admins did to keys and to the books", formatter_class=raw,
        description="What admins did to keys and to the books, oldest first. Nothing is ever removed from it.",
        epilog="example:\n  piapi-gateway ledger audit --since 7d --json",
    )  # fmt: skip
    auditing.set_defaults(action=_audit)
    auditing.add_argument(
        "--since", default=USAGE_SINCE, metavar="WHEN", help="an age (30d, 12h) or a date; default: %(default)s"
    )
    for parser in (holding, auditing):
        parser.add_argument("--json", action="store_true", help="for scripts")
    return holding, auditing


def _held(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.core.errors import invalid_request

    if options.release:
        if not (options.reason or "").strip():
            raise invalid_request('--release needs a reason for the audit log, such as --reason "not on the bill"')
        return _release(config, options)
    if options.reason is not None:
        raise invalid_request("--reason goes with --release ID")
    notes: list[str] = []
    rows = _asked(config, notes, "GET", "HELD_PATH", _held_here)["data"]
    return CommandResult(as_json(rows) if options.json else _table(rows), notes=notes)


def _release(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.cli.admin_client import gateway_first, local_user
    from gateway.cli.local_store import local_ledger_service
    from gateway.endpoints.admin.paths import RELEASE_PATH

    async def asked(client: AdminClient) -> Shown:
        return await client.ask(
            "POST",
            RELEASE_PATH,
            known=lambda body: body.get("object") == "release",
            doubt="'ledger held' tells what is still held",
            json={"ids": options.release, "reason": options.reason},
        )

    async def here() -> Shown:
        from gateway.core.errors import invalid_request

        async with local_ledger_service(config, notes) as service:
            try:
                return await service.release(options.release, options.reason, f"local user {local_user()}")
            except ValueError as error:
                raise invalid_request(str(error)) from None

    notes: list[str] = []
    answer = gateway_first(config, asked, here, notes)
    problems = [f"{one['id']} was not released: {one['message']}" for one in answer["refused"]]
    if options.json:
        return CommandResult(as_json(answer), problems, notes)
    lines = [
        f"{one['id']} is released: ${_dollars(one['held_usd'])} of budgets are free again, and nobody is charged."
        for one in answer["released"]
    ]
    return CommandResult("\n".join(lines or ["Nothing was released."]), problems, notes)


def _audit(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.billing.usage import parse_moment
    from gateway.cli.tables import render
    from gateway.core.errors import invalid_request

    try:
        parse_moment(options.since, time.time_ns(), config.time_zone)
    except ValueError as error:
        raise invalid_request(str(error)) from None
    notes: list[str] = []
    rows = _asked(config, notes, "GET", "AUDIT_PATH", _audit_here(options.since), params={"since": options.since})[
        "data"
    ]
    if options.json:
        return CommandResult(as_json(rows), notes=notes)
    if not rows:
        return CommandResult(f"Nothing was done since {options.since}.", notes=notes)
    shown = [
        {**row, "details": ", ".join(f"{name}: {value}" for name, value in row["details"].items())} for row in rows
    ]
    return CommandResult(render(shown, _AUDIT_COLUMNS), notes=notes)


def _asked(
    config: Config, notes: list[str], method: str, path: str, here: Callable[[Config], Any], **request: Any
) -> Shown:
    """What the running gateway answers, or the books alone. ``path``: the name of a constant of ``admin.paths``."""
    from gateway.cli.admin_client import gateway_first
    from gateway.endpoints.admin import paths

    async def asked(client: AdminClient) -> Shown:
        return await client.ask(
            method,
            getattr(paths, path),
            known=lambda body: isinstance(body.get("data"), list),
            doubt="try again: asking changes nothing",
            **request,
        )

    async def local() -> Shown:
        answer: Shown = await here(config)
        return answer

    return gateway_first(config, asked, local, notes)


async def _held_here(config: Config) -> Shown:
    from gateway.billing.ledger import held_by_the_books
    from gateway.stores.engines import read_store

    return await held_by_the_books(read_store(config.store).usage, time.time_ns())


def _audit_here(since: str) -> Callable[[Config], Any]:
    async def here(config: Config) -> Shown:
        from gateway.billing.ledger import audit_log
        from gateway.stores.engines import read_store

        return await audit_log(read_store(config.store).usage, since, time.time_ns(), config.time_zone)

    return here


def _table(rows: list[Shown]) -> str:
    from gateway.cli.tables import render

    if not rows:
        return "Nothing is held: of every request of the last 24 hours it is known how it ended, or it still runs."
    shown = [{**row, "held_usd": _dollars(row["held_usd"]), "tasks": " ".join(row["task_ids"])} for row in rows]
    return render(shown, _HELD_COLUMNS, right=frozenset({"held_usd"}))


def _dollars(amount: float) -> str:
    from gateway.core.pricing.prices import format_usd

    return format_usd(round(amount * 1e9))


_HELD_MEANING = """\
What is held of budgets for requests that ended without anybody knowing whether they were bought: those that
ran when the gateway was killed, and those whose upstream fell silent after the order. It is held for a day
from when they came in, unless PiAPI tells of their tasks what became of them.

With --release, what is held for a request is given back at once: the books have it as released, its key is
charged nothing, and who did it and why stays in the audit log (ledger audit). It is not asked after any
more; if it was bought all the same, PiAPI's bill shows it (usage --reconcile), and no key is charged."""

_HELD_EXAMPLES = """\
examples:
  piapi-gateway ledger held
  piapi-gateway ledger held --release 01a3f0c9e1b2d4c5f6a7b8c9d0e1f2a3 --reason "not on PiAPI's bill" """
