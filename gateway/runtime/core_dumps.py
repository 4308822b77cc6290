"""Dumps of this process's memory, switched off: they would hold keys and prompts, on a disk, for who finds them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

try:
    resource: Any = import_module("resource")
except ImportError:  # Windows
    resource = None


def forbid_core_dumps() -> None:
    """Set the soft limit of a dump's size to 0; who debugs may raise it again. Nothing where the system has no such
    limit.
    """
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
