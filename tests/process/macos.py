"""The command line on a system that lacks what macOS lacks. An EMULATION: it hides names, it is not macOS.

python -m tests.process.macos serve --config config.yaml
"""

from __future__ import annotations

import fcntl
import os
import resource
import sys

HARD = 2**63 - 1
"""RLIM_INFINITY as macOS has it."""

OPEN_MAX = 10_240
"""What its kernel gives in truth where the hard limit is infinite."""


def hide() -> None:
    """Take away what macOS lacks, and put its calls in the place of ours."""
    for name in ("posix_fallocate", "fdatasync", "sched_getaffinity"):
        delattr(os, name)
    if sys.version_info >= (3, 13):
        os.process_cpu_count = os.cpu_count  # without sched_getaffinity it is that
    for name in ("F_OFD_SETLK", "F_OFD_SETLKW", "F_OFD_GETLK"):
        delattr(fcntl, name)
    fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]
    real_fcntl = fcntl.fcntl

    def call(descriptor: int, number: int, argument: int = 0) -> int:
        if number == 51:
            os.fsync(descriptor)
            return 0
        return int(real_fcntl(descriptor, number, argument))

    fcntl.fcntl = call  # type: ignore[assignment]
    soft = 256

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        nonlocal soft
        if not 0 <= limits[0] <= OPEN_MAX:
            raise ValueError("current limit exceeds maximum limit")
        soft = limits[0]

    resource.RLIM_INFINITY = HARD
    resource.getrlimit = lambda _: (soft, HARD)
    resource.setrlimit = setrlimit  # type: ignore[assignment]


if __name__ == "__main__":
    hide()
    from gateway.cli.main import main

    sys.exit(main(sys.argv[1:]))
