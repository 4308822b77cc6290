"""The command line's entry: the parser of all commands, the call of the one that was named, its exit code.

Each command lives in a file of its own; see ``command.py`` for what they share.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from gateway import __version__
from gateway.cli.backup import add_backup_parser, add_restore_parser
from gateway.cli.check import add_check_parser
from gateway.cli.command import BAD_USAGE, DONE, FAILED, Command, UsageError, say_no_more
from gateway.cli.demo import add_demo_parser
from gateway.cli.doctor import add_doctor_parser
from gateway.cli.init import add_init_parser
from gateway.cli.keys import add_keys_parser
from gateway.cli.ledger import add_ledger_parser
from gateway.cli.migrate import add_migrate_parser
from gateway.cli.models import add_models_parser
from gateway.cli.output import tell
from gateway.cli.reload import add_reload_parser
from gateway.cli.sandbox import add_sandbox_parser
from gateway.cli.serve import add_serve_parser
from gateway.cli.status import add_status_parser
from gateway.cli.usage import add_usage_parser
from gateway.core.errors import ConfigError, OperatorError

_IN_ORDER = (
    add_serve_parser,
    add_demo_parser,
    add_sandbox_parser,
    add_init_parser,
    add_check_parser,
    add_doctor_parser,
    add_models_parser,
    add_keys_parser,
    add_usage_parser,
    add_ledger_parser,
    add_backup_parser,
    add_restore_parser,
    add_migrate_parser,
    add_status_parser,
    add_reload_parser,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0 done, 1 failed, 2 bad usage or bad configuration."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no '…' is no reason to fail
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # here, where a reader that has left is expected; later it would be a complaint
    except (ConfigError, UsageError) as error:
        tell(error)
        return BAD_USAGE
    except BrokenPipeError:  # the reader of our output has seen enough
        say_no_more()
        return DONE
    except (OperatorError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            say_no_more()  # what could not be written would be tried again, and complained about, at the very end
        tell(f"piapi-gateway: {_reason(error) if isinstance(error, OSError) else error}")
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _reason(error: OSError) -> str:
    """What the system refused, without its number."""
    if isinstance(error, FileNotFoundError) and error.filename is None and _is_nowhere():
        return "the working directory is gone; change into one that is there"
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _is_nowhere() -> bool:
    """Whether this process's working directory was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


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


def _open_standard_streams() -> None:
    """Put the null device where a standard stream was closed before: the next file opened, perhaps the ledger, would
    take its number and get what is meant for people.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the synopsis is for those who ask for it."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _dispatch(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    command: Command = options.command
    return command(options)
