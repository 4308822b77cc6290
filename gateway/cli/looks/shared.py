"""A look at what several gateways share: Valkey or Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.cli.looks.finding import Finding, Seen, ok, warning, wrong
from gateway.core.errors import OperatorError

if TYPE_CHECKING:
    from gateway.shared_state.base import SharedLook

OLDEST = (6, 2)
SLOW = 0.05
"""Seconds of a question and its answer: each request waits for two or three of them."""

NAME = "shared state"


async def look_at_shared_state(seen: Seen) -> Sequence[Finding]:
    """The server of ``shared_state``, unless it is this process's memory."""
    from gateway.shared_state.engines import look_at_shared_state as look

    if seen.config is None or seen.config.shared_state == "memory://":
        return []
    try:
        return [judge_shared(await look(seen.config.shared_state))]
    except OperatorError as error:
        advice = "start it, or mend 'shared_state'; without it limits are each gateway's own (docs/shared-state.md)"
        return [wrong(NAME, str(error).removeprefix("shared_state: "), advice)]


def judge_shared(look: SharedLook) -> Finding:
    """Its version and how fast it answers."""
    oldest = ".".join(map(str, OLDEST))
    if not look.version:
        found = f"{look.name} answers, and does not say its version"
        return warning(NAME, found, f"see that it is Redis {oldest} or newer, or Valkey; its user may lack INFO")
    shown = f"{look.name}, version {'.'.join(map(str, look.version))}"
    if look.version < OLDEST:
        return wrong(NAME, f"{shown} is too old", f"install Valkey, or Redis {oldest} or newer")
    found = f"{shown}, answers in {look.seconds * 1000:.1f} ms"
    if look.seconds > SLOW:
        return warning(NAME, found, "put it nearer: every request waits for it")
    return ok(NAME, found)
