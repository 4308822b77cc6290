"""The command line: parse, call, print. One function a command."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from gateway import __version__
from gateway.app import Gateway, build_log
from gateway.config import Config, describe_models, load, unsupported
from gateway.console import models_table, probe_table, read_status, status_text
from gateway.demo import run_demo
from gateway.endpoints.server import ListenError
from gateway.errors import ConfigError, OperatorError
from gateway.lifecycle import run, serve_until_stopped
from gateway.probe import probe
from gateway.reports import FIELDS, parse_fields, parse_period, usage_csv, usage_rows, usage_table
from gateway.sandbox import SCENARIOS, run_sandbox
from gateway.stores.queries import verify
from gateway.stores.sqlite import store_path
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.transport import PoolTransport

DONE, FAILED, BAD_USAGE = 0, 1, 2
DEFAULT_CONFIG = Path("config.yaml")


class UsageError(Exception):
    """The command's arguments make no sense; the message says what would."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0 done, 1 failed, 2 bad usage or bad configuration."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ConfigError, UsageError) as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (OperatorError, ListenError, OSError) as error:
        print(f"piapi-gateway: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def serve(options: argparse.Namespace) -> int:
    """The gateway."""
    config = _config(options)

    async def serving() -> int:
        log = build_log(config)
        try:
            for warning in config.warnings:
                log.warning("config", message=warning)
            gateway = await Gateway.start(config, log, lambda: _config(options))
            return await serve_until_stopped(gateway, lambda: _announce(gateway))
        finally:
            log.close()

    return run(serving())


def demo(options: argparse.Namespace) -> int:
    """The sandbox and the gateway in one process."""
    return run(run_demo(options.config, os.environ))


def sandbox(options: argparse.Namespace) -> int:
    """Only the simulated upstreams."""
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<24} {scenario.summary}")
        return DONE
    if options.scenario is not None and options.scenario.partition(";")[0] not in SCENARIOS:
        raise UsageError(f"sandbox: no scenario '{options.scenario}'; piapi-gateway sandbox --list shows them all")
    run(run_sandbox(options.listen, options.scenario, lambda box: print(f"SANDBOX listens on {box.url}", flush=True)))
    return DONE


def check(options: argparse.Namespace) -> int:
    """Validate; with --probe, ask the upstreams as well."""
    config = _config(options)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    refused = unsupported(config)
    for sentence in refused:
        print(f"serve will refuse: {sentence}", file=sys.stderr)
    source = config.source or "built-in defaults"
    if not options.json:
        on = sum(1 for route in config.routes if route.targets)
        print(f"{source}: OK, {on} models on, {len(config.keys)} virtual keys, upstreams off: {_names(config.off)}")
    if not options.probe:
        if options.json:
            _print_json({"source": str(source), "ok": True, "warnings": [*config.warnings, *refused]})
        return DONE
    rows = run(_probe(config))
    if options.json:
        _print_json(rows)
    else:
        print(probe_table(rows, config))
    return DONE if rows and all(row["state"] == "ok" for row in rows) else FAILED


def models(options: argparse.Namespace) -> int:
    """The catalogue in force."""
    rows = describe_models(_config(options))
    if options.json:
        _print_json(rows)
    else:
        print(models_table(rows))
    return DONE


def usage(options: argparse.Namespace) -> int:
    """Spend from the ledger."""
    config = _config(options)
    try:
        by = parse_fields(options.by)
        period = parse_period(options.since, options.until, time.time_ns(), config.time_zone)
    except ValueError as error:
        raise UsageError(f"usage: {error}") from None
    rows = usage_rows(_store(config), period, by, config.time_zone)
    if options.format == "json":
        _print_json(rows)
    elif options.format == "csv":
        print(usage_csv(rows, by), end="")
    else:
        print(usage_table(rows, by))
    return DONE


def ledger_verify(options: argparse.Namespace) -> int:
    """Check the books."""
    books = verify(_store(_config(options)))
    print(f"settled {books.settled}, released {books.released}, unknown {books.unknown}, open {books.open}")
    for problem in books.problems:
        print(f"ledger: {problem}", file=sys.stderr)
    return FAILED if books.problems else DONE


def status(options: argparse.Namespace) -> int:
    """A running gateway's endpoints, keys and work in flight."""
    config = _config(options)
    while True:
        answer = asyncio.run(read_status(config))
        if options.json:
            _print_json(answer)
        else:
            if options.watch and sys.stdout.isatty():
                print("\x1b[H\x1b[2J", end="")
            print(status_text(answer))
        if not options.watch:
            return DONE
        sys.stdout.flush()
        time.sleep(options.interval)


async def _probe(config: Config) -> list[dict[str, object]]:
    pool = ConnectionPool(SystemDialer())
    try:
        upstreams = [upstream for upstream in config.upstreams.values() if upstream.credentials]
        return await probe(upstreams, PoolTransport(pool))
    finally:
        await pool.close()


def _config(options: argparse.Namespace) -> Config:
    path: Path | None = options.config
    if path is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    return load(path, os.environ)


def _store(config: Config) -> Path:
    if refused := unsupported(config):
        raise ConfigError(refused)
    return store_path(config.store)


def _announce(gateway: Gateway) -> None:
    print(f"piapi-gateway {__version__} listens on {gateway.main_url} (admin: {gateway.admin_url})", flush=True)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _print_json(value: object) -> None:
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="piapi-gateway",
        description="An OpenAI-compatible gateway to PiAPI and a backup: it streams, fails over and counts every cent.",
        epilog="First try, without any key: piapi-gateway demo",
    )
    parser.add_argument("--version", action="version", version=f"piapi-gateway {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, work: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        _finish(sub, work)
        return sub

    command("serve", serve, "run the gateway")
    command("demo", demo, "run the gateway on a built-in sandbox; prints a key and lines to try")
    boxed = command("sandbox", sandbox, "run only the simulated PiAPI and backup")
    boxed.add_argument("--listen", default="127.0.0.1:8499", metavar="HOST:PORT", help="default: %(default)s")
    boxed.add_argument("--scenario", metavar="NAME", help="what every answer plays, such as 'cut;after_events=3'")
    boxed.add_argument("--list", action="store_true", help="list the scenarios")
    checked = command("check", check, "validate the configuration; prints every error with its line")
    checked.add_argument("--probe", action="store_true", help="also ask every upstream with every key (buys nothing)")
    checked.add_argument("--json", action="store_true", help="for scripts")
    listed = command("models", models, "list the models in force, their targets in order and their prices")
    listed.add_argument("--json", action="store_true", help="for scripts")
    spent = command("usage", usage, "show what was spent, from the ledger")
    spent.add_argument(
        "--since", default="30d", metavar="WHEN", help="an age (30d, 12h) or a date; default: %(default)s"
    )
    spent.add_argument("--until", metavar="WHEN", help="an age or a date; default: now")
    spent.add_argument(
        "--by", default="key,model", metavar="FIELDS", help=f"of {','.join(FIELDS)}; default: %(default)s"
    )
    spent.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: %(default)s")
    books = commands.add_parser("ledger", help="look after the ledger", description="Look after the ledger.")
    verifying = books.add_subparsers(metavar="ACTION", required=True).add_parser(
        "verify", help="check the books", description="Check the books; exit 0 if they are consistent."
    )
    _finish(verifying, ledger_verify)
    shown = command("status", status, "show a running gateway's endpoints, keys and work in flight")
    shown.add_argument("--watch", action="store_true", help="redraw until interrupted")
    shown.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between redraws")
    shown.add_argument("--json", action="store_true", help="for scripts")
    return parser


def _finish(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="default: ./config.yaml if there, else the built-in defaults"
    )
    parser.set_defaults(command=work)


if __name__ == "__main__":
    sys.exit(main())
