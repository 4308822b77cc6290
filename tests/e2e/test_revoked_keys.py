"""A key that is revoked buys nothing more, not even with a request that had begun to come in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from .harness import Rig, chat_body


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
