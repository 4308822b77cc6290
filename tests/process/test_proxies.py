"""Proxies on the way out, as an operator sets them: what `check` and the log say, and where requests go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox
from tests.base_config import merged
from tests.upstream.tunnels import ForwardProxy

from .running import Gateway, ask, chat, command, settings, write

NAMES = {"api": "api.test", "proxy": "proxy.test", "backup": "backup.test"}


@pytest.fixture
async def proxy() -> AsyncIterator[ForwardProxy]:
    """Only this proxy knows where the upstreams' names lead."""
    async with ForwardProxy(leads=dict.fromkeys(NAMES.values(), "127.0.0.1")) as running:
        yield running


def named(sandbox: Sandbox, folder: Path, **over: Any) -> dict[str, Any]:
    """The base, with upstreams by names that this machine cannot resolve."""
    urls = {role: f"http://{name}:{sandbox.urls[role].rpartition(':')[2]}" for role, name in NAMES.items()}  # type: ignore[index]
    piapi = [{"url": urls["api"]}, {"url": urls["proxy"]}]
    upstreams = {"piapi": {"endpoints": piapi}, "backup": {"endpoints": [{"url": urls["backup"]}]}}
    document: dict[str, Any] = merged(settings(sandbox, folder), {"upstreams": upstreams, **over})
    return document


def reached(proxy: ForwardProxy) -> set[str]:
    return {target.partition(":")[0] for target in proxy.targets}


async def test_a_probe_takes_the_way_of_requests(tmp_path: Path, sandbox: Sandbox, proxy: ForwardProxy) -> None:
    write(tmp_path, named(sandbox, tmp_path, proxy=f"http://ann:s3cret-word@127.0.0.1:{proxy.port}"))
    done = await command(tmp_path, "check", "--probe")
    assert done.code == 0, done.out + done.err
    assert reached(proxy) == set(NAMES.values())
    assert all(b"Proxy-Authorization: Basic " in head for head in proxy.heads)
    assert "s3cret-word" not in done.out + done.err


async def test_a_probe_without_the_proxy_finds_nobody(tmp_path: Path, sandbox: Sandbox, proxy: ForwardProxy) -> None:
    write(tmp_path, named(sandbox, tmp_path))
    done = await command(tmp_path, "check", "--probe")
    assert done.code == 1
    assert "unreachable" in done.out
    assert proxy.targets == []


async def test_a_proxy_that_wants_credentials_fails_the_probe(tmp_path: Path, sandbox: Sandbox) -> None:
    async with ForwardProxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        write(tmp_path, named(sandbox, tmp_path, proxy=f"http://127.0.0.1:{proxy.port}"))
        done = await command(tmp_path, "check", "--probe")
        assert done.code == 1
        assert "407" in done.out
        assert proxy.targets


UNUSED = "the environment sets {name}, which is not used"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_one_of_the_environment_is_not_used_and_that_is_said(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, proxy: ForwardProxy, name: str
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    environment = {name: f"http://127.0.0.1:{proxy.port}"}
    done = await command(tmp_path, "check", "--probe", env=environment)
    assert done.code == 0
    assert UNUSED.format(name=name) in done.err
    async with Gateway.serve(tmp_path, environment) as gateway:
        assert (await ask(client, gateway, chat())).status == 200
        await gateway.err.first(lambda line: UNUSED.format(name=name) in line)
    assert proxy.targets == []


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"HTTP_PROXY": "{proxy}", "HTTPS_PROXY": "http://127.0.0.1:1"}, set(NAMES.values())),
        ({"http_proxy": "{proxy}"}, set(NAMES.values())),
        ({"ALL_PROXY": "{proxy}"}, set(NAMES.values())),
        ({"ALL_PROXY": "{proxy}", "NO_PROXY": "backup.test"}, {"api.test", "proxy.test"}),
    ],
)
async def test_with_proxy_env_it_is_used_and_no_longer_complained_of(
    tmp_path: Path, sandbox: Sandbox, proxy: ForwardProxy, environment: Mapping[str, str], wanted: set[str]
) -> None:
    write(tmp_path, named(sandbox, tmp_path, proxy="env"))
    known = {name: value.format(proxy=f"http://127.0.0.1:{proxy.port}") for name, value in environment.items()}
    done = await command(tmp_path, "check", "--probe", env=known)
    assert "which is not used" not in done.err
    assert reached(proxy) == wanted
    assert done.code == (0 if wanted == set(NAMES.values()) else 1)  # what goes past the proxy finds no such name


async def test_a_stream_whose_proxy_dies_ends_in_an_error_and_the_gateway_lives(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, proxy: ForwardProxy
) -> None:
    write(tmp_path, named(sandbox, tmp_path, proxy=f"http://127.0.0.1:{proxy.port}"))
    sandbox.set_default("stall_mid;after_events=4")
    begun = asyncio.Event()
    async with Gateway.serve(tmp_path) as gateway, asyncio.TaskGroup() as group:
        stream = group.create_task(ask(client, gateway, chat(stream=True), begun=begun.set))
        await begun.wait()
        proxy.die(tunnels_only=True)
        answer = await stream
        assert "[DONE]" not in answer.text
        assert '"error"' in answer.events[-1]
        sandbox.set_default("ok")
        assert (await ask(client, gateway, chat())).status == 200
