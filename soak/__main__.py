"""python -m soak: try to break the books, and say whether they held."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import httpx2

from soak import budget, fleet_kills, kills, outages, resends, steady
from soak.process import SoakError
from soak.report import Report, progress


def main() -> int:
    """Exit code: 0 the books held; 1 they did not, or the run itself failed; 2 bad usage or not Linux."""
    options = _options()
    if not sys.platform.startswith("linux"):
        print("soak: reads /proc, which only Linux has", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _terminated)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Path(tempfile.mkdtemp(prefix="piapi-gateway-soak-"))
    held = False
    try:
        report = asyncio.run(_run(options, folder))
        held = report.ok
        print(report.text())
    except (SoakError, OSError, httpx2.HTTPError, ExceptionGroup) as error:
        progress("")
        print(f"soak: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        held = True  # nothing is known to be wrong
        return 130
    finally:
        if held:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"soak: the ledger and the gateway's log are kept in {folder}", file=sys.stderr)
    return 0 if held else 1


def _run(options: argparse.Namespace, folder: Path) -> Coroutine[Any, Any, Report]:
    if options.command == "kills" and options.fleet:
        return fleet_kills.run(folder, options.count, options.seed)
    if options.command == "outage":
        return {"valkey": outages.stall_valkey, "postgres": outages.stop_postgres}[options.engine](
            folder, options.seconds
        )
    if options.command == "kills" and options.resend:
        return resends.run(folder, options.count, options.seed)
    if options.command == "kills":
        return kills.run(folder, options.count, options.seed)
    if options.command == "budget":
        return budget.run(folder, options.requests)
    return steady.run(folder, options.minutes, options.rate, options.keys)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    killing = commands.add_parser("kills", help="SIGKILL at random moments under mixed load")
    killing.add_argument("--count", type=int, default=1000, metavar="N", help="default: 1000")
    killing.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: any")
    killing.add_argument("--resend", action="store_true", help="by clients that send again what they were not answered")
    killing.add_argument("--fleet", action="store_true", help="in a fleet of three, on PostgreSQL and Valkey")
    outage = commands.add_parser("outage", help="an engine of a fleet of three is gone for a while")
    outage.add_argument("engine", choices=("valkey", "postgres"))
    outage.add_argument("--seconds", type=float, default=30, metavar="S", help="default: 30")
    crowd = commands.add_parser("budget", help="parallel requests from several processes on small budgets")
    crowd.add_argument("--requests", type=int, default=2000, metavar="N", help="a multiple of 8; default: 2000")
    traffic = commands.add_parser("steady", help="the same traffic for a long time")
    traffic.add_argument("--minutes", type=float, default=10, metavar="M", help="default: 10")
    traffic.add_argument("--rate", type=float, default=50, metavar="R", help="requests a second; default: 50")
    traffic.add_argument("--keys", type=int, default=200, metavar="N", help="default: 200")
    options = parser.parse_args()
    if options.command == "kills" and options.count < 1:
        parser.error("--count is at least 1")
    if options.command == "kills" and options.fleet and options.resend:
        parser.error("--resend is for one gateway, --fleet for three: choose one")
    if options.command == "outage" and not 1 <= options.seconds <= 600:
        parser.error("--seconds goes from 1 to 600")
    if options.command == "budget" and (options.requests < 200 or options.requests % 8):
        parser.error("--requests is a multiple of 8, at least 200")
    if options.command == "steady" and not (options.minutes > 0 and options.rate > 0 and 1 <= options.keys <= 1000):
        parser.error("--minutes and --rate are above 0, --keys goes from 1 to 1000")
    return options


def _terminated(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: cleaning up is under way
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
