"""``init``: what a first configuration says, that it is right, and that nothing is ever overwritten or left half."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path

import pytest

from gateway.cli.init import TEMPLATE
from gateway.config import load

from .in_process import obeyed, one_line

EXAMPLES = re.findall(r"^#(?=\S).*$", TEMPLATE, re.MULTILINE)
ENVIRON = {"PIAPI_API_KEY": "piapi-key-one", "ALICE_KEY": "gw-alice-0123456789abcdef"}


def test_the_first_day(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = obeyed("init")
    assert (made.code, made.err) == (0, "")
    assert stat.S_IMODE((folder / "config.yaml").stat().st_mode) == 0o600
    for line in ("export PIAPI_API_KEY=", " doctor\n", " keys create alice\n", " serve\n"):
        assert line in made.out
    assert "PIAPI_API_KEY" in obeyed("check").err, "check names the variable that is not set"
    monkeypatch.setenv("PIAPI_API_KEY", "piapi-key-one")
    checked = obeyed("check")
    assert checked.code == 0
    assert checked.out.startswith("config.yaml: OK, ")
    assert checked.out.endswith("upstreams off: backup\n")
    monkeypatch.setenv("BACKUP_API_KEY", "backup-key-one")
    assert obeyed("check").out.endswith("upstreams off: none\n")
    assert obeyed("keys", "create", "alice").code == 0, "the third step, before anything is served"


def test_what_it_writes_says_nothing_that_the_defaults_do_not(folder: Path) -> None:
    """So it cannot lag behind them: a default that changes fails here."""
    obeyed("init")
    written, usual = load(folder / "config.yaml", ENVIRON), load(None, ENVIRON)
    for name in ("listen", "admin", "auth", "upstreams", "routes", "keys", "teams", "limits", "time_zone"):
        assert getattr(written, name) == getattr(usual, name), name
    assert written.store == f"sqlite:///{folder / 'gateway.db'}"
    assert written.warnings == ("upstream 'backup' has no key and is off",), "a line that names it wants a key"


@pytest.mark.parametrize("lines", [*([line] for line in EXAMPLES), EXAMPLES], ids=lambda lines: lines[-1][:8])
def test_every_example_is_right_once_its_mark_is_taken_away(folder: Path, lines: list[str]) -> None:
    text = TEMPLATE
    for line in lines:
        text = text.replace(line, line[1:])
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    config = load(folder / "config.yaml", ENVIRON)
    assert config.blank is False
    assert len(EXAMPLES) >= 4


def test_a_file_that_is_there_is_left_as_it_is(folder: Path) -> None:
    (folder / "config.yaml").write_text("listen: 127.0.0.1:1\n", encoding="utf-8")
    told = one_line(obeyed("init"), 1)
    assert "config.yaml is there already" in told
    assert "init --config FILE" in told
    assert (folder / "config.yaml").read_text(encoding="utf-8") == "listen: 127.0.0.1:1\n"
    (folder / "link.yaml").symlink_to(folder / "elsewhere.yaml")
    one_line(obeyed("init", "--config", "link.yaml"), 1)
    assert not (folder / "elsewhere.yaml").exists(), "a link to nowhere is not followed"


def test_another_file_is_named_in_the_steps_and_scripts_get_json(folder: Path) -> None:
    told = json.loads(obeyed("init", "--config", "my gateway.yaml", "--json").out)
    assert told["config"] == "my gateway.yaml"
    assert [line.rpartition(" --config ")[2] for line in told["next"][1:]] == ["'my gateway.yaml'"] * 3
    assert (folder / "my gateway.yaml").exists()


def test_a_full_disk_leaves_no_half_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in one_line(obeyed("init"), 1)
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(folder: Path) -> None:
    told = one_line(obeyed("init", "--config", "nowhere/config.yaml"), 1)
    assert "nowhere/config.yaml cannot be made: No such file or directory" in told


def test_names_are_printed_as_a_shell_takes_them(folder: Path) -> None:
    finished = obeyed("init", "--config=-a b.yaml")
    assert "serve --config './-a b.yaml'" in finished.out
    finished = obeyed("init", "--config=-a b.yaml")
    assert "check --config './-a b.yaml'" in finished.err
