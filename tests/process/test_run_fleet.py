"""``make run-fleet``: what it prints can be pasted, all gateways have one set of books, and Ctrl-C ends all of it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTED_WITHIN, ENDED_WITHIN = 90.0, 45.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


class Fleet:
    """A running one. ``text``: what it has printed so far."""

    def __init__(self, output: Path, temporary: Path) -> None:
        self._output = output
        environment = {**ENVIRONMENT, "TMPDIR": str(temporary)}
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.run_fleet", "--port", "0"],
                cwd=ROOT,
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def until(self, condition: Callable[[], object], what: str, within: float = STARTED_WITHIN) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.text}"
            time.sleep(0.1)

    def started(self) -> None:
        self.until(lambda: "Stop with Ctrl-C." in self.text, "its banner")

    def pids(self) -> list[int]:
        """Of the gateways, and of both engines."""
        return [int(pid) for pid in re.findall(r"\bpid (\d+)", self.text)]

    def line(self, beginning: str) -> str:
        return next(line for line in self.text.splitlines() if beginning in line)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where it keeps what it keeps; a folder that the other user can enter whom PostgreSQL runs as for root."""
    with tempfile.TemporaryDirectory(prefix="run-fleet-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def fleet(tmp_path: Path, temporary: Path) -> Iterator[Fleet]:
    running = Fleet(tmp_path / "output", temporary)
    yield running
    if running.process.poll() is None:
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()


def pasted(line: str) -> str:
    """What a line prints when it is pasted into a shell."""
    done = subprocess.run(
        ["sh", "-c", line], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(240)
def test_it_is_a_fleet_and_ends_at_ctrl_c(fleet: Fleet) -> None:
    fleet.started()
    assert fleet.text.count("A SIMULATION: the upstreams are the built-in SANDBOX. Nothing is bought.") == 2
    for _ in range(3):
        assert "data: [DONE]" in pasted(fleet.line("curl -sN "))
    status = pasted(fleet.line("gateway status "))
    assert len(re.findall(r"^gw_[0-9a-f]{16} .*\blive\b.* store:up shared_state:up", status, re.MULTILINE)) == 3
    spent = pasted(fleet.line("gateway usage "))
    assert re.search(r"^fleet +gpt-4o-mini +3 ", spent, re.MULTILINE), spent

    pids = fleet.pids()
    assert len(pids) == 5
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(ENDED_WITHIN) == 0, fleet.text
    assert fleet.text.rstrip().endswith("the fleet has ended; its folder is gone.")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in fleet.text
    [configuration] = re.findall(r"--config (\S+gateway-1\.yaml)", fleet.text)
    assert not Path(shlex.split(configuration)[0]).parent.exists()


@pytest.mark.timeout(240)
def test_ctrl_c_while_it_starts_leaves_nothing(fleet: Fleet, temporary: Path) -> None:
    fleet.until(lambda: "gateways …" in fleet.text, "the gateways' start")
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(ENDED_WITHIN) == 0, fleet.text
    assert list(temporary.iterdir()) == []


@pytest.mark.timeout(240)
def test_a_gateway_that_is_killed_is_started_again(fleet: Fleet) -> None:
    fleet.started()
    first = fleet.pids()[0]
    os.kill(first, signal.SIGKILL)
    fleet.until(lambda: "gateway-1 | ended with -9; it is started again" in fleet.text, "the news", 10)
    assert "data: [DONE]" in pasted(fleet.line("curl -sN ")), "the others serve"

    def three_alive() -> bool:
        status = pasted(fleet.line("gateway status ").replace("gateway-1.yaml", "gateway-2.yaml"))
        return len(re.findall(r"^gw_\S+ +live ", status, re.MULTILINE)) == 3

    fleet.until(three_alive, "three gateways again", 40)
