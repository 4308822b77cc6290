"""SIGUSR1 and SIGUSR2, which end a process that says nothing about them."""

from __future__ import annotations

import signal


def survive_user_signals() -> None:
    """Ignore both from now on; serving gives the first a meaning."""
    for name in ("SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
