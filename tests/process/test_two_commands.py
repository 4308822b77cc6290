"""``make run`` and ``make test``: what they start, and that no place is written down where they install from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS_MAKE = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed: the Makefile is NOT tried")

_NOT_OURS = {".bench", ".git", ".venv", "node_modules", "__pycache__", "build", "dist", "images"}
_INDEX_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "npmjs" + ".org", "npmjs" + ".com", "yarnpkg" + ".com")
_INDEX_OPTIONS = re.compile(
    r"(?<!no-emit-)(?:extra-)?index-url|--find-links|trusted-host|\"?registry\"?\s*[=:]\s*\"?http"
)


def tracked() -> Iterator[Path]:
    """Every text file of the project, as a fresh clone has it (or a little more)."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _NOT_OURS and not name.endswith(("_cache", ".egg-info"))]
        folders[:] = [name for name in folders if name != ".hypothesis"]
        yield from (Path(folder) / name for name in files if not name.startswith("gateway.db"))


def make(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    usual = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), *arguments]
    return subprocess.run(command, cwd=folder, env=usual | env, capture_output=True, text=True, timeout=60, check=False)


@NEEDS_MAKE
def test_make_alone_says_what_there_is(tmp_path: Path) -> None:
    shown = make(tmp_path)
    assert shown.returncode == 0
    for target in ("run", "test", "check", "bench"):
        assert re.search(rf"^{target}\s", shown.stdout, re.M), target
    assert not list(tmp_path.iterdir())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder where everything is installed already, and the program says how it was started."""
    for name in ("pyproject.toml", "requirements/base.txt", "requirements/build.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "piapi-gateway").write_text('#!/bin/sh\necho "started: $*"\n')
    (programs / "piapi-gateway").chmod(0o755)
    (programs / "python").touch()
    (tmp_path / ".venv" / ".run").touch()
    return tmp_path


@NEEDS_MAKE
@pytest.mark.parametrize(
    ("env", "started"),
    [
        ({}, "demo"),
        ({"PIAPI_API_KEY": ""}, "demo"),
        ({"PIAPI_API_KEY": "key"}, "serve"),
        ({"BACKUP_API_KEY": "key"}, "serve"),
        ({"PIAPI_API_KEY": 'it\'s a "$(key)" with spaces'}, "serve"),
    ],
)
def test_make_run_serves_with_a_key_and_demonstrates_without(
    installed: Path, env: dict[str, str], started: str
) -> None:
    ran = make(installed, "run", **env)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"started: {started}\n", "")


@NEEDS_MAKE
def test_a_python_that_is_too_old_is_named_as_the_reason(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    for name in ("pyproject.toml", "requirements/base.txt", "requirements/build.txt"):
        (tmp_path / name).touch()
    ran = make(tmp_path, "run", "PYTHON=false")
    assert ran.returncode != 0
    assert "Python 3.11" in ran.stderr
    assert not (tmp_path / ".venv").exists()


def test_every_requirement_is_pinned_and_hashed() -> None:
    for name in ("base", "build", "dev"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert lines, name
        for line in lines:
            assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==\S+ ", line), line
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line
            assert "://" not in line


def test_no_index_host_is_written_anywhere() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path}: {host}" for host in _INDEX_HOSTS if host in text]
        found += [f"{path}: {match[0]}" for match in _INDEX_OPTIONS.finditer(text)]
    assert found == []


def test_the_npm_lock_names_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "node" / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    assert "omit-lockfile-registry-resolved=true" in (ROOT / "tests" / "node" / ".npmrc").read_text()


def test_ci_calls_the_two_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.index("make test") < script.index("make check")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
