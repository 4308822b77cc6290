"""A gateway in front of the sandbox with users who meet everything that the dashboards show.

    async with rehearsal(folder) as stage:
        await stage.play()
        … look at stage.gateway.admin_url + "/metrics" …

Six users of two teams chat, stream and order pictures. Hosts fail and time out, keys of the pool are refused or
unfunded, tasks fail, budgets run out, strangers come with wrong keys.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from gateway.app.gateway import Gateway
from gateway.app.log_output import build_log
from gateway.config import Config, load, without_ends
from gateway.core.routing.durations import ENOUGH, OrderKind
from gateway.sandbox import Sandbox

PATIENCE = 60.0
USERS = ("alice", "bob", "carol", "dave", "erin", "frank")
CHAT, PICTURES = "/chat/completions", "/images/generations"


@dataclass(frozen=True, slots=True)
class Request:
    """What a user sends. ``fault``: what the upstreams then do, a scenario of the sandbox."""

    user: str
    path: str
    body: Mapping[str, Any]
    fault: str = ""


def chat(user: str, model: str, fault: str = "", **fields: Any) -> Request:
    text = f"Write a line about the sea. [[sandbox: {fault or 'ok'}]]"
    return Request(user, CHAT, {"model": model, "messages": [{"role": "user", "content": text}], **fields}, fault)


def picture(user: str, model: str, fault: str = "", **fields: Any) -> Request:
    return Request(user, PICTURES, {"model": model, "prompt": f"a lighthouse [[sandbox: {fault or 'ok'}]]", **fields})


ROUND = (
    chat("alice", "gpt-4o"),
    chat("alice", "gpt-4o", "slow", stream=True),
    chat("bob", "gpt-4o-mini", stream=True),
    chat("carol", "gpt-4.1", "slow"),
    chat("dave", "gpt-4o-mini", "ok;cached=8"),
    chat("frank", "gpt-4o"),
    chat("frank", "gpt-preview"),  # nobody knows what it costs
    # Hosts fail; somebody else answers
    chat("alice", "gpt-4o", "cf_524;role=api"),
    chat("bob", "gpt-4o", "server_error;role=api"),
    chat("carol", "gpt-4.1", "html_200;role=proxy"),
    # Everybody fails
    chat("dave", "gpt-4.1-mini", "server_error"),
    chat("carol", "gpt-4.1", "cut;after_events=4", stream=True),
    # Pictures
    picture("alice", "flux-schnell"),
    picture("bob", "flux-dev"),
    picture("erin", "flux-dev"),
    picture("carol", "gpt-image-1", quality="low"),
    picture("dave", "gpt-4o-image"),
    picture("dave", "gpt-4o-image", "cf_524;role=api"),  # may be bought twice
    picture("alice", "flux-schnell", "task_failed"),
    picture("alice", "gpt-image-1", "moderation_blocked", quality="low"),
    # The callers' own mistakes
    chat("alice", "no-such-model"),
    chat("nobody", "gpt-4o"),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A running gateway and its users."""

    gateway: Gateway
    sandbox: Sandbox
    http: httpx2.AsyncClient

    async def play(self, requests: tuple[Request, ...] = ROUND) -> list[int]:
        """Send these, a few at a time, and wait for their ends. The statuses."""
        places = asyncio.Semaphore(4)

        async def send(request: Request) -> int:
            async with places:
                return await self.send(request)

        return list(await asyncio.gather(*map(send, requests)))

    async def send(self, request: Request) -> int:
        """One request, to its end."""
        answer = await self.http.post(
            f"{self.gateway.main_url}/v1{request.path}",
            json=dict(request.body),
            headers={"authorization": f"Bearer {_key(request.user)}"},
        )
        return answer.status_code

    async def metrics(self) -> str:
        """The gateway's /metrics."""
        return (await self.http.get(f"{self.gateway.admin_url}/metrics")).text


@asynccontextmanager
async def rehearsal(folder: Path) -> AsyncIterator[Stage]:
    """The gateway and its sandbox, with everything they keep in ``folder``."""
    async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
        path = folder / "config.yaml"
        path.write_text(json.dumps(_config(sandbox, folder)), encoding="utf-8")

        def read() -> Config:
            return without_ends(load(path, {}))

        config = read()
        log = build_log(config)
        gateway = await Gateway.start(config, log, read)
        _remember_long_pictures(gateway)
        try:
            async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
                yield Stage(gateway, sandbox, http)
        finally:
            await gateway.close()
            await asyncio.to_thread(log.close)


def _remember_long_pictures(gateway: Gateway) -> None:
    """As if the gateway had run for a day: pictures of gpt-image-1 took longer than Cloudflare waits."""
    services = gateway.services
    kind = OrderKind("piapi", "images", "gpt-image-1", quality="low")
    for _ in range(ENOUGH):
        services.learned.observe(kind, 150.0, services.clock.wall_ns() / 1e9)


def _key(user: str) -> str:
    return f"gw-{user}-rehearsal-0123456789abcdef"


def _config(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """Erin's budget is used up by two pictures of the kind she orders; nobody else comes near theirs."""
    budgets = {"alice": "50/month", "bob": "2/day", "carol": "20/month", "dave": "5/total", "erin": "0.03/day"}
    teams = {"alice": "growth", "bob": "growth", "carol": "research", "dave": "research", "erin": "research"}
    keys: list[dict[str, Any]] = []
    for user in USERS:
        optional = {"budget": budgets.get(user), "team": teams.get(user)}
        given = {name: value for name, value in optional.items() if value is not None}
        keys.append({"name": user, "key": _key(user), **given})
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "store": f"sqlite:///{folder / 'gateway.db'}",
        "upstreams": {
            "piapi": {
                "endpoints": [{"url": sandbox.urls["api"], "wall": "120s"}, {"url": sandbox.urls["proxy"]}],
                "keys": [
                    {"name": "main", "value": "sk-rehearsal-main", "weight": 5},
                    {"name": "second", "value": "sk-rehearsal-sandbox-broke"},
                    {"name": "old", "value": "sk-rehearsal-sandbox-invalid"},
                ],
                "tasks": {"poll": "100ms", "poll_max": "300ms"},
            },
            "backup": {
                "endpoints": [{"url": sandbox.urls["backup"]}],
                "keys": [{"name": "spare", "value": "sk-rehearsal-spare"}],
            },
        },
        "models": {"gpt-preview": {"targets": [{"upstream": "piapi"}]}, "gpt-4o-mini": {"cache": {}}},
        "teams": {"growth": {"budget": "80/month"}, "research": {"budget": "40/month"}},
        "keys": keys,
        "failover": {"retry_budget": 1.0},
        "images": {"dir": str(folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True},
        "log": {"format": "json", "level": "error"},
    }
