"""Files of a store that other users could read are closed when it is opened, and named."""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.stores import files
from gateway.stores.sqlite.backup import make_backup, read_backup, restore_backup
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.store import keys_for_writing

from .books import StoppedClock

NOW_NS = 1_800_000_000_000_000_000
FILES = ("", ".lock", ".spill", ".mark")


async def opened(path: Path) -> None:
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await ledger.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("given", [0o644, 0o640, 0o606])
async def test_what_is_open_is_closed_and_named(path: Path, ending: str, given: int, caplog) -> None:
    await opened(path)
    caplog.clear()
    file = Path(f"{path}{ending}")
    file.chmod(given)
    await opened(path)
    assert {mode(Path(f"{path}{one}")) for one in FILES} == {0o600}
    [line] = [record.getMessage() for record in caplog.records if record.name == "gateway.stores"]
    assert str(file) in line
    assert f"{given:04o}" in line


async def test_the_log_that_a_kill_left_behind_is_closed_too(path: Path, caplog) -> None:
    await opened(path)
    log = Path(f"{path}-wal")
    log.touch()
    log.chmod(0o644)
    await opened(path)
    assert f"{log} was open" in caplog.text


def test_a_command_that_writes_closes_them_too(path: Path, caplog) -> None:
    for _ in range(2):
        with keys_for_writing(path, NOW_NS, lambda _: None):
            assert mode(path) == 0o600
        path.chmod(0o666)
    assert caplog.text.count("was open to other users (mode 0666)") == 1


async def test_what_is_not_ours_to_close_is_refused_with_the_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await opened(path)
    path.chmod(0o644)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", forbidden)
    with pytest.raises(StoreError, match=f"chmod 600 {path}"):
        await opened(path)
    monkeypatch.undo()
    await opened(path)  # the lock was let go


async def test_a_backup_that_others_could_read_is_closed_when_it_is_used(path: Path, tmp_path: Path, caplog) -> None:
    await opened(path)
    folder = tmp_path / "copy"
    make_backup(path, folder, NOW_NS)
    assert mode(folder) == 0o700
    folder.chmod(0o755)
    (folder / "gateway.db").chmod(0o644)
    read_backup(folder)
    assert (mode(folder), mode(folder / "gateway.db")) == (0o700, 0o600)
    assert caplog.text.count("is closed now") == 2


async def test_a_backup_that_is_not_ours_to_close_can_still_be_put_back(
    path: Path, tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(path)
    folder = tmp_path / "copy"
    make_backup(path, folder, NOW_NS)
    folder.chmod(0o755)

    def forbidden(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "chmod", forbidden)
        restore_backup(folder, tmp_path / "new" / "gateway.db", NOW_NS)
    assert f"chmod go-rwx {folder}" in caplog.text
    assert mode(tmp_path / "new" / "gateway.db") == 0o600


def test_without_modes_nothing_is_said(path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    path.touch(mode=0o644)
    monkeypatch.delattr(os, "geteuid")
    files.keep_private(path)
    assert caplog.text == ""
