"""``python -m soak``: what it prints, its exit codes, and what it leaves behind for whoever looks into a failure."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from soak.__main__ import main
from soak.process import SoakError
from soak.report import MOST_PROBLEMS, Report


def obey(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["soak", *arguments])
    return main()


@pytest.fixture(autouse=True)
def on_linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("signal.signal", lambda number, handler: None)


def kills_end(monkeypatch: pytest.MonkeyPatch, report: Report | SoakError) -> None:
    async def run(folder: Path, count: int, seed: int) -> Report:
        (folder / "gateway.db").touch()
        assert (count, seed) == (7, 42)
        if isinstance(report, SoakError):
            raise report
        return report

    monkeypatch.setattr("soak.kills.run", run)


def test_books_that_held(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kills_end(monkeypatch, Report("SIGKILL", {"kills": "7", "seed": "42"}))
    assert obey(monkeypatch, "kills", "--count", "7", "--seed", "42") == 0
    assert capsys.readouterr().out.splitlines() == ["SIGKILL", "  kills  7", "  seed   42", "  ok"]
    assert list(tmp_path.iterdir()) == []


def test_kills_with_clients_that_send_again_are_a_run_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(folder: Path, count: int, seed: int) -> Report:
        assert (count, seed) == (7, 42)
        return Report("SIGKILL, and sent again", {})

    monkeypatch.setattr("soak.resends.run", run)
    assert obey(monkeypatch, "kills", "--resend", "--count", "7", "--seed", "42") == 0
    assert capsys.readouterr().out.splitlines() == ["SIGKILL, and sent again", "  ok"]


def test_books_that_did_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [f"soak-{number} (row {number}, settled): billed twice" for number in range(MOST_PROBLEMS + 3)]
    kills_end(monkeypatch, Report("SIGKILL", {"seed": "42"}, rows))
    assert obey(monkeypatch, "kills", "--count", "7", "--seed", "42") == 1
    said = capsys.readouterr()
    assert "  seed  42\n" in said.out
    assert f"  WRONG: {rows[0]}\n" in said.out
    assert "  WRONG: 3 more\n  FAILED\n" in said.out
    kept = re.search(r"are kept in (\S+)$", said.err.strip())
    assert kept is not None
    assert (Path(kept[1]) / "gateway.db").exists()
    assert Path(kept[1]).parent == tmp_path


def test_a_run_that_failed_says_nothing_of_the_books(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kills_end(monkeypatch, SoakError("the gateway did not start"))
    assert obey(monkeypatch, "kills", "--count", "7", "--seed", "42") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "soak: the gateway did not start\n" in said.err


@pytest.mark.parametrize(
    "arguments", [(), ("kills", "--count", "0"), ("budget", "--requests", "401"), ("steady", "--keys", "0")]
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as refused:
        obey(monkeypatch, *arguments)
    assert refused.value.code == 2


def test_elsewhere_than_on_linux_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert obey(monkeypatch, "budget") == 2
