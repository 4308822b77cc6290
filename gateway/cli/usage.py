"""``piapi-gateway usage``: what was spent, from the ledger; and the ledger held against PiAPI's bill."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.cli.command import BOOKS, CommandResult, as_json, complete, report, servable_config
from gateway.core.defaults import USAGE_BY, USAGE_FIELDS, USAGE_SINCE

if TYPE_CHECKING:
    from gateway.billing.usage import Period
    from gateway.cli.admin_client import AdminClient
    from gateway.config import Config

_ANSWER_SECONDS = 60.0
"""For a gateway to read a year day by day, or to ask all accounts: several times what one may take."""

_ASK_AGAIN = "try again: asking twice does no harm"


def add_usage_parser(commands: Any) -> None:
    """Add ``usage`` to a parser's commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "usage",
        help="show what was spent, from the ledger",
        description=_MEANING,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--since", default=USAGE_SINCE, metavar="WHEN", help="an age (30d, 12h) or a date; default: %(default)s"
    )
    parser.add_argument("--until", metavar="WHEN", help="an age or a date, itself not included; default: now")
    parser.add_argument("--by", metavar="FIELDS", help=f"of {','.join(USAGE_FIELDS)}; default: {USAGE_BY}")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: %(default)s")
    parser.add_argument(
        "--reconcile",
        action="store_true",
        help="ask PiAPI what is left on every account, and hold the ledger against what was drawn (buys nothing)",
    )
    complete(parser, usage_command)


def usage_command(options: argparse.Namespace) -> int:
    """Print what was spent, or how the ledger and the bill compare."""
    return report("usage", _usage, options, BOOKS)


def _usage(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.billing.usage import parse_fields, parse_period
    from gateway.core.errors import invalid_request

    try:
        by = parse_fields(USAGE_BY if options.by is None else options.by)
        period = parse_period(options.since, options.until, time.time_ns(), config.time_zone)
    except ValueError as error:
        raise invalid_request(str(error)) from None
    if options.reconcile and options.by is not None:
        raise invalid_request("--by does not go with --reconcile, which has a row for each account")
    return _reconciled(config, options) if options.reconcile else _spent(config, options, by, period)


def _spent(config: Config, options: argparse.Namespace, by: list[str], period: Period) -> CommandResult:
    from gateway.billing.usage import usage_rows
    from gateway.cli.admin_client import gateway_first
    from gateway.cli.tables import usage_csv, usage_table
    from gateway.cli.unpriced_advice import unpriced_advice
    from gateway.core.routing.route_table import RouteTable
    from gateway.endpoints.admin.paths import USAGE_PATH
    from gateway.stores.engines import read_store

    async def asked(client: AdminClient) -> list[dict[str, Any]]:
        until = {} if options.until is None else {"until": options.until}
        answer = await client.ask(
            "GET",
            USAGE_PATH,
            known=lambda body: isinstance(body.get("data"), list),
            doubt=_ASK_AGAIN,
            timeout=_ANSWER_SECONDS,
            params={"since": options.since, **until, "by": ",".join(by)},
        )
        rows: list[dict[str, Any]] = answer["data"]
        return rows

    async def here() -> list[dict[str, Any]]:
        return await usage_rows(read_store(config.store).usage, period, by, config.time_zone)

    notes: list[str] = []
    rows = gateway_first(config, asked, here, notes)
    if options.format == "json":
        return CommandResult(as_json(rows), notes=notes)

    routes = RouteTable(config.declared)

    def relayed(model: str) -> Sequence[str]:
        return [upstream.name for upstream in config.default_route] if routes.find(model) is None else ()

    if options.format == "csv":
        return CommandResult(usage_csv(rows, by).rstrip("\n"), notes=notes)
    return CommandResult(
        "\n\n".join(filter(None, (usage_table(rows, by), unpriced_advice(rows, relayed)))), notes=notes
    )


def _reconciled(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.cli.admin_client import gateway_first
    from gateway.cli.local_store import local_ledger_service
    from gateway.cli.tables import reconciliation_csv, reconciliation_table
    from gateway.core.errors import OperatorError
    from gateway.endpoints.admin.paths import RECONCILE_PATH

    async def asked(client: AdminClient) -> dict[str, Any]:
        return await client.ask(
            "POST",
            RECONCILE_PATH,
            known=lambda body: body.get("object") == "reconciliation",
            doubt=_ASK_AGAIN,
            timeout=_ANSWER_SECONDS,
            json={"since": options.since, "until": options.until},
        )

    async def here() -> dict[str, Any]:
        config = servable_config(options.config)  # without a gateway, the upstreams' keys are used after all
        if not any(upstream.dialect == "piapi" and upstream.credentials for upstream in config.upstreams.values()):
            raise OperatorError(
                "there is no account to ask: no upstream of PiAPI's dialect has a key (set PIAPI_API_KEY)"
            )
        async with local_ledger_service(config, notes) as service:
            return await service.reconcile(options.since, options.until)

    notes: list[str] = []
    answer = gateway_first(config, asked, here, notes)
    texts = {"json": as_json, "csv": lambda rows: reconciliation_csv(rows).rstrip("\n"), "table": reconciliation_table}
    problems = [
        f"{key['upstream']} did not tell the balance of the key '{key['upstream_key']}'; "
        "piapi-gateway check --probe may say why"
        for key in answer["unanswered"]
    ]
    return CommandResult(texts[options.format](answer["data"]), problems, notes)


_MEANING = """\
What was spent, from the ledger. A request counts at the time it came in, by the calendar of 'time_zone'.
What was served at no known price is 'unpriced', and its cost in no figure; what is free costs 0 and is not.
JSON also tells the prices that a row was booked at, and how much of it is an estimate.

With --reconcile: writes down what PiAPI says is left on every account, and shows what was drawn between every
two such snapshots, what the ledger says is owed for that time, and the difference. Run it daily."""

_EXAMPLES = """\
examples:
  piapi-gateway usage --since 2026-11-01 --by team,model
  piapi-gateway usage --since 2026-11-01 --until 2026-11-02      the first of November
  piapi-gateway usage --since 7d --by day --format csv
  piapi-gateway usage --reconcile --since 7d"""
