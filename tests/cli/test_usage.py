"""``usage`` and ``ledger`` as an operator calls them, beside a running gateway and without one."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.usage import DOUBTS, FIGURES
from gateway.cli import admin_client
from gateway.runtime.ports import SystemClock
from gateway.sandbox import Sandbox
from gateway.stores.records import ExchangeRecord, State
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.lock import StoreLock
from tests.process.running import ask, chat, commands, files, new_client, rows, settings, write
from tests.stores.makers import settlement

from .in_process import NOWHERE, command, done, obeyed, one_line, serving

ADMIN_KEY = "admin-0123456789abcdef-secret"
DAY = 24 * 3600 * 10**9
FIRST = "the first snapshot: nothing to compare yet"
TASK = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a bear"}}
DEV = 15_000_000
"""Nano-dollars of one such task."""


def document(sandbox: Sandbox, folder: Path, **over: Any) -> dict[str, Any]:
    """A configuration whose admin listener asks for a key."""
    return settings(sandbox, folder, **{"admin": {"listen": "127.0.0.1:0", "key": ADMIN_KEY}, **over})


async def reconciled(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await done("usage", "--reconcile", "--format", "json", *arguments))
    return found


async def old_books(folder: Path) -> None:
    """A store with two settled requests, a released and an unknown one of a hundred days ago, and one of now."""
    now_ns = SystemClock().wall_ns()
    ledger = await SQLiteLedger.open(folder / "gateway.db", clock=SystemClock())
    states: list[State] = ["settled", "settled", "released", "unknown", "settled"]
    for number, state in enumerate(states):
        at_ns = now_ns - (100 * DAY if number < 4 else 0)
        await ledger.reserve(ExchangeRecord(f"x{number}", at_ns, "alice", "growth", "chat", "gpt-4o", f"x{number}"))
        ledger.settle(_settled(f"x{number}", at_ns, state))
    await ledger.close()


def _settled(id: str, at_ns: int, state: State) -> ExchangeRecord:
    return settlement(
        id, at_ns=at_ns, state=state, upstream="piapi", endpoint=None, credential="first", attempts=(),
        input_tokens=1, cached_input_tokens=0, output_tokens=1, images=0, charged=DEV if state == "settled" else 0,
        upstream_cost=0, confidence="measured", status=200,
    )  # fmt: skip


class TestReconciling:
    async def test_the_ledger_agrees_with_the_bill_to_the_last_nano_dollar(
        self, folder: Path, sandbox: Sandbox
    ) -> None:
        sandbox.set_default("ok;ready=0.01")
        config = document(sandbox, folder)
        config["upstreams"]["piapi"]["tasks"] = {"poll": "100ms", "poll_max": "100ms"}
        async with serving(folder, config) as gateway, new_client() as alice:
            before = await reconciled(*gateway.meet)
            assert [(row["upstream_keys"], row["note"]) for row in before] == [(["first"], FIRST), (["second"], FIRST)]
            for _ in range(4):
                assert (await alice.post(f"{gateway.url}/api/v1/task", json=TASK)).status_code == 200
            await sandbox.until(lambda: len(sandbox.bill) == 4)
            while sum(row["requests"] for row in await _used(*gateway.meet)) < 4:
                await asyncio.sleep(0.05)
            after = await reconciled(*gateway.meet)
            table = await done("usage", "--reconcile", *gateway.meet)
        assert sum(round(row["drawn_usd"] * 1e9) for row in after) == sandbox.billed == 4 * DEV
        assert sum(round(row["owed_usd"] * 1e9) for row in after) == sandbox.billed
        assert [row["difference_usd"] for row in after] == [0.0, 0.0]
        for row in after:
            assert row["balance_then_usd"] - row["balance_now_usd"] == pytest.approx(row["drawn_usd"])
        head, *lines = table.splitlines()
        assert head.split()[:2] == ["upstream", "upstream"]
        assert len(lines) == 4, "two keys, two periods"
        assert ADMIN_KEY not in table

    async def test_without_a_gateway_the_command_asks_itself(self, folder: Path, sandbox: Sandbox) -> None:
        await old_books(folder)
        write(folder, settings(sandbox, folder, admin=NOWHERE))
        assert [row["note"] for row in await reconciled()] == [FIRST, FIRST]
        assert [row["drawn_usd"] for row in await reconciled()] == [0.0, 0.0]
        text = await done("usage", "--reconcile", "--format", "csv", "--since", "1h")
        assert [row["upstream_keys"] for row in csv.DictReader(text.splitlines())] == [
            "first",
            "first",
            "second",
            "second",
        ]
        assert {request.path for request in sandbox.requests} == {"/account/info"}

    async def test_what_a_dead_gateway_left_is_told_as_well(self, folder: Path, sandbox: Sandbox) -> None:
        await old_books(folder)
        config = settings(sandbox, folder, admin=NOWHERE)
        write(folder, config)
        ledger = await SQLiteLedger.open(folder / "gateway.db", clock=SystemClock())
        await ledger.reserve(ExchangeRecord("open", SystemClock().wall_ns(), "alice", None, "chat", "gpt-4o", "open"))
        await ledger.close()
        told = await command("usage", "--reconcile")
        cut_short = "usage: requests that the end of an earlier process cut short, their outcome unknown: 1\n"
        assert (told.code, told.err) == (0, cut_short)
        assert FIRST in told.out

    async def test_an_account_that_does_not_answer_is_a_failure_that_keeps_the_rest(
        self, folder: Path, sandbox: Sandbox
    ) -> None:
        await old_books(folder)
        config = settings(sandbox, folder, admin=NOWHERE)
        config["upstreams"]["piapi"]["keys"].append({"name": "dead", "value": "sandbox-invalid-key"})
        write(folder, config)
        told = await command("usage", "--reconcile", "--format", "json")
        assert told.code == 1
        assert [row["upstream_keys"] for row in json.loads(told.out)] == [["first"], ["second"]]
        assert told.err == (
            "usage: piapi did not tell the balance of the key 'dead'; piapi-gateway check --probe may say why\n"
        )
        assert "sandbox-invalid-key" not in told.out + told.err

    async def test_without_books_or_without_a_key_there_is_nothing_to_reconcile(
        self, folder: Path, sandbox: Sandbox
    ) -> None:
        config = settings(sandbox, folder, admin=NOWHERE)
        write(folder, config)
        told = await command("usage", "--reconcile")
        assert (told.code, told.out) == (1, "")
        assert "gateway.db does not exist" in told.err
        assert files(folder) == ["config.yaml"], "asking made nothing"
        config["upstreams"]["piapi"]["keys"] = []
        write(folder, config)
        told = await command("usage", "--reconcile")
        assert (told.code, told.out) == (1, "")
        assert "set PIAPI_API_KEY" in told.err
        assert sandbox.requests == []


async def _used(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await done("usage", "--format", "json", *arguments))
    return found


class TestPruning:
    async def test_first_it_is_counted_then_done_and_usage_stays(self, folder: Path, sandbox: Sandbox) -> None:
        await old_books(folder)
        write(folder, settings(sandbox, folder, admin=NOWHERE))
        usage = ("usage", "--since", "200d", "--by", "key,team,model,upstream,day", "--format", "json")
        before = await done(*usage)
        assert await done("ledger", "verify") == "settled 3, released 1, unknown 1, open 0\n"

        counted = await done("ledger", "prune", "--before", "90d")
        assert counted.startswith("2 settled and 1 released requests from before 2")
        assert counted.endswith("would leave the ledger; usage keeps what they add up to.\n"
                                "Nothing was removed. To do it, add --yes.\n")  # fmt: skip
        assert rows(folder, "SELECT count(*) FROM intents") == [5]

        pruned = await done("ledger", "prune", "--before", "90d", "--yes")
        assert pruned.startswith("2 settled and 1 released requests from before 2")
        assert pruned.endswith("Z left the ledger; usage keeps what they add up to.\n")
        assert rows(folder, "SELECT count(*) FROM intents") == [2]
        assert await done(*usage) == before
        books = await done("ledger", "verify")
        assert books == "settled 1, released 0, unknown 1, open 0\ncorrected 0, pruned 3\n"

    async def test_a_running_gateway_does_it_and_goes_on_serving(self, folder: Path, sandbox: Sandbox) -> None:
        await old_books(folder)
        async with serving(folder, document(sandbox, folder)) as gateway, new_client() as alice:
            pruned = await done("ledger", "prune", "--before", "90d", "--yes", *gateway.meet)
            assert pruned.startswith("2 settled and 1 released requests from before 2")
            assert (await ask(alice, gateway, chat())).status == 200
        assert "settled 2, released 0, unknown 1, open 0\n" in await done("ledger", "verify")

    async def test_two_at_once_remove_everything_once(self, folder: Path, sandbox: Sandbox) -> None:
        await old_books(folder)
        write(folder, settings(sandbox, folder, admin=NOWHERE))
        both = await commands(folder, *[["ledger", "prune", "--before", "90d", "--yes"]] * 2)
        assert [told.code for told in both] == [0, 0], both
        assert sorted(told.out[0] for told in both) == ["0", "2"]


async def _around_midnight(folder: Path) -> None:
    """Two requests on either side of midnight in India, and one on either side of it by UTC."""
    ledger = await SQLiteLedger.open(folder / "gateway.db", clock=SystemClock())
    for number, moment in enumerate(("05T18:29:59", "05T18:30", "05T23:59:59", "06T00:00")):
        at_ns = int(datetime.fromisoformat(f"2024-03-{moment}+00:00").timestamp()) * 10**9
        await ledger.reserve(ExchangeRecord(f"x{number}", at_ns, "alice", None, "chat", "gpt-4o", f"x{number}"))
        ledger.settle(_settled(f"x{number}", at_ns, "settled"))
    await ledger.close()


@pytest.mark.parametrize(
    ("zone", "days", "within"),
    [
        ("Asia/Kolkata", {"2024-03-05": 1, "2024-03-06": 3}, 3),
        ("UTC", {"2024-03-05": 3, "2024-03-06": 1}, 1),
        ("America/Los_Angeles", {"2024-03-05": 4}, 0),
    ],
)
def test_days_are_those_of_the_configured_time_zone(folder: Path, zone: str, days: dict[str, int], within: int) -> None:
    asyncio.run(_around_midnight(folder))
    write(folder, {"time_zone": zone, "admin": NOWHERE})
    shown = {
        form: obeyed(*f"usage --since 2024-03-01 --until 2024-04-01 --by day,team --format {form}".split()).out
        for form in ("json", "csv", "table")
    }
    figures = [*FIGURES, *DOUBTS]
    listed = json.loads(shown["json"])
    assert {row["day"]: row["requests"] for row in listed} == days
    assert [list(row) for row in listed] == [["day", "team", *figures, "prices", "more_prices"]] * len(days)
    assert [row["cost_usd"] for row in listed] == [count * 0.015 for count in days.values()]
    head, *lines = csv.reader(shown["csv"].splitlines())
    assert head == ["day", "team", *figures]
    assert {line[0]: int(line[2]) for line in lines} == days
    assert {line.split()[0] for line in shown["table"].splitlines()[1:]} - {"total"} == set(days)
    one_day = obeyed("usage", "--since", "2024-03-06", "--until", "2024-03-07", "--by=", "--format", "json")
    assert sum(row["requests"] for row in json.loads(one_day.out)) == within


def test_a_store_that_another_process_writes_and_no_gateway_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_client, "PATIENCE", 0.2)
    asyncio.run(old_books(folder))
    write(folder, {"admin": NOWHERE})
    lock = StoreLock.take((folder / "gateway.db").resolve())
    told = one_line(obeyed("ledger", "prune", "--before", "90d", "--yes"), 1)
    assert f"in use by process {os.getpid()}" in told
    assert obeyed("ledger", "prune", "--before", "90d").code == 0, "looking is always possible"
    lock.release()
    assert obeyed("ledger", "prune", "--before", "90d", "--yes").code == 0
