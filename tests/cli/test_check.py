"""``check`` and what ``serve`` refuses: a configuration as its operator sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.process.running import files, settings, write

from .in_process import command, obeyed, one_line


def test_check_prints_every_error_with_its_place(folder: Path) -> None:
    write(
        folder,
        "listen: 127.0.0.1\n"
        "drian: 30s\n"
        "upstreams:\n"
        "  piapi:\n"
        "    endpoints: [{url: 'ftp://api.piapi.ai'}]\n"
        "    keys: ['${NOT_SET_ANYWHERE}']\n"
        "keys:\n"
        "  - {name: alice, key: gw-alice-0123456789, rpm: lots}\n",
    )
    checked, served = obeyed("check", "--config", "config.yaml"), obeyed("serve")
    assert (checked.code, checked.out) == (2, "")
    found = [re.fullmatch(r"config\.yaml:(\d+):\d+: ([^:]+): .+", line) for line in checked.err.splitlines()]
    assert all(found), checked.err
    assert [(match[1], match[2]) for match in found if match] == [
        ("1", "listen"),
        ("2", "drian"),
        ("5", "upstreams.piapi.endpoints[0].url"),
        ("6", "upstreams.piapi.keys[0]"),
        ("8", "keys[0].rpm"),
    ]
    assert "NOT_SET_ANYWHERE" in checked.err
    assert (served.code, served.out, served.err) == (2, "", checked.err)


def test_check_looks_into_a_catalogue_of_ones_own(folder: Path) -> None:
    write(folder, {"catalogue": "mine.yaml"})
    missing = obeyed("check")
    assert missing.code == 2
    assert "catalogue: mine.yaml cannot be read" in missing.err
    (folder / "mine.yaml").write_text("models:\n  house: {targets: [{upstream: nowhere}]}\n", encoding="utf-8")
    assert obeyed("check").err.startswith("mine.yaml:2:32: models.house.targets[0].upstream: ")
    assert obeyed("serve").code == 2
    (folder / "mine.yaml").write_text(
        "admin: {}\nmodels:\n  house: {targets: [{upstream: backup}]}\n", encoding="utf-8"
    )
    good = obeyed("check")
    assert (good.code, good.out.split(":")[0]) == (0, "config.yaml with mine.yaml")
    assert "warning: mine.yaml: 'admin' has no effect" in good.err


async def test_check_of_a_good_file_says_what_it_found(folder: Path, sandbox: Sandbox) -> None:
    write(folder, settings(sandbox, folder))
    plain, scripted = obeyed("check"), obeyed("check", "--json")
    assert plain.code == 0
    assert all(
        re.match(r"warning: the model 'gpt-[^']+' at 'backup' end(s|ed) on ", line) for line in plain.err.splitlines()
    )
    assert plain.out.startswith("config.yaml: OK, ")
    assert "2 virtual keys" in plain.out
    warnings = [line.removeprefix("warning: ") for line in plain.err.splitlines()]
    assert json.loads(scripted.out) == {"source": "config.yaml", "ok": True, "warnings": warnings}
    assert scripted.code == 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("listen: 0.0.0.0:8400\nauth: none", "auth: 'none' is only allowed while 'listen' is on loopback"),
    ],
)
def test_serve_refuses_what_it_cannot_or_must_not_do(folder: Path, line: str, sentence: str) -> None:
    write(folder, line + "\n")
    refused = obeyed("serve")
    assert sentence in one_line(refused, 2)
    assert "pass@" not in refused.err
    assert files(folder) == ["config.yaml"]


async def test_probe_tells_good_keys_from_bad_ones(folder: Path, sandbox: Sandbox) -> None:
    config = settings(sandbox, folder)
    write(folder, config)
    good, scripted = await command("check", "--probe"), await command("check", "--probe", "--json")
    assert good.code == 0
    assert sum(" ok " in line for line in good.out.splitlines()) == 5  # two hosts with two keys, the backup with one
    for row in json.loads(scripted.out):
        assert row["state"] == "ok"
        if row["upstream"] == "piapi":
            assert row["plan"]
            assert row["balance_usd"] > 0
            assert row["concurrency"] > 0
    config["upstreams"]["piapi"]["keys"] = [{"name": "old", "value": "sandbox-invalid-key"}]
    await sandbox.refuse("proxy")
    write(folder, config)
    bad = await command("check", "--probe")
    assert bad.code == 1
    states = {line.split()[1]: line for line in bad.out.splitlines() if " old " in line}
    assert "the key is refused (401)" in states[sandbox.urls["api"]]
    assert "unreachable" in states[sandbox.urls["proxy"]]
    assert "sandbox-invalid-key" not in bad.out + bad.err
    assert sandbox.bill == []


@pytest.mark.parametrize("command", ["check", "serve", "models"])
@pytest.mark.parametrize(
    ("engines", "missing"),
    [
        ("", ["store: postgresql://USER:PASSWORD@HOST:5432/DATABASE", "shared_state: redis://HOST:6379/0"]),
        ("shared_state: redis://localhost:6379/0\n", ["store: postgresql://USER:PASSWORD@HOST:5432/DATABASE"]),
        ("store: postgresql://gateway:pass@localhost/books\n", ["shared_state: redis://HOST:6379/0"]),
    ],
)
def test_workers_without_engines_that_they_share_are_refused_with_the_lines_to_add(
    folder: Path, command: str, engines: str, missing: list[str]
) -> None:
    write(folder, f"workers: 2\n{engines}")
    refused = obeyed(command)
    assert refused.code == 2
    lines = refused.err.splitlines()
    assert len(lines) == len(missing)
    for line, found in zip(missing, sorted(lines, key=lambda found: "shared_state:" in found), strict=True):
        assert "workers: 2 need" in found
        assert f"add the line '{line}'" in found
    assert files(folder) == ["config.yaml"]
