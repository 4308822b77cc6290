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

from .running import Finished, Program, command, files, write

ANY_PORT = {"listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"}}


@asynccontextmanager
async def a_demo(folder: Path) -> AsyncIterator[Program]:
    """The demo on free ports, its whole banner printed."""
    write(folder, ANY_PORT)
    async with Program.run(folder, "demo", "--config", "config.yaml", env={"TMPDIR": str(folder)}) as demo:
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
        async with httpx2.AsyncClient(trust_env=False) as client:
            models = await client.get(f"{found[1]}/models", headers={"authorization": f"Bearer {found[2]}"})
            assert "gpt-4o-mini" in {model["id"] for model in models.json()["data"]}
            scraped = (await client.get(metrics[1])).text
            assert 'key="demo"' in scraped
            assert found[2] not in scraped
        demo.signal(signal.SIGTERM)
        assert await demo.wait() == 0
        assert demo.err.text == ""
    assert files(tmp_path) == ["config.yaml", "image.png"]  # its ledger is gone with it


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
