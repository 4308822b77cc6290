"""Nothing changes behind the operator's back: what a reload refuses, tells and leaves, and whom it strands."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox

from .running import ALICE_KEY, PROGRAM, Gateway, Program, ask, chat, command, new_client, settings, write

ADMIN_KEY = "admin-0123456789abcdef"


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def reloaded(gateway: Gateway, client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.post(f"{gateway.admin}/admin/v1/reload")


@pytest.mark.parametrize(
    "text",
    ["", " \n  \n", "# only a comment\n", "{}", "---\n", "null\n", "\ufeff", "---\n# saved\n...\n"],
    ids=["empty", "blanks", "comment", "braces", "document", "null", "mark", "markers"],
)
async def test_a_file_without_a_setting_keeps_what_is_in_force(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, text: str
) -> None:
    good = settings(sandbox, tmp_path)
    write(tmp_path, good)
    async with Gateway.serve(tmp_path, {"PIAPI_API_KEY": "another-piapi-key"}) as gateway:
        write(tmp_path, text)
        answer = await reloaded(gateway, client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "config_rejected")
        assert "config.yaml:1:1: the file holds no setting at all" in answer.json()["error"]["message"]
        gateway.signal(signal.SIGHUP)
        await gateway.event("config_rejected")
        assert (await ask(client, gateway, chat())).status == 200
        assert [request.key for request in sandbox.requests][-1].startswith("piapi-key-")
        assert gateway.events("config_reloaded") == []
        write(tmp_path, good)
        assert (await reloaded(gateway, client)).status_code == 200


async def test_a_file_that_is_gone_does_not_become_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n")
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        (tmp_path / "config.yaml").unlink()
        answer = await reloaded(gateway, client)
        assert "cannot be read: No such file or directory" in answer.json()["error"]["message"]


async def test_a_pipe_is_read_once_and_hangs_nothing(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    text = json.dumps(settings(sandbox, tmp_path))
    async with Program.run(tmp_path, "serve", "--config", "pipe.yaml") as program:
        await asyncio.to_thread(pipe.write_text, text)
        line = await program.out.first(lambda line: "listens on" in line)
        admin = line.partition("(admin: ")[2].rstrip(")\n")
        for _ in range(2):
            answer = await client.post(f"{admin}/admin/v1/reload")
            assert answer.status_code == 400
            assert "it is a pipe or a device, which gives its content once" in answer.json()["error"]["message"]
        program.signal(signal.SIGHUP)
        await program.event("config_rejected")
        program.signal(signal.SIGTERM)
        assert await program.wait() == 0


async def test_a_pipe_that_nobody_writes_to_ends_a_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    told = await command(tmp_path, "check")
    assert told.code == 2
    assert told.err.startswith("config.yaml:1:1: cannot be read: nothing came out of it for 5 s")


async def test_a_file_that_is_being_written_is_waited_for(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    """An editor that writes in pieces: the first piece is valid by itself, and lacks the team's budget."""
    good = settings(sandbox, tmp_path, teams={"growth": {"budget": "5/day"}})
    write(tmp_path, good)
    async with Gateway.serve(tmp_path) as gateway:
        half = {**good, "teams": {"growth": {}}}
        write(tmp_path, half)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(reloaded(gateway, client))
            for _ in range(5):
                await asyncio.sleep(0.05)
                write(tmp_path, half)
            write(tmp_path, {**good, "drain": "7s"})
        answer = asking.result().json()
        assert answer["changed"] == ["drain: 30s -> 7s"]
        assert answer["warnings"] == []


async def test_no_key_left_is_told_as_at_a_start(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    good = settings(sandbox, tmp_path)
    write(tmp_path, good)
    async with Gateway.serve(tmp_path) as gateway:
        keyless = {name: {**upstream, "keys": ["${NOT_SET:-}"]} for name, upstream in good["upstreams"].items()}
        write(tmp_path, {**good, "upstreams": keyless})
        answer = (await reloaded(gateway, client)).json()
        assert "no upstream has a key, so no model can be used: set PIAPI_API_KEY" in answer["warnings"]
        assert any(
            line.startswith("upstreams.piapi: ") and "off, for want of a key" in line for line in answer["changed"]
        )
        await gateway.event("config", message="no upstream has a key, so no model can be used: set PIAPI_API_KEY")


async def test_what_is_not_taken_over_is_told_and_the_rest_is(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    good = settings(sandbox, tmp_path)
    good["upstreams"]["piapi"]["keys"] = ["${PIAPI_API_KEY}"]
    write(tmp_path, good)
    async with Gateway.serve(tmp_path, {"PIAPI_API_KEY": "piapi-key-one"}) as gateway:
        new = {
            **good,
            "listen": "0.0.0.0:1",
            "admin": {"listen": "127.0.0.1:2"},
            "store": "sqlite:///elsewhere.db",
            "log": {"level": "debug"},
            "time_zone": "Europe/Berlin",
            "limits": {"in_flight": 7, "body": "1MiB"},
            "images": {"keep": "1h"},
            "teams": {"growth": {"budget": "0/day"}},
        }
        write(tmp_path, new)
        answer = (await reloaded(gateway, client)).json()
        named = {line.partition(":")[0] for line in answer["not_taken_over"]}
        assert named == {
            *("listen", "admin.listen", "store", "log", "time_zone", "limits.in_flight", "images", "environment"),
        }
        assert any("variables (PIAPI_API_KEY) keep the values" in line for line in answer["not_taken_over"])
        assert answer["changed"] == ["limits.body: 20971520 -> 1048576", "teams.growth: budget none -> 0/day"]
        assert (await gateway.event("config_reloaded"))["not_taken_over"] == answer["not_taken_over"]
        refused = await ask(client, gateway, chat())
        assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
        assert not (tmp_path / "elsewhere.db").exists()
        # A second time it is all told again, as it is still not in force.
        again = (await reloaded(gateway, client)).json()
        assert again["changed"] == []
        assert again["not_taken_over"] == answer["not_taken_over"]


async def test_what_changed_is_told_without_a_secret(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    good = settings(sandbox, tmp_path, teams={"growth": {"budget": "500/month"}, "old": {}})
    write(tmp_path, good)
    async with Gateway.serve(tmp_path) as gateway:
        new = settings(sandbox, tmp_path, teams={"growth": {}}, budget_alerts={"webhook": "https://a.example/hook-secret",
                       "secret": "whsec_c2VjcmV0LXZhbHVlLTEyMzQ="})  # fmt: skip
        new["keys"] = [{"name": "alice", "team": "growth", "key": "gw-alice-changed-0123456789", "rpm": 5}]
        new["upstreams"]["piapi"]["keys"] = [{"name": "first", "value": "piapi-key-three"}]
        new["models"] = {
            **new["models"],
            "house": {"targets": [{"upstream": "piapi", "price": {"input": 1, "output": 2}}]},
        }
        write(tmp_path, new)
        answer = (await reloaded(gateway, client)).json()
        changed = answer["changed"]
        assert "budget_alerts.webhook: set" in changed
        assert "upstreams.piapi: key first changed; key second removed" in changed
        assert "models.house: added" in changed
        assert "teams.growth: budget 500/month -> none" in changed
        assert "teams.old: removed" in changed
        assert "keys.alice: another key; rpm none -> 5" in changed
        assert "keys.bob: removed" in changed
        assert "weaker than before: teams.growth: budget 500/month -> none" in answer["warnings"]
        assert (await gateway.event("config_reloaded"))["changed"] == changed
        told = json.dumps(answer) + gateway.err.text
        assert not [secret for secret in ("gw-alice", "piapi-key", "hook-secret", "whsec") if secret in told]


def with_admin(sandbox: Sandbox, folder: Path, port: int, **over: Any) -> dict[str, Any]:
    return settings(sandbox, folder, admin={"listen": f"127.0.0.1:{port}", "key": ADMIN_KEY}, **over)


async def test_the_command_prints_what_changed_or_every_error(tmp_path: Path, sandbox: Sandbox, free_port: int) -> None:
    write(tmp_path, with_admin(sandbox, tmp_path, free_port))
    alone = await command(tmp_path, "reload")
    assert alone.code == 1
    assert "no gateway answers at" in alone.err
    async with Gateway.serve(tmp_path):
        same = await command(tmp_path, "reload")
        assert (same.code, same.out) == (0, "config.yaml is in force.\nNothing has changed.\n")
        write(tmp_path, with_admin(sandbox, tmp_path, free_port, drain="4s", listen="127.0.0.1:1"))
        told = await command(tmp_path, "reload")
        assert (told.code, told.out) == (0, "config.yaml is in force.\ndrain: 30s -> 4s\n")
        assert "not taken over: listen: a reload cannot change it" in told.err
        as_json = json.loads((await command(tmp_path, "reload", "--json")).out)
        assert (as_json["status"], as_json["changed"]) == ("reloaded", [])

        bad = with_admin(sandbox, tmp_path, free_port, drian="4s", auth="maybe")
        write(tmp_path, bad)
        rejected = await command(tmp_path, "reload")
        assert rejected.code == 1
        assert rejected.out == ""
        lines = rejected.err.splitlines()
        assert len(lines) == 2
        assert all(line.startswith("config.yaml:1:") for line in lines)
        shown = json.loads((await command(tmp_path, "reload", "--json")).out)
        assert (shown["status"], len(shown["problems"])) == ("rejected", 2)

        write(tmp_path, "admin: [")
        unread = await command(tmp_path, "reload")
        assert unread.code == 1
        assert unread.err.startswith("config.yaml:")
        assert "No gateway was asked" in unread.err

        changed = with_admin(sandbox, tmp_path, free_port)
        changed["admin"]["key"] = "admin-another-0123456789"
        write(tmp_path, changed)
        other = await command(tmp_path, "reload")
        assert other.code == 1
        assert "send the process SIGHUP" in other.err


async def test_the_command_needs_no_upstreams_secret(tmp_path: Path, sandbox: Sandbox, free_port: int) -> None:
    document = with_admin(sandbox, tmp_path, free_port)
    document["upstreams"]["piapi"]["keys"] = ["${PIAPI_SECRET}"]
    write(tmp_path, document)
    async with Gateway.serve(tmp_path, {"PIAPI_SECRET": "piapi-key-one"}):
        assert (await command(tmp_path, "reload")).code == 0
        assert (await command(tmp_path, "status")).code == 0


async def test_a_key_of_a_team_that_lost_its_budget_is_refused_until_it_has_another(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    teams = {"growth": {"budget": "50/month"}, "free": {}}
    good = settings(sandbox, tmp_path, teams=teams, keys=[{"name": "alice", "key": ALICE_KEY}])
    write(tmp_path, good)
    made = [await command(tmp_path, "keys", "create", name, "--team", team, "--json") for name, team in
            (("bob", "growth"), ("carol", "free"))]  # fmt: skip
    bob, carol = (json.loads(told.out)["key"] for told in made)
    without = {name: value for name, value in good.items() if name != "teams"}
    async with Gateway.serve(tmp_path) as gateway, new_client(bob) as his, new_client(carol) as hers:
        assert [(await ask(one, gateway, chat())).status for one in (his, hers)] == [200, 200]
        write(tmp_path, without)
        answer = (await reloaded(gateway, client)).json()
        assert any("'bob' is refused (403 team_unknown)" in warning for warning in answer["warnings"])
        assert any("'carol' is of the team 'free'" in warning for warning in answer["warnings"])
        assert (await gateway.event("key_team_unknown"))["key"] == "bob"
        refused = await ask(his, gateway, chat())
        assert (refused.status, refused.error["type"], refused.error["code"]) == (
            403,
            "permission_error",
            "team_unknown",
        )
        assert refused.headers["x-should-retry"] == "false"
        assert (await ask(hers, gateway, chat())).status == 200, "her team had no budget"
    # The store knows it still after a restart, and the check sees it without one.
    checked = await command(tmp_path, "check")
    assert checked.code == 0
    assert "warning: the key 'bob' is refused (403 team_unknown)" in checked.err
    async with Gateway.serve(tmp_path) as gateway, new_client(bob) as his:
        await gateway.event("key_team_unknown", key="bob")
        assert (await ask(his, gateway, chat())).status == 403
        assert (await his.get(f"{gateway.url}/v1/models")).status_code == 403
        write(tmp_path, {**good, "teams": {"growth": {}}})
        assert (await reloaded(gateway, client)).status_code == 200
        assert (await ask(his, gateway, chat())).status == 200, "declared without a budget, that is meant"
        write(tmp_path, without)
        assert (await reloaded(gateway, client)).status_code == 200
        assert (await ask(his, gateway, chat())).status == 200, "and is forgotten then"
        write(tmp_path, good)
        assert (await reloaded(gateway, client)).status_code == 200
        write(tmp_path, without)
        assert (await reloaded(gateway, client)).status_code == 200
        assert (await ask(his, gateway, chat())).status == 403
        freed = await client.patch(f"{gateway.admin}/admin/v1/keys/bob", json={"team": None})
        assert freed.status_code == 200
        assert (await ask(his, gateway, chat())).status == 200


async def test_a_key_in_the_file_of_such_a_team_is_refused_too(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    good = settings(sandbox, tmp_path, teams={"growth": {"budget": "50/month"}})
    write(tmp_path, good)
    async with Gateway.serve(tmp_path) as gateway:
        assert (await ask(client, gateway, chat())).status == 200
        write(tmp_path, {name: value for name, value in good.items() if name != "teams"})
        warnings = (await reloaded(gateway, client)).json()["warnings"]
        assert any(
            "'alice' is refused (403 team_unknown)" in one and "take 'team' from the key" in one for one in warnings
        )
        assert "weaker than before: teams.growth: removed (budget 50/month)" in warnings
        assert (await ask(client, gateway, chat())).error["code"] == "team_unknown"


async def test_keys_whose_models_are_gone_are_named(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    house = {"house-model": {"targets": [{"upstream": "piapi", "model": "gpt-4o-mini"}]}}
    good = settings(sandbox, tmp_path, models=house)
    write(tmp_path, good)
    for name, models in (("dora", "house-model"), ("emil", "house*,gpt-4o*"), ("frida", "gpt-4o-mini")):
        assert (await command(tmp_path, "keys", "create", name, "--models", models)).code == 0
    assert "the key" not in (await command(tmp_path, "check")).err
    async with Gateway.serve(tmp_path) as gateway:
        write(tmp_path, {name: value for name, value in good.items() if name != "models"})
        warnings = (await reloaded(gateway, client)).json()["warnings"]
        assert [one.partition("'")[2].partition("'")[0] for one in warnings if "no model of the" in one] == [
            "dora",
            "emil",
        ]
        for key, about in (("dora", "house-model"), ("emil", "house*")):
            await gateway.event("key_models_unknown", key=key, about=about)
    assert (
        "the key 'dora' may use house-model, which no model of the configuration matches"
        in (await command(tmp_path, "check")).err
    )


async def test_a_virtual_key_given_to_an_upstream_is_found(tmp_path: Path, sandbox: Sandbox) -> None:
    good = settings(sandbox, tmp_path)
    write(tmp_path, good)
    made = json.loads((await command(tmp_path, "keys", "create", "gina", "--json")).out)["key"]
    good["upstreams"]["backup"]["keys"] = [made]
    write(tmp_path, good)
    checked = await command(tmp_path, "check")
    assert "upstreams.backup: its key 'key-1' is the virtual key 'gina' of this gateway" in checked.err
    assert made not in checked.err
    async with Gateway.serve(tmp_path) as gateway:
        await gateway.event("key_given_upstream", key="gina")


def limited(folder: Path, soft: int, hard: int) -> Path:
    """A way to call the program under these limits of descriptors."""
    script = folder / "limited"
    script.write_text(f'#!/bin/sh\nulimit -Sn {soft}\nulimit -Hn {hard}\nexec {shlex.quote(str(PROGRAM))} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
async def test_a_limit_that_lowers_in_flight_is_told_and_one_that_can_be_raised_is(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert hard == resource.RLIM_INFINITY or hard >= 2000
    write(tmp_path, settings(sandbox, tmp_path, limits={"in_flight": 500}))
    program = [limited(tmp_path, 256, 300)]
    told = (await command(tmp_path, "check", program_line=program)).err
    assert "limits.in_flight: 500 is lowered to 118" in told
    assert "LimitNOFILE=1064" in told
    async with Gateway.serve(tmp_path, program_line=program) as gateway:
        line = await gateway.event("limit_lowered")
        assert (line["wanted"], line["in_flight"], line["descriptors"]) == (500, 118, 300)
        assert _soft_limit(gateway.process.pid) in (300, None), "the soft limit was raised to the hard one"
    limited(tmp_path, 256, 2000)
    assert "in_flight" not in (await command(tmp_path, "check", program_line=program)).err
    async with Gateway.serve(tmp_path, program_line=program) as gateway:
        assert gateway.events("limit_lowered") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("usage",),
        ("usage", "--by", "day", "--format", "json"),
        ("keys", "list"),
        ("keys", "create", "new-key"),
        ("keys", "set", "bob", "--rpm", "5"),
        ("keys", "revoke", "bob"),
        ("ledger", "verify"),
        ("ledger", "prune", "--before", "90d"),
        ("backup", "copy"),
        ("models",),
    ],
    ids=" ".join,
)
async def test_a_command_needs_only_what_it_uses(tmp_path: Path, sandbox: Sandbox, arguments: tuple[str, ...]) -> None:
    document = settings(sandbox, tmp_path, ca_file="${CA_FILE}", proxy="env",
                        budget_alerts={"webhook": "https://hooks.example.com", "secret": "${HOOK}"})  # fmt: skip
    document["upstreams"]["piapi"]["keys"] = ["${PIAPI_SECRET}", {"name": "two", "value": "${PIAPI_SECRET_2}"}]
    document["upstreams"]["backup"]["endpoints"] = [{"url": "${BACKUP_URL}"}]
    document["keys"] = [{"name": "alice", "key": "${ALICE_SECRET}", "team": "growth"}]
    everything = {
        "PIAPI_SECRET": "piapi-one",
        "PIAPI_SECRET_2": "piapi-two",
        "BACKUP_URL": sandbox.urls["backup"],
        "ALICE_SECRET": ALICE_KEY,
        "HOOK": "a-secret-of-the-hook-0123456789",
        "CA_FILE": _authorities(),
    }
    write(tmp_path, document)
    assert (await command(tmp_path, "keys", "create", "bob", env=everything)).code == 0
    async with Gateway.serve(tmp_path, everything) as gateway:
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    for env in ({}, {"PIAPI_SECRET": '"piapi-one"', "HTTPS_PROXY": "socks5://proxy:1"}):
        told = await command(tmp_path, *arguments, env=env)
        if arguments[:2] == ("keys", "create") and env:
            assert "There is or was a key named" in told.err
            continue
        assert (told.code, told.err) == (0, told.err), told
    for needing in ("check", "serve"):
        told = await command(tmp_path, needing)
        assert told.code == 2
        assert "PIAPI_SECRET" in told.err
        assert "ALICE_SECRET" in told.err


async def test_a_command_still_needs_what_it_uses(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path, store="sqlite:///${STORE_NAME}", admin={"key": "${ADMIN_SECRET}"}))
    for arguments in (("usage",), ("keys", "list"), ("ledger", "verify")):
        told = await command(tmp_path, *arguments)
        assert told.code == 2
        assert "STORE_NAME" in told.err
        assert "ADMIN_SECRET" in told.err
    told = await command(tmp_path, "usage", env={"STORE_NAME": "gateway.db", "ADMIN_SECRET": "x" * 20})
    assert told.code == 1, "the books are not there yet"
    mistaken = settings(sandbox, tmp_path, drian="3s")
    write(tmp_path, mistaken)
    assert (await command(tmp_path, "usage")).code == 2, "a mistake of the file is told in any case"


def _soft_limit(process: int) -> int | None:
    """How many files a process may open, where the system tells."""
    limits = Path(f"/proc/{process}/limits")
    if not limits.exists():
        return None
    [row] = [row for row in limits.read_text().splitlines() if row.startswith("Max open files")]
    return int(row.split()[3])


def _authorities() -> str:
    import certifi

    return certifi.where()
