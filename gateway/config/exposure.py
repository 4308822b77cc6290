"""The secrets that a configuration file holds itself, where every user of the machine can read the file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from gateway.config.document import Document
from gateway.config.environment import Substituted
from gateway.config.problems import Location, path_text
from gateway.runtime.disk import has_modes


def exposed_secrets(source: Path, document: Document, secrets: Set[str]) -> Iterator[str]:
    """The warning about a file that others can read, and that holds secrets instead of naming variables.

    ``secrets``: every secret value in force.
    """
    try:
        status = os.stat(source)
    except OSError:
        return
    if not has_modes() or not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IROTH:
        return
    held = [path_text(location) for location, value in _literals(document.data, ()) if _holds(value, secrets)]
    if held:
        places = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
        yield (
            f"every user of this machine can read {source} (mode {stat.S_IMODE(status.st_mode):04o}), and secrets "
            f"stand in it: {places}. Run: chmod o-r {source}, or take them from the environment: ${{NAME}}"
        )


def _literals(value: Any, location: Location) -> Iterator[tuple[Location, str]]:
    """Every text of the file that did not come from the environment, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _literals(inner, (*location, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _literals(inner, (*location, index))
    elif isinstance(value, str) and (not isinstance(value, Substituted) or value.written):
        yield location, value


def _holds(value: str, secrets: Set[str]) -> bool:
    """Whether a text is a secret, or a URL with one as its password."""
    return value.strip() in secrets or ("@" in value and "://" in value and any(one in value for one in secrets))
