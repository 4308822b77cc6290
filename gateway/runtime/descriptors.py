"""How many files and connections this process may have open at once (RLIMIT_NOFILE), and what that leaves room for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

try:
    resource: Any = import_module("resource")
except ImportError:  # Windows: sockets are no descriptors there
    resource = None

RESERVED = 64
"""Descriptors kept free for the ledger, the listeners, the admin's and the operator's own use."""

DEFAULT_IN_FLIGHT = 10_000
"""``limits.in_flight`` where it is not set; a test holds it equal."""

_INFINITE = 1 << 30
NO_LIMIT = sys.maxsize
"""Where the system names none."""

_BELOW_THE_HARD_LIMIT = (1_048_576, 65_536, 24_576, 10_240)
"""What is tried where the hard limit itself cannot be had: macOS names none (infinity) and refuses it all the same, up
to the kernel's own ``kern.maxfilesperproc``, and lets a process have OPEN_MAX (10,240) at least."""


def descriptor_limit() -> int:
    """How many this process may have open now; NO_LIMIT for no limit."""
    if resource is None:
        return NO_LIMIT
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def possible_descriptor_limit() -> int:
    """What ``raise_descriptor_limit`` could reach, as far as the system says; nothing is changed."""
    if resource is None:
        return NO_LIMIT
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def raise_descriptor_limit() -> int:
    """Raise the limit as far as this process may, and return it. Never fails: then it stays as it is."""
    if resource is None:
        return NO_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return _number(soft)
    for wanted in (hard, *_BELOW_THE_HARD_LIMIT):
        if _number(wanted) > _number(hard) or (wanted != hard and wanted <= _number(soft)):
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            continue
        return _number(wanted)
    return _number(soft)


def room_for(wanted: int, descriptors: int) -> int:
    """How many requests may be in flight: a stream costs two descriptors, so half of what the system allows.

    ``wanted``: what the configuration says.
    """
    if descriptors >= NO_LIMIT:
        return wanted
    return max(1, min(wanted, (descriptors - RESERVED) // 2))


def lowered(wanted: int, descriptors: int) -> str:
    """A sentence if so few descriptors leave room for fewer requests than the configuration says; else empty.

    Of the default, which was not chosen, only a loss of more than a tenth is worth a word.
    """
    room, needed = room_for(wanted, descriptors), 2 * wanted + RESERVED
    if room >= wanted or (wanted == DEFAULT_IN_FLIGHT and room >= wanted * 0.9):
        return ""
    return (
        f"limits.in_flight: {wanted} is lowered to {room}, because the system lets this process open only "
        f"{descriptors} files (RLIMIT_NOFILE) and each request takes two. Write LimitNOFILE={needed} into the "
        f"systemd unit, call `ulimit -n {needed}` before the start (docker: --ulimit nofile={needed}), or set a lower "
        "limits.in_flight"
    )


def _number(limit: int) -> int:
    """macOS writes "infinite" as a large number, Linux as -1."""
    return NO_LIMIT if limit in (resource.RLIM_INFINITY, -1) or limit >= _INFINITE else limit
