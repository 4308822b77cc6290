"""``piapi-gateway keys …``: beside a running gateway, which obeys at once, and without one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.cli import admin_client
from gateway.cli.main import main
from gateway.sandbox import Sandbox
from gateway.stores.sqlite.lock import StoreLock

from .running import (
    ALICE_KEY,
    Answer,
    Finished,
    Gateway,
    ask,
    chat,
    command,
    commands,
    files,
    new_client,
    settings,
    store_bytes,
    write,
)

ADMIN_KEY = "admin-0123456789abcdef-secret"
MADE = re.compile(r"gw-[A-Za-z0-9_-]{43}")
ACTIONS = ("create", "list", "show", "set", "rotate", "revoke")


def only_stored(sandbox: Sandbox, folder: Path, **over: Any) -> dict[str, Any]:
    """A configuration without keys of its own; the admin key is asked for."""
    return settings(sandbox, folder, **{"keys": [], "admin": {"listen": "127.0.0.1:0", "key": ADMIN_KEY}, **over})


def meet(folder: Path, gateway: Gateway, document: dict[str, Any]) -> tuple[str, str]:
    """The option with which a command finds this gateway, whose port was free to choose."""
    admin = {**document["admin"], "listen": gateway.admin.removeprefix("http://")}
    (folder / "meet.yaml").write_text(json.dumps({**document, "admin": admin}), encoding="utf-8")
    return "--config", "meet.yaml"


async def keys(folder: Path, *arguments: str) -> Finished:
    """A ``keys`` command that must succeed, in silence but for its answer."""
    finished = await command(folder, "keys", *arguments)
    assert (finished.code, finished.err) == (0, ""), finished.err
    return finished


async def keys_json(folder: Path, *arguments: str) -> Any:
    return json.loads((await keys(folder, *arguments, "--json")).out)


async def asked(gateway: Gateway, key: str, **fields: Any) -> Answer:
    async with new_client(key) as client:
        return await ask(client, gateway, chat(**fields))


async def stop(gateway: Gateway) -> None:
    gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0


async def test_a_running_gateway_obeys_when_the_command_returns(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        at = meet(tmp_path, gateway, document)
        made = await keys(tmp_path, "create", "carol", "--team", "growth", "--models", "gpt-4o-mini", *at)
        [key] = MADE.findall(made.out)
        assert made.out.splitlines()[0] == key, "the first line is the key, for scripts"
        assert "'carol'. It is shown only now" in made.out
        assert (await asked(gateway, key)).status == 200
        forbidden = await asked(gateway, key, model="gpt-4o")
        assert (forbidden.status, forbidden.error["code"]) == (403, "model_not_allowed")
        changed = await keys(tmp_path, "set", "carol", "--models", "gpt-4o*", "--rpm", "3", *at)
        assert "3 a minute" in changed.out
        assert (await asked(gateway, key, model="gpt-4o")).headers["x-ratelimit-limit-requests"] == "3"
        gone = await keys(tmp_path, "revoke", "carol", *at)
        assert "'carol' is revoked" in gone.out
        refused = await asked(gateway, key)
        unknown = await asked(gateway, "gw-nobodys-key")
        assert (refused.status, refused.text) == (401, unknown.text), "nothing tells a revoked key from a wrong one"
        async with new_client(ADMIN_KEY) as admin:
            scraped = (await admin.get(f"{gateway.admin}/metrics")).text
        assert 'key="carol",model="gpt-4o-mini",route="/v1/chat/completions",status="200",team="growth"' in scraped
        assert "gateway_auth_failures_total 2.0" in scraped
        assert [event["key"] for event in gateway.events("key_changed")] == ["carol"] * 3
        await stop(gateway)
    for shown in (gateway.out.text, gateway.err.text, store_bytes(tmp_path), changed.out, gone.out, scraped):
        assert key not in shown
        assert ADMIN_KEY not in shown


async def test_the_first_key_closes_the_door_and_revoking_it_does_not_open_it(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        at = meet(tmp_path, gateway, document)
        assert (await asked(gateway, "anything")).status == 200
        key = (await keys_json(tmp_path, "create", "carol", *at))["key"]
        assert ((await asked(gateway, "anything")).status, (await asked(gateway, key)).status) == (401, 200)
        await keys(tmp_path, "revoke", "carol", *at)
        assert (await asked(gateway, "anything")).status == 401
        async with new_client(ADMIN_KEY) as admin:
            assert (await admin.post(f"{gateway.admin}/admin/v1/reload")).status_code == 200
        assert (await asked(gateway, "anything")).status == 401
        await stop(gateway)
    async with Gateway.serve(tmp_path) as again:
        assert (await asked(again, "anything")).status == 401


async def test_a_rotated_key_has_its_grace_and_then_no_more(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        at = meet(tmp_path, gateway, document)
        first = (await keys_json(tmp_path, "create", "carol", *at))["key"]
        rotated = await keys(tmp_path, "rotate", "carol", *at)
        [second] = MADE.findall(rotated.out)
        assert "The one before works until " in rotated.out
        assert [(await asked(gateway, key)).status for key in (first, second)] == [200, 200]
        third = (await keys_json(tmp_path, "rotate", "carol", "--grace", "1s", *at))["key"]
        assert (await asked(gateway, first)).status == 401, "of the keys before, only the last has a grace"
        while (await asked(gateway, second)).status == 200:
            await asyncio.sleep(0.05)
        assert [(await asked(gateway, key)).status for key in (first, second, third)] == [401, 401, 200]
        assert "works no more" in (await keys(tmp_path, "rotate", "carol", "--grace", "0s", *at)).out
        assert (await asked(gateway, third)).status == 401


async def test_an_expired_key_is_refused_and_may_be_prolonged(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        at = meet(tmp_path, gateway, document)
        key = (await keys_json(tmp_path, "create", "carol", "--expires", "1s", *at))["key"]
        while (await asked(gateway, key)).status == 200:
            await asyncio.sleep(0.05)
        assert (await keys_json(tmp_path, "show", "carol", *at))["state"] == "expired"
        await keys(tmp_path, "set", "carol", "--expires", "90d", *at)
        assert (await asked(gateway, key)).status == 200


async def test_without_a_gateway_the_command_does_it_itself(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    assert await keys_json(tmp_path, "list") == []
    assert "There are no keys yet" in (await keys(tmp_path, "list")).out
    assert files(tmp_path) == ["config.yaml"], "asking made nothing"
    carol = (await keys_json(tmp_path, "create", "carol", "--budget", "5/month", "--team", "growth"))["key"]
    dave = (await keys_json(tmp_path, "create", "dave"))["key"]
    assert (tmp_path / "gateway.db.pepper").stat().st_mode & 0o777 == 0o600
    await keys(tmp_path, "set", "carol", "--budget", "50/month")
    await keys(tmp_path, "revoke", "dave")
    async with Gateway.serve(tmp_path) as gateway:
        assert [(await asked(gateway, key)).status for key in (carol, dave)] == [200, 401]
        await stop(gateway)
    carol_shown = await keys_json(tmp_path, "show", "carol")
    assert (carol_shown["budget"], carol_shown["budget_reserved_usd"]) == ("50/month", 0)
    assert round(carol_shown["budget_used_usd"] * 1e9) == sandbox.billed > 0
    assert round(carol_shown["budget_left_usd"] * 1e9) == 50_000_000_000 - sandbox.billed
    assert [key["name"] for key in await keys_json(tmp_path, "list")] == ["carol"]
    assert [key["name"] for key in await keys_json(tmp_path, "list", "--all")] == ["carol", "dave"]
    await keys(tmp_path, "revoke", "carol")
    async with Gateway.serve(tmp_path) as again:
        assert (await asked(again, carol)).status == 401


async def test_several_at_once_wait_for_one_another(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    names = ["a", "b", "c"]
    alone = await commands(tmp_path, *(["keys", "create", name, "--json"] for name in names))
    assert [(made.code, made.err) for made in alone] == [(0, "")] * 3
    same = await commands(tmp_path, *[["keys", "create", "d"]] * 3)
    assert sorted(made.code for made in same) == [0, 1, 1]
    async with Gateway.serve(tmp_path) as gateway:
        at = meet(tmp_path, gateway, document)
        beside = await commands(tmp_path, *(["keys", "create", name, "--json", *at] for name in ("e", "f")))
        for made in (*alone, *beside):
            assert (await asked(gateway, json.loads(made.out)["key"])).status == 200
        assert [key["name"] for key in await keys_json(tmp_path, "list", *at)] == ["a", "b", "c", "d", "e", "f"]


async def test_keys_of_the_file_and_of_the_store_stand_in_one_list(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, tmp_path)
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        at = meet(tmp_path, gateway, document)
        made = await keys_json(tmp_path, "create", "carol", "--note", "new here", "--tpm", "9000", *at)
        listed = await keys_json(tmp_path, "list", *at)
        assert [(key["name"], key["source"]) for key in listed] == [
            ("alice", "file"),
            ("bob", "file"),
            ("carol", "store"),
        ]
        assert listed[2] == await keys_json(tmp_path, "show", "carol", *at)
        assert {**listed[2], "key": None} == {**made, "key": None}
        head, *lines = (await keys(tmp_path, "list", *at)).out.splitlines()
        assert head.split()[:3] == ["name", "team", "state"]
        assert [line.split()[0] for line in lines] == ["alice", "bob", "carol"]
        card = (await keys(tmp_path, "show", "carol", *at)).out
        assert re.search(r"^note +new here$", card, re.M)
        assert re.search(r"^tokens +9000 a minute$", card, re.M)
        refused = await command(tmp_path, "keys", "revoke", "alice", *at)
        assert (refused.code, refused.out) == (1, "")
        assert "change it there, then reload" in refused.err
        document["keys"].append({"name": "carol", "key": "gw-carol-of-the-file-0123456789"})
        write(tmp_path, document)
        gateway.signal(signal.SIGHUP)
        assert (await gateway.event("key_shadowed"))["key"] == "carol"
        await gateway.event("config_reloaded")
        assert (await asked(gateway, made["key"])).status == 401
        assert (await asked(gateway, "gw-carol-of-the-file-0123456789")).status == 200
        assert (await asked(gateway, ALICE_KEY)).status == 200


async def test_guesses_are_slowed_down_and_honest_clients_are_not(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        assert (await asked(gateway, ALICE_KEY)).status == 200
        answers = [await asked(gateway, f"gw-guess-{number}") for number in range(12)]
        assert [answer.status for answer in answers] == [401] * 10 + [429] * 2
        assert answers[-1].error["code"] == "rate_limit_exceeded"
        assert int(answers[-1].headers["retry-after"]) <= 60
        async with new_client("gw-guess") as guesser:
            assert (await guesser.get(f"{gateway.url}/v1/models")).status_code == 429, "whatever the route"
        assert (await asked(gateway, ALICE_KEY)).status == 200
        async with httpx2.AsyncClient(trust_env=False) as admin:
            assert "gateway_auth_failures_total 13.0" in (await admin.get(f"{gateway.admin}/metrics")).text


async def test_the_pepper_may_come_from_the_environment(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, only_stored(sandbox, tmp_path))
    pepper = {"GATEWAY_KEY_PEPPER": "5a" * 32}
    made = await command(tmp_path, "keys", "create", "carol", "--json", env=pepper)
    assert made.code == 0
    assert "gateway.db.pepper" not in files(tmp_path)
    async with Gateway.serve(tmp_path, pepper) as gateway:
        assert (await asked(gateway, json.loads(made.out)["key"])).status == 200
        await stop(gateway)
    assert pepper["GATEWAY_KEY_PEPPER"] not in gateway.err.text
    for line in (["serve"], ["keys", "create", "dave"], ["keys", "rotate", "carol"]):
        told = await command(tmp_path, *line)
        assert (told.code, told.out, told.err.count("\n")) == (1, "", 1)
        assert "pepper is missing" in told.err
    assert (await command(tmp_path, "keys", "revoke", "carol")).code == 0, "the way out that the message names"
    assert (await command(tmp_path, "keys", "create", "dave")).code == 0


def obeyed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Finished:
    """The same command without a process of its own."""
    try:
        code = main(["keys", *arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    shown = capsys.readouterr()
    return Finished(code, shown.out, shown.err)


def test_every_action_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    group = obeyed(capsys, "--help")
    assert group.code == 0
    for action in ACTIONS:
        shown = obeyed(capsys, action, "--help")
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.startswith(f"usage: piapi-gateway keys {action} ")
        assert f"  piapi-gateway keys {action} " in shown.out, "an example"
        assert "--config FILE" in shown.out
        assert "--json" in shown.out
        assert f"    {action} " in group.out


BAD_USAGE = {
    "": "ACTION",
    "creat x": "'creat'",
    "create": "NAME",
    "create x --budget 50": "50/month",
    "create x --budget 50/week": "50/month",
    "create x --rpm lots": "'lots' is not a whole number",
    "create x --rpm 0": "at least 1",
    "create x --expires soon": "90d",
    "create x --expires 2001-01-01": "ahead",
    "create x --models ,": "models",
    "create x --models *-mini": "'*' may end one",
    "create a/b": "letters",
    "create anonymous": "meaning of its own",
    "create ..": "no name of a key",
    "create x --colour red": "--colour",
    "set x": "--rpm 60",
    "set x --tpm none": None,
    "rotate x --grace soon": "grace",
}
"""None: that is good usage, of a key that is not there."""


def test_bad_usage_is_told_in_one_line_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"admin": {"listen": "127.0.0.1:1"}})
    for line, hint in BAD_USAGE.items():
        told = obeyed(capsys, *line.split())
        assert (told.code, told.out, told.err.count("\n")) == (2 if hint else 1, "", 1), (line, told)
        assert (hint or "no key named 'x'") in told.err, line
    odd = obeyed(capsys, "show", "a\nb")
    assert (odd.code, odd.err.count("\n")) == (2, 1)


def test_a_store_in_use_by_somebody_who_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(admin_client, "PATIENCE", 0.2)
    write(tmp_path, {"admin": {"listen": "127.0.0.1:1"}})
    lock = StoreLock.take((tmp_path / "gateway.db").resolve())
    told = obeyed(capsys, "create", "carol")
    assert (told.code, told.out, told.err.count("\n")) == (1, "", 1)
    assert f"in use by process {os.getpid()}" in told.err
    assert "no gateway answers at http://127.0.0.1:1" in told.err
    assert "--config" in told.err
    lock.release()
    assert obeyed(capsys, "create", "carol").code == 0


async def test_an_admin_listener_that_is_not_ours_or_not_open_to_us(tmp_path: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, tmp_path)
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        meet(tmp_path, gateway, {**document, "admin": {"listen": "127.0.0.1:0", "key": "wrong-admin-key"}})
        told = await command(tmp_path, "keys", "create", "carol", "--config", "meet.yaml")
        assert (told.code, told.out) == (1, "")
        assert "admin.key is not the running gateway's" in told.err
        assert "wrong-admin-key" not in told.err
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere", {"admin": {"listen": sandbox.url.removeprefix("http://")}})
    for scenario in ("html_200", "status;code=404", "bad_json", "soft_error", "reset_before_head"):
        sandbox.set_default(scenario)
        told = await command(tmp_path / "elsewhere", "keys", "list")
        assert (told.code, told.out, told.err.count("\n")) == (1, "", 1), scenario
        assert "/admin/v1/keys" in told.err


async def test_the_key_goes_to_the_output_alone_however_it_is_read(tmp_path: Path) -> None:
    """``KEY=$(piapi-gateway keys create carol | head -1)``."""
    write(tmp_path, {"admin": {"listen": "127.0.0.1:1"}})
    program = Path(sys.executable).parent / "piapi-gateway"
    script = f'KEY=$({program} keys create carol | head -1); echo "${{#KEY}}"'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (out, err) == (b"46\n", b"")
