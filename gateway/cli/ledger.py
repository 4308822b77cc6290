"""``piapi-gateway ledger …``: check the books, and let old rows go."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any

from gateway.billing.ledger import would_prune
from gateway.cli.admin_client import AdminClient, by_the_one_writer
from gateway.cli.local_store import local_ledger_service
from gateway.cli.status import CommandResult
from gateway.config import Config
from gateway.core.errors import invalid_request
from gateway.endpoints.admin.ledger import PRUNE
from gateway.stores.engines import read_store

LedgerCommand = Callable[[Config, argparse.Namespace], CommandResult]


def obey(config: Config, options: argparse.Namespace) -> CommandResult:
    """Do what the options ask.

    Raises GatewayError for what cannot be done, status 400 for what makes no sense; StoreError, OperatorError.
    """
    work: LedgerCommand = options.work
    return work(config, options)


def _verify(config: Config, _: argparse.Namespace) -> CommandResult:
    books = asyncio.run(read_store(config.store).usage.verify())
    lines = [f"settled {books.settled}, released {books.released}, unknown {books.unknown}, open {books.open}"]
    if books.corrected or books.pruned:
        lines.append(f"corrected {books.corrected}, pruned {books.pruned}")
    return CommandResult("\n".join(lines), books.problems)


def _prune(config: Config, options: argparse.Namespace) -> CommandResult:
    try:
        planned = asyncio.run(
            would_prune(read_store(config.store).usage, options.before, time.time_ns(), config.time_zone)
        )
    except ValueError as error:
        raise invalid_request(str(error)) from None
    if options.yes:
        return asyncio.run(_prune_now(config, options))
    return CommandResult(f"{_pruned(planned)}\nNothing was removed. To do it, add --yes.")


async def _prune_now(config: Config, options: argparse.Namespace) -> CommandResult:
    url = f"http://{config.admin.listen}"
    client = AdminClient(url, config.admin.key)
    notes: list[str] = []

    async def asked() -> dict[str, Any]:
        return await client.ask(
            "POST",
            PRUNE,
            known=lambda body: body.get("object") == "pruning",
            doubt="'ledger verify' tells how much was pruned, and pruning can be asked again",
            timeout=None,  # a million rows take minutes, in small steps
            json={"before": options.before},
        )

    async def here() -> dict[str, Any]:
        async with local_ledger_service(config) as (service, found):
            notes.extend(found)
            return await service.prune(options.before, dry_run=False)

    return CommandResult(_pruned(await by_the_one_writer(url, asked, here)), notes=notes)


def _pruned(answer: dict[str, Any]) -> str:
    would = "would leave" if answer["dry_run"] else "left"
    return (
        f"{answer['settled']} settled and {answer['released']} released requests from before {answer['before']} "
        f"{would} the ledger; usage keeps what they add up to."
    )


def add_ledger_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Add ``ledger`` and its actions to a parser's commands; returns the parsers of the actions."""
    ledger = commands.add_parser("ledger", help="look after the ledger", description="Look after the ledger.")
    actions = ledger.add_subparsers(metavar="ACTION", required=True)
    verifying: argparse.ArgumentParser = actions.add_parser(
        "verify", help="check the books", description="Check the books; exit 0 if they are consistent."
    )
    verifying.set_defaults(work=_verify)
    pruning: argparse.ArgumentParser = actions.add_parser(
        "prune", help="let old rows go", description=_PRUNE_MEANING, epilog=_PRUNE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    pruning.set_defaults(work=_prune)
    pruning.add_argument("--before", required=True, metavar="WHEN", help="an age (90d, 52w) or a date")
    pruning.add_argument("--yes", action="store_true", help="do it; without this it is only counted")
    return [verifying, pruning]


_PRUNE_MEANING = """\
Let go of the rows of requests from before a moment. What they add up to, by hour, key, team, model and
upstream, stays, so that usage and budgets do not change. What is open or unknown stays, and so does
everything of the last three days. The file does not shrink: its room is used again."""

_PRUNE_EXAMPLE = """\
examples:
  piapi-gateway ledger prune --before 90d          counts what would go
  piapi-gateway ledger prune --before 90d --yes"""
