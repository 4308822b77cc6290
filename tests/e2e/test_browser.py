"""Pages in a real browser (Chromium): what they may ask and read of a gateway on this machine."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, chat_body

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="CHROMIUM IS MISSING: install it, or no browser tests CORS")

PAGE = """<!doctype html><title>page</title><body><pre id=told></pre><script>
(async () => {
  const told = [];
  for (const order of ORDERS) {
    try {
      const answer = await fetch(order.url, order.options);
      const text = await answer.text();
      told.push({status: answer.status, id: answer.headers.get("x-request-id"),
                 attempts: answer.headers.get("x-gateway-attempts"), end: text.slice(-16)});
    } catch (error) { told.push(null); }
  }
  document.getElementById("told").textContent = JSON.stringify(told);
})();
</script>"""

LIMIT = 60.0
"""Seconds for a browser to start and a page to finish."""


class PageServer:
    """Serves one page to whoever asks, on a port of this machine."""

    def __init__(self) -> None:
        self.page = b""
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(self.page)}\r\nConnection: close"
        writer.write(head.encode() + b"\r\n\r\n" + self.page)
        await writer.drain()
        writer.close()

    async def visit(self, host: str, folder: Path, *orders: dict[str, Any]) -> list[Any]:
        """Open the page under ``host`` and return what its requests brought; None for each that the browser hid."""
        self.page = PAGE.replace("ORDERS", json.dumps(orders)).encode()
        assert CHROMIUM is not None
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
        options += ("--disable-background-networking", f"--user-data-dir={folder / 'browser'}", "--dump-dom")
        options += (f"--host-resolver-rules=MAP {host} 127.0.0.1", "--virtual-time-budget=20000")
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *options,
            f"http://{host}:{self.port}/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(LIMIT):
                document = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        found = re.search(r"<pre id=\"told\">(.*?)</pre>", document, re.DOTALL)
        assert found is not None, document
        told: list[Any] = json.loads(html.unescape(found[1]))
        return told


@pytest.fixture
async def pages() -> AsyncIterator[PageServer]:
    served = PageServer()
    async with await asyncio.start_server(served.answer, "127.0.0.1", 0) as server:
        served.port = server.sockets[0].getsockname()[1]
        yield served


def chat(url: str, key: str | None) -> dict[str, Any]:
    """A chat as OpenAI's SDK in a browser sends it."""
    headers = {"content-type": "application/json", "x-stainless-lang": "js"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    body = chat_body(stream=True).decode()
    return {"url": f"{url}/chat/completions", "options": {"method": "POST", "headers": headers, "body": body}}


async def test_a_listed_page_streams_and_reads_errors_too(
    gateway: StartGateway, pages: PageServer, tmp_path: Path
) -> None:
    rig = await gateway(f"cors: {{origins: ['http://app.example:{pages.port}']}}")
    orders = (chat(rig.url, ALICE), chat(rig.url, "gw-wrong"), {"url": f"{rig.gateway.main_url}/nothing"})
    whole, wrong, unknown = await pages.visit("app.example", tmp_path, *orders)
    assert (whole["status"], whole["attempts"]) == (200, "1")
    assert whole["end"].endswith("[DONE]\n\n")
    assert whole["id"]
    assert (wrong["status"], unknown["status"]) == (401, 404)


async def test_a_page_that_is_not_listed_reads_nothing_and_buys_nothing(
    gateway: StartGateway, pages: PageServer, tmp_path: Path
) -> None:
    rig = await gateway("{auth: none, keys: [], cors: {origins: ['http://app.example']}}")
    order = chat(rig.url, None)
    simple = {**order, "options": {**order["options"], "headers": {"content-type": "text/plain"}}}
    assert await pages.visit("app.example", tmp_path, order, simple, {"url": f"{rig.url}/models"}) == [None] * 3
    assert rig.sandbox.open_connections == 0


async def test_a_page_of_this_machine_needs_no_key_where_none_is_asked_for(
    gateway: StartGateway, pages: PageServer, tmp_path: Path
) -> None:
    rig = await gateway("{auth: none, keys: []}")
    orders = (chat(rig.url, None), {"url": f"{rig.url}/models"})
    whole, models = await pages.visit("localhost", tmp_path, *orders)
    assert whole["end"].endswith("[DONE]\n\n")
    assert models["status"] == 200


async def test_the_console_runs_its_script_and_breaks_no_rule_of_its_own(gateway: StartGateway, tmp_path: Path) -> None:
    rig = await gateway()
    await rig.chat()
    document, complaints = await opened(f"{rig.gateway.admin_url}/", tmp_path)
    assert "<h1>Overview</h1>" in document
    assert re.search(r'<p class="live" id="live"><span id="updated">Updated [^<]+\.</span>', document), "it was shown"
    assert "Refused to" not in complaints, "its policy forbade something of its own"
    assert "Uncaught" not in complaints


async def opened(url: str, folder: Path) -> tuple[str, str]:
    """The page as it stands after some seconds of its own time, and what the browser complained of."""
    assert CHROMIUM is not None
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
    options += ("--disable-background-networking", f"--user-data-dir={folder / 'browser'}", "--dump-dom")
    options += ("--enable-logging=stderr", "--virtual-time-budget=12000", url)
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LIMIT):
            document, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return document.decode(), complaints.decode(errors="replace")
