"""How a worker is started: the same program as its supervisor, told by one variable of its environment what it is.

Nothing of that is on its command line, which every user of the machine may read: a store's URL holds a password.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

import gateway

VARIABLE = "PIAPI_GATEWAY_WORKER"
"""Its name. What it says is for the process alone that finds it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told.

    ``number``: from 1, the same again for one that takes a dead one's place. ``channel``, ``memory``: descriptors that
    it inherits. ``admin_socket``: the file it takes admin requests at, which reach the supervisor at ``admin_host`` and
    ``admin_port``. ``given``: the settings that the options of ``serve`` gave (``--listen``, ``--store``).
    """

    number: int
    channel: int
    memory: int
    admin_socket: str
    admin_host: str
    admin_port: int
    given: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Our own environment, and this."""
        told = {**asdict(self), "given": dict(self.given)}
        return {**_importing(), VARIABLE: orjson.dumps(told).decode()}


def own_assignment() -> Assignment | None:
    """What this process was told; None for one that is no worker. It is told once: a child of it is not."""
    told = os.environ.pop(VARIABLE, None)
    return None if told is None else Assignment(**orjson.loads(told))


def worker_command(arguments: Sequence[str]) -> list[str]:
    """The command that starts a worker. ``arguments``: of ``serve``, without any that are given otherwise."""
    # -P: the working directory is no place to import from, as it is none for the installed program.
    return [sys.executable, "-P", "-m", "gateway", "serve", *arguments]


def _importing() -> dict[str, str]:
    """The environment, in which another interpreter finds this package where this one found it."""
    import site
    import sysconfig

    root, environment = str(Path(gateway.__file__).parent.parent), dict(os.environ)
    known = {*site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()}
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    if root not in known and root not in paths:
        environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])
    return environment
