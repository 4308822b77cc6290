"""The gateway behind a real nginx with nothing configured but where to go, which in most versions means HTTP/1.0."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from tests.raw_client import RawClient

from .conftest import StartGateway
from .harness import ALICE, MESSAGES, PATIENCE, Rig, chat_body
from .in_front import free_port, guess

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="NGINX IS MISSING: install it, or nobody tests what it gets")

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""
SERVER = """
    upstream the_gateway {{ server {gateway}; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ {more} proxy_pass http://the_gateway; }}
    }}
"""


@asynccontextmanager
async def nginx(rig: Rig, folder: Path, more: str = "") -> AsyncIterator[str]:
    """Start one in front of the gateway; its URL. ``more``: directives of its one location."""
    port = free_port()
    gateway = urlsplit(rig.gateway.main_url).netloc
    url = f"http://127.0.0.1:{port}"
    async with nginx_with(folder, SERVER.format(port=port, gateway=gateway, more=more), url):
        yield url


@asynccontextmanager
async def nginx_with(folder: Path, servers: str, url: str) -> AsyncIterator[None]:
    """Start one with these servers, and wait until it listens at ``url``."""
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers), encoding="utf-8")
    there = urlsplit(url)
    assert NGINX is not None
    process = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert process.returncode is None, (folder / "error.log").read_text(encoding="utf-8")
                try:
                    (await asyncio.open_connection(there.hostname, there.port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


OLD = "proxy_http_version 1.0;"  # what it is by default in most versions


@pytest.mark.parametrize("more", ["", OLD, "proxy_http_version 1.1; proxy_set_header Connection '';"])
async def test_streams_and_whole_answers_arrive_whole(rig: Rig, tmp_path: Path, more: str) -> None:
    async with nginx(rig, tmp_path, more) as url:
        sdk = rig.openai(base_url=f"{url}/v1")
        for _ in range(3):
            whole = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            stream = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
            chunks = [chunk async for chunk in stream]
            told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert told == whole.choices[0].message.content
            assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        await sdk.close()


@pytest.mark.parametrize(
    "more",
    [
        "",
        OLD,
        OLD + "proxy_buffering on; proxy_buffers 8 64k;",
        OLD + "proxy_cache off; gzip on; gzip_proxied any;",
        "proxy_http_version 1.1; proxy_set_header Connection '';",
    ],
)
async def test_a_stream_arrives_piece_by_piece(rig: Rig, tmp_path: Path, more: str) -> None:
    """Nothing is switched off in it: the first piece is here while the stream goes on for ever."""
    rig.for_all_roles("stall_mid;after_events=4")
    async with nginx(rig, tmp_path, more) as url:
        client = await RawClient.connect(url)
        await client.ask(chat_body(stream=True), headers={"accept-encoding": "gzip"})
        assert (await client.head()).status == 200
        assert b"chat.completion.chunk" in await client.until(b"\n\n")
        await client.leave()


FORWARDED = OLD + "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


async def test_guesses_are_held_against_the_client_and_not_against_it(gateway: StartGateway, tmp_path: Path) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    async with nginx(rig, tmp_path, FORWARDED) as url:
        told = [await guess(url, number, "127.0.0.5", "x-forwarded-for: 203.0.113.9") for number in range(60)]
        assert (told[0], told[-1]) == (401, 429)
        assert await guess(url, 98, "127.0.0.6") == 401
        assert await guess(url, 99, "127.0.0.5", "x-forwarded-for: 198.51.100.9") == 429


@pytest.mark.parametrize("scenario", ["cut", "rst", "sse_error_late"])
async def test_a_stream_that_broke_is_an_error_behind_it_too(rig: Rig, tmp_path: Path, scenario: str) -> None:
    rig.for_all_roles(scenario)
    async with nginx(rig, tmp_path, OLD) as url:
        sdk = rig.openai(base_url=f"{url}/v1")
        stream = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
        await sdk.close()


@pytest.mark.parametrize("host", ["", "proxy_set_header Host '';"])
async def test_a_health_check_passes_with_and_without_a_host(rig: Rig, tmp_path: Path, host: str) -> None:
    async with nginx(rig, tmp_path, OLD + host) as url:
        client = await RawClient.connect(url)
        assert (await client.request("GET", "/healthz")).status == 200
        assert (await client.request("HEAD", "/readyz")).status == 200
        refused = await client.request("GET", "/v1/models", b"", f"Authorization: Bearer {ALICE}")
        assert refused.status == (400 if host else 200)
        await client.close()
