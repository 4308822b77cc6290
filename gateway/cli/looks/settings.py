"""Looks at the configuration: its errors and warnings, models that end, who can read its secrets."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.cli.looks.finding import Finding, Seen, ok, warning, wrong

NAME = "configuration"


async def look_at_configuration(seen: Seen) -> Sequence[Finding]:
    """Every error and every warning of the file, a row each."""
    from gateway.config import misplaced_store

    source = str(seen.source or "built-in defaults")
    if seen.errors or seen.config is None:
        return [judge_error(line) for line in seen.errors]
    config = seen.config
    refusals = [*filter(None, [misplaced_store(config), config.telemetry.refusal])]
    return judge_configuration(source, config.warnings, refusals)


def judge_error(line: str) -> Finding:
    """``line``: as ``check`` prints it, with its place."""
    return wrong(NAME, line, "mend the line, or set the variable it names; then: piapi-gateway check")


def judge_configuration(source: str, warnings: Sequence[str], refusals: Sequence[str]) -> list[Finding]:
    """``refusals``: why ``serve`` would refuse a file that has no errors."""
    rows = [wrong(NAME, *_halves(sentence)) for sentence in refusals]
    rows += [warning(NAME, *_halves(sentence)) for sentence in warnings]
    return [*([] if refusals else [ok(NAME, f"{source} is valid")]), *rows]


def _halves(sentence: str) -> tuple[str, str]:
    for mark in (". ", "; run: "):
        found, _, advice = sentence.partition(mark)
        if advice:
            return found, advice if mark == ". " else f"run: {advice}"
    return sentence, "change it, if it is not meant so (docs/configuration.md)"


async def look_at_endings(seen: Seen) -> Sequence[Finding]:
    """Models of which a target has ended or soon will."""
    from gateway.config import end_warnings

    if seen.config is None:
        return []
    ends = list(end_warnings(seen.config, seen.now_ns))
    first = min(ends, key=lambda end: end.days, default=None)
    gone = sum(end.gone for end in ends)
    return [judge_endings(len(ends), gone, "" if first is None else first.sentence)]


def judge_endings(number: int, gone: int, first: str) -> Finding:
    """``number``: of models that end; ``gone``: those that nothing else serves then; ``first``: a sentence."""
    if not number:
        return ok("models", "none ends within 30 days")
    found = f"{number} of them end within 30 days or have ended, {gone} without another target; the first: {first}"
    return warning("models", found, "see: piapi-gateway check; and docs/models.md")


async def look_at_modes(seen: Seen) -> Sequence[Finding]:
    """Which files with secrets other users can read."""
    return list(await asyncio.to_thread(_modes, seen))


def _modes(seen: Seen) -> Iterator[Finding]:
    from gateway.runtime.disk import has_modes
    from gateway.stores.engines import read_store

    if seen.config is None or not has_modes():
        return
    config, path = seen.config, seen.config.sqlite_path
    keys = [upstream.endpoints[0].options.tls for upstream in config.upstreams.values() if upstream.endpoints]
    files = [(Path(tls.key or tls.certificate), False) for tls in keys if tls.certificate]
    files += [(path.with_name(path.name + ending), False) for ending in ("", "-wal", ".spill")] if path else []
    if not config.key_pepper:
        files.append((config.pepper_file(read_store(config.store).pepper_file), True))
    found = [row for file, fatal in dict.fromkeys(files) if (row := judge_mode(file, _mode(file), fatal))]
    yield from found
    if not found:
        yield ok("file modes", "what holds secrets is its owner's alone")


def judge_mode(file: Path, mode: int | None, fatal: bool) -> Finding | None:
    """``mode``: None for a file that is not there. ``fatal``: whether a start is refused if others can read it."""
    if mode is None or not mode & 0o077:
        return None
    found, advice = f"other users can read or change {file} (mode {mode:04o})", f"run: chmod 600 {file}"
    return wrong("file modes", found, advice) if fatal else warning("file modes", found, advice)


def _mode(file: Path) -> int | None:
    try:
        return stat.S_IMODE(os.stat(file).st_mode)
    except OSError:
        return None
