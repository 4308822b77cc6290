"""Keys that are changed at one gateway, or by the command line, are obeyed at every gateway of the store within 1 s."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.app.gateway import Gateway
from gateway.config import Config, load
from gateway.sandbox import Sandbox
from gateway.telemetry.log import Log
from gateway.telemetry.redaction import Redactor

from .harness import eventually, rig_config


@pytest.fixture
async def fleet(
    sandbox: Sandbox, tmp_path: Path, postgres_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[list[Gateway]]:
    """Two gateways on one PostgreSQL; they share their state by what the test's ``shared`` is."""
    gateways: list[Gateway] = []
    shared = request.getfixturevalue("valkey_url") if request.param == "valkey" else "memory://"
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        document: dict[str, Any] = rig_config(sandbox, folder)
        document |= {"store": postgres_url, "shared_state": shared}
        document["images"]["dir"] = str(tmp_path / "images")
        path = folder / "config.yaml"
        path.write_text(json.dumps(document))

        def read(path: Path = path) -> Config:
            return load(path, {})

        config = read()
        with (folder / "log").open("w") as stream:
            log = Log("json", "debug", Redactor(config.secrets, config.upstream_hosts), stream)
        gateways.append(await Gateway.start(config, log, read, ask_for_models=False))
    yield gateways
    for gateway in gateways:
        await gateway.close()
        gateway.services.log.close()


async def admin(gateway: Gateway, method: str, path: str, body: object = None) -> dict[str, Any]:
    async with httpx2.AsyncClient() as client:
        answer = await client.request(method, f"{gateway.admin_url}/admin/v1/{path}", json=body)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found


async def status(gateway: Gateway, key: str) -> int:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{gateway.main_url}/v1/models", headers={"authorization": f"Bearer {key}"})
        return answer.status_code


async def becomes(gateway: Gateway, key: str, wanted: int) -> None:
    """Wait until a gateway answers a key so."""

    async def so() -> bool:
        return await status(gateway, key) == wanted

    await eventually(so, f"{wanted}")


@pytest.mark.parametrize("fleet", ["valkey", "memory"], indirect=True)
async def test_a_key_made_at_one_works_at_all_and_one_that_was_revoked_is_refused_by_all(fleet: list[Gateway]) -> None:
    first, second = fleet
    made = await admin(first, "POST", "keys", {"name": "dora"})
    assert await status(first, made["key"]) == 200
    await becomes(second, made["key"], 200)

    await admin(second, "DELETE", "keys/dora")
    assert await status(second, made["key"]) == 401
    await becomes(first, made["key"], 401)


@pytest.mark.parametrize("fleet", ["valkey"], indirect=True)
async def test_new_limits_hold_everywhere(fleet: list[Gateway]) -> None:
    first, second = fleet
    made = await admin(first, "POST", "keys", {"name": "dora"})
    await becomes(second, made["key"], 200)
    await admin(second, "PATCH", "keys/dora", {"rpm": 7})

    def known() -> bool:
        key = first._keyring.named("dora")
        return key is not None and key.rpm == 7

    await eventually(known, "the other gateway knows")
