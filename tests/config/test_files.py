"""Files that are pipes, are written to, or hold nothing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from gateway.config import files, load
from gateway.core.errors import ConfigError


def test_a_pipe_is_read_at_a_start(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("drain: 7s\n",)).start()
    assert load(pipe, {}).drain == 7


def test_one_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"pipe:1:1: cannot be read: nothing came out of it for 0\.05 s"):
        load(pipe, {})


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_read_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/null")
    with pytest.raises(ConfigError, match=r"it is a pipe or a device"):
        load(path, {}, again=True)


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_is_called_one(tmp_path: Path, again: bool) -> None:
    """A mount of a container makes one where the file is not there yet."""
    with pytest.raises(ConfigError, match=r":1:1: cannot be read: Is a directory$"):
        load(tmp_path, {}, again=again)


def test_a_file_that_is_never_left_alone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SETTLE_SECONDS", 0.0)
    path = tmp_path / "config.yaml"
    path.write_text("drain: 7s\n")
    with pytest.raises(ConfigError, match="it is being written to all the time"):
        load(path, {}, again=True)
    os.utime(path, (1, 1))
    assert load(path, {}, again=True).drain == 7


def test_a_clock_that_is_behind_makes_nobody_wait(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("drain: 7s\n")
    os.utime(path, (time.time() + 3600,) * 2)
    assert load(path, {}, again=True).drain == 7


@pytest.mark.parametrize("text", ["", "\n", "# nothing", "{}", "---", "~"])
def test_a_file_without_a_setting_is_known_as_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert load(path, {}).blank
    path.write_text("drain: 7s")
    assert not load(path, {}).blank


def test_a_catalogue_of_ones_own_without_a_model_is_known_as_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("catalogue: own.yaml\n")
    own = tmp_path / "own.yaml"
    own.write_text("")
    assert load(tmp_path / "config.yaml", {}).blank_catalogue
    own.write_text("models: {m: {targets: [{upstream: piapi}]}}")
    assert not load(tmp_path / "config.yaml", {}).blank_catalogue
