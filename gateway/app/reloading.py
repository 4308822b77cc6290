"""A configuration that is read again: what of it comes into force, what stays as it was, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.config import NEEDS_RESTART, Config, changes, cut_off
from gateway.core.errors import ConfigError
from gateway.telemetry.log import Log

MOST_LOGGED = 100
"""Changes that a line of the log lists; the answer to who asked for the reload has them all."""

REST_SECONDS = 2.0
"""How long a file must have been left alone that takes away what kept a key from something. Some file systems tell the
time of a change in whole seconds only.
"""

LONGEST_REST = 20.0
"""Seconds that are waited for that."""

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload.

    ``problems``: why nothing has changed; empty if the file is in force now.
    ``source``: the file. ``changed``: what it changed, one line each. ``weaker``: whether some of that lets keys do
        more than before.
    ``warnings``: what is allowed but probably a mistake, and what keeps less from happening than before.
    ``not_taken_over``: what only a restart can change, and what stays in force instead.
    """

    problems: list[str] = field(default_factory=list)
    source: str = ""
    changed: list[str] = field(default_factory=list)
    weaker: bool = False
    warnings: list[str] = field(default_factory=list)
    not_taken_over: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The answer to who asked for it."""
        return {
            "status": "reloaded",
            "source": self.source,
            "changed": self.changed,
            "warnings": self.warnings,
            "not_taken_over": self.not_taken_over,
        }

    def tell(self, log: Log) -> None:
        """The line of the log that says so."""
        if self.problems:
            log.error("config_rejected", problems=self.problems)
            return
        more = len(self.changed) - MOST_LOGGED
        log.info(
            "config_reloaded",
            source=self.source,
            changed=self.changed if more <= 0 else [*self.changed[:MOST_LOGGED], f"and {more} more"],
            not_taken_over=self.not_taken_over,
        )
        for warning in self.warnings:
            log.warning("config", message=warning)


async def read_for_reload(load: Callable[[], Config], old: Config, any_stored: bool) -> tuple[Config, Reloaded]:
    """What ``load`` reads, merged into ``old``. Raises ConfigError.

    A file that lets keys do more than before is believed only once it has been left alone for ``REST_SECONDS``: it may
    still be written to, in pieces that are seconds apart.
    """
    deadline = time.monotonic() + LONGEST_REST
    while True:
        read = await asyncio.to_thread(load)
        merged, told = merged_for_reload(old, read, any_stored)
        rest = await asyncio.to_thread(_rest_left, read) if told.weaker else 0.0
        if not rest:
            return merged, told
        if time.monotonic() >= deadline:
            raise ConfigError([f"{read.source}:1:1: it is being written to all the time; reload once it is whole"])
        await asyncio.sleep(rest)


def _rest_left(config: Config) -> float:
    """Seconds for which the files must be left alone yet."""
    ages = [REST_SECONDS]
    for path in filter(None, (config.source, config.catalogue)):
        with contextlib.suppress(OSError):
            ages.append(time.time() - os.stat(path).st_mtime)
    return max(0.0, REST_SECONDS - min(age for age in ages if age >= 0))


def merged_for_reload(old: Config, new: Config, any_stored: bool) -> tuple[Config, Reloaded]:
    """The configuration that comes into force in place of ``old``, and what is told of it. ``any_stored``: the store
    has keys of its own.

    What a reload cannot change keeps its value, and is told; the rest of the file comes into force. Raises ConfigError
    for a file that must not come into force at all.
    """
    merged = _with_what_stays(old, new)
    if problems := [*_lost(old, new), *_opened(old, merged, any_stored)]:
        raise ConfigError(problems)
    changed = changes(old, merged)
    weaker = [f"weaker than before: {change.text}" for change in changed if change.weaker]
    if weaker and (lost := cut_off(old.written, new.written)):
        raise ConfigError([*_cut(new, lost), *weaker])
    told = Reloaded(
        source=str(new.source or "built-in defaults"),
        changed=[change.text for change in changed],
        weaker=bool(weaker),
        warnings=[*new.warnings, *weaker],
        not_taken_over=[*_not_taken_over(old, new), _of_the_environment(new)],
    )
    return merged, told


def _lost(old: Config, new: Config) -> Iterable[str]:
    """A file without any setting is a file that is being saved, or lost; it would drop everything that is in force."""
    advice = "what is in force stays. To go back to the defaults, restart the gateway"
    if new.blank and not old.blank:
        yield f"{new.source}:1:1: the file holds no setting at all (is it being saved?); {advice}"
    if new.blank_catalogue and old.catalogue is not None and not old.blank_catalogue:
        yield f"{new.catalogue}:1:1: the catalogue holds no model any more (is it being saved?); {advice}"


def _cut(new: Config, lost: int) -> Iterable[str]:
    """A file that only lost its end, and with it what kept a key from something, was hardly written like that."""
    line = max(1, len(new.written.splitlines()))
    yield (
        f"{new.source}:{line}:1: the file ends where the one in force went on for {lost} more "
        f"{'line' if lost == 1 else 'lines'}, and would let keys do more than before (was it saved in part?); what is "
        "in force stays. If it is meant, end the file with a line that it did not have, such as a comment"
    )


def _opened(old: Config, new: Config, any_stored: bool) -> Iterable[str]:
    """Doors that a reload must not open. A file caught half-written may lack its end."""
    if old.requires_key(stored_keys=any_stored) and not new.requires_key(stored_keys=any_stored):
        yield "keys: a reload cannot drop the last virtual key, which would let everybody in; restart the gateway"
    if old.admin.key and not new.admin.key:
        yield "admin.key: a reload cannot drop it, which would open the admin routes; restart the gateway"


def _with_what_stays(old: Config, new: Config) -> Config:
    """``new`` with the settings of NEEDS_RESTART as they are in ``old``."""
    return replace(
        new,
        listen=old.listen,
        admin=replace(new.admin, listen=old.admin.listen),
        store=old.store,
        shared_state=old.shared_state,
        log=old.log,
        limits=replace(new.limits, headers=old.limits.headers, in_flight=old.limits.in_flight),
        images=old.images,
        time_zone=old.time_zone,
        workers=old.workers,
        telemetry=old.telemetry,
    )


_SHOWN: Mapping[str, Callable[[Config], str]] = {
    "listen": lambda config: str(config.listen),
    "admin.listen": lambda config: str(config.admin.listen),
    "limits.headers": lambda config: str(config.limits.headers),
    "limits.in_flight": lambda config: str(config.limits.in_flight),
    "time_zone": lambda config: str(config.time_zone),
    "workers": lambda config: str(config.workers),
    "log": lambda config: f"{config.log.format}, {config.log.level}",
}


def _not_taken_over(old: Config, new: Config) -> Iterable[str]:
    for name, value in NEEDS_RESTART.items():
        if value(old) != value(new):
            show = _SHOWN.get(name)
            kept = "the old value" if show is None else show(old)
            wanted = "another" if show is None else show(new)
            yield f"{name}: a reload cannot change it; {kept} stays in force, the file says {wanted}: restart it"


def _of_the_environment(config: Config) -> str:
    names = config.variables
    named = f" ({', '.join(names[:_MOST_NAMED])}{', …' if len(names) > _MOST_NAMED else ''})" if names else ""
    return f"environment: variables{named} keep the values that the gateway was started with; restart it for others"
