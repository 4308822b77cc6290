"""The command line: what it prints where, and what it exits with. 0 done, 1 failed, 2 bad usage or configuration."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from gateway.cli.main import main
from gateway.cli.status import read_status
from gateway.config import load
from gateway.core.errors import OperatorError
from gateway.sandbox import SCENARIOS, Sandbox

from .running import (
    BOB_KEY,
    PROGRAM,
    Finished,
    Gateway,
    Program,
    ask,
    chat,
    command,
    commands,
    files,
    new_client,
    settings,
    write,
)

COMMANDS = ("serve", "demo", "sandbox", "check", "models", "usage", "ledger verify", "status")
HOME = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def one_line(finished: Finished, code: int) -> str:
    """The one line on stderr of a command that could not do its work and printed nothing else."""
    assert finished.code == code, finished
    assert finished.out == ""
    assert finished.err.count("\n") == 1, finished.err
    assert finished.err.endswith("\n")
    assert "Traceback" not in finished.err
    return finished.err


def obeyed(capsys: pytest.CaptureFixture[str], line: str) -> Finished:
    """The same command without a process of its own, for long tables."""
    interval = sys.getswitchinterval()
    try:
        code = main(line.split())
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.setswitchinterval(interval)
    shown = capsys.readouterr()
    return Finished(code, shown.out, shown.err)


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        shown = obeyed(capsys, f"{name} --help")
        assert (shown.code, shown.err) == (0, ""), name
        assert shown.out.startswith(f"usage: piapi-gateway {name} ")
        assert "--config FILE" in shown.out
    whole, version = obeyed(capsys, "--help"), obeyed(capsys, "--version")
    assert all(name.split()[0] in whole.out for name in COMMANDS)
    assert re.fullmatch(r"piapi-gateway \d+\.\d+\.\d+\n", version.out)


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
    "usage --by key,colour": "colour",
    "usage --by key,key": "twice",
    "usage --format xml": "'xml'",
    "status --interval 0": "--interval",
    "sandbox --scenario no_such": "--list",
    "sandbox --scenario ok;no_such=1": "no_such",
    "sandbox --scenario slow;delay=quick": "delay",
    "sandbox --listen nonsense": "HOST:PORT",
    "sandbox --listen 127.0.0.1:99999": "HOST:PORT",
}


def test_bad_usage_is_told_in_one_line_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line, hint in BAD_USAGE.items():
        assert hint in one_line(obeyed(capsys, line), 2), line


async def test_what_cannot_be_done_is_told_in_one_line_with_exit_code_1(tmp_path: Path) -> None:
    """A new installation has no ledger yet: whoever asks for it is told when there will be one."""
    write(tmp_path, {"admin": {"listen": "127.0.0.1:1"}})
    usage, books, status = await commands(tmp_path, ["usage"], ["ledger", "verify"], ["status"])
    for asked in (usage, books):
        told = one_line(asked, 1)
        assert "gateway.db does not exist" in told
        assert "when it starts" in told
    assert "no gateway answers at http://127.0.0.1:1/" in one_line(status, 1)
    assert files(tmp_path) == ["config.yaml"]  # asking made nothing


async def test_check_prints_every_error_with_its_place(tmp_path: Path) -> None:
    write(
        tmp_path,
        "listen: 127.0.0.1\n"
        "drian: 30s\n"
        "upstreams:\n"
        "  piapi:\n"
        "    endpoints: [{url: 'ftp://api.piapi.ai'}]\n"
        "    keys: ['${NOT_SET_ANYWHERE}']\n"
        "keys:\n"
        "  - {name: alice, key: gw-alice-0123456789, rpm: lots}\n",
    )
    checked, served = await commands(tmp_path, ["check", "--config", "config.yaml"], ["serve"])
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


async def test_check_of_a_good_file_says_what_it_found(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, settings(sandbox, tmp_path))
    plain, scripted = obeyed(capsys, "check"), obeyed(capsys, "check --json")
    assert (plain.code, plain.err) == (0, "")
    assert plain.out.startswith("config.yaml: OK, ")
    assert "2 virtual keys" in plain.out
    assert json.loads(scripted.out) == {"source": "config.yaml", "ok": True, "warnings": []}
    assert scripted.code == 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("workers: 2", "workers: 2 is not supported yet"),
        ("store: postgresql://gateway:pass@localhost/books", "PostgreSQL is not supported yet"),
        ("shared_state: redis://localhost:6379/0", "Redis is not supported yet"),
        ("listen: 0.0.0.0:8400\nauth: none", "auth: 'none' is only allowed while 'listen' is on loopback"),
    ],
)
def test_serve_refuses_what_it_cannot_or_must_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, line + "\n")
    refused = obeyed(capsys, "serve")
    assert sentence in one_line(refused, 2)
    assert "pass@" not in refused.err
    assert files(tmp_path) == ["config.yaml"]


async def test_models_lists_the_catalogue_in_force(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    table, scripted = await commands(tmp_path, ["models"], ["models", "--json"])
    assert (table.code, table.err, scripted.code, scripted.err) == (0, "", 0, "")
    listed = {row["model"]: row for row in json.loads(scripted.out)}
    assert [target["upstream"] for target in listed["gpt-4o"]["targets"]] == ["piapi", "backup"]
    assert listed["gpt-4o"]["targets"][0]["price"] == {"input": "1.875", "output": "7.5"}
    assert listed["gpt-4o"]["plan"] == "Creator Plan or above"
    head, *lines = table.out.splitlines()
    assert head.split() == ["model", "upstream", "upstream", "model", "operation", "state", "price", "usd", "plan"]
    assert len(lines) == sum(len(row["targets"]) for row in listed.values())
    assert any(line.startswith("gpt-4o ") and "input 1.875, output 7.5" in line for line in lines)


async def test_the_books_can_be_asked_beside_a_running_gateway_and_after_it(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        async with new_client() as alice, new_client(BOB_KEY) as bob:
            answers = [
                await ask(alice, gateway, chat()),
                await ask(alice, gateway, chat(stream=True)),
                await ask(alice, gateway, chat(model="gpt-4o")),
                await ask(bob, gateway, chat()),
            ]
        assert [answer.status for answer in answers] == [200] * 4
        (tmp_path / "status").mkdir()
        write(tmp_path / "status", settings(sandbox, tmp_path) | {"admin": {"listen": gateway.admin[len("http://") :]}})
        seen = await command(tmp_path / "status", "status")
        beside, books = await commands(tmp_path, ["usage", "--format", "json"], ["ledger", "verify"])
        assert seen.code == 0
        assert "serving, 0 in flight" in seen.out
        for word in (sandbox.urls["api"], "first", "second", "closed"):
            assert word in seen.out
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    assert (beside.code, books.code, books.err) == (0, 0, "")
    await _check_usage(tmp_path)
    assert (await command(tmp_path, "ledger", "verify")).out == "settled 4, released 0, unknown 0, open 0\n"
    bills = {True: 0, False: 0}
    for line in sandbox.bill:
        bills[line.model == "gpt-4o"] += line.amount or 0
    after = json.loads((await command(tmp_path, "usage", "--by", "model", "--format", "json")).out)
    assert {row["model"]: round(row["cost_usd"] * 1e9) for row in after} == {
        "gpt-4o": bills[True],
        "gpt-4o-mini": bills[False],
    }


async def _check_usage(folder: Path) -> None:
    """The three formats tell the same, in the fields and the order of ``--by``."""
    by = ("--by", "key,team,model,upstream,day")
    shown = await commands(folder, *(["usage", *by, "--format", form] for form in ("json", "csv", "table")))
    assert [(each.code, each.err) for each in shown] == [(0, "")] * 3
    listed = json.loads(shown[0].out)
    fields = ["key", "team", "model", "upstream", "day"]
    figures = ["requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "cost_usd"]
    assert [list(row) for row in listed] == [fields + figures] * 3
    assert [(row["key"], row["team"], row["model"], row["upstream"], row["requests"]) for row in listed] == [
        ("alice", "growth", "gpt-4o", "piapi", 1),
        ("alice", "growth", "gpt-4o-mini", "piapi", 2),
        ("bob", None, "gpt-4o-mini", "piapi", 1),
    ]
    header, *rows = csv.reader(shown[1].out.splitlines())
    assert header == fields + figures
    for row, told in zip(rows, listed, strict=True):
        assert row[:-1] == ["" if told[name] is None else str(told[name]) for name in header[:-1]]
        assert float(row[-1]) == pytest.approx(told["cost_usd"])
    head, *lines, total = shown[2].out.splitlines()
    assert head.split()[:5] == fields
    assert len(lines) == 3
    assert total.split()[0] == "total"
    assert total.split()[5] == "4"


async def test_verify_finds_what_was_planted(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        assert (await ask(client, gateway, chat())).status == 200
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as store, store:
        store.execute(
            "INSERT INTO settlements SELECT 'planted', at_ns, state, upstream, endpoint, credential, attempts, "
            "input_tokens, cached_input_tokens, output_tokens, images, charged, upstream_cost, confidence, status, "
            "task_id FROM settlements"
        )
    found = await command(tmp_path, "ledger", "verify")
    assert found.code == 1
    assert found.out == "settled 2, released 0, unknown 0, open 0\n"
    assert found.err == "ledger: settlement planted has no intent\n"


async def test_probe_tells_good_keys_from_bad_ones(tmp_path: Path, sandbox: Sandbox) -> None:
    config = settings(sandbox, tmp_path)
    write(tmp_path, config)
    good, scripted = await commands(tmp_path, ["check", "--probe"], ["check", "--probe", "--json"])
    assert (good.code, good.err) == (0, "")
    assert sum(" ok " in line for line in good.out.splitlines()) == 5  # two hosts with two keys, the backup with one
    for row in json.loads(scripted.out):
        assert row["state"] == "ok"
        if row["upstream"] == "piapi":
            assert row["plan"]
            assert row["balance_usd"] > 0
            assert row["concurrency"] > 0
    config["upstreams"]["piapi"]["keys"] = [{"name": "old", "value": "sandbox-invalid-key"}]
    await sandbox.refuse("proxy")
    write(tmp_path, config)
    bad = await command(tmp_path, "check", "--probe")
    assert bad.code == 1
    states = {line.split()[1]: line for line in bad.out.splitlines() if " old " in line}
    assert "the key is refused (401)" in states[sandbox.urls["api"]]
    assert "unreachable" in states[sandbox.urls["proxy"]]
    assert "sandbox-invalid-key" not in bad.out + bad.err
    assert sandbox.bill == []


async def test_a_taken_address_and_a_taken_ledger_are_told_plainly(tmp_path: Path, sandbox: Sandbox) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write(folder, settings(sandbox, folder))
    async with Gateway.serve(first) as running:
        place = running.url[len("http://") :]
        write(second, settings(sandbox, second) | {"listen": place})
        listen, store, box = await asyncio.gather(
            command(second, "serve"), command(first, "serve"), command(second, "sandbox", "--listen", place)
        )
    assert f"cannot listen on {place}: the address is already in use" in one_line(listen, 1)
    assert f"is being written by process {running.process.pid}" in one_line(store, 1)
    assert f"cannot listen on {place}: Address already in use" in one_line(box, 1)


async def test_the_sandbox_serves_until_it_is_told_to_stop(tmp_path: Path, client: httpx2.AsyncClient) -> None:
    listed = await command(tmp_path, "sandbox", "--list")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == list(SCENARIOS)
    for number in (signal.SIGTERM, signal.SIGINT):
        async with Program.run(tmp_path, "sandbox", "--listen", "127.0.0.1:0", "--scenario", "status;code=418") as box:
            line = await box.out.first(lambda line: line.startswith("SANDBOX listens on "))
            answer = await client.post(f"{line.split()[-1]}/v1/chat/completions", json=chat())
            assert (answer.status_code, answer.headers["x-sandbox"]) == (418, "1")
            box.signal(number)
            assert await box.wait() == 0
        assert box.err.text == ""


async def test_status_of_something_else_is_told_plainly(tmp_path: Path, sandbox: Sandbox) -> None:
    """The port of the admin listener may be another program's."""
    path = write(tmp_path, {"admin": {"listen": sandbox.url.removeprefix("http://")}})
    sandbox.set_default("html_200")
    assert "not as this gateway does; what listens there?" in one_line(await command(tmp_path, "status"), 1)
    for scenario in ("status;code=404", "bad_json", "soft_error", "reset_before_head"):
        sandbox.set_default(scenario)
        with pytest.raises(OperatorError, match="/admin/v1/upstreams"):
            await read_status(load(path, {}))


async def test_status_can_be_watched_until_interrupted(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    (tmp_path / "watch").mkdir()
    async with Gateway.serve(tmp_path) as gateway:
        write(tmp_path / "watch", settings(sandbox, tmp_path) | {"admin": {"listen": gateway.admin[len("http://") :]}})
        async with Program.run(tmp_path / "watch", "status", "--watch", "--interval", "0.01") as watching:
            await watching.out.first(lambda _: sum("serving" in line for line in watching.out.lines) >= 3)
            watching.signal(signal.SIGINT)
            assert await watching.wait() == 0
        assert watching.err.text == ""


@pytest.mark.parametrize("line", ["sandbox --list", "models --json", "--help"])
async def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, line: str) -> None:
    """As in ``piapi-gateway models --json | head -1``, at its worst: the reader has left before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *line.split(), cwd=tmp_path, env=HOME, stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")
