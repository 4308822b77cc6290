"""What all commands share: their exit codes, the configuration in force, how a result is printed.

Every command is a file: a function that adds its parser, and one that does the work and returns the exit code. What the
work needs is imported where it is done, so that ``--help`` waits for none of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli.output import say, tell
from gateway.core.errors import ConfigError, GatewayError, OperatorError

if TYPE_CHECKING:
    from gateway.config import Config

DONE, FAILED, BAD_USAGE = 0, 1, 2
DEFAULT_CONFIG = Path("config.yaml")

ADMIN = frozenset({"admin"})
"""What a command uses that only asks a running gateway."""

STORE = frozenset({"store"})
"""What one uses that only copies files."""

BOOKS = ADMIN | STORE | {"time_zone"}
"""What one uses that asks a gateway about the books, or reads them itself."""

KEYS = BOOKS | {"keys", "teams", "models"}
"""What one uses that shows or changes virtual keys; of those in the file only the names."""

MODELS = frozenset({"models", "time_zone", "default_route", "default_models", "flux", "points_per_usd"})
"""What one uses that shows models; of upstreams' keys only whether there are any."""

_CONFIG_HELP = "default: ./config.yaml if there, else the built-in defaults"

Command = Callable[[argparse.Namespace], int]
"""Does the work of a command; returns the exit code."""


class UsageError(Exception):
    """The command's arguments make no sense; the message says what would."""


class CommandResult(NamedTuple):
    """What a command prints: ``text`` on the output; ``notes`` and ``problems``, one sentence each, beside it.

    With a problem the command has failed, at least in part.
    """

    text: str
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def add_command(commands: Any, name: str, command: Command, help: str, config: str = _CONFIG_HELP) -> Any:
    """A parser for a command without actions of its own, described by its line of help. ``config``: of --config."""
    return complete(commands.add_parser(name, help=help, description=help), command, config)


def complete(parser: argparse.ArgumentParser, command: Command, config: str = _CONFIG_HELP) -> argparse.ArgumentParser:
    """The parser with what every command has: ``--config``, and the function to call."""
    parser.add_argument("--config", type=Path, metavar="FILE", help=config)
    parser.set_defaults(command=command)
    return parser


def config_path(path: Path | None) -> Path | None:
    """The file of ``--config``, else ./config.yaml if there; None for the built-in defaults."""
    return DEFAULT_CONFIG if path is None and DEFAULT_CONFIG.exists() else path


def config_in_force(
    path: Path | None, uses: frozenset[str] | None = None, options: Mapping[str, str] | None = None
) -> Config:
    """The configuration of ``--config``, else of ./config.yaml if there, else the built-in defaults.

    ``uses``: the settings at the top of the file that the command uses, None for all: the environment need only have
    what those name. ``options``: settings of the command line, which go before the file's.

    Raises ConfigError.
    """
    from gateway.config import load

    return load(config_path(path), os.environ, options or {}, uses=uses)


def servable_config(
    path: Path | None, uses: frozenset[str] | None = None, options: Mapping[str, str] | None = None
) -> Config:
    """The configuration in force, if it can be served; ConfigError says why not.

    ``uses``, ``options``: as in ``config_in_force``.
    """
    from gateway.config import misplaced_store

    config = config_in_force(path, uses, options)
    if refused := misplaced_store(config):
        raise ConfigError([refused])
    if uses is None and (refused := config.telemetry.refusal):
        raise ConfigError([refused])
    return config


def report(
    name: str,
    work: Callable[[Config, argparse.Namespace], CommandResult],
    options: argparse.Namespace,
    uses: frozenset[str],
) -> int:
    """Print what ``work`` returns. What makes no sense is a UsageError, what cannot be done an OperatorError.

    ``uses``: see ``config_in_force``.
    """
    try:
        result = work(servable_config(options.config, uses), options)
    except GatewayError as error:
        if error.status == 400:
            raise UsageError(f"{name}: {error.message}") from None
        raise OperatorError(error.message) from None
    say(result.text)
    for sentence in (*result.notes, *result.problems):
        tell(f"{name}: {sentence}")
    return FAILED if result.problems else DONE


def say_no_more() -> None:
    """Send what is still printed nowhere, what an output did not take included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_if_possible(work: Callable[[], None] = lambda: None) -> None:
    """Do ``work``, which prints, and write out what was printed so far. An output that takes nothing, as a full disk or
    a terminal that is gone, is no reason to fail, and gets nothing more.
    """
    try:
        work()
        sys.stdout.flush()
    except OSError:
        say_no_more()


def as_json(value: object) -> str:
    """A value as scripts and eyes can read it."""
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # a file's name may be bytes that are no UTF-8
        import json

        return json.dumps(value, indent=2)
