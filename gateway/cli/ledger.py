"""``piapi-gateway ledger …``: the books checked, relieved of old rows and of what is held; what admins did."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.cli.command import BOOKS, CommandResult, complete, report
from gateway.cli.held import add_held_parsers

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.config import Config

LedgerAction = Callable[["Config", argparse.Namespace], CommandResult]


def add_ledger_parser(commands: Any) -> None:
    """Add ``ledger`` and its actions to a parser's commands."""
    ledger = commands.add_parser("ledger", help="look after the ledger", description="Look after the ledger.")
    actions = ledger.add_subparsers(metavar="ACTION", required=True)
    verifying: argparse.ArgumentParser = actions.add_parser(
        "verify", help="check the books", description=_VERIFY_MEANING, epilog=_VERIFY_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verifying.add_argument(
        "--accept-loss", metavar="REASON", help="serve again from a store that has lost rows, and say why"
    )
    verifying.set_defaults(action=_verify)
    pruning: argparse.ArgumentParser = actions.add_parser(
        "prune", help="let old rows go", description=_PRUNE_MEANING, epilog=_PRUNE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    pruning.set_defaults(action=_prune)
    pruning.add_argument("--before", required=True, metavar="WHEN", help="an age (90d, 52w) or a date")
    pruning.add_argument("--yes", action="store_true", help="do it; without this it is only counted")
    for parser in (verifying, pruning, *add_held_parsers(actions)):
        complete(parser, ledger_command)


def ledger_command(options: argparse.Namespace) -> int:
    """Do what the action asks, and print the result."""
    action: LedgerAction = options.action
    return report("ledger", action, options, BOOKS)


def _verify(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.billing.ledger import verification
    from gateway.cli.admin_client import gateway_first
    from gateway.endpoints.admin.paths import VERIFY_PATH
    from gateway.stores.engines import read_store

    async def asked(client: AdminClient) -> dict[str, Any]:
        return await client.ask(
            "GET",
            VERIFY_PATH,
            known=lambda body: body.get("object") == "verification",
            doubt="try again: asking changes nothing",
            timeout=None,  # a million rows take a while
        )

    async def here() -> dict[str, Any]:
        return await verification(read_store(config.store).usage)

    if options.accept_loss is not None:
        return _accept_loss(config, options.accept_loss)
    notes: list[str] = []
    books = gateway_first(config, asked, here, notes)
    return CommandResult(_counted(books), books["problems"], notes)


def _accept_loss(config: Config, given: str) -> CommandResult:
    import asyncio

    from gateway.billing.holds import MOST_REASON
    from gateway.billing.ledger import verification
    from gateway.cli.admin_client import local_user
    from gateway.core.errors import invalid_request
    from gateway.stores.engines import accept_loss, read_store

    reason = " ".join(given.split())
    if not 1 <= len(reason) <= MOST_REASON:
        raise invalid_request(f"--accept-loss needs a reason for the audit log, of at most {MOST_REASON} characters")

    lost = accept_loss(config.store, time.time_ns(), f"local user {local_user()}", reason)
    books = asyncio.run(verification(read_store(config.store).usage))
    if not lost:
        return CommandResult(_counted(books), books["problems"], ["nothing is missing, so nothing was accepted"])
    text = "\n".join((_counted(books), *(f"accepted as lost: {sentence}" for sentence in lost)))
    return CommandResult(text, notes=books["problems"])


def _counted(books: dict[str, Any]) -> str:
    lines = ["settled {settled}, released {released}, unknown {unknown}, open {open}".format_map(books)]
    if books["corrected"] or books["pruned"]:
        lines.append("corrected {corrected}, pruned {pruned}".format_map(books))
    return "\n".join(lines)


def _prune(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.billing.ledger import would_prune
    from gateway.billing.usage import parse_moment
    from gateway.cli.admin_client import gateway_first
    from gateway.cli.local_store import local_ledger_service
    from gateway.core.errors import invalid_request
    from gateway.endpoints.admin.paths import PRUNE_PATH
    from gateway.stores.engines import read_store

    try:
        parse_moment(options.before, time.time_ns(), config.time_zone)
    except ValueError as error:
        raise invalid_request(str(error)) from None

    async def asked(client: AdminClient) -> dict[str, Any]:
        return await client.ask(
            "POST",
            PRUNE_PATH,
            known=lambda body: body.get("object") == "pruning",
            doubt="'ledger verify' tells how much was pruned, and pruning can be asked again",
            timeout=None,  # a million rows take minutes, in small steps
            json={"before": options.before, "dry_run": not options.yes},
        )

    async def here() -> dict[str, Any]:
        if not options.yes:  # counting needs no lock
            return await would_prune(read_store(config.store).usage, options.before, time.time_ns(), config.time_zone)
        async with local_ledger_service(config, notes) as service:
            return await service.prune(options.before, dry_run=False)

    notes: list[str] = []
    pruned = _pruned(gateway_first(config, asked, here, notes))
    if not options.yes:
        pruned += "\nNothing was removed. To do it, add --yes."
    return CommandResult(pruned, notes=notes)


def _pruned(answer: dict[str, Any]) -> str:
    would = "would leave" if answer["dry_run"] else "left"
    return (
        f"{answer['settled']} settled and {answer['released']} released requests from before {answer['before']} "
        f"{would} the ledger; usage keeps what they add up to."
    )


_VERIFY_MEANING = """\
Check the books; exit 0 if they are consistent and nothing is missing that was once in them.

A gateway does not start on a store that has lost what its mark (gateway.db.mark) knows of. Put back what
is missing, or a backup. To go on without it, say why: that is written into the audit log, with what was
lost, and the store is served again."""

_VERIFY_EXAMPLE = """\
examples:
  piapi-gateway ledger verify
  piapi-gateway ledger verify --accept-loss 'the disk died; restored from the copy of Monday'"""

_PRUNE_MEANING = """\
Let go of the rows of requests from before a moment. What they add up to, by hour, key, team, model and
upstream, stays, so that usage and budgets do not change. What is open or unknown stays, and so does
everything of the last three days. The file does not shrink: its room is used again."""

_PRUNE_EXAMPLE = """\
examples:
  piapi-gateway ledger prune --before 90d          counts what would go
  piapi-gateway ledger prune --before 90d --yes"""
