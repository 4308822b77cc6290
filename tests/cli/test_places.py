"""Where a store lies when a command is called from elsewhere, and what is said when one is made or would be missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.process.running import ask, chat, new_client, settings

from .in_process import NOWHERE, command, done, obeyed, serving

OPENING = (
    "serve", "keys list", "keys show x", "keys create x", "keys revoke x", "usage", "ledger verify",
    "ledger prune --before 90d", "ledger prune --before 90d --yes", "backup copy", "restore copy",
)  # fmt: skip
"""Commands that open the store."""


@pytest.fixture
def etc(folder: Path) -> Path:
    """Where the configuration lies; the working directory is ``folder``."""
    made = folder / "etc"
    made.mkdir()
    (made / "x.yaml").write_text(json.dumps({"admin": NOWHERE}))
    return made


def stores(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.db"))


def test_a_key_made_from_elsewhere_is_in_the_store_beside_the_file(folder: Path, etc: Path) -> None:
    made = obeyed("keys", "create", "carol", "--config", "etc/x.yaml")
    assert made.err == f"keys: made a new store: {etc / 'gateway.db'}\n"
    assert stores(folder) == ["etc/gateway.db"]
    again = obeyed("keys", "create", "dave", "--config", str(etc / "x.yaml"))
    assert (again.code, again.err) == (0, ""), "it is said once"
    listed = obeyed("keys", "list", "--config", "etc/x.yaml").out
    assert "carol" in listed
    assert "dave" in listed


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("keys create x --budget nonsense", 2),
        ("keys create a/b", 2),
        ("keys set x --rpm 3", 1),
        ("keys rotate x", 1),
        ("keys revoke x", 1),
        ("keys list", 0),
        ("usage", 1),
        ("ledger verify", 1),
        ("ledger prune --before 90d --yes", 1),
        ("backup copy", 1),
    ],
)
def test_what_is_refused_or_only_reads_makes_no_store(folder: Path, etc: Path, line: str, code: int) -> None:
    finished = obeyed(*line.split(), "--config", "etc/x.yaml")
    assert finished.code == code, finished
    assert "made a new store" not in finished.err
    assert stores(folder) == []


@pytest.mark.parametrize("line", OPENING)
def test_every_command_refuses_to_pass_over_a_store_at_the_place_before(folder: Path, etc: Path, line: str) -> None:
    assert obeyed("keys", "create", "carol").code == 0  # without a file: in the working directory
    assert obeyed("backup", "copy").code == 0
    refused = obeyed(*line.split(), "--config", "etc/x.yaml")
    assert refused.code == 2, refused
    assert refused.out == ""
    assert refused.err.splitlines()[-1] == f"store: sqlite:///{folder / 'gateway.db'}"
    assert stores(folder) == ["copy/gateway.db", "gateway.db"]
    check = obeyed("check", "--config", "etc/x.yaml")
    assert (check.code, f"store: sqlite:///{folder / 'gateway.db'}" in check.err) == (0, True)


def test_with_the_line_it_works_on_as_before(folder: Path, etc: Path) -> None:
    assert obeyed("keys", "create", "carol").code == 0
    line = obeyed("keys", "list", "--config", "etc/x.yaml").err.splitlines()[-1]
    (etc / "x.yaml").write_text(f"{json.dumps({'admin': NOWHERE})[1:-1]}\n{line}\n")
    listed = obeyed("keys", "list", "--config", "etc/x.yaml")
    assert (listed.code, "carol" in listed.out) == (0, True), listed


async def test_a_gateway_says_that_it_made_a_store_and_keeps_pictures_beside_the_file(
    folder: Path, etc: Path, sandbox: Sandbox
) -> None:
    document = {**settings(sandbox, folder), "store": "sqlite:///data.db"}
    async with serving(etc, document) as gateway, new_client() as client:
        assert (await ask(client, gateway, chat())).status == 200
        assert gateway.gateway.made_store == str(etc / "data.db")
        assert gateway.gateway.config.images.dir == etc / "images"
    [made] = gateway.events("store_made")
    assert made["message"] == f"made a new store: {etc / 'data.db'}"
    async with serving(etc, document) as gateway:
        assert gateway.gateway.made_store == ""
    assert gateway.events("store_made") == []
    assert (await done("ledger", "verify", "--config", "etc/config.yaml")).startswith("settled 1,")
    assert (await command("ledger", "verify", "--config", "etc/x.yaml")).code == 1
