"""The bench runs, reports and leaves nothing behind. How fast anything is, is not asked here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the bench reads /proc", allow_module_level=True)

from bench import load, wire
from bench.clients import BenchError
from bench.report import Goal, Row, data, markdown, text
from bench.servers import mock_server

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    """The bench in a process group of its own, to see who is left of it."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--seconds", "0.3", "--no-wrk", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def assert_nobody_left(group: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_it_measures_the_gateway_and_leaves_no_process() -> None:
    running = start("--only", "cpu", "--only", "chunk", "--json")
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    report = json.loads(out)
    cpu, rate, chunk = report["rows"]
    assert [row["name"] for row in report["rows"]] == ["cpu", "cpu", "chunk"]
    for row in (cpu, rate, chunk):
        [figure] = row["servers"]["gateway"]["rounds"]
        assert figure > 0
        assert row["met"] in (True, False)
    assert rate["servers"]["direct"]["best"] > 0
    assert "direct" not in cpu["servers"]  # a run without a server uses none of its CPU
    assert 0 < chunk["servers"]["gateway"]["rates"][0] < 6000  # no more than the 5,000/s that are offered
    assert_nobody_left(running.pid)


def test_told_to_stop_it_takes_its_servers_along() -> None:
    running = start("--only", "cpu", "--seconds", "60")
    deadline = time.monotonic() + 30
    while children(running.pid) < 2:  # the mock and the gateway at least
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=20)
    assert running.returncode == 128 + signal.SIGTERM
    assert_nobody_left(running.pid)


def children(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_an_unknown_measure_is_bad_usage() -> None:
    running = start("--only", "luck")
    _, err = running.communicate(timeout=20)
    assert running.returncode == 2
    assert "invalid choice: 'luck'" in err


def test_every_load_against_the_mock_alone(tmp_path: Path) -> None:
    with mock_server(tmp_path) as mock:
        before = mock.cpu_ns()
        whole = load.requests(mock.port, 4, 0.2, mock.cpu_ns, wrk=False)
        assert whole.count > 0
        assert 0 < whole.cpu_ns <= mock.cpu_ns() - before

        paced = load.paced_streams(mock.port, 10, 10, 0.5, mock.cpu_ns)
        assert 0 < paced.count <= 10 * 0.55 / 0.01  # one chunk a stream each 10 ms, never more

        assert all(seconds > 0 for seconds in load.answer_times(mock.port, 0.05))
        assert all(seconds > 0 for seconds in load.first_token_times(mock.port, 0.05))
        load.idle_streams(mock.port, 30, mock.memory)
        assert mock.memory() > 1024 * 1024

    with pytest.raises(BenchError, match="no connection"):
        load.requests(mock.port, 1, 0.1, lambda: 0, wrk=False)


def test_the_bytes_have_the_sizes_the_figures_are_about() -> None:
    for stream in (False, True):
        body = wire.request_body(wire.NOW, stream=stream)
        assert len(body) == wire.REQUEST_SIZE
        assert json.loads(body).get("stream", False) is stream
    head, body = wire.whole_answer().split(b"\r\n\r\n")
    assert wire.LENGTH.search(head)[1] == b"%d" % len(body) == b"640"
    assert json.loads(body)["usage"]["total_tokens"] == 120
    size, event = wire.content_chunk().split(b"\r\n")[:2]
    assert int(size, 16) == len(event) == wire.CHUNK_SIZE


class TestTable:
    def row(self, *, more_is_better: bool = False) -> Row:
        row = Row("speed", Goal("speed of light", "µs", 40, more_is_better))
        for figure in (50.0, 30.0, 60.0):
            row.add("gateway", figure, rate=1000 + figure)
            row.add("nginx", figure / 10)
        return row

    def test_less_is_better_unless_it_says_otherwise(self) -> None:
        assert (self.row().best("gateway"), self.row().median("gateway"), self.row().met()) == (30.0, 50.0, True)
        more = self.row(more_is_better=True)
        assert (more.best("gateway"), more.met(), more.goal.text()) == (60.0, True, "≥ 40 µs")

    def test_a_goal_missed_by_every_round_is_not_met(self) -> None:
        row = Row("speed", Goal("speed of light", "µs", 40))
        assert row.met() is None
        row.add("gateway", 41.0)
        assert row.met() is False

    def test_a_round_that_did_not_carry_its_load_meets_no_goal(self) -> None:
        row = Row("speed", Goal("speed of light", "µs", 40, offer=1000))
        row.add("gateway", 20.0, rate=600)
        row.add("gateway", 50.0, rate=1000)
        assert row.met() is False
        row.add("gateway", 39.0, rate=800)
        assert row.met() is True

    def test_the_forms_tell_the_same(self) -> None:
        row = self.row()
        assert markdown([row]).splitlines()[2] == (
            "| speed of light | ≤ 40 µs | yes | 30.0 / 50.0 at 1,050/s | 3.0 / 5.0 | 10.0 | – |"
        )
        assert text([row]).splitlines()[1].split("  ")[0] == "speed of light"
        [told] = data([row])
        assert told["times_nginx"] == 10.0
        assert told["servers"]["gateway"]["rounds"] == [50.0, 30.0, 60.0]  # type: ignore[index]
