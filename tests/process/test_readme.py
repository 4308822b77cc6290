"""The lines that the README, the quickstart and the page on pictures ask their reader to paste, pasted.

A page's blocks run in order, in one folder, against one demo: its shell lines in a shell, its Python and JavaScript
with the real SDKs. Three kinds of lines are for the reader alone: ``make run`` (tests/process/test_two_commands.py has
it), lines with an ellipsis for the reader's own key, and the alias that only an interactive shell knows.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from .running import PATIENCE, Finished, Program
from .test_demo import a_demo

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / "tests" / "node" / "node_modules"

FOR_THE_READER = ("make ", "PIAPI_API_KEY=…", "alias ")
"""How the first line of a block begins that is not run here."""

NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: its lines are NOT tried")


@dataclass(frozen=True)
class Block:
    """Lines of a page. ``language``: as the fence names it."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """The page's fenced blocks that are to be pasted, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [Block(*parts) for parts in re.findall(r"^```(sh|python|js)\n(.*?)^```$", text, re.S | re.M)]
    return [block for block in found if not block.text.startswith(FOR_THE_READER)]


class Reader:
    """Someone with a terminal in ``folder``, where the gateway is installed in ``.venv``, as it is in a clone."""

    def __init__(self, folder: Path, main: str, admin: str) -> None:
        self._folder = folder
        self._main, self._admin = main, admin
        self._python = ""
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        # The demo of a test takes any free port; the commands learn from this file where it is.
        listening = f"listen: {main}\nadmin: {{listen: {admin}}}\n"
        (folder / "config.yaml").write_text(listening, encoding="utf-8")

    async def paste(self, block: Block) -> Finished:
        """Run a block as it stands, but for the addresses of the demo."""
        text = block.text.replace("127.0.0.1:8400", self._main).replace("127.0.0.1:8401", self._admin)
        if block.language == "sh":
            return await self._run("sh", "-euc", text)
        if block.language == "python":
            self._python += text  # a block goes on where the page's last one ended, as in one session
            return await self._run(sys.executable, "-c", self._python)
        (self._folder / "node_modules").symlink_to(NODE_MODULES)
        return await self._run("node", "--input-type=module", "--eval", text)

    async def _run(self, *command: str) -> Finished:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self._folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def a_reader(tmp_path: Path) -> AsyncIterator[Reader]:
    """A reader beside a running demo, which ends in good order."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "clone").mkdir()
    async with a_demo(tmp_path / "demo") as demo:
        yield Reader(tmp_path / "clone", *listening_at(demo))
        demo.signal(signal.SIGTERM)
        assert await demo.wait() == 0


def listening_at(demo: Program) -> tuple[str, str]:
    """HOST:PORT of the demo's main and admin listeners, by its banner."""
    main = re.search(r"OPENAI_BASE_URL=http://([^/]+)/v1", demo.out.text)
    admin = re.search(r"http://(\S+)/metrics", demo.out.text)
    assert main is not None
    assert admin is not None
    return main[1], admin[1]


async def paste_all(page: str, reader: Reader) -> list[Finished]:
    """Paste every block of the page; none may fail, and none may be answered with an error."""
    finished = []
    for block in blocks(page):
        if block.language == "js" and (shutil.which("node") is None or not (NODE_MODULES / "openai").is_dir()):
            continue  # tests/e2e/test_node_sdk.py says loudly that Node or its packages are not there
        done = await reader.paste(block)
        assert done.code == 0, f"{page}: {block.text}\n{done.out}\n{done.err}"
        assert '"error"' not in done.out, f"{page}: {block.text}\n{done.out}"
        finished.append(done)
    return finished


@NEEDS_CURL
async def test_the_readmes_lines_work_as_they_stand(tmp_path: Path) -> None:
    async with a_reader(tmp_path) as reader:
        curl, python = await paste_all("README.md", reader)
    assert curl.out.rstrip().endswith("data: [DONE]")
    answer, link = python.out.splitlines()
    assert "simulated" in answer
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\S+\.png", link)


@NEEDS_CURL
async def test_the_quickstarts_lines_work_as_they_stand(tmp_path: Path) -> None:
    async with a_reader(tmp_path) as reader:
        finished = await paste_all("docs/quickstart.md", reader)
    told = "\n".join(done.out for done in finished)
    assert "x-gateway-attempts: 2" in told
    assert "This is the key of 'alice'" in told
    assert re.search(r"^demo\S* +gpt-4o ", told, re.M), "usage names what the demo's own key has spent"
    assert 'gateway_failovers_total{from="piapi",model="gpt-4o",reason="cf_524",to="piapi"} 1.0' in told


async def test_the_page_on_pictures_shows_what_its_lines_make(tmp_path: Path) -> None:
    async with a_reader(tmp_path) as reader:
        await paste_all("docs/pictures.md", reader)
    drawn = tmp_path / "clone" / "lighthouse.png"
    with Image.open(drawn) as made, Image.open(ROOT / "docs" / "lighthouse.png") as shown:
        assert made.size == shown.size == (1248, 832)
        assert ImageChops.difference(made.convert("RGB"), shown.convert("RGB")).getbbox() is None


async def test_the_page_on_the_relayed_routes_works_as_it_stands(tmp_path: Path) -> None:
    async with a_reader(tmp_path) as reader:
        finished = await paste_all("docs/routes.md", reader)
    told = finished[-1].out
    assert "2 embeddings of 1536 numbers" in told
    assert "SANDBOX" in told
    assert (tmp_path / "clone" / "said.wav").read_bytes()[:4] == b"RIFF"


def test_the_readme_is_read_in_two_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    assert len(text) <= 9_000
    assert len(set(re.findall(r"\]\((docs/[^)#]+)", text))) >= 4


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_no_page_is_a_stub(page: str) -> None:
    assert len((ROOT / "docs" / page).read_text(encoding="utf-8").split()) >= 80
