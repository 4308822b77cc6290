"""What the supervisor decides: how long it waits, what it says of an end, how a worker is started."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

import gateway
from gateway.telemetry.log import Log
from gateway.workers import process
from gateway.workers.process import Spawning, why_ended
from gateway.workers.spawning import VARIABLE, Assignment, own_assignment, worker_command
from gateway.workers.supervisor import LONGEST_WAIT, Supervisor, wait_before

ASSIGNMENT = Assignment(2, 7, 8, "/tmp/x/2-0.sock", "127.0.0.1", 8401, {"--store": "postgresql://u:hunter2@h/d"})


def test_the_wait_doubles_up_to_half_a_minute() -> None:
    assert [wait_before(number) for number in range(6)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6]
    assert wait_before(10_000) == LONGEST_WAIT


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "it was told to end"),
        (1, "it ended with exit code 1"),
        (-9, "it was killed by SIGKILL"),
        (-77, "it was killed by signal 77"),
    ],
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    assert why_ended(code) == words


def test_what_a_worker_is_told_stands_in_no_command_line_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ASSIGNMENT.environment()
    assert "hunter2" in environment[VARIABLE]
    assert orjson.loads(environment[VARIABLE])["number"] == 2
    command = worker_command(["--config", "config.yaml"])
    assert command[0] == sys.executable
    assert command[-3:] == ["serve", "--config", "config.yaml"]
    assert "hunter2" not in " ".join(command)
    monkeypatch.setenv(VARIABLE, environment[VARIABLE])
    assert own_assignment() == ASSIGNMENT
    assert own_assignment() is None  # and no child of the worker finds it
    assert VARIABLE not in os.environ


def test_a_worker_finds_the_package_where_its_supervisor_did(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(gateway.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert ASSIGNMENT.environment()["PYTHONPATH"].split(os.pathsep) == [root, "/elsewhere"]
    monkeypatch.setenv("PYTHONPATH", root)
    assert ASSIGNMENT.environment()["PYTHONPATH"] == root


class TestAWorkerThatCannotBeStarted:
    """As where there are too many processes, or too little memory."""

    LASTING = (sys.executable, "-c", "import time; time.sleep(600)")
    MISSING = ("/there/is/no/such/program",)

    def supervisor(self, tmp_path: Path) -> tuple[Supervisor, Spawning, io.StringIO]:
        out = io.StringIO()
        config: Any = SimpleNamespace(drain_delay=0.0, drain=0.1)
        made = Supervisor(config, Log("json", "info", None, out), [], {}, foreground=False)
        return made, Spawning([], {}, tmp_path, "127.0.0.1", 1), out

    async def test_it_is_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        commands = iter([self.MISSING, self.MISSING, self.LASTING])
        monkeypatch.setattr(process, "worker_command", lambda _: next(commands))
        supervisor, spawning, out = self.supervisor(tmp_path)
        first: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        first.set_result(None)  # it is one that had been started before
        keeping = asyncio.get_running_loop().create_task(supervisor._keep(2, spawning, first))
        async with asyncio.timeout(20):
            while not supervisor._living:
                assert not keeping.done(), "none looks after it any more"
                await asyncio.sleep(0.01)
        supervisor._told_to_stop()
        await keeping
        await supervisor._tasks.cancel_all()
        supervisor._log.flush()
        assert out.getvalue().count("worker_not_started") == 2

    async def test_the_first_of_all_ends_the_start(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "worker_command", lambda _: self.MISSING)
        supervisor, spawning, out = self.supervisor(tmp_path)
        first: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(20):
            await supervisor._keep(1, spawning, first)
            assert await first == 1
        supervisor._log.flush()
        assert "worker_not_started" in out.getvalue()
