"""The command line as a whole: what it prints where, what it exits with, and what it does not load to say so."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.main import build_parser
from tests.process.running import files, write

from .in_process import NOWHERE, obeyed, one_line

ROOT = Path(__file__).parents[2]
COMMANDS = {
    *(
        "backup",
        "restore",
        "serve",
        "demo",
        "sandbox",
        "init",
        "check",
        "doctor",
        "models",
        "keys",
        "usage",
        "ledger",
        "migrate",
        "status",
        "reload",
    ),
}

_LOADED = """
import json, sys
before = set(sys.modules)
from gateway.cli.main import main
for line in json.loads(sys.argv[1]):
    try:
        main(line)
    except SystemExit:
        pass
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""


def parsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that can be called, groups among them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield (*path, name)
                yield from parsers(below, (*path, name))


EVERY = list(parsers(build_parser()))


def test_the_commands_are_these() -> None:
    assert {path[0] for path in EVERY} == COMMANDS


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    shown = obeyed(*path, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"usage: piapi-gateway {' '.join(path)} ")
    if path not in {("keys",), ("ledger",)}:
        assert "--config FILE" in shown.out


def test_the_first_help_names_them_all() -> None:
    whole = obeyed("--help")
    assert whole.code == 0
    for name in COMMANDS:
        assert re.search(rf"^    {name} ", whole.out, re.M), name
    assert re.fullmatch(r"piapi-gateway \d+\.\d+\.\d+\n", obeyed("--version").out)


def test_help_loads_neither_a_gateway_nor_a_package_that_one_needs() -> None:
    """What it loads is what makes it slow, and that can be told exactly, unlike how slow it is on a busy machine."""
    lines = json.dumps([[*path, "--help"] for path in ((), *EVERY)] + [["--version"]])
    shown = subprocess.run(
        [sys.executable, "-c", _LOADED, lines], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(json.loads(shown.stderr))
    own = {name for name in loaded if name.partition(".")[0] == "gateway"}
    assert "gateway.cli.usage" in own
    needed = re.compile(r"gateway|gateway\.cli|gateway\.cli\.\w+|gateway\.core|gateway\.core\.(defaults|errors|types)")
    assert {name for name in own if not needed.fullmatch(name)} == set()
    assert {name.partition(".")[0] for name in loaded - own} - sys.stdlib_module_names == set()
    assert loaded.isdisjoint({"asyncio", "sqlite3", "ssl", "http.client", "email.message", "logging", "tempfile"})


def test_it_can_be_called_as_a_module() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gateway", "sevre"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("piapi-gateway: ")
    assert "'sevre'" in shown.stderr


BAD_USAGE = {
    "": "COMMAND",
    "sevre": "'sevre'",
    "ledger": "ACTION",
    "serve --no-such-option": "--no-such-option",
    "serve --config absent.yaml": "absent.yaml",
    "demo --config absent.yaml": "absent.yaml",
    "check --config .": "cannot be read",
    "usage --since yesterday": "30d",
    "usage --since 2026-02-01 --until 2026-01-01": "earlier",
    "usage --since": "--since",
    "usage --by key,colour": "choose from key, team, model, upstream, day",
    "usage --by key,key": "twice",
    "usage --format xml": "'xml'",
    "usage --reconcile --by key": "--by does not go with --reconcile",
    "usage --reconcile --since soon": "30d",
    "usage --reconcile --since 1h --until 2h": "earlier",
    "ledger prune": "--before",
    "ledger prune --before soon": "30d",
    "ledger prune --before soon --yes": "30d",
    "ledger prune --before 90d --force": "--force",
    "status --interval 0": "--interval",
    "sandbox --scenario no_such": "--list",
    "sandbox --scenario ok;no_such=1": "no_such",
    "sandbox --scenario slow;delay=quick": "delay",
    "sandbox --listen nonsense": "HOST:PORT",
    "sandbox --listen 127.0.0.1:99999": "HOST:PORT",
    "keys": "ACTION",
    "keys creat x": "'creat'",
    "keys create": "NAME",
    "keys create x --budget 50": "50/month",
    "keys create x --budget 50/year": "50/month",
    "keys create x --rpm lots": "'lots' is not a whole number",
    "keys create x --rpm 0": "at least 1",
    "keys create x --expires soon": "90d",
    "keys create x --expires 2001-01-01": "ahead",
    "keys create x --models ,": "models",
    "keys create x --models *-mini": "'*' may end one",
    "keys create a/b": "letters",
    "keys create anonymous": "meaning of its own",
    "keys create ..": "no name of a key",
    "keys create x --colour red": "--colour",
    "keys set x": "--rpm 60",
    "keys rotate x --grace soon": "grace",
}


@pytest.mark.parametrize(("line", "hint"), BAD_USAGE.items())
def test_bad_usage_is_told_in_one_line_with_exit_code_2(folder: Path, line: str, hint: str) -> None:
    write(folder, {"admin": NOWHERE})
    assert hint in one_line(obeyed(*line.split()), 2)
    if not line.startswith("keys "):  # what a key may be is known by the store alone, which is made for it
        assert files(folder) == ["config.yaml"]
