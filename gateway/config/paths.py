"""Where relative paths of a configuration file lie: beside the file, wherever the program was started."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from gateway.config.settings import SQLITE, Config

_OF_DESCRIPTORS = ("/dev/stdin", "/dev/fd/", "/proc/")
"""Where a process finds what it was handed open: no folder in which other files could lie."""

_PLAIN = re.compile(r"[\w/.,@+~-](?:[\w/.,@+~ -]*[\w/.,@+~-])?")
"""A path that needs no quotes in YAML."""


def folder_of(source: Path | None) -> Path:
    """The folder that relative paths in the file ``source`` are relative to; without a file the working directory."""
    if source is None or str(source).startswith(_OF_DESCRIPTORS) or (source.exists() and not source.is_file()):
        return Path()
    return source.parent


def beside_file(given: str, folder: Path) -> Path:
    """The path ``given`` in a configuration whose relative paths are relative to ``folder``; ``~`` is one's home."""
    path = Path(given)
    with suppress(RuntimeError):  # the home of no user that is known: a name like any other
        path = path.expanduser()
    return folder / path


def placed_store(url: str, folder: Path) -> str:
    """The URL of the same store for a program that runs in any folder; any other store than SQLite's stays."""
    return SQLITE + str(beside_file(url.removeprefix(SQLITE), folder)) if url.startswith(SQLITE) else url


def misplaced_store(config: Config) -> str:
    """The sentence that refuses a configuration whose store lies in the working directory; empty if it does not.

    Relative paths were relative to the working directory once. A store that is there, while there is none beside the
    file, must not be passed over for an empty one.
    """
    new, written = config.sqlite_path, config.store_as_written
    # os.path and not Path: what may not be looked at is not there, and no error.
    if config.source is None or new is None or os.path.exists(new):
        return ""
    if config.store != placed_store(written, folder_of(config.source)):  # another one was named on the command line
        return ""
    old = Path(written.removeprefix(SQLITE))  # as it was read once, ``~`` included
    if not os.path.isfile(old) or os.path.realpath(old) == os.path.realpath(new):
        return ""
    line = f"{SQLITE}{old.resolve()}".replace("${", "$${")
    if not _PLAIN.fullmatch(str(old.resolve())):
        line = json.dumps(line, ensure_ascii=False)
    return (
        f"store: there is a store in the working directory, {old.resolve()}, and none beside the configuration, "
        f"{new.resolve()}: relative paths are relative to the configuration file. "
        f"To go on with the one that is there, write into {config.source}:\nstore: {line}"
    )
