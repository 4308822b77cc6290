"""``piapi-gateway keys …``: beside a running gateway, which obeys at once, and without one."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import admin_client
from gateway.core.errors import StoreError
from gateway.sandbox import Sandbox
from gateway.stores.sqlite.lock import StoreLock
from tests.process.running import ALICE_KEY, Answer, ask, chat, files, new_client, settings, store_bytes, write

from .in_process import NOWHERE, RunningGateway, command, done, obeyed, one_line, serving

ADMIN_KEY = "admin-0123456789abcdef-secret"
MADE = re.compile(r"gw-[A-Za-z0-9_-]{43}")


def only_stored(sandbox: Sandbox, folder: Path, **over: Any) -> dict[str, Any]:
    """A configuration without keys of its own; the admin key is asked for."""
    return settings(sandbox, folder, **{"keys": [], "admin": {"listen": "127.0.0.1:0", "key": ADMIN_KEY}, **over})


async def keys(*arguments: str) -> str:
    """What a ``keys`` command prints that must succeed, in silence but for its answer."""
    return await done("keys", *arguments)


async def keys_json(*arguments: str) -> Any:
    return json.loads(await keys(*arguments, "--json"))


async def asked(gateway: RunningGateway, key: str, **fields: Any) -> Answer:
    async with new_client(key) as client:
        return await ask(client, gateway, chat(**fields))


async def test_a_running_gateway_obeys_when_the_command_returns(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)
    async with serving(folder, document) as gateway:
        at = gateway.meet
        made = await keys("create", "carol", "--team", "growth", "--models", "gpt-4o-mini", *at)
        [key] = MADE.findall(made)
        assert made.splitlines()[0] == key, "the first line is the key, for scripts"
        assert "'carol'. It is shown only now" in made
        assert (await asked(gateway, key)).status == 200
        forbidden = await asked(gateway, key, model="gpt-4o")
        assert (forbidden.status, forbidden.error["code"]) == (403, "model_not_allowed")
        changed = await keys("set", "carol", "--models", "gpt-4o*", "--rpm", "3", *at)
        assert "3 a minute" in changed
        assert (await asked(gateway, key, model="gpt-4o")).headers["x-ratelimit-limit-requests"] == "3"
        gone = await keys("revoke", "carol", *at)
        assert "'carol' is revoked" in gone
        refused = await asked(gateway, key)
        unknown = await asked(gateway, "gw-nobodys-key")
        assert (refused.status, refused.text) == (401, unknown.text), "nothing tells a revoked key from a wrong one"
        async with new_client(ADMIN_KEY) as admin:
            scraped = (await admin.get(f"{gateway.admin}/metrics")).text
        assert 'key="carol",model="gpt-4o-mini",route="/v1/chat/completions",status="200",team="growth"' in scraped
        assert "gateway_auth_failures_total 2.0" in scraped
    assert [event["key"] for event in gateway.events("key_changed")] == ["carol"] * 3
    for shown in (gateway.log.getvalue(), store_bytes(folder), changed, gone, scraped):
        assert key not in shown
        assert ADMIN_KEY not in shown


async def test_the_first_key_closes_the_door_and_revoking_it_does_not_open_it(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)
    async with serving(folder, document) as gateway:
        at = gateway.meet
        assert (await asked(gateway, "anything")).status == 200
        key = (await keys_json("create", "carol", *at))["key"]
        assert ((await asked(gateway, "anything")).status, (await asked(gateway, key)).status) == (401, 200)
        await keys("revoke", "carol", *at)
        assert (await asked(gateway, "anything")).status == 401
        async with new_client(ADMIN_KEY) as admin:
            assert (await admin.post(f"{gateway.admin}/admin/v1/reload")).status_code == 200
        assert (await asked(gateway, "anything")).status == 401
    async with serving(folder, document) as again:
        assert (await asked(again, "anything")).status == 401


async def test_a_rotated_key_has_its_grace_and_then_no_more(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)
    async with serving(folder, document) as gateway:
        at = gateway.meet
        first = (await keys_json("create", "carol", *at))["key"]
        rotated = await keys("rotate", "carol", *at)
        [second] = MADE.findall(rotated)
        assert "The one before works until " in rotated
        assert [(await asked(gateway, key)).status for key in (first, second)] == [200, 200]
        third = (await keys_json("rotate", "carol", "--grace", "1s", *at))["key"]
        assert (await asked(gateway, first)).status == 200, "it was promised a day"
        while (await asked(gateway, second)).status == 200:
            await asyncio.sleep(0.05)
        assert [(await asked(gateway, key)).status for key in (first, second, third)] == [200, 401, 200]
        at_once = await keys("rotate", "carol", "--grace", "0s", *at)
        assert "The one before works no more." in at_once
        assert "one more old key, until " in at_once
        assert "one more old key, until " in await keys("show", "carol", *at)
        assert [(await asked(gateway, key)).status for key in (first, third)] == [200, 401]
    async with serving(folder, document) as again:
        assert [(await asked(again, key)).status for key in (first, third)] == [200, 401], "a restart changes nothing"
        await keys("revoke", "carol", *again.meet)
        assert (await asked(again, first)).status == 401, "revoking ends every key of that name"


async def test_an_expired_key_is_refused_and_may_be_prolonged(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)
    async with serving(folder, document) as gateway:
        at = gateway.meet
        key = (await keys_json("create", "carol", "--expires", "1s", *at))["key"]
        while (await asked(gateway, key)).status == 200:
            await asyncio.sleep(0.05)
        assert (await keys_json("show", "carol", *at))["state"] == "expired"
        await keys("set", "carol", "--expires", "90d", *at)
        assert (await asked(gateway, key)).status == 200


async def test_without_a_gateway_the_command_does_it_itself(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)
    write(folder, document)
    assert await keys_json("list") == []
    assert "There are no keys yet" in await keys("list")
    assert files(folder) == ["config.yaml"], "asking made nothing"
    carol = (await keys_json("create", "carol", "--budget", "5/month", "--team", "growth"))["key"]
    dave = (await keys_json("create", "dave"))["key"]
    assert (folder / "gateway.db.pepper").stat().st_mode & 0o777 == 0o600
    await keys("set", "carol", "--budget", "50/month")
    await keys("revoke", "dave")
    async with serving(folder, document) as gateway:
        assert [(await asked(gateway, key)).status for key in (carol, dave)] == [200, 401]
    carol_shown = await keys_json("show", "carol")
    assert (carol_shown["budget"], carol_shown["budget_reserved_usd"]) == ("50/month", 0)
    assert round(carol_shown["budget_used_usd"] * 1e9) == sandbox.billed > 0
    assert round(carol_shown["budget_left_usd"] * 1e9) == 50_000_000_000 - sandbox.billed
    assert [key["name"] for key in await keys_json("list")] == ["carol"]
    assert [key["name"] for key in await keys_json("list", "--all")] == ["carol", "dave"]
    await keys("revoke", "carol")
    async with serving(folder, document) as again:
        assert (await asked(again, carol)).status == 401


async def test_budgets_by_model_are_given_beside_that_of_the_key(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)
    async with serving(folder, document) as gateway:
        at = gateway.meet
        budgets = ("--budget", "50/week", "--budget", "gpt-4o*=5/day", "--budget", "o3=1/total", "--alert", "50,80")
        made = await keys_json("create", "carol", *budgets, *at)
        assert (made["budget"], made["alert"], made["models"]) == ("50/week", [50, 80], ["*"])
        assert {model: one["budget"] for model, one in made["model_budgets"].items()} == {
            "gpt-4o*": "5/day",
            "o3": "1/total",
        }
        assert (await asked(gateway, made["key"])).status == 200
        card = await keys("set", "carol", "--budget", "o3=none", "--budget", "flux-*=0.5/week", *at)
        assert re.search(r"budget +50/week: \S+ used, \S+ reserved, \S+ left, begins anew at", card)
        assert re.search(r"for gpt-4o\* +5/day: \S+ used, \S+ reserved, 4.99\S+ left, begins anew at", card)
        assert re.search(r"for flux-\* +0.5/week: 0.00 used", card)
        assert "o3" not in card
        assert "50 %, 80 %" in card
        listed = await keys("list", *at)
        assert re.search(r"gpt-4o\* 5/day \(4.99\S+ left\), flux-\* 0.5/week \(0.50 left\)", listed)
        used = (await keys_json("show", "carol", *at))["model_budgets"]["gpt-4o*"]["used_usd"]
    shown = await keys_json("show", "carol")
    assert shown["model_budgets"]["gpt-4o*"]["used_usd"] == used > 0, "the books tell it as well"
    await keys("set", "carol", "--budget", "none", "--alert", "none")
    shown = await keys_json("show", "carol")
    assert (shown["budget"], shown["alert"], list(shown["model_budgets"])) == (None, None, ["gpt-4o*", "flux-*"])


@pytest.mark.parametrize(
    ("budgets", "told"),
    [
        (("1/day", "2/day"), "two budgets for the key"),
        (("o3=1/day", "o3=2/day"), "two budgets for 'o3'"),
        (("o3=1",), "expected AMOUNT/day, /week, /month or /total"),
        (("=1/day",), "expected names without blanks"),
        (("g*o=1/day",), "expected names without blanks"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(
    folder: Path, sandbox: Sandbox, budgets: tuple[str, ...], told: str
) -> None:
    write(folder, only_stored(sandbox, folder))
    options = [option for amount in budgets for option in ("--budget", amount)]
    finished = await command("keys", "create", "carol", *options)
    assert told in one_line(finished, 2)


async def test_keys_of_the_file_and_of_the_store_stand_in_one_list(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder)
    async with serving(folder, document) as gateway:
        at = gateway.meet
        made = await keys_json("create", "carol", "--note", "new here", "--tpm", "9000", *at)
        listed = await keys_json("list", *at)
        assert [(key["name"], key["source"]) for key in listed] == [
            ("alice", "file"),
            ("bob", "file"),
            ("carol", "store"),
        ]
        assert listed[2] == await keys_json("show", "carol", *at)
        assert {**listed[2], "key": None} == {**made, "key": None}
        head, *lines = (await keys("list", *at)).splitlines()
        assert head.split()[:3] == ["name", "team", "state"]
        assert [line.split()[0] for line in lines] == ["alice", "bob", "carol"]
        card = await keys("show", "carol", *at)
        assert re.search(r"^note +new here$", card, re.M)
        assert re.search(r"^tokens +9000 a minute$", card, re.M)
        assert "change it there, then reload" in one_line(await command("keys", "revoke", "alice", *at), 1)
        document["keys"].append({"name": "carol", "key": "gw-carol-of-the-file-0123456789"})
        write(folder, document)
        assert await gateway.gateway.reload() == []
        assert (await asked(gateway, made["key"])).status == 401
        assert (await asked(gateway, "gw-carol-of-the-file-0123456789")).status == 200
        assert (await asked(gateway, ALICE_KEY)).status == 200
    assert [event["key"] for event in gateway.events("key_shadowed")] == ["carol"]


async def test_the_pepper_may_come_from_the_environment(
    folder: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = only_stored(sandbox, folder)
    write(folder, document)
    monkeypatch.setenv("GATEWAY_KEY_PEPPER", "5a" * 32)
    key = (await keys_json("create", "carol"))["key"]
    assert "gateway.db.pepper" not in files(folder)
    async with serving(folder, document) as gateway:
        assert (await asked(gateway, key)).status == 200
    assert "5a" * 32 not in gateway.log.getvalue()
    monkeypatch.delenv("GATEWAY_KEY_PEPPER")
    for line in (["keys", "create", "dave"], ["keys", "rotate", "carol"]):
        assert "pepper is missing" in one_line(await command(*line), 1)
    with pytest.raises(StoreError, match="pepper is missing"):
        async with serving(folder, document):
            pass
    await keys("revoke", "carol")  # the way out that the message names
    await keys("create", "dave")


def test_a_name_that_cannot_be_told_apart_or_is_not_there() -> None:
    write(Path(), {"admin": NOWHERE})
    assert "no key named 'x'" in one_line(obeyed("keys", "set", "x", "--tpm", "none"), 1)
    one_line(obeyed("keys", "show", "a\nb"), 2)


def test_every_action_shows_an_example_and_answers_scripts() -> None:
    group = obeyed("keys", "--help").out
    for action in ("create", "list", "show", "set", "rotate", "revoke"):
        shown = obeyed("keys", action, "--help").out
        assert f"  piapi-gateway keys {action} " in shown
        assert "--json" in shown
        assert f"    {action} " in group


def test_a_store_that_another_process_writes_and_no_gateway_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_client, "PATIENCE", 0.2)
    write(folder, {"admin": NOWHERE})
    lock = StoreLock.take((folder / "gateway.db").resolve())
    told = one_line(obeyed("keys", "create", "carol"), 1)
    assert f"in use by process {os.getpid()}" in told
    assert "no gateway answers at http://127.0.0.1:1" in told
    assert "--config" in told
    lock.release()
    assert obeyed("keys", "create", "carol").code == 0


async def test_models_that_match_none_are_taken_with_a_warning(folder: Path, sandbox: Sandbox) -> None:
    document = only_stored(sandbox, folder)

    async def warned(*arguments: str) -> str:
        finished = await command("keys", *arguments)
        assert finished.code == 0, finished
        return finished.err

    async with serving(folder, document) as gateway:
        at = gateway.meet
        told = await warned("create", "slip", "--models", "gpt-4o-mni,gpt-4o,zzz*", *at)
        assert (
            "'gpt-4o-mni' matches no model that is known here, so it may be a slip; did you mean 'gpt-4o-mini'?" in told
        )
        assert "'zzz*' matches no model" in told
        assert "'gpt-4o'" not in told
        assert (await keys_json("show", "slip", *at))["models"] == ["gpt-4o-mni", "gpt-4o", "zzz*"]
        for sound in (
            "gpt-4*",
            "*",
            "openai/gpt-4o",
            "openai/gpt-4*",
            "GPT-4o",
            "gpt-4o-2024-08-06",
            "flux-*",
            "o3",
            "o3*",
        ):
            assert await warned("set", "slip", "--models", sound, *at) == "", sound
        assert "'gtp-4o*' matches no" in await warned("set", "slip", "--budget", "gtp-4o*=5/day", *at)
        assert await warned("set", "slip", "--rpm", "7", *at) == "", "what is not touched is not told again"
        asked_json = await command("keys", "set", "slip", "--models", "gpt4o", "--json", *at)
        assert json.loads(asked_json.out)["warnings"] == [asked_json.err.removeprefix("keys: ").rstrip("\n")]
    assert "'flx-dev' matches no" in await warned("set", "slip", "--models", "flx-dev", *at), "without a gateway, too"
