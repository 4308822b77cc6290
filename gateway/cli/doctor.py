"""``piapi-gateway doctor``: everything that can be seen from outside of a running gateway, and what to do about it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli.command import DONE, FAILED, add_command, as_json, config_in_force, config_path
from gateway.cli.output import say
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.looks.finding import Finding, Seen

LOOK_WITHIN = 12.0
"""Seconds for each look; all are made at once."""

_UPSTREAMS = ("upstreams", "proxy", "no_proxy", "ca_file")


class Look(NamedTuple):
    """A look. ``name``: what is told if it fails. ``settings``: of the configuration, those that it goes by; with None
    it can do without a configuration.
    """

    name: str
    look: Callable[[Seen], Awaitable[Sequence[Finding]]]
    settings: Sequence[str] | None = None


def add_doctor_parser(commands: Any) -> None:
    """Add ``doctor`` to a parser's commands."""
    parser = add_command(
        commands,
        "doctor",
        doctor_command,
        "look at everything around a gateway and say what to do; buys nothing, changes nothing",
    )
    parser.add_argument("--offline", action="store_true", help="ask no upstream and no collector")
    parser.add_argument("--json", action="store_true", help="for scripts: a list of {name, state, found, advice}")


def doctor_command(options: argparse.Namespace) -> int:
    """Look at everything, and print it; a failure if anything is wrong. A configuration that has errors is one row."""
    from gateway.cli.process import run
    from gateway.telemetry.redaction import Redactor

    os.getcwd()  # raises where it is gone: said once, in place of one row for each relative path
    seen = see(options)
    redactor = Redactor(() if seen.config is None else seen.config.secrets)

    async def examine() -> int:
        progress, began = _Progress(shown=sys.stderr.isatty()), time.monotonic()
        try:
            found = await look_at_all(seen, all_looks(), progress.show)
        finally:
            progress.clear()
        rows = [_redacted(one, redactor.text) for one in found]
        say(as_json([one._asdict() for one in rows]) if options.json else findings_text(rows))
        code = FAILED if any(one.state == "wrong" for one in rows) else DONE
        if time.monotonic() - began >= LOOK_WITHIN:  # then a look did not end by itself
            _leave(code)
        return code

    return run(examine())


def _leave(code: int) -> None:
    """End at once. A thread that hangs, in a disk or in a look-up of a name, would be waited for."""
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def see(options: argparse.Namespace) -> Seen:
    """What all looks go by, however much of the configuration can be read."""
    from gateway.cli.looks.finding import Seen
    from gateway.config import load_admin, load_rest

    source = config_path(options.config)
    config, errors, broken = None, tuple[str, ...](), frozenset[str]()
    try:
        config = config_in_force(source)
    except ConfigError as error:
        errors = tuple(str(error).splitlines())
    again = source is None or source.is_file()  # a pipe is empty the second time
    if errors and again and (rest := load_rest(source, os.environ)) is not None:
        config, broken = rest
    admin = None if config is None or "admin" in broken else config.admin
    if admin is None and again:
        with suppress(ConfigError):
            admin = load_admin(source, os.environ)
    return Seen(source, config, errors, broken, admin, time.time_ns(), options.offline)


def all_looks() -> Sequence[Look]:
    """Every look, in the order of the table."""
    from gateway.cli.looks import books, collector, disks, listeners, machine, settings, shared, upstreams

    return (
        Look("python", machine.look_at_python),
        Look("extras", machine.look_at_extras, ("store", "shared_state", "telemetry")),
        Look("open files", machine.look_at_descriptors, ("limits",)),
        Look("configuration", settings.look_at_configuration),
        Look("models", settings.look_at_endings, ("models", "catalogue", "upstreams")),
        Look("file modes", settings.look_at_modes, ("store", "images")),
        Look("store's folder", disks.look_at_store_folder, ("store",)),
        Look("store", books.look_at_store, ("store",)),
        Look("held budgets", books.look_at_held, ("store",)),
        Look("virtual keys", books.look_at_keys, ("store", "keys", "teams", "models", "catalogue", "default_route")),
        Look("shared state", shared.look_at_shared_state, ("shared_state",)),
        Look("images folder", disks.look_at_images, ("images",)),
        Look("admin listener", listeners.look_at_admin),
        Look("main listener", listeners.look_at_main, ("listen",)),
        Look("upstreams", upstreams.look_at_upstreams, _UPSTREAMS),
        Look("telemetry", collector.look_at_collector, ("telemetry", "ca_file")),
    )


async def look_at_all(seen: Seen, looks: Sequence[Look], told: Callable[[int, int], None]) -> list[Finding]:
    """The rows of all looks, in their order. One that fails, or takes too long, is a row that says so.

    ``told``: is called with how many are done, and how many there are.
    """
    import asyncio

    from gateway.cli.looks.finding import failed, not_looked_at

    done = 0

    async def one(look: Look) -> Sequence[Finding]:
        nonlocal done
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                return await look.look(seen)
        except TimeoutError:
            return [failed(look.name, f"it took more than {LOOK_WITHIN:g} s")]
        finally:
            done += 1
            told(done, len(possible))

    possible = [look for look in looks if _can_look(look, seen)]
    rows: list[Finding] = []
    for look, found in zip(possible, await asyncio.gather(*map(one, possible), return_exceptions=True), strict=True):
        if isinstance(found, Exception):  # of what it met outside, which is no reason to keep the rest back
            rows.append(failed(look.name, f"{type(found).__name__}: {found}"))
        elif isinstance(found, BaseException):
            raise found
        else:
            rows += found
    left = [look.name for look in looks if look not in possible]
    if left:
        rows.append(not_looked_at(", ".join(left), "the configuration has errors where it speaks of them"))
    return rows


def _can_look(look: Look, seen: Seen) -> bool:
    """Whether the configuration says what the look goes by."""
    return look.settings is None or (seen.config is not None and seen.broken.isdisjoint(look.settings))


def findings_text(findings: Sequence[Finding]) -> str:
    """A table, below each row that is not well what to do, and at the end how many there are of these."""
    from gateway.cli.tables import render

    rows = [{"state": one.state, "looked_at": one.name, "found": one.found} for one in findings]
    header, *lines = render(rows, ("state", "looked_at", "found")).split("\n")
    shown = [header]
    for one, line in zip(findings, lines, strict=True):
        shown.append(line)
        if one.state != "ok" and one.advice:
            shown.append(f"{'':9}-> {_line(one.advice)}")
    return "\n".join([*shown, "", _summary(findings)])


def _summary(findings: Iterable[Finding]) -> str:
    states = [one.state for one in findings]
    bad, doubtful = states.count("wrong"), states.count("warning")
    if not bad and not doubtful:
        return "All is well."
    warnings = f"{doubtful} warning{'' if doubtful == 1 else 's'}"
    return f"{bad} wrong, {warnings}." if bad else f"Nothing is wrong; {warnings}."


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _redacted(finding: Finding, masked: Callable[[str], str]) -> Finding:
    return finding._replace(found=masked(finding.found), advice=masked(finding.advice))


class _Progress:
    """A count on a terminal, and nothing elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def show(self, done: int, total: int) -> None:
        if self._shown:
            print(f"\rlooked at {done} of {total}\x1b[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
