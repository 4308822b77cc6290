"""The first minute of a new user: start the demo, paste what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from gateway.cli.demo import FIXED_KEY

from .running import Finished, Program, command, files, write

ANY_PORT = {"listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"}}


@asynccontextmanager
async def a_demo(folder: Path, config: Path | None = None) -> AsyncIterator[Program]:
    """The demo on free ports, its whole banner printed. ``config``: a file of other settings."""
    config = config or write(folder, ANY_PORT)
    async with Program.run(folder, "demo", "--config", str(config), env={"TMPDIR": str(folder)}) as demo:
        await demo.out.first(lambda line: line.startswith("Stop with"))
        yield demo


async def pasted(line: str) -> Finished:
    """A line given to a shell, as it stands."""
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", line, env=dict(os.environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await shell.communicate()
    assert shell.returncode is not None
    return Finished(shell.returncode, out.decode(), err.decode())


async def test_the_banner_says_what_it_is_and_its_lines_work_when_pasted(tmp_path: Path) -> None:
    async with a_demo(tmp_path) as demo:
        banner = demo.out.text
        assert "DEMO" in banner
        assert "SANDBOX" in banner
        assert "PIAPI_API_KEY" in banner
        python = await pasted(await demo.out.first(lambda line: line.startswith("python3 -c ")))
        assert (python.code, python.err) == (0, "")
        assert "sandbox" in python.out.lower()
        draw = next(line for line in banner.splitlines() if line.startswith("python3 -c ") and "image.png" in line)
        drawn = await pasted(f"cd {tmp_path} && {draw}")
        assert (drawn.code, drawn.err) == (0, "")
        assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")
        found = re.search(r"OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(\S+)", banner)
        assert found is not None
        metrics = re.search(r"metrics +(\S+)", banner)
        assert metrics is not None
        assert re.fullmatch(r"gw-[0-9a-f]{40}", found[2])
        assert FIXED_KEY not in banner
        async with httpx2.AsyncClient(trust_env=False) as client:
            models = await client.get(f"{found[1]}/models", headers={"authorization": f"Bearer {found[2]}"})
            fixed = await client.get(f"{found[1]}/models", headers={"authorization": f"Bearer {FIXED_KEY}"})
            assert fixed.json() == models.json()
            assert "gpt-4o-mini" in {model["id"] for model in models.json()["data"]}
            scraped = (await client.get(metrics[1])).text
            assert 'key="demo"' in scraped
            assert found[2] not in scraped
        demo.signal(signal.SIGTERM)
        assert await demo.wait() == 0
        assert demo.err.text == ""
    assert files(tmp_path) == ["config.yaml", "image.png"]  # its ledger is gone with it


async def test_the_usage_line_shows_what_was_spent(tmp_path: Path) -> None:
    async with a_demo(tmp_path) as demo:
        await pasted(await demo.out.first(lambda line: line.startswith("python3 -c ")))
        line = await demo.out.first(lambda line: " usage" in line and not line.startswith("piapi-gateway DEMO"))
        shown = await pasted(f"cd {tmp_path} && {line}")
        while len(shown.out.splitlines()) < 2:  # the ledger is written a moment after the answer
            assert (shown.code, shown.err) == (0, "")
            shown = await pasted(f"cd {tmp_path} && {line}")
    assert shown.out.splitlines()[1].split()[:3] == ["demo", "gpt-4o-mini", "1"]


async def test_beyond_loopback_only_the_random_key_works(tmp_path: Path) -> None:
    write(tmp_path, ANY_PORT | {"listen": "0.0.0.0:0"})
    async with a_demo(tmp_path, tmp_path / "config.yaml") as demo:
        found = re.search(r"OPENAI_BASE_URL=\S+:(\d+)/v1 OPENAI_API_KEY=(\S+)", demo.out.text)
        assert found is not None
        async with httpx2.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{found[1]}/v1/models"
            random, fixed, none = [
                (await client.get(url, headers={"authorization": f"Bearer {key}"})).status_code
                for key in (found[2], FIXED_KEY, "none")
            ]
        assert (random, fixed, none) == (200, 401, 401)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: the demo's curl line is NOT tried")
async def test_the_curl_line_streams_an_answer(tmp_path: Path) -> None:
    async with a_demo(tmp_path) as demo:
        curl = await pasted(await demo.out.first(lambda line: line.startswith("curl ")))
        demo.signal(signal.SIGINT)
        assert await demo.wait() == 0
    assert (curl.code, curl.err) == (0, "")
    *events, done = re.findall(r"^data: (.+)$", curl.out, re.M)
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert "sandbox" in text.lower()


async def test_the_demo_keeps_a_files_other_settings_and_says_what_is_wrong_in_it(tmp_path: Path) -> None:
    write(tmp_path, "drian: 3s\n")
    refused = await command(tmp_path, "demo", "--config", "config.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("config.yaml:1:1: drian: ")
