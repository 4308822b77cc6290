"""The command line's entry: the parser of all commands, the call of the one that was named, its exit code.

Each command lives in a file of its own; see ``command.py`` for what they share.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from gateway import __version__
from gateway.cli.backup import add_backup_parser, add_restore_parser
from gateway.cli.check import add_check_parser
from gateway.cli.command import BAD_USAGE, DONE, FAILED, Command, UsageError
from gateway.cli.demo import add_demo_parser
from gateway.cli.keys import add_keys_parser
from gateway.cli.ledger import add_ledger_parser
from gateway.cli.models import add_models_parser
from gateway.cli.sandbox import add_sandbox_parser
from gateway.cli.serve import add_serve_parser
from gateway.cli.status import add_status_parser
from gateway.cli.usage import add_usage_parser
from gateway.core.errors import ConfigError, OperatorError

_IN_ORDER = (
    add_serve_parser,
    add_demo_parser,
    add_sandbox_parser,
    add_check_parser,
    add_models_parser,
    add_keys_parser,
    add_usage_parser,
    add_ledger_parser,
    add_backup_parser,
    add_restore_parser,
    add_status_parser,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0 done, 1 failed, 2 bad usage or bad configuration."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no '…' is no reason to fail
    try:
        try:
            return _dispatch(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that has left is expected; later it would be a complaint
    except (ConfigError, UsageError) as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (OperatorError, OSError) as error:
        print(f"piapi-gateway: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="piapi-gateway",
        description="An OpenAI-compatible gateway to PiAPI and a backup: it streams, fails over and counts every cent.",
        epilog="First try, without any key: piapi-gateway demo",
    )
    parser.add_argument("--version", action="version", version=f"piapi-gateway {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add_parser in _IN_ORDER:
        add_parser(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the synopsis is for those who ask for it."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _dispatch(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    command: Command = options.command
    return command(options)
