"""A key that is revoked buys nothing more, not even with a request that had begun to come in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from .harness import Rig, chat_body
from .moments import start


async def admin(rig: Rig, method: str, path: str, **fields: Any) -> dict[str, Any]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, f"{rig.gateway.admin_url}/admin/v1/keys{path}", json=fields or None)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


async def test_a_request_that_comes_slowly_is_looked_at_again(rig: Rig) -> None:
    key = (await admin(rig, "POST", "", name="dora"))["key"]
    body = chat_body()
    address = rig.gateway.main_url.removeprefix("http://")
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:5])
    await writer.drain()
    await asyncio.sleep(0.4)  # longer than a key is taken to be what it was

    await admin(rig, "DELETE", "/dora")
    writer.write(body[5:])
    answer = await reader.readuntil(b"}}")
    writer.close()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer[answer.index(b"{") :])["error"]["code"] == "invalid_api_key"
    assert rig.sandbox.requests == []


async def test_from_the_answer_to_a_revocation_on_nothing_begins(rig: Rig) -> None:
    """Twenty clients ask without a pause while the key is revoked: what began before may end, nothing begins after."""
    key = (await admin(rig, "POST", "", name="dora"))["key"]
    revoked = asyncio.Event()
    late: list[int] = []

    async def keep_asking() -> int:
        asked = 0
        while True:
            after = revoked.is_set()
            answer = await rig.chat(key=key)
            if after:
                late.append(answer.status)
                return asked
            asked += answer.status == 200

    asking = [start(keep_asking()) for _ in range(20)]
    await rig.sandbox.until(lambda: len(rig.sandbox.requests) > 40)
    await admin(rig, "DELETE", "/dora")
    revoked.set()
    served = await asyncio.gather(*asking)

    assert sum(served) > 20
    assert set(late) <= {401, 429}, "429: many have failed from this address"
    rows = await rig.rows(len(rig.sandbox.requests))
    assert {row.key for row in rows} == {"dora"}


async def test_a_rotation_without_grace_ends_the_old_key_at_once(rig: Rig) -> None:
    old = (await admin(rig, "POST", "", name="dora"))["key"]
    new = (await admin(rig, "POST", "/dora/rotate", grace="0s"))["key"]
    assert (await rig.chat(key=old)).status == 401
    assert (await rig.chat(key=new)).status == 200
    assert old[:12] != new[:12]
    assert len(new) >= len("gw-") + 43, "256 bits"
