"""The README's picture: the lines above it, run with the real SDK against the demo, make the one that is shown."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

from PIL import Image, ImageChops

from .test_demo import a_demo

ROOT = Path(__file__).parents[2]


def python_block(containing: str) -> str:
    """The one Python block of the README that contains these words."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    [found] = [block for block in blocks if containing in block]
    return str(found)


async def test_three_lines_make_the_picture_that_is_shown(tmp_path: Path) -> None:
    client = "\n".join(python_block("chat.completions").splitlines()[:3])
    lines = python_block("images.generate")
    assert len([line for line in lines.splitlines() if line]) == 3

    async with a_demo(tmp_path) as demo:
        found = re.search(r"OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(\S+)", demo.out.text)
        assert found is not None
        here = client.replace("http://127.0.0.1:8400/v1", found[1]).replace('"anything"', f'"{found[2]}"')
        python = await asyncio.create_subprocess_exec(sys.executable, "-c", f"{here}\n{lines}", cwd=tmp_path)
        assert await python.wait() == 0
        demo.signal(signal.SIGTERM)
        await demo.wait()

    with Image.open(tmp_path / "lighthouse.png") as made, Image.open(ROOT / "docs" / "lighthouse.png") as shown:
        assert made.size == shown.size == (1248, 832)
        assert ImageChops.difference(made.convert("RGB"), shown.convert("RGB")).getbbox() is None
