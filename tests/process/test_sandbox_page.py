"""The lines of docs/sandbox.md, pasted in their order: commands that go on stay, all others must end well."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from .running import PATIENCE, PROGRAM, Finished, Program
from .test_readme import Block, blocks

COMMAND = ".venv/bin/piapi-gateway "
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: its lines are NOT tried")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Reader:
    """Someone with a terminal in ``folder``, where the page's addresses are others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = {f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}" for port in (8400, 8401, 8498, 8499)}
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "piapi-gateway").symlink_to(PROGRAM)

    def rewritten(self, text: str) -> str:
        for theirs, ours in self.places.items():
            text = text.replace(theirs, ours)
        listening = f"sandbox --listen {self.places['127.0.0.1:8499']}"
        return re.sub(r"sandbox(?= --print-config|$)", listening, text)

    async def paste(self, block: Block) -> Finished:
        text = self.rewritten(block.text)
        command = ("sh", "-euc", text) if block.language == "sh" else (sys.executable, "-c", text)
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        return Finished(process.returncode or 0, out.decode(), err.decode())


def goes_on(block: Block) -> bool:
    """Whether a block is one command that serves until it is stopped."""
    lines = block.text.splitlines()
    return (
        len(lines) == 1 and lines[0].startswith((f"{COMMAND}serve", f"{COMMAND}sandbox")) and "--print" not in lines[0]
    )


@NEEDS_CURL
async def test_the_pages_lines_work_as_they_stand(tmp_path: Path) -> None:
    reader, told = Reader(tmp_path), []
    async with AsyncExitStack() as running:
        for block in blocks("docs/sandbox.md"):
            if goes_on(block):
                words = reader.rewritten(block.text.strip()).removeprefix(COMMAND).split()
                program = await running.enter_async_context(Program.run(tmp_path, *words))
                await program.out.first(lambda line: "listens on" in line)
                continue
            done = await reader.paste(block)
            assert done.code == 0, f"{block.text}\n{done.out}\n{done.err}"
            told.append(done.out)
            if (made := tmp_path / "sandbox.yaml").exists():
                made.write_text(reader.rewritten(made.read_text(encoding="utf-8")), encoding="utf-8")
    direct, checked, failed_over, parsed, limited, models = told
    assert "simulated answer" in direct
    assert "OK, " in checked
    assert "x-gateway-upstream: backup" in failed_over.lower()
    assert "x-gateway-attempts: 3" in failed_over.lower()
    assert parsed.strip() == "name='Rome' inhabitants=42"
    assert "HTTP/1.1 429" in limited
    assert "retry-after: 7" in limited
    assert '"gpt-4o"' in models
