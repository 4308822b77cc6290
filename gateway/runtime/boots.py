"""Which run of the operating system this is: what a process wrote survives its own end, but not that of the system."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def this_boot() -> str:
    """An id that every start of the system makes anew; empty where there is none to be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
