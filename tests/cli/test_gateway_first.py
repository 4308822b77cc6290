"""Who answers a command that reads the books: the running gateway wherever its store is, and the store without one."""

from __future__ import annotations

import asyncio
import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.usage import DOUBTS, FIGURES
from gateway.runtime.ports import SystemClock
from gateway.sandbox import Sandbox
from gateway.stores.engines import open_store
from tests.process.running import BOB_KEY, ask, chat, files, new_client, settings, write

from .in_process import NOWHERE, RunningGateway, command, done, obeyed, one_line, serving

READING = (
    ["usage"],
    ["usage", "--format", "json"],
    ["ledger", "verify"],
    ["ledger", "prune", "--before", "90d"],
    ["keys", "list"],
    ["keys", "show", "alice"],
)
ADMIN_KEY = "admin-0123456789abcdef-secret"


async def spent(gateway: RunningGateway) -> None:
    """Three requests of alice's and one of bob's, all of them in the ledger."""
    async with new_client() as alice, new_client(BOB_KEY) as bob:
        answers = [
            await ask(alice, gateway, chat()),
            await ask(alice, gateway, chat(stream=True)),
            await ask(alice, gateway, chat(model="gpt-4o")),
            await ask(bob, gateway, chat()),
        ]
    assert [answer.status for answer in answers] == [200] * 4
    while json.loads((await command("usage", "--by=", "--format", "json", *gateway.meet)).out)[0]["requests"] < 4:
        await asyncio.sleep(0.01)


def elsewhere(gateway: RunningGateway, folder: Path, **over: Any) -> tuple[str, str]:
    """A configuration that leads to the gateway, but names a store of its own."""
    folder.mkdir(exist_ok=True)
    admin = {"listen": gateway.admin.removeprefix("http://"), **over}
    return "--config", str(write(folder, {"admin": admin, "store": f"sqlite:///{folder / 'own.db'}"}))


def test_a_new_installation_has_no_ledger_and_says_when_there_will_be_one(folder: Path) -> None:
    write(folder, {"admin": NOWHERE})
    for line in (["usage"], ["ledger", "verify"], ["ledger", "prune", "--before", "90d"]):
        told = one_line(obeyed(*line), 1)
        assert "gateway.db does not exist" in told
        assert "when it starts" in told
    assert files(folder) == ["config.yaml"]  # asking made nothing


async def test_the_books_beside_a_running_gateway_and_after_it_are_the_same(folder: Path, sandbox: Sandbox) -> None:
    lines = (
        ["usage", "--by", "key,team,model,upstream,day", "--format", "json"],
        ["usage", "--by", "key,model", "--format", "csv"],
        ["usage", "--since", "1h", "--until", "2100-01-01"],
        ["ledger", "verify"],
        ["keys", "list"],
    )
    async with serving(folder, settings(sandbox, folder)) as gateway:
        await spent(gateway)
        beside = [await done(*line, *gateway.meet) for line in lines]
    after = [await done(*line) for line in lines]
    assert after[:4] == beside[:4]
    assert beside[3] == "settled 4, released 0, unknown 0, open 0\n"
    assert [line.split()[0] for line in after[4].splitlines()] == [line.split()[0] for line in beside[4].splitlines()]
    bills = {True: 0, False: 0}
    for line in sandbox.bill:
        bills[line.model == "gpt-4o"] += line.amount or 0
    by_model = json.loads(await done("usage", "--by", "model", "--format", "json"))
    assert {row["model"]: round(row["cost_usd"] * 1e9) for row in by_model} == {
        "gpt-4o": bills[True],
        "gpt-4o-mini": bills[False],
    }


async def test_the_three_formats_tell_the_same_in_the_order_of_by(folder: Path, sandbox: Sandbox) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        await spent(gateway)
        by = ("--by", "key,team,model,upstream,day")
        shown = [await done("usage", *by, "--format", form, *gateway.meet) for form in ("json", "csv", "table")]
    listed = json.loads(shown[0])
    fields = ["key", "team", "model", "upstream", "day"]
    assert [list(row) for row in listed] == [[*fields, *FIGURES, *DOUBTS, "prices", "more_prices"]] * 3
    assert [(row["key"], row["team"], row["model"], row["upstream"], row["requests"]) for row in listed] == [
        ("alice", "growth", "gpt-4o", "piapi", 1),
        ("alice", "growth", "gpt-4o-mini", "piapi", 2),
        ("bob", None, "gpt-4o-mini", "piapi", 1),
    ]
    header, *rows = csv.reader(shown[1].splitlines())
    assert header == [*fields, *FIGURES, *DOUBTS]
    money = [place for place, name in enumerate(header) if name.endswith("_usd")]
    for row, told in zip(rows, listed, strict=True):
        texts = ["" if told[name] is None else str(told[name]) for name in header]
        assert [row[place] for place in range(len(row)) if place not in money] == [
            texts[place] for place in range(len(row)) if place not in money
        ]
        assert [float(row[place]) for place in money] == pytest.approx([told[header[place]] for place in money])
    head, *lines, total = shown[2].splitlines()
    assert head.split()[:5] == fields
    assert len(lines) == 3
    assert (total.split()[0], total.split()[5]) == ("total", "4")


async def test_a_gateway_whose_store_is_elsewhere_answers_in_silence_if_there_is_no_other(
    folder: Path, sandbox: Sandbox
) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        await spent(gateway)
        config = elsewhere(gateway, folder / "elsewhere")
        for line in READING:
            assert await done(*line, *config) == await done(*line, *gateway.meet), line
    assert files(folder / "elsewhere") == ["config.yaml"]


async def test_a_gateway_of_another_store_wins_and_is_named_beside_the_answer(folder: Path, sandbox: Sandbox) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        await spent(gateway)
        config = elsewhere(gateway, folder / "elsewhere")
        own = folder / "elsewhere" / "own.db"
        await (await open_store(f"sqlite:///{own}", SystemClock())).close()
        for line in READING:
            finished = await command(*line, *config)
            assert (finished.code, finished.out) == (0, await done(*line, *gateway.meet))
            assert finished.err == (
                f"{line[0]}: the gateway at {gateway.admin} answered, whose store is {folder / 'gateway.db'}; "
                f"{own} was left alone\n"
            )
    assert (await command("usage", *config)).err == "", "without the gateway it is the store that answers"


async def test_a_gateway_that_refuses_is_an_error_and_the_store_is_not_read_instead(
    folder: Path, sandbox: Sandbox
) -> None:
    document = settings(sandbox, folder, admin={"listen": "127.0.0.1:0", "key": ADMIN_KEY})
    async with serving(folder, document) as gateway:
        for key in ("wrong-admin-key-0123456789", ""):
            admin = {"listen": gateway.admin.removeprefix("http://"), "key": key}
            write(folder, {**document, "admin": admin})
            for line in (*READING, ["keys", "create", "carol"], ["status"]):
                told = one_line(await command(*line), 1)
                assert "admin.key is not the running gateway's" in told
                assert "(--config)" in told
                assert "wrong-admin-key-0123456789" not in told


async def test_something_else_that_answers_is_an_error_too(folder: Path, sandbox: Sandbox) -> None:
    write(folder, {"admin": {"listen": sandbox.url.removeprefix("http://")}})
    for scenario in ("html_200", "status;code=404", "bad_json", "soft_error", "reset_before_head"):
        sandbox.set_default(scenario)
        for line in READING:
            assert "/admin/v1/" in one_line(await command(*line), 1), (scenario, line)


async def test_verify_finds_what_was_planted(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder)
    async with serving(folder, document) as gateway:
        await spent(gateway)
    with closing(sqlite3.connect(folder / "gateway.db")) as store, store:
        store.execute(
            "INSERT INTO settlements SELECT 'planted', at_ns, state, upstream, endpoint, credential, attempts, "
            "input_tokens, cached_input_tokens, output_tokens, images, charged, upstream_cost, confidence, status, "
            "task_id, price, answered_model, cache_write_tokens, reasoning_tokens FROM settlements LIMIT 1"
        )
    found = [await command("ledger", "verify")]
    async with serving(folder, document) as gateway:
        found.append(await command("ledger", "verify", *gateway.meet))
    for each in found:
        assert each.code == 1
        assert each.out == "settled 5, released 0, unknown 0, open 0\n"
        assert each.err == "ledger: settlement planted has no intent\n"
