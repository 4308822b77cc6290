"""SIGHUP and POST /admin/v1/reload: the whole new configuration is in force at once, or nothing changes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from gateway.sandbox import Sandbox
from gateway.sandbox.server.connection import ClientConnection

from .running import ALICE_KEY, BOB_KEY, Gateway, ask, chat, new_client, rows, settings, write

CAROL_KEY = "gw-carol-0123456789abcdef"
Reload = Callable[[Gateway, httpx2.AsyncClient], Awaitable[None]]


async def by_signal(gateway: Gateway, _: httpx2.AsyncClient) -> None:
    """SIGHUP, and the log's line that says it is done."""
    gateway.signal(signal.SIGHUP)
    assert (await gateway.event("config_reloaded"))["source"] == "config.yaml"


async def by_request(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{gateway.admin}/admin/v1/reload")
    assert (answer.status_code, answer.json()["status"]) == (200, "reloaded")


def changed(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """Bob is gone, Carol is new and may ask once a minute; a model of our own; the second upstream key is gone."""
    new = settings(sandbox, folder)
    new["keys"] = [new["keys"][0], {"name": "carol", "key": CAROL_KEY, "rpm": 1}]
    new["models"] = {"house-model": {"targets": [{"upstream": "piapi", "model": "gpt-4o-mini"}]}}
    new["upstreams"]["piapi"]["keys"] = [{"name": "third", "value": "piapi-key-three"}]
    return new


@pytest.mark.parametrize("reload", [by_signal, by_request])
async def test_what_the_new_file_says_is_in_force_and_what_runs_runs_on(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, reload: Reload
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    begun = asyncio.Event()
    async with Gateway.serve(tmp_path) as gateway, new_client(BOB_KEY) as bob, new_client(CAROL_KEY) as carol:
        assert (await ask(carol, gateway, chat())).status == 401
        assert (await ask(client, gateway, chat(model="house-model"))).status == 404
        sandbox.script("stall_mid;after_events=3;seconds=1")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(ask(bob, gateway, chat(stream=True), begun=begun.set))
            await begun.wait()
            write(tmp_path, changed(sandbox, tmp_path))
            await reload(gateway, client)
            before = len(sandbox.requests)
            assert (await ask(client, gateway, chat(model="house-model"))).status == 200
            assert [request.key for request in sandbox.requests[before:]] == ["piapi-key-three"]
            assert (await ask(carol, gateway, chat())).status == 200
            limited = await ask(carol, gateway, chat())
            assert (limited.status, limited.error["code"]) == (429, "rate_limit_exceeded")
            gone = await ask(bob, gateway, chat())
            assert (gone.status, gone.error["code"]) == (401, "invalid_api_key")
        assert running.result().events[-1] == "[DONE]"
        scraped = (await client.get(f"{gateway.admin}/metrics")).text
        assert 'model="house-model"' in scraped
        assert 'upstream_key="third"' in scraped
        assert 'upstream_key="second"' not in scraped
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    # The model that the first file did not have was asked for along the default route, and cost nothing.
    assert dict(rows(tmp_path, "SELECT key, count(*) FROM intents GROUP BY key")) == {"alice": 2, "bob": 1, "carol": 1}


async def test_a_bad_file_changes_nothing_and_is_reported(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    good = settings(sandbox, tmp_path)
    write(tmp_path, good)
    bad = {
        "one\ntwo: [": ["config.yaml:"],
        "drian: 3s\nlisten: nowhere\n": ["config.yaml:1:1: drian: ", "config.yaml:2:9: listen: "],
        "workers: 2\n": ["store: workers: 2 need books", "shared_state: workers: 2 need limits"],
    }
    async with Gateway.serve(tmp_path) as gateway, new_client(BOB_KEY) as bob:
        for text, problems in bad.items():
            write(tmp_path, text)
            answer = await client.post(f"{gateway.admin}/admin/v1/reload")
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "config_rejected"
            for problem in problems:
                assert problem in answer.json()["error"]["message"]
                await gateway.err.first(partial(_rejects, problem))
            assert (await ask(bob, gateway, chat())).status == 200
        (tmp_path / "config.yaml").unlink()
        gateway.signal(signal.SIGHUP)
        await gateway.event("config_rejected", problems=["config.yaml:1:1: cannot be read: No such file or directory"])
        assert (await ask(bob, gateway, chat())).status == 200
        assert gateway.events("config_reloaded") == []
        write(tmp_path, good)
        await by_signal(gateway, client)


async def test_a_key_that_rests_rests_on_and_an_ejected_endpoint_stays_out(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    config = settings(sandbox, tmp_path, failover={"attempts": 5, "breaker": {"failures": 1, "eject": "5m"}})
    config["upstreams"]["piapi"]["endpoints"].reverse()
    config["upstreams"]["piapi"]["keys"][0]["value"] = "sandbox-invalid-one"
    write(tmp_path, config)
    await sandbox.refuse("proxy")
    async with Gateway.serve(tmp_path) as gateway:
        for _ in range(24):  # keys are drawn by lot
            assert (await ask(client, gateway, chat())).status == 200
        before = await _states(gateway, client)
        assert before["keys"]["first"] == "invalid"
        assert before["keys"]["second"] is None
        assert before["endpoints"][sandbox.urls["proxy"]] == "open"
        assert before["endpoints"][sandbox.urls["api"]] == "closed"
        config["drain"] = "1s"
        write(tmp_path, config)
        await by_request(gateway, client)
        assert await _states(gateway, client) == before
        await sandbox.listen("proxy")
        asked = len(sandbox.requests)
        for _ in range(5):
            assert (await ask(client, gateway, chat())).status == 200
        assert {(request.role, request.key) for request in sandbox.requests[asked:]} == {("api", "piapi-key-two")}


def _rejects(problem: str, line: str) -> bool:
    return "config_rejected" in line and problem in line


async def _states(gateway: Gateway, client: httpx2.AsyncClient) -> dict[str, dict[str, Any]]:
    """How PiAPI's endpoints and keys are doing."""
    shown = (await client.get(f"{gateway.admin}/admin/v1/upstreams")).json()
    piapi = next(upstream for upstream in shown["upstreams"] if upstream["name"] == "piapi")
    return {
        "keys": {key["name"]: key["cooling"] for key in piapi["keys"]},
        "endpoints": {endpoint["url"]: endpoint["breaker"] for endpoint in piapi["endpoints"]},
    }


async def test_a_limit_counted_before_a_reload_counts_after_it(tmp_path: Path, sandbox: Sandbox) -> None:
    config = settings(sandbox, tmp_path)
    config["keys"] = [{"name": "alice", "key": ALICE_KEY, "rpm": 2}]
    write(tmp_path, config)
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        assert [(await ask(client, gateway, chat())).status for _ in range(3)] == [200, 200, 429]
        await by_request(gateway, client)
        assert (await ask(client, gateway, chat())).status == 429


def cut(document: dict[str, Any], before: str) -> str:
    """The file as it is found while it is being written: everything before a top-level field."""
    text = yaml.safe_dump(document, sort_keys=False)
    return text[: text.index(f"\n{before}:") + 1]


async def _rejected(gateway: Gateway, problem: str) -> None:
    """SIGHUP, and the log's line that says why nothing has changed."""
    gateway.signal(signal.SIGHUP)
    await gateway.err.first(partial(_rejects, problem))
    assert gateway.events("config_reloaded") == []


async def test_a_half_written_file_does_not_open_the_doors(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    good = settings(sandbox, tmp_path)
    write(tmp_path, good)
    async with Gateway.serve(tmp_path) as gateway, new_client("") as stranger:
        del stranger.headers["authorization"]
        for text in (cut(good, "keys"), json.dumps({**good, "keys": []})):
            write(tmp_path, text)
            await _rejected(gateway, "keys: a reload cannot drop the last virtual key")
            gateway.err.lines.clear()
            refused = await ask(stranger, gateway, chat())
            assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
            assert (await ask(client, gateway, chat())).status == 200
        assert len(sandbox.requests) == 2
        answer = await client.post(f"{gateway.admin}/admin/v1/reload")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "config_rejected")
        write(tmp_path, good)
        await by_signal(gateway, client)


async def test_the_admin_key_cannot_be_lost(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    key = "admin-0123456789abcdef"
    good = settings(sandbox, tmp_path)
    listen = good.pop("admin")
    write(tmp_path, {**good, "admin": {**listen, "key": key}})
    async with Gateway.serve(tmp_path) as gateway, new_client(key) as admin:
        write(tmp_path, {**good, "admin": listen})
        await _rejected(gateway, "admin.key: a reload cannot drop it")
        assert (await client.get(f"{gateway.admin}/admin/v1/keys")).status_code == 401
        assert (await client.post(f"{gateway.admin}/admin/v1/reload")).status_code == 401
        assert (await admin.get(f"{gateway.admin}/admin/v1/keys")).status_code == 200
        write(tmp_path, {**good, "admin": {**listen, "key": key + "-changed"}})  # but it can be changed
        await by_signal(gateway, client)
        assert (await admin.get(f"{gateway.admin}/admin/v1/keys")).status_code == 401


def hold(monkeypatch: pytest.MonkeyPatch, pauses: int) -> asyncio.Event:
    """The sandbox's answers go no further than so many pauses until the event that is returned is set."""
    release = asyncio.Event()
    pause = ClientConnection._pause
    before = iter(range(pauses))

    async def held(connection: ClientConnection, seconds: float, wall: float | None) -> None:
        if next(before, None) is None:
            await release.wait()
        await pause(connection, seconds, wall)

    monkeypatch.setattr(ClientConnection, "_pause", held)
    return release


async def test_what_was_secret_stays_so(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that the new file no longer names is still in use by what runs, and valid at the provider."""
    write(tmp_path, settings(sandbox, tmp_path))
    begun, release = asyncio.Event(), hold(monkeypatch, pauses=3)
    async with Gateway.serve(tmp_path) as gateway:
        repeated = "your keys are piapi-key-one and piapi-key-two"
        sandbox.script(f"sse_error_late;after_events=4;delay=1;code=500;message={repeated}")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(ask(client, gateway, chat(stream=True), begun=begun.set))
            await begun.wait()
            write(tmp_path, changed(sandbox, tmp_path))
            await by_signal(gateway, client)
            assert sandbox.requests[0].ending == "running"
            release.set()
        broken = json.loads(running.result().events[-1])
        assert "error" in broken
        line = await gateway.event("attempt")
        assert "your keys are [redacted] and [redacted]" in line["detail"]

        sandbox.script(f"rejected;message={repeated}")
        refused = await ask(client, gateway, chat())
        assert sandbox.requests[-1].key == "piapi-key-three"
        assert refused.status == 400
        assert refused.error["message"].endswith("your keys are [redacted] and [redacted]")
        assert not [
            one for one in ("piapi-key-one", "piapi-key-two") if one in running.result().text + gateway.err.text
        ]
