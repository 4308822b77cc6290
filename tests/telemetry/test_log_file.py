"""Lines stay whole in files: whoever else writes there, and whatever a full disk leaves of them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import OperatorError
from gateway.telemetry.line_writer import LineWriter
from gateway.telemetry.log import Log
from gateway.telemetry.log_file import LogFile

WRITES = """
import sys
from gateway.telemetry.log import Log
from gateway.telemetry.log_file import LogFile
from pathlib import Path
file = LogFile(Path(sys.argv[2])) if len(sys.argv) > 2 else None
log = Log("json", "info", file=file)
for n in range(300): log.info("line", writer=sys.argv[1], n=n, text="x" * (n % 7 * 500))
log.close()
"""


@pytest.mark.parametrize("to", ["pipe", "file"])
def test_several_processes_may_write_to_one_log(to: str, tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    reader, writer = os.pipe()
    more = [str(tmp_path / "log")] if to == "file" else []
    children = [
        subprocess.Popen([sys.executable, "-c", WRITES, str(number), *more], stderr=writer, env=environment)
        for number in range(3)
    ]
    os.close(writer)
    text = b"".join(iter(lambda: os.read(reader, 65536), b""))
    os.close(reader)
    assert [child.wait(60) for child in children] == [0, 0, 0]
    if to == "file":
        text = (tmp_path / "log").read_bytes()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 900
    for number in range(3):
        assert [line["n"] for line in lines if line["writer"] == str(number)] == list(range(300))


@pytest.mark.parametrize("others_write_too", [False, True])
def test_a_full_disk_tears_no_line_and_what_it_cost_is_said_when_there_is_room(tmp_path: Path, others_write_too: bool):
    """An emulation: a limit on files' size takes a part of a write and refuses the next, as a full disk does."""
    path = tmp_path / "log"
    file = LogFile(path)
    writer = LineWriter(file, lambda number: b'{"event":"log_lines_dropped","number":%d}\n' % number)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        for number in range(30):
            writer.write(b'{"event":"line","n":%d,"text":"%s"}\n' % (number, b"x" * 60))
        assert writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes().endswith(b"\n")
    if others_write_too:
        with path.open("ab") as other:
            other.write(b'{"event":"other"}\n')
    writer.write(b'{"event":"line","n":99}\n', urgent=True)
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [line["n"] for line in lines if line["event"] == "line"]
    assert kept == [*range(len(kept) - 1), 99]
    assert sum(line.get("number", 0) for line in lines) == 31 - len(kept) == writer.dropped > 0


def test_it_is_said_even_if_no_other_line_comes(tmp_path: Path):
    path = tmp_path / "log"
    log = Log("json", "info", file=LogFile(path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        log.info("lost")
        assert log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    for _ in range(200):
        if path.stat().st_size:
            break
        signal.sigtimedwait([], 0.05)
    log.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["log_lines_dropped"]


def test_while_its_folder_is_gone_the_old_file_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(folder / "log")
    (folder).rename(tmp_path / "moved")
    for line in (b"one\n", b"two\n"):
        os.write(file.descriptor(), line)
    folder.mkdir()
    os.write(file.descriptor(), b"three\n")
    file.close()
    assert (tmp_path / "moved" / "log").read_bytes() == b"one\ntwo\n"
    assert (folder / "log").read_bytes() == b"three\n"
    assert capsys.readouterr().err.count("cannot be opened again") == 1


@pytest.mark.parametrize("place", ["folder", "pipe"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, place: str):
    path = tmp_path / place
    path.mkdir() if place == "folder" else os.mkfifo(path)
    with pytest.raises(OperatorError, match="the log cannot be written"):
        LogFile(path)
