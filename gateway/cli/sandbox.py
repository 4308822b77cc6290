"""``piapi-gateway sandbox``: only the simulated upstreams."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from gateway.cli.command import DONE, UsageError, add_command
from gateway.cli.user_signals import survive_user_signals
from gateway.core.errors import OperatorError

if TYPE_CHECKING:
    from gateway.sandbox import Sandbox


def add_sandbox_parser(commands: Any) -> None:
    """Add ``sandbox`` to a parser's commands."""
    parser = add_command(
        commands, "sandbox", sandbox_command, "run only the simulated PiAPI and backup", "accepted, but not read"
    )
    parser.add_argument("--listen", default="127.0.0.1:8499", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--scenario", metavar="NAME", help="what every answer plays, such as 'cut;after_events=3'")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--print-config",
        "--config-only",
        action="store_true",
        help="only print the configuration of a gateway in front of a sandbox that listens there",
    )


def sandbox_command(options: argparse.Namespace) -> int:
    """Serve the sandbox until stopped, list what it can play, or print a configuration to use it with."""
    from gateway.sandbox import SCENARIOS

    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<24} {scenario.summary}")
        return DONE
    place = _listening_place(options.listen)
    if options.print_config:
        return _print_config(place)
    if options.scenario is not None and options.scenario.partition(";")[0] not in SCENARIOS:
        raise UsageError(f"sandbox: no scenario '{options.scenario}'; piapi-gateway sandbox --list shows them all")
    return _serve(place, options.scenario)


def _listening_place(text: str) -> str:
    from gateway.config.addresses import host_port

    try:
        return str(host_port(text))
    except ValueError as error:
        raise UsageError(f"sandbox: --listen {text}: {error}") from None


def _print_config(place: str) -> int:
    from gateway.cli.sandbox_config import sandbox_config

    if place.endswith(":0"):
        raise UsageError("sandbox: --print-config needs to know the port; name one, such as --listen 127.0.0.1:8499")
    print(sandbox_config(f"http://{place}"), end="")
    return DONE


def _announce(box: Sandbox) -> None:
    from gateway.cli.demo import program_here
    from gateway.cli.sandbox_config import sandbox_banner

    print(sandbox_banner(box.url, program_here()), flush=True)


def _serve(place: str, scenario: str | None) -> int:
    survive_user_signals()
    from gateway.cli.process import run_server, until_stopped
    from gateway.sandbox import ScenarioError, run_sandbox

    serving = run_sandbox(place, scenario, _announce)
    try:
        run_server(until_stopped(serving))
    except ScenarioError as error:
        raise UsageError(f"sandbox: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OperatorError(f"the sandbox cannot listen on {place}: {_reason(error)}") from None
    return DONE


def _reason(error: OSError) -> str:
    """The system's words for an error, without numbers and Python's addition to them."""
    return os.strerror(error.errno) if error.errno else str(error)
