"""What a look found, and what it looks by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.config.settings import AdminConfig

State = Literal["ok", "warning", "wrong"]


class Finding(NamedTuple):
    """A row of the table. ``name``: what was looked at. ``advice``: what to do; empty where all is well."""

    name: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What all looks go by.

    ``source``: the configuration's file; None for the built-in defaults. ``config``: what it says in those settings
    that have no errors; None if it makes no sense as a whole. ``errors``: what is wrong with it. ``broken``: the
    settings that have errors. ``admin``: what it says of the admin listener. ``now_ns``: Unix nanoseconds.
    ``offline``: no upstream and no collector is to be asked.
    """

    source: Path | None
    config: Config | None
    errors: tuple[str, ...]
    broken: frozenset[str]
    admin: AdminConfig | None
    now_ns: int
    offline: bool = False


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", found)


def warning(name: str, found: str, advice: str) -> Finding:
    """It works, and should not be left so; or it could not be looked at."""
    return Finding(name, "warning", found, advice)


def wrong(name: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(name, "wrong", found, advice)


def refused(name: str, message: str) -> Finding:
    """What an error of ours says: first what is the matter, and then what to do."""
    for mark in (". ", "; ", ": "):
        found, _, advice = message.partition(mark)
        if advice:
            return wrong(name, found, advice)
    return wrong(name, message, "look at the gateway's log")


def not_looked_at(name: str, reason: str) -> Finding:
    """Nothing is known of it."""
    return warning(name, f"not looked at: {reason}", "look again once that is mended")


def failed(name: str, reason: str) -> Finding:
    """A look that came to no end: a gateway would not fare better."""
    return wrong(name, f"not looked at: {reason}", "look again once that is mended")


def size(number: float) -> str:
    """Bytes for eyes: ``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
