"""What holds for the whole suite."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway.runtime import today
from tests.days import TODAY, noon_ns

pytest_plugins = ["tests.engines.fixtures"]

today.wall_ns = lambda: noon_ns(TODAY)  # models that end on a day to come must not change the suite on that day

# Programs that the tests start and stop inherit what is ignored, as SIGINT is in a shell's background.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """A server leaves the signals that stop it ignored, as its process is to end: here that is the tests' own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


# How long an example takes says something about the machine and its neighbours, nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

RAM_DISK = Path("/dev/shm")
ROOM = 1 << 30
"""Bytes that must be free on the RAM disk before a test run is put there; a container's is often too small."""

MOST_WORKERS = 16


def use_ram_disk() -> None:
    """Put temporary folders in memory where that is possible: the stores wait for fsync, which a RAM disk does not.

    A ``TMPDIR`` that is set already is left alone. The workers of one run inherit what their controller decided.
    """
    if "TMPDIR" in os.environ or not os.access(RAM_DISK, os.W_OK) or shutil.disk_usage(RAM_DISK).free < ROOM:
        return
    os.environ["TMPDIR"] = str(RAM_DISK)
    tempfile.tempdir = None  # asked for before, perhaps


use_ram_disk()


def keep_bytecode() -> None:
    """Let Python keep what it compiles, also where the environment forbids it, as in images that shall stay small.

    Without it every worker rewrites the assertions of all tests anew, which is half of what collecting costs, and every
    program that a test starts compiles the gateway. Programs and workers inherit what their parent decided.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


keep_bytecode()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core, as most tests wait; but each collects everything first, so that many more would not help."""
    return min(MOST_WORKERS, 2 * (os.cpu_count() or 1))


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the garbage collector's sight: it stays until the end anyway.

    Looking through it again and again is a good part of what the suite would cost, most of all where a test collects
    to see that nothing was left behind.
    """
    gc.collect()
    gc.freeze()
