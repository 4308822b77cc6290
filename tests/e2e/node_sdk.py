"""The official OpenAI SDK for JavaScript, asked from Python: tests/node/asker.mjs asks, Python looks."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .harness import ALICE, MESSAGES, PATIENCE, Rig

FOLDER = Path(__file__).parents[1] / "node"


class Node:
    """One Node process for all tests of a module; each asks its own gateway through it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def ask(self, rig: Rig, check: str, *, fields: Any = None, headers: Any = None, **options: Any) -> Any:
        """The report of one check of chat (asker.mjs says what is in it)."""
        return await self._report(
            {
                "check": check,
                "options": {"baseURL": rig.url, "apiKey": ALICE, **options},
                "fields": {"model": "gpt-4o", "messages": MESSAGES, **(fields or {})},
                "headers": headers or {},
            }
        )

    async def paint(self, rig: Rig, check: str, **fields: Any) -> Any:
        """The report of one check of images; a field or a list of ``file``s is sent as such."""
        options = {"baseURL": rig.url, "apiKey": ALICE}
        return await self._report({"check": check, "options": options, "fields": fields, "headers": {}})

    async def _report(self, order: Any) -> Any:
        return await asyncio.wait_for(asyncio.to_thread(self._exchange, json.dumps(order)), 2 * PATIENCE)

    def _exchange(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        report = self._process.stdout.readline()
        assert report, "Node has ended"
        return json.loads(report)


def file(data: bytes, name: str = "image.png") -> dict[str, str]:
    """A file as ``Node.paint`` takes it."""
    return {"base64": base64.b64encode(data).decode(), "name": name}


@contextmanager
def running_node() -> Iterator[Node]:
    """Skips the test, and says why, without Node or its packages."""
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("node is not installed: the JavaScript SDK is NOT tested")
    if not (FOLDER / "node_modules" / "openai").is_dir():
        pytest.skip(
            "run scripts/node_sdk.sh first: the openai npm package is missing, the JavaScript SDK is NOT tested"
        )
    with subprocess.Popen(
        [executable, "asker.mjs"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            yield Node(process)
        finally:
            process.kill()
