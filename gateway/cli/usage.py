"""``piapi-gateway usage``: what was spent, from the ledger; and the ledger held against PiAPI's bill."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import orjson

from gateway.billing.ledger import SINCE
from gateway.billing.usage import FIELDS, parse_fields, parse_period, usage_rows
from gateway.cli.admin_client import AdminClient, by_the_one_writer
from gateway.cli.local_store import local_ledger_service
from gateway.cli.status import CommandResult
from gateway.cli.tables import reconciliation_csv, reconciliation_table, usage_csv, usage_table
from gateway.config import Config
from gateway.core.errors import OperatorError, invalid_request
from gateway.endpoints.admin.ledger import RECONCILE
from gateway.stores.engines import read_store

BY = "key,model"

_ASKING_SECONDS = 60.0
"""For a gateway to ask all accounts: several times what one may take (account_info.TIMEOUT)."""


def usage(config: Config, options: argparse.Namespace) -> CommandResult:
    """Do what the options ask.

    Raises GatewayError for what cannot be done, status 400 for what makes no sense; StoreError, OperatorError.
    """
    try:
        by = parse_fields(BY if options.by is None else options.by)
        period = parse_period(options.since, options.until, time.time_ns(), config.time_zone)
    except ValueError as error:
        raise invalid_request(str(error)) from None
    if options.reconcile:
        if options.by is not None:
            raise invalid_request("--by does not go with --reconcile, which has a row for each account")
        return asyncio.run(_reconciled(config, options))
    rows = asyncio.run(usage_rows(read_store(config.store).usage, period, by, config.time_zone))
    if options.format == "json":
        return CommandResult(_json(rows))
    return CommandResult(usage_csv(rows, by).rstrip("\n") if options.format == "csv" else usage_table(rows, by))


def add_usage_parser(commands: Any) -> argparse.ArgumentParser:
    """Add ``usage`` to a parser's commands; returns its parser."""
    spent: argparse.ArgumentParser = commands.add_parser(
        "usage",
        help="show what was spent, from the ledger",
        description=_MEANING,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    spent.add_argument(
        "--since", default=SINCE, metavar="WHEN", help="an age (30d, 12h) or a date; default: %(default)s"
    )
    spent.add_argument("--until", metavar="WHEN", help="an age or a date, itself not included; default: now")
    spent.add_argument("--by", metavar="FIELDS", help=f"of {','.join(FIELDS)}; default: {BY}")
    spent.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: %(default)s")
    spent.add_argument(
        "--reconcile",
        action="store_true",
        help="ask PiAPI what is left on every account, and hold the ledger against what was drawn (buys nothing)",
    )
    return spent


async def _reconciled(config: Config, options: argparse.Namespace) -> CommandResult:
    if not any(upstream.dialect == "piapi" and upstream.credentials for upstream in config.upstreams.values()):
        raise OperatorError("there is nobody to ask: no upstream of PiAPI's dialect has a key (set PIAPI_API_KEY)")
    url = f"http://{config.admin.listen}"
    client = AdminClient(url, config.admin.key)
    notes: list[str] = []

    async def asked() -> dict[str, Any]:
        return await client.ask(
            "POST",
            RECONCILE,
            known=lambda body: body.get("object") == "reconciliation",
            doubt="try again: asking twice does no harm",
            timeout=_ASKING_SECONDS,
            json={"since": options.since, "until": options.until},
        )

    async def here() -> dict[str, Any]:
        async with local_ledger_service(config) as (service, found):
            notes.extend(found)
            return await service.reconcile(options.since, options.until)

    answer = await by_the_one_writer(url, asked, here)
    rows = answer["data"]
    texts = {"json": _json, "csv": lambda rows: reconciliation_csv(rows).rstrip("\n"), "table": reconciliation_table}
    problems = [
        f"{key['upstream']} did not tell the balance of the key '{key['upstream_key']}'; "
        "piapi-gateway check --probe may say why"
        for key in answer["unanswered"]
    ]
    return CommandResult(texts[options.format](rows), problems, notes)


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


_MEANING = """\
What was spent, from the ledger. A request counts at the time it came in, by the calendar of 'time_zone'.

With --reconcile: writes down what PiAPI says is left on every account, and shows what was drawn between every
two such snapshots, what the ledger says is owed for that time, and the difference. Run it daily."""

_EXAMPLES = """\
examples:
  piapi-gateway usage --since 2026-11-01 --by team,model
  piapi-gateway usage --since 7d --by day --format csv
  piapi-gateway usage --reconcile --since 7d"""
