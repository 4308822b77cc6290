"""What is held after a kill: called that, listed, given back by an admin with a reason that stays."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx2

from gateway.sandbox import Sandbox

from .running import Gateway, ask, chat, command, new_client, rows, settings, write

BUDGET = "0.09/day"
"""Room for two requests that may write 4,000 tokens at $10 a million, and not for three."""

REASON = "not on PiAPI's bill, says Zoë"


def asking(**fields: Any) -> dict[str, Any]:
    return chat(model="dear", max_tokens=4_000, **fields)


def document(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    base = settings(sandbox, folder)
    base["keys"][0]["budget"] = BUDGET
    price = {"input": 1, "output": 10}
    targets = [{"upstream": "piapi", "model": "gpt-4o-mini", "price": price}]
    return {**base, "models": {**base["models"], "dear": {"max_output": 4_000, "targets": targets}}}


async def killed(folder: Path, sandbox: Sandbox, *, requests: int) -> list[str]:
    """Kill a gateway while so many requests run. Returns their exchanges' ids."""
    sandbox.set_default("stall_head")
    async with Gateway.serve(folder) as gateway, new_client() as client:
        running = [asyncio.get_running_loop().create_task(ask(client, gateway, asking())) for _ in range(requests)]
        await sandbox.until(lambda: sandbox.in_flight == requests)
        gateway.signal(signal.SIGKILL)
        assert await gateway.wait() == -signal.SIGKILL
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    sandbox.set_default("ok")
    return list(rows(folder, "SELECT id FROM intents WHERE id NOT IN (SELECT id FROM settlements) ORDER BY at_ns"))


async def held(folder: Path, *at: str) -> list[dict[str, Any]]:
    listed = await command(folder, "ledger", "held", "--json", *at)
    assert (listed.code, listed.err) == (0, ""), listed
    found: list[dict[str, Any]] = json.loads(listed.out)
    return found


async def test_what_a_kill_leaves_is_held_and_may_be_given_back(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, document(sandbox, tmp_path))
    first, second = await killed(tmp_path, sandbox, requests=2)
    assert [row["id"] for row in await held(tmp_path)] == [first, second], "without a gateway the books tell"
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        meet = {**document(sandbox, tmp_path), "admin": {"listen": gateway.admin.removeprefix("http://")}}
        (tmp_path / "meet.yaml").write_text(json.dumps(meet), encoding="utf-8")
        at = ("--config", "meet.yaml")
        [told] = gateway.events("ledger_recovered")
        assert (told["unknown"], "ledger held" in told["advice"]) == (2, True)
        one, other = await held(tmp_path, *at)
        assert (one["id"], one["key"], one["team"], one["model"]) == (first, "alice", "growth", "dear")
        assert "gateway ended while it ran" in one["why"]
        assert one["held_usd"] == other["held_usd"] > 0.04 - 1e-9
        assert one["until"] > one["since"]
        card = await command(tmp_path, "keys", "show", "alice", *at)
        assert "of it held: outcome unknown" in card.out
        refused = await ask(client, gateway, asking())
        assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
        assert "held for requests of unknown outcome" in refused.error["message"]

        for wrong in (["--release", first], ["--reason", REASON], ["--release", first, "--reason", " "]):
            assert (await command(tmp_path, "ledger", "held", *wrong, *at)).code == 2
        done = await command(tmp_path, "ledger", "held", "--release", first, "no-such-id", "--reason", REASON, *at)
        assert done.code == 1
        assert f"{first} is released: $0.04" in done.out
        assert "no-such-id was not released" in done.err
        again = await command(tmp_path, "ledger", "held", "--release", first, "--reason", REASON, *at)
        assert (again.code, "released before" in again.err) == (1, True)
        assert [row["id"] for row in await held(tmp_path, *at)] == [second]
        assert (await ask(client, gateway, asking())).status == 200, "its budget is free at once"

        audit = await command(tmp_path, "ledger", "audit", "--json", *at)
        [entry] = json.loads(audit.out)
        assert (entry["act"], entry["subject"], entry["reason"]) == ("hold.release", first, REASON)
        assert entry["who"].startswith("admin API without a key, user ")
        assert entry["details"] == {"key": "alice", "model": "dear", "held_usd": one["held_usd"]}
        async with httpx2.AsyncClient(trust_env=False) as admin:
            answer = await admin.post(f"{gateway.admin}/admin/v1/held/release", json={"ids": [second]})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "reason")
    done = await command(tmp_path, "ledger", "held", "--release", second, "--reason", REASON)
    assert (done.code, f"{second} is released" in done.out) == (0, True), done
    audit = await command(tmp_path, "ledger", "audit")
    assert "local user" in audit.out
    assert (await command(tmp_path, "ledger", "held")).out.startswith("Nothing is held")
    books = await command(tmp_path, "ledger", "verify")
    assert (books.code, "settled 1, released 2, unknown 0, open 0" in books.out) == (0, True), books
    async with Gateway.serve(tmp_path):
        assert (await held(tmp_path)) == []
    usage = json.loads((await command(tmp_path, "usage", "--by", "key", "--format", "json")).out)
    assert [(row["key"], row["requests"]) for row in usage] == [("alice", 1)]
