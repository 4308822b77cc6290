"""The command line: parse, call, print. One function a command."""

from __future__ import annotations

import argparse
import asyncio
import io
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import orjson

from gateway import __version__
from gateway.app.gateway import Gateway, build_log
from gateway.cli.demo import run_demo
from gateway.cli.keys import add_key_parsers, obey
from gateway.cli.ledger import add_ledger_parsers
from gateway.cli.ledger import obey as look_after
from gateway.cli.probe import probe
from gateway.cli.process import run, serve_until_stopped, until_stopped
from gateway.cli.status import CommandResult, models_table, probe_table, read_status, status_text
from gateway.cli.usage import add_usage_parser, usage
from gateway.config import Config, describe_models, load, unsupported
from gateway.config.addresses import HostPort, host_port
from gateway.core.errors import ConfigError, GatewayError, OperatorError
from gateway.sandbox import SCENARIOS, ScenarioError, run_sandbox
from gateway.server.listener import ListenError
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.transport import PoolTransport

DONE, FAILED, BAD_USAGE = 0, 1, 2
DEFAULT_CONFIG = Path("config.yaml")

_CONFIG_HELP = "default: ./config.yaml if there, else the built-in defaults"


class UsageError(Exception):
    """The command's arguments make no sense; the message says what would."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0 done, 1 failed, 2 bad usage or bad configuration."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no '…' is no reason to fail
    try:
        try:
            return _obey(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that has left is expected; later it would be a complaint
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


def _obey(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def serve(options: argparse.Namespace) -> int:
    """The gateway."""
    config = _servable(options)

    def read_again() -> Config:
        # A file that is gone for a moment must not turn into the built-in defaults, which ask for no key.
        return _config(options) if config.source is None else load(config.source, os.environ)

    async def serving() -> int:
        log = build_log(config)
        log.bridge_stdlib()
        try:
            for warning in config.warnings:
                log.warning("config", message=warning)
            return await serve_until_stopped(lambda: Gateway.start(config, log, read_again), _announce)
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
    try:
        place: HostPort = host_port(options.listen)
    except ValueError as error:
        raise UsageError(f"sandbox: --listen {options.listen}: {error}") from None
    if options.scenario is not None and options.scenario.partition(";")[0] not in SCENARIOS:
        raise UsageError(f"sandbox: no scenario '{options.scenario}'; piapi-gateway sandbox --list shows them all")
    serving = run_sandbox(str(place), options.scenario, lambda box: print(f"SANDBOX listens on {box.url}", flush=True))
    try:
        run(until_stopped(serving))
    except ScenarioError as error:
        raise UsageError(f"sandbox: {error}") from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise OperatorError(f"the sandbox cannot listen on {place}: {_reason(error)}") from None
    return DONE


def check(options: argparse.Namespace) -> int:
    """Validate; with --probe, ask the upstreams as well."""
    config = _config(options)
    warnings = list(config.warnings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    refused = unsupported(config)
    for sentence in refused:
        print(f"serve will refuse: {sentence}", file=sys.stderr)
    source = config.source or "built-in defaults"
    if not options.json:
        on = sum(1 for route in config.routes if route.targets)
        keys = "1 virtual key" if len(config.keys) == 1 else f"{len(config.keys)} virtual keys"
        print(f"{source}: OK, {on} models on, {keys}, upstreams off: {_names(config.off)}")
    if not options.probe:
        if options.json:
            _print_json({"source": str(source), "ok": True, "warnings": [*warnings, *refused]})
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


def spent(options: argparse.Namespace) -> int:
    """Spend from the ledger."""
    return _tell("usage", usage, options)


def books(options: argparse.Namespace) -> int:
    """The ledger itself."""
    return _tell("ledger", look_after, options)


def keys(options: argparse.Namespace) -> int:
    """Virtual keys."""
    return _tell("keys", lambda config, options: CommandResult(obey(config, options)), options)


def status(options: argparse.Namespace) -> int:
    """A running gateway's endpoints, keys and work in flight."""
    config = _config(options)
    try:
        while True:
            _show_status(config, options)
            if not options.watch:
                return DONE
            time.sleep(options.interval)
    except KeyboardInterrupt:
        if options.watch:  # that is how one stops watching
            return DONE
        raise


def _tell(name: str, work: Callable[[Config, argparse.Namespace], CommandResult], options: argparse.Namespace) -> int:
    """Print what a command has to say. What makes no sense is a UsageError, what cannot be done an OperatorError."""
    try:
        told = work(_servable(options), options)
    except GatewayError as error:
        if error.status == 400:
            raise UsageError(f"{name}: {error.message}") from None
        raise OperatorError(error.message) from None
    print(told.text)
    for sentence in (*told.notes, *told.problems):
        print(f"{name}: {sentence}", file=sys.stderr)
    return FAILED if told.problems else DONE


def _show_status(config: Config, options: argparse.Namespace) -> None:
    answer = asyncio.run(read_status(config))
    if options.json:
        _print_json(answer)
    else:
        if options.watch and sys.stdout.isatty():
            print("\x1b[H\x1b[2J", end="")
        print(status_text(answer))
    sys.stdout.flush()


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


def _servable(options: argparse.Namespace) -> Config:
    """A configuration that this version can serve; ConfigError says what it cannot."""
    config = _config(options)
    if refused := unsupported(config):
        raise ConfigError(refused)
    return config


def _announce(gateway: Gateway) -> None:
    print(f"piapi-gateway {__version__} listens on {gateway.main_url} (admin: {gateway.admin_url})", flush=True)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _print_json(value: object) -> None:
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _reason(error: OSError) -> str:
    """The system's words for an error, without numbers and Python's addition to them."""
    return os.strerror(error.errno) if error.errno else str(error)


def _seconds(text: str) -> float:
    """An argument that is a time to wait."""
    seconds = float(text)
    if not math.isfinite(seconds) or seconds <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return seconds


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the synopsis is for those who ask for it."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="piapi-gateway",
        description="An OpenAI-compatible gateway to PiAPI and a backup: it streams, fails over and counts every cent.",
        epilog="First try, without any key: piapi-gateway demo",
    )
    parser.add_argument("--version", action="version", version=f"piapi-gateway {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, work: Callable[[argparse.Namespace], int], help: str, config: str = _CONFIG_HELP
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        _finish(sub, work, config)
        return sub

    command("serve", serve, "run the gateway")
    command(
        "demo",
        demo,
        "run the gateway on a built-in sandbox; prints a key and lines to try",
        "take its other settings (listen, limits, log …) from a file; default: none, also where ./config.yaml is",
    )
    boxed = command("sandbox", sandbox, "run only the simulated PiAPI and backup", "accepted, but not read")
    boxed.add_argument("--listen", default="127.0.0.1:8499", metavar="HOST:PORT", help="default: %(default)s")
    boxed.add_argument("--scenario", metavar="NAME", help="what every answer plays, such as 'cut;after_events=3'")
    boxed.add_argument("--list", action="store_true", help="list the scenarios")
    checked = command("check", check, "validate the configuration; prints every error with its line")
    checked.add_argument("--probe", action="store_true", help="also ask every upstream with every key (buys nothing)")
    checked.add_argument("--json", action="store_true", help="for scripts")
    listed = command("models", models, "list the models in force, their targets in order and their prices")
    listed.add_argument("--json", action="store_true", help="for scripts")
    for action in add_key_parsers(commands):
        _finish(action, keys)
    _finish(add_usage_parser(commands), spent)
    for action in add_ledger_parsers(commands):
        _finish(action, books)
    shown = command("status", status, "show a running gateway's endpoints, keys and work in flight")
    shown.add_argument("--watch", action="store_true", help="redraw until interrupted")
    shown.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between redraws")
    shown.add_argument("--json", action="store_true", help="for scripts")
    return parser


def _finish(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int], config: str = _CONFIG_HELP
) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=config)
    parser.set_defaults(command=work)


if __name__ == "__main__":
    sys.exit(main())
