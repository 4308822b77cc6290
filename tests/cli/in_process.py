"""Commands and gateways in the test's own process, for all that a process of its own would only make slower.

async with serving(folder, settings(sandbox, folder)) as gateway:      # on the test's loop
    finished = await command("keys", "list", *gateway.meet)             # in a thread, as it has a loop of its own
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app.gateway import Gateway
from gateway.cli.main import main
from gateway.config import Config, load
from gateway.telemetry.log import Log
from gateway.telemetry.redaction import Redactor
from tests.process.running import Finished, write

_MADE_A_STORE = re.compile(r"keys: made a new store: /.*/gateway\.db\n")

NOWHERE = {"listen": "127.0.0.1:1"}
"""An admin listener where no gateway answers."""


def obeyed(*arguments: str) -> Finished:
    """A command run to its end."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Finished(code, out.getvalue(), err.getvalue())


async def command(*arguments: str) -> Finished:
    """A command run to its end beside the test's loop; one at a time, since they share the process's outputs."""
    return await asyncio.to_thread(obeyed, *arguments)


async def done(*arguments: str) -> str:
    """What a command prints that must succeed, in silence but for that and for a store that it makes."""
    finished = await command(*arguments)
    assert finished.code == 0, finished
    assert not finished.err or _MADE_A_STORE.fullmatch(finished.err), finished
    return finished.out


def one_line(finished: Finished, code: int) -> str:
    """The one line on stderr of a command that could not do its work and printed nothing else."""
    assert finished.code == code, finished
    assert finished.out == ""
    assert finished.err.count("\n") == 1, finished.err
    assert finished.err.endswith("\n")
    assert "Traceback" not in finished.err
    return finished.err


@dataclass
class RunningGateway:
    """A gateway on the test's loop. ``meet``: the option with which a command finds it, as its port was free to choose.

    ``log``: its lines, complete once it is closed.
    """

    gateway: Gateway
    log: io.StringIO
    meet: tuple[str, str]

    @property
    def url(self) -> str:
        return self.gateway.main_url

    @property
    def admin(self) -> str:
        return self.gateway.admin_url

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        return [line for line in map(json.loads, self.log.getvalue().splitlines()) if line["event"] == name]


@asynccontextmanager
async def serving(folder: Path, document: Mapping[str, Any]) -> AsyncIterator[RunningGateway]:
    """A gateway with this configuration, read from ``folder/config.yaml``, at first and when it reloads."""
    path = write(folder, document)

    def read() -> Config:
        return load(path, os.environ)

    config, lines = read(), io.StringIO()
    log = Log("json", "info", Redactor(config.secrets, config.upstream_hosts), lines)
    gateway = await Gateway.start(config, log, read)
    try:
        meet = folder / "meet.yaml"
        admin = {**document["admin"], "listen": gateway.admin_url.removeprefix("http://")}
        meet.write_text(json.dumps({**document, "admin": admin}), encoding="utf-8")
        yield RunningGateway(gateway, lines, ("--config", str(meet)))
    finally:
        await gateway.close()
        log.close()
