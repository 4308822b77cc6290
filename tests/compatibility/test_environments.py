"""Environments of clients: made once, made anew when the table changes, and missed loudly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from tests.compatibility import environments
from tests.compatibility.environments import NotInstalled
from tests.compatibility.table import Client, read_clients

PYTHON = Client("a client", "1.0", "its.py", ["chat"], python=["a-client==1.0"])
NPM = Client("a client", "2.0", "its.mjs", ["chat"], npm=["a-client@2.0"])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "cache_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that would have been run."""
    commands: list[Sequence[str]] = []
    monkeypatch.setattr(environments, "_run", lambda command, ends: commands.append(command))
    monkeypatch.setattr(environments.shutil, "which", lambda name: f"/usr/bin/{name}")
    return commands


def test_an_environment_is_made_once_as_of_the_tables_day(ran: list[Sequence[str]]) -> None:
    assert not environments.is_made(PYTHON)
    environments.make(PYTHON, inf)
    environments.make(PYTHON, inf)
    [venv, install] = ran
    assert venv[1] == "venv"
    assert "--exclude-newer" in install
    assert install[-1] == "a-client==1.0"
    assert environments.is_made(PYTHON)


def test_another_version_is_another_environment(ran: list[Sequence[str]]) -> None:
    environments.make(PYTHON, inf)
    assert not environments.is_made(replace(PYTHON, version="1.1", python=["a-client==1.1"]))
    assert not environments.is_made(replace(PYTHON, python=["a-client==1.0", "more==2"]))


def test_npm_runs_no_script_of_a_package(ran: list[Sequence[str]]) -> None:
    environments.make(NPM, inf)
    [install] = ran
    assert "--ignore-scripts" in install
    assert install[-1] == "a-client@2.0"
    assert not environments.is_made(NPM)  # there is no Node to run it with


def test_what_was_interrupted_is_made_again(cache: Path, ran: list[Sequence[str]]) -> None:
    environments.environment(PYTHON).mkdir()
    assert not environments.is_made(PYTHON)
    environments.make(PYTHON, inf)
    assert len(ran) == 2


def test_what_cannot_be_installed_is_missed_loudly_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(command: Sequence[str], ends: float) -> None:
        raise NotInstalled("no registry answers")

    monkeypatch.setattr(environments, "_run", fails)
    assert environments.main() == 0
    said = capsys.readouterr().err
    for client in read_clients():
        assert f"{client.id} CANNOT BE INSTALLED, ITS TESTS WILL BE SKIPPED: " in said
        assert not environments.is_made(client)


def test_an_installer_that_fails_is_quoted_and_one_that_hangs_is_ended() -> None:
    with pytest.raises(NotInstalled, match="sh: what is wrong"):
        environments._run(["sh", "-c", "echo what is wrong >&2; exit 3"], time.monotonic() + 60)
    with pytest.raises(NotInstalled, match="timed out"):
        environments._run(["sh", "-c", "sleep 60"], 0.0)
