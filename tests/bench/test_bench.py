"""The bench runs, reports and leaves nothing behind. How fast anything is, is not asked here."""

from __future__ import annotations

import base64
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

from bench import load, results, stopwatch, wire
from bench.clients import BenchError
from bench.servers import mock_server

ROOT = Path(__file__).parents[2]
PEER = ("--peer", "nginx")


def start(*arguments: str) -> subprocess.Popen[str]:
    """The bench in a process group of its own, to see who is left of it."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--seconds", "0.3", "--no-wrk", *PEER, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def assert_nobody_left(group: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_it_measures_the_gateway_and_leaves_no_process(tmp_path: Path) -> None:
    kept = tmp_path / "results" / "run.json"
    running = start("--only", "cpu", "--only", "chunk", "--json", str(kept))
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert results.load(kept).text() == out.rstrip("\n")
    report = json.loads(kept.read_text())
    assert {"date", "commit", "machine", "Python", "load average before"} <= report["conditions"].keys()
    cpu, rate, chunk = report["rows"]
    assert [row["name"] for row in report["rows"]] == ["cpu", "cpu", "chunk"]
    for row in (cpu, rate, chunk):
        [figure] = row["servers"]["gateway"]["rounds"]
        assert figure > 0
        assert row["met"] in ("no", "must", "goal", "–")
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
        assert load.flood(mock.port, 2, 50, 0.2, mock.cpu_ns).count >= 50

        assert all(seconds > 0 for seconds in stopwatch.answer_times(mock.port, 0.05))
        assert all(seconds > 0 for seconds in stopwatch.first_token_times(mock.port, 0.05))
        assert all(seconds > 0 for seconds in stopwatch.paused_token_times(mock.port, 0.05))
        assert len([seconds for seconds in load.burst(mock.port, 40) if seconds > 0]) == 40
        load.idle_streams(mock.port, 30, mock.memory)
        assert mock.memory() > 1024 * 1024

    with pytest.raises(BenchError, match="no connection"):
        load.requests(mock.port, 1, 0.1, lambda: 0, wrk=False)


def test_each_request_is_asked_once_whatever_its_size(tmp_path: Path) -> None:
    with mock_server(tmp_path) as mock:
        sizes = [500, 30_000, 3_000_000] * 3
        load.each(mock.port, [wire.request(wire.NOW, stream=False, size=size) for size in sizes], 4, 30)
        answer = stopwatch.ask(mock.port, wire.post(wire.PICTURE_PATH, b"{}", {}))
    [picture] = json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
    assert base64.b64decode(picture["b64_json"])[:8] == b"\x89PNG\r\n\x1a\n"
    assert abs(len(picture["b64_json"]) * 3 / 4 - wire.PICTURE_SIZE) < 0.01 * wire.PICTURE_SIZE


def test_a_ping_waits_as_long_as_the_server_is_held_up(tmp_path: Path) -> None:
    with mock_server(tmp_path) as mock:

        def held_up() -> None:
            mock.pause()
            time.sleep(0.3)
            mock.resume()

        assert stopwatch.longest_wait(mock.port, held_up) > 0.2


def test_a_load_says_when_it_was_at_its_end_before_the_server() -> None:
    """A server with CPU to spare whose load had none could have carried more."""
    assert load.Load(100, 1.0, 400_000_000, load_busy=0.99).bound_by_load
    assert not load.Load(100, 1.0, 950_000_000, load_busy=0.99).bound_by_load
    assert not load.Load(100, 1.0, 400_000_000, load_busy=0.8).bound_by_load


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
    for size in (1_000, 30_000):
        assert len(wire.request_body(wire.NOW, stream=False, size=size)) == size
        assert len(json.loads(wire.request_body(wire.NOW, stream=False, size=size))["messages"]) == -(-size // 1037)
