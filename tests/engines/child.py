"""A server of a test: a process group of its own that ends with the tests, however these end."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A port of the loopback address that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged() -> str | None:
    """The user that servers run as which refuse to be root's; None if this is no root."""
    return "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask


class Child:
    """A running server. ``log``: the file of what it prints."""

    def __init__(self, command: Sequence[str], log: Path, *, user: str | None = None) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=None if user is None else "nogroup",
                extra_groups=None if user is None else [],
                cwd="/",
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server alone."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def pause(self) -> None:
        """Let it answer nothing: its connections stay open."""
        self.send_all(signal.SIGSTOP)

    def resume(self) -> None:
        self.send_all(signal.SIGCONT)

    def kill(self) -> None:
        self.send_all(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force if it takes long."""
        self.resume()
        self.send(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
