"""Looks at this machine: Python, what is installed, how many files may be open."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from gateway.cli.looks.finding import Finding, Seen, ok, warning, wrong

OLDEST = (3, 11)
"""The first Python that is good enough; pyproject.toml says the same."""

_DRIVERS = {"postgres": ("asyncpg",), "redis": ("redis",), "otel": ("opentelemetry.sdk",)}
"""An extra, and what it brings."""


async def look_at_python(_: Seen) -> Sequence[Finding]:
    """Its version, and the event loop."""
    loop_needed = sys.platform != "win32" and sys.implementation.name == "cpython"
    return [judge_python(sys.version_info[:3], platform.python_implementation(), _installed("uvloop"), loop_needed)]


def judge_python(version: tuple[int, ...], implementation: str, uvloop: bool, loop_needed: bool) -> Finding:
    """``loop_needed``: whether there is a uvloop for this system."""
    shown = f"{implementation} {'.'.join(map(str, version))}"
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return wrong("python", f"{shown} is too old", f"install Python {oldest} or newer, and this program with it")
    if loop_needed and not uvloop:
        return warning("python", f"{shown}, without uvloop: requests cost twice the CPU", "run: pip install uvloop")
    return ok("python", f"{shown}, {'uvloop' if uvloop else 'its own event loop'}")


async def look_at_extras(seen: Seen) -> Sequence[Finding]:
    """What the configuration needs beside the program."""
    if (config := seen.config) is None:
        return []
    needed = [
        *(["postgres"] if config.sqlite_path is None else []),
        *(["redis"] if config.shared_state != "memory://" else []),
        *(["otel"] if config.telemetry.traces or config.telemetry.metrics else []),
    ]
    missing = [name for name in needed if not all(map(_installed, _DRIVERS[name]))]
    return [judge_extras(needed, missing)] if needed else []


def judge_extras(needed: Sequence[str], missing: Sequence[str]) -> Finding:
    """``needed``: the extras that the configuration asks for. ``missing``: those that are not installed."""
    if missing:
        names = ",".join(missing)
        return wrong("extras", f"not installed: {', '.join(missing)}", f"run: pip install 'piapi-gateway[{names}]'")
    return ok("extras", f"installed: {', '.join(needed)}")


async def look_at_descriptors(seen: Seen) -> Sequence[Finding]:
    """How many files this process may open, against ``limits.in_flight``."""
    from gateway.runtime.descriptors import possible_descriptor_limit

    if seen.config is None:
        return []
    return [judge_descriptors(seen.config.limits.in_flight, possible_descriptor_limit())]


def judge_descriptors(wanted: int, possible: int) -> Finding:
    """``wanted``: requests in flight. ``possible``: files that may be open."""
    from gateway.runtime.descriptors import NO_LIMIT, lowered

    if sentence := lowered(wanted, possible):
        found, _, advice = sentence.partition(". ")
        return warning("open files", found, advice)
    shown = "any number" if possible >= NO_LIMIT else str(possible)
    return ok("open files", f"{shown} may be open, limits.in_flight is {wanted}")


def _installed(name: str) -> bool:
    """Whether a module is there. It is not imported."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
