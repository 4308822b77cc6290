"""The table of clients, as clients.toml has it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
TABLE = FOLDER / "clients.toml"
DRIVERS = FOLDER / "drivers"


@dataclass(frozen=True)
class Client:
    """One version of one client.

    ``python``, ``npm``: the packages of its environment, each with its version. ``driver``: the file in drivers/.
    ``apis``: what is tried, see trials.py. A call is an API and a trial, such as ``chat/whole``. ``without``: call →
    why it is not for this client. ``fails``: call → by which fault of the client's own it fails. ``chatty``: calls in
    which it asks for more than it is told to. ``retries``: it asks again by itself when a stream broke.
    ``structured``: its answers are objects, whose strings repeat the prompt. ``one_step``: it works without tools, so
    that a piece of work is one request. ``prompts``: trial → its prompt in place of the usual. ``plays``: how the
    upstream answers in place of ``ok``.
    """

    name: str
    version: str
    driver: str
    apis: Sequence[str]
    python: Sequence[str] = ()
    npm: Sequence[str] = ()
    without: Mapping[str, str] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    retries: bool = False
    chatty: Sequence[str] = ()
    structured: bool = False
    one_step: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    plays: str = "ok"

    @property
    def id(self) -> str:
        """A name for folders and tests."""
        return re.sub(r"[^\w.]+", "-", f"{self.name}-{self.version}").strip("-").replace("Python", "py").lower()


def read_table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def read_clients() -> list[Client]:
    """Every client of the table, in its order."""
    return [Client(**section) for section in read_table()["client"]]
