"""Books that three gateways share by one PostgreSQL: each of them, and a reader beside them, tells the same of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2

from gateway.sandbox import Sandbox
from gateway.stores.engines import read_store
from tests.engines import PostgresServer

from .harness import eventually
from .shared_store import Fleet, Member, fleet_of

ROUNDS = 4


async def told(member: Member, path: str, **params: str) -> Any:
    """What a gateway's admin API answers."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{member.gateway.admin_url}{path}", params=params)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.content)


async def used(fleet: Fleet) -> None:
    """Chats and orders at every gateway, all of them in the books."""
    answers = await asyncio.gather(
        *(ask() for member in fleet.members for _ in range(ROUNDS) for ask in (member.chat, member.order))
    )
    assert {answer.status for answer in answers} == {200}
    await fleet.settled()


async def test_each_gateway_tells_what_all_have_spent(sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
    async with fleet_of(3, sandbox, tmp_path, postgres_url, "") as fleet:
        await used(fleet)
        usage = [await told(member, "/admin/v1/usage", since="1d", by="key,model") for member in fleet.members]
        assert usage[0] == usage[1] == usage[2]
        assert sorted((row["model"], row["requests"]) for row in usage[0]["data"]) == [
            ("flux-dev", 3 * ROUNDS),
            ("gpt-4o", 3 * ROUNDS),
        ]
        books = [await told(member, "/admin/v1/verify") for member in fleet.members]
        assert books[0] == books[1] == books[2]
        assert (books[0]["settled"], books[0]["problems"]) == (6 * ROUNDS, [])
        beside = await read_store(postgres_url).usage.verify()
        assert (beside.settled, beside.problems) == (6 * ROUNDS, [])


async def test_sums_are_folded_while_gateways_serve(sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> None:
    async with fleet_of(2, sandbox, tmp_path, postgres_url, "") as fleet:
        await used(fleet)
        before = await told(fleet.members[0], "/admin/v1/usage", since="1d", by="key,model,upstream")

        async def folded() -> bool:
            return await fleet.rows("SELECT count(*) FROM spent_changes") == [(0,)]

        async with asyncio.timeout(30):
            while not await folded():
                await asyncio.sleep(0.1)
        assert await fleet.rows("SELECT sum(requests)::int FROM spent WHERE span = 86400") == [(4 * ROUNDS,)]
        assert await told(fleet.members[1], "/admin/v1/usage", since="1d", by="key,model,upstream") == before
        assert (await told(fleet.members[1], "/admin/v1/verify"))["problems"] == []


async def test_a_reload_while_the_store_is_gone_changes_nothing_and_says_why(
    sandbox: Sandbox, tmp_path: Path, own_postgres: PostgresServer
) -> None:
    async with fleet_of(1, sandbox, tmp_path, own_postgres.new_database()) as fleet:
        [member] = fleet.members
        fleet.write(member.config_file, "log: {level: warning}\nrouting: {half_life: 2h}")
        await asyncio.to_thread(own_postgres.stop)
        [problem] = await member.gateway.reload()
        assert "cannot be used" in problem
        assert member.gateway.services.learned.half_life != 7200
        await asyncio.to_thread(own_postgres.start)
        await eventually(member.gateway.services.ledger.usable, "the store is back")
        assert await member.gateway.reload() == []
        assert member.gateway.services.learned.half_life == 7200
