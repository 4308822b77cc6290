"""The lines of docs/load-balancers.md for nginx and HAProxy, in the real programs, before a gateway."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.raw_client import RawClient

from .conftest import StartGateway
from .haproxy import haproxy, needs_haproxy
from .harness import Rig, chat_body
from .in_front import free_port, guess
from .test_nginx import nginx_with
from .test_nginx import pytestmark as needs_nginx

PAGE = (Path(__file__).parents[2] / "docs" / "load-balancers.md").read_text(encoding="utf-8")


def shown(language: str, at: int, rig: Rig) -> tuple[str, str]:
    """A block of the page, its port and the gateway's replaced by ours; and the URL it then listens at."""
    [block] = [text for text in re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M) if f":{at}" in text]
    port = free_port()
    return block.replace("127.0.0.1:8400", urlsplit(rig.gateway.main_url).netloc).replace(
        f":{at}", f":{port}"
    ), f"http://127.0.0.1:{port}"


async def serves(rig: Rig, url: str) -> None:
    """Streams come piece by piece, big requests pass, and guesses count against the client alone."""
    client = await RawClient.connect(url)
    await client.ask(chat_body(stream=True, user="x" * 3_000_000))
    assert (await client.rest(await client.head())).payloads[-1] == b"[DONE]"
    await client.close()
    rig.for_all_roles("stall_mid;after_events=4")
    client = await RawClient.connect(url)
    await client.ask(chat_body(stream=True))
    await client.head()
    assert b"chat.completion.chunk" in await client.until(b"\n\n")
    await client.leave()
    told = [await guess(url, number, "127.0.0.5") for number in range(60)]
    assert (told[0], told[-1]) == (401, 429)
    assert await guess(url, 99, "127.0.0.6") == 401


@needs_nginx
async def test_nginx(gateway: StartGateway, tmp_path: Path) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    block, url = shown("nginx", 8080, rig)
    async with nginx_with(tmp_path, block, url):
        await serves(rig, url)


@needs_haproxy
@pytest.mark.parametrize("port", [8081, 8082])
async def test_haproxy(gateway: StartGateway, tmp_path: Path, port: int) -> None:
    rig = await gateway("trusted_proxies: [127.0.0.1]")
    block, url = shown("haproxy", port, rig)
    async with haproxy(tmp_path, block) as running:
        await running.until(lambda seen: seen.code == "200", "first")
        await serves(rig, url)
        rig.gateway.leave()
        assert (await running.until(lambda seen: seen.status == "DOWN", "first")).code == "503"
