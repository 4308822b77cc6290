"""What a Python says of its build: what it says, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.python_build import describe

DEBIAN = {
    "CONFIG_ARGS": "'--enable-shared' '--prefix=/usr' 'CFLAGS=-g -fstack-protector-strong'",
    "PY_CORE_CFLAGS": "-Wsign-compare -DNDEBUG -g -fwrapv -O2 -Wall -std=c11",
    "installed_base": "/usr",
}
DOCKER = {
    "CONFIG_ARGS": "'--build=x86_64-linux-gnu' '--enable-optimizations' '--with-lto'",
    "PY_CORE_CFLAGS": "-O3 -Wall -flto -fuse-linker-plugin",
    "installed_base": "/usr/local",
}
PYENV = {
    "CONFIG_ARGS": "'--prefix=/home/me/.pyenv/versions/3.11.7'",
    "PY_CORE_CFLAGS": "-DNDEBUG -g -fwrapv -O3 -Wall",
    "PGO_PROF_USE_FLAG": "-fprofile-use -fprofile-correction",  # what it would be done with
    "installed_base": "/home/me/.pyenv/versions/3.11.7",
}
UNSAID = "profile-guided optimisation not stated by this build, link-time optimisation not stated by this build"


@pytest.mark.parametrize(
    ("variables", "described"),
    [
        (DEBIAN, f"3.11.2, {UNSAID}, -O2"),
        (DOCKER, "3.11.2, with profile-guided optimisation, with link-time optimisation, -O3"),
        (PYENV, "3.11.2, without profile-guided optimisation, without link-time optimisation, -O3"),
        ({}, "3.11.2, without profile-guided optimisation, without link-time optimisation"),
    ],
    ids=["a distribution's", "docker's", "built here", "silent"],
)
def test_what_a_build_says_of_itself(variables: dict[str, str], described: str) -> None:
    assert describe("3.11.2", variables) == described


def test_another_interpreter_is_asked_itself() -> None:
    command = [sys.executable, "-m", "bench.python_build"]
    said = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert said.stdout.startswith(".".join(map(str, sys.version_info[:3])))
