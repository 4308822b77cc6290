"""The wheel: what it needs always, what it needs for a fleet, and the files that are no code."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLEET = {"postgres": "asyncpg", "redis": "redis"}
"""Extra → the driver that it brings."""

pytest.importorskip("setuptools", reason="setuptools is not installed: THE WHEEL WAS NOT BUILT")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from copies, as building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_drivers_of_a_fleet_are_extras(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    told = email.message_from_bytes(wheel.read(name))
    assert set(FLEET) <= set(told.get_all("Provides-Extra", []))
    needed = told.get_all("Requires-Dist", [])
    for extra, driver in FLEET.items():
        [line] = [line for line in needed if re.match(rf"{driver}\b", line)]
        assert f'extra == "{extra}"' in line, "one gateway on SQLite does without"


def test_what_sends_traces_is_an_extra(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    needed = email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist", [])
    lines = [line for line in needed if line.startswith("opentelemetry-")]
    assert len(lines) == 2
    assert all('extra == "otel"' in line for line in lines)


def test_the_image_has_both_drivers_and_can_send_traces() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    [lock] = set(re.findall(r"-r requirements/(\w+)\.txt", dockerfile)) - {"build"}
    locked = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    for driver in (*FLEET.values(), "opentelemetry-sdk"):
        assert re.search(rf"^{driver}==\S+ ", locked, re.MULTILINE), driver


def test_every_migration_and_every_file_that_is_no_code_is_in_it(wheel: zipfile.ZipFile) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gateway").rglob("*")
        if path.suffix in (".sql", ".yaml", ".json", ".lua", ".typed", ".html", ".js", ".css")
    }
    assert {name for name in wanted if name.endswith(".sql")} > {"gateway/stores/postgres/migrations/0001_ledger.sql"}
    assert wanted <= set(wheel.namelist())
