"""The gateway behind a real HAProxy, in both of its modes: checks, streams, and whose address counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from tests.raw_client import RawClient

from .conftest import StartGateway
from .haproxy import HAProxy, haproxy, needs_haproxy
from .harness import MESSAGES, Rig, chat_body
from .in_front import free_port, guess

pytestmark = needs_haproxy

HTTP = "mode http\n    option forwardfor\n    option httpchk GET /readyz"
TCP = "mode tcp\n    option httpchk GET /readyz"


@asynccontextmanager
async def before(rig: Rig, folder: Path, mode: str = HTTP, server: str = "") -> AsyncIterator[tuple[HAProxy, str]]:
    """One before the gateway, and its URL. ``mode``: lines of its one section; ``server``: more of the server's."""
    port = free_port()
    gateway = urlsplit(rig.gateway.main_url).netloc
    to = f"server gateway {gateway} check inter 100ms {server}"
    lines = f"listen front\n    bind 127.0.0.1:{port}\n    {mode}\n    {to}\n"
    async with haproxy(folder, lines) as running:
        yield running, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("mode", "server"),
    [
        (HTTP, ""),
        (TCP, ""),
        ("mode http\n    option httpchk /readyz", ""),  # asks OPTIONS in HTTP/1.0, without a Host
        ("mode http\n    option httpchk HEAD /readyz", ""),
        ("mode http\n    option httpchk GET /healthz HTTP/1.1", ""),
        ("mode http\n    option httpchk\n    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host x", ""),
        (
            "mode http\n    option httpchk\n    http-check send meth GET uri /readyz\n    http-check expect status 200",
            "",
        ),
        (TCP, "send-proxy check-send-proxy"),
        (TCP, "send-proxy-v2 check-send-proxy"),
        ("mode tcp\n    option httpchk GET /readyz", "send-proxy-v2"),  # the checks without it, beside requests with it
    ],
)
async def test_its_checks_find_the_gateway_well(gateway: StartGateway, tmp_path: Path, mode: str, server: str) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    async with before(rig, tmp_path, mode, server) as (running, _):
        seen = await running.until(lambda seen: bool(seen.code) or seen.status == "DOWN")
        assert (seen.status, seen.check, seen.code) in (("UP", "L7OK", "200"),)


@pytest.mark.parametrize("mode", [HTTP, TCP, "mode http\n    option httpchk /readyz"])
async def test_its_checks_see_a_gateway_that_drains(gateway: StartGateway, tmp_path: Path, mode: str) -> None:
    rig = await gateway()
    async with before(rig, tmp_path, f"{mode}\n    default-server fall 1") as (running, _):
        await running.until(lambda seen: seen.code == "200")
        rig.gateway.leave()
        seen = await running.until(lambda seen: seen.status == "DOWN")
        assert (seen.check, seen.code) == ("L7STS", "503")


async def test_a_bare_connect_check_leaves_nothing_behind(gateway: StartGateway, tmp_path: Path) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    async with before(rig, tmp_path, "mode tcp") as (running, url):
        await running.until(lambda seen: seen.check == "L4OK")
        client = await RawClient.connect(url)
        assert (await client.request("GET", "/healthz")).status == 200
        await client.close()
    assert (rig.folder / "gateway.log").read_text().count('"refused"') == 0


@pytest.mark.parametrize(("mode", "server"), [(HTTP, ""), (TCP, ""), (TCP, "send-proxy"), (TCP, "send-proxy-v2")])
async def test_a_stream_arrives_piece_by_piece(gateway: StartGateway, tmp_path: Path, mode: str, server: str) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    rig.for_all_roles("stall_mid;after_events=4")
    async with before(rig, tmp_path, mode, server) as (_, url):
        client = await RawClient.connect(url)
        await client.ask(chat_body(stream=True))
        assert (await client.head()).status == 200
        assert b"chat.completion.chunk" in await client.until(b"\n\n")  # and the stream goes on for ever
        await client.leave()


@pytest.mark.parametrize(("mode", "server"), [(HTTP, ""), (TCP, "send-proxy")])
async def test_streams_and_whole_answers_arrive_whole(
    gateway: StartGateway, tmp_path: Path, mode: str, server: str
) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    async with before(rig, tmp_path, mode, server) as (_, url):
        sdk = rig.openai(base_url=f"{url}/v1")
        for _ in range(3):
            whole = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            stream = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
            chunks = [chunk async for chunk in stream]
            told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert told == whole.choices[0].message.content
        rig.for_all_roles("cut")
        stream = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
        await sdk.close()


@pytest.mark.parametrize(("mode", "server"), [(HTTP, ""), (TCP, "send-proxy"), (TCP, "send-proxy-v2")])
async def test_guesses_are_held_against_the_client_and_not_against_the_proxy(
    gateway: StartGateway, tmp_path: Path, mode: str, server: str
) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    async with before(rig, tmp_path, mode, server) as (_, url):
        told = [await guess(url, number, "127.0.0.5") for number in range(60)]
        assert (told[0], told[-1]) == (401, 429)
        assert await guess(url, 98, "127.0.0.6") == 401
        # What the client itself writes in front of it means nothing.
        assert await guess(url, 99, "127.0.0.5", "x-forwarded-for: 203.0.113.9") == 429


async def test_a_proxy_that_is_not_trusted_is_told_so_in_the_log(gateway: StartGateway, tmp_path: Path) -> None:
    rig = await gateway()
    async with before(rig, tmp_path, "mode tcp", "send-proxy") as (_, url):
        client = await RawClient.connect(url)
        answer = await client.request("GET", "/v1/models")
        assert answer.status == 400
        assert "trusted_proxies" in answer.json()["error"]["message"]
        await client.close()
