"""docs/cli.md: every command, argument and option, from the parsers themselves."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.cli import main as command_line
from scripts.docs.markdown import code, page, table

_INTRODUCTION = """\
`make run` and `make test` install the command into `.venv/bin`: call it as `.venv/bin/piapi-gateway`, or put that
directory on your `PATH`. `python -m gateway` is the same command.

- Commands that look at or change keys and the ledger ask a running gateway through its admin listener, and without one
  read and write the store themselves. They find both by the configuration: give them the same `--config` as `serve`.
- `--json` and `--format json` are for scripts: their fields stay. The texts for people may change.
- What is asked for goes to standard output, everything else to standard error."""

_EXITS = {
    "DONE": "Done. Of `check --probe`: every key works. Of `ledger verify`: the books are consistent. "
    "Of `doctor`: nothing is wrong, though there may be warnings.",
    "FAILED": "It could not be done, or something is wrong; standard error says what, and what to do. Also after "
    "Ctrl-C, but for `status --watch`.",
    "BAD_USAGE": "The arguments make no sense, or the configuration has errors: each is printed as "
    "`config.yaml:12:5: upstreams.piapi.endpoints[0].url: …`.",
}
"""The exit codes by their names in gateway/cli/main.py."""


PARSER = command_line.build_parser
"""What makes the program's parser."""


class Undescribed(Exception):
    """A command or option without a word on what it does; the message names it."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option or argument. ``names``: of an option; empty for an argument. ``shown``: as it is typed."""

    names: tuple[str, ...]
    shown: str
    meaning: str
    required: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command. ``words``: what it is called by; empty for the whole program. ``commands``: what it has below it."""

    words: tuple[str, ...]
    description: str
    examples: str
    options: tuple[Option, ...]
    commands: tuple[Command, ...]

    @property
    def option_names(self) -> frozenset[str]:
        return frozenset(name for option in self.options for name in option.names)

    def below(self) -> Iterator[Command]:
        """The command and everything below it."""
        yield self
        for command in self.commands:
            yield from command.below()


def whole_command() -> Command:
    """The program as its parser describes it."""
    return _command(PARSER(), ())


def cli_page() -> str:
    """The whole page."""
    program = whole_command()
    exits = [(f"`{getattr(command_line, name)}`", text) for name, text in _EXITS.items()]
    parts = [_INTRODUCTION, "## Exit codes", table(("code", "when"), exits)]
    for command in program.below():
        parts += _section(command)
    return page("Command line", *parts)


def _section(command: Command) -> Iterator[str]:
    words = " ".join(("piapi-gateway", *command.words))
    yield f"{'#' * min(2 + max(len(command.words) - 1, 0), 4)} {code(words)}"
    if command.commands:
        action = "COMMAND" if not command.words else "ACTION"
        yield _synopsis(words, command.options, action)
        yield command.description
        below = ((code(" ".join(each.words)), _first_sentence(each.description)) for each in command.commands)
        yield table((action.lower(), "what it does"), below)
    else:
        yield _synopsis(words, command.options, "")
        yield command.description
    if command.options:
        yield table(("option", "meaning"), ((code(each.shown), each.meaning) for each in command.options))
    if command.examples:
        yield f"```sh\n{command.examples}\n```"


def _synopsis(words: str, options: tuple[Option, ...], action: str) -> str:
    needed = [option.shown for option in options if option.required]
    free = "[OPTIONS]" if any(not option.required for option in options) else ""
    return "```text\n" + " ".join(part for part in (words, action, *needed, free) if part) + "\n```"


def _command(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Command:
    options: list[Option] = []
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands += [_command(inner, (*words, name)) for name, inner in action.choices.items()]
        elif not isinstance(action, argparse._HelpAction):
            options.append(_option(parser, action))
    if not parser.description:
        raise Undescribed(f"{parser.prog} has no description")
    prose, examples = _examples(parser.epilog or "")
    paragraphs = [*parser.description.split("\n\n"), *([prose] if prose else [])]
    description = "\n\n".join(_sentence(" ".join(paragraph.split())) for paragraph in paragraphs)
    return Command(words, description, examples, tuple(options), tuple(commands))


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> Option:
    if action.choices:
        value = "|".join(map(str, action.choices))
    else:
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    shown = " ".join(part for part in (", ".join(action.option_strings), value) if part)
    if not action.help:
        raise Undescribed(f"{parser.prog} {shown} has no help")
    meaning = action.help % {"default": action.default}
    if action.default not in (None, False, argparse.SUPPRESS) and "default: " not in meaning:
        meaning += f"; default: {action.default}"
    return Option(tuple(action.option_strings), shown, _sentence(meaning), action.required)


def _examples(epilog: str) -> tuple[str, str]:
    """An epilog's prose, and its indented lines, which are examples."""
    lines = epilog.splitlines()
    indented = textwrap.dedent("\n".join(line for line in lines if line.startswith("  ")))
    prose = " ".join(
        line for line in lines if line and not line.startswith("  ") and line not in ("example:", "examples:")
    )
    return prose, indented


def _sentence(text: str) -> str:
    """``text`` with a capital and a full stop, and nothing in it that Markdown would take for its own."""
    text = re.sub(r"([*_<>])", r"\\\1", text.strip())
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".:!?" else ".")


def _first_sentence(text: str) -> str:
    return text.partition("\n\n")[0].partition(". ")[0].rstrip(".") + "."
