"""The SDKs' own test suites, as their sdists have them, against a gateway in front of the sandbox.

An SDK's tests run in a process of its own, with its conftest and its strict reading of answers. What does not apply is
in openai.toml and anthropic.toml, with a reason; anything else must pass.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.e2e.books import read_rows
from tests.e2e.conftest import StartGateway
from tests.e2e.harness import ALICE, Rig

from .differences import Differences, Test
from .environment import FOLDER, Sdk, is_made, program, read_sdks
from .results import keep

pytestmark = pytest.mark.timeout(600)

CONFIG = "{default_models: {chat: gpt-4o, images: gpt-image-1}, limits: {event: 32MiB}}"


@pytest.mark.parametrize("sdk", read_sdks(), ids=lambda sdk: sdk.id)
async def test_an_sdks_own_tests_pass_or_are_listed(sdk: Sdk, gateway: StartGateway, tmp_path: Path) -> None:
    if not (is_made() and sdk.is_fetched):
        pytest.skip(f"run python -m tests.e2e.sdk_suites.environment first: {sdk.id}'s own tests are NOT RUN")
    rig = await gateway(CONFIG)
    folder = await asyncio.to_thread(sdk.unpack, tmp_path)
    differences = Differences.read(FOLDER / sdk.differences, sdk.version)
    problems = differences.adapt(folder / "tests" / "api_resources")
    tests = await run(sdk, folder, rig)
    problems += [*differences.judge(tests), *failed_behind(rig)]
    keep(sdk.id, f"{sdk.name}-python's own tests", sdk.version, lambda around: differences.rows(tests, around))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


async def run(sdk: Sdk, folder: Path, rig: Rig) -> list[Test]:
    """Run an SDK's tests in a process of its own, once. Returns what came of each."""
    notes = folder / "notes.jsonl"
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(map(str, (folder / "src", FOLDER / "inside"))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TEST_API_BASE_URL": rig.gateway.main_url if sdk.name == "anthropic" else rig.url,
        "SUITE_KEY": ALICE,
        "SUITE_NOTES": str(notes),
    }
    command = [str(program("python")), "-m", "pytest", "-p", "sdk_suite", "-o", "addopts=", "-q", "--tb=line"]
    command += ["-p", "no:cacheprovider", "-p", "no:logging"]
    command += [f"tests/api_resources/{name}" for name in sdk.tests]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    words = said.decode(errors="replace")
    assert process.returncode in (0, 1), words[-4000:]  # some failed, or none: the suite was collected and run
    return [
        Test(note["test"], note["outcome"], note["said"])
        for note in map(json.loads, notes.read_text(encoding="utf-8").splitlines())
    ]


def failed_behind(rig: Rig) -> list[str]:
    """What went wrong without the SDK seeing it: a response that is made in the background fails after its answer."""
    rows = [row for row in read_rows(rig.folder / "gateway.db") if row.state != "open" and row.outcomes]
    ends = {(row.model, row.outcomes[-1]) for row in rows}
    ends = {(model, end) for model, end in ends if end != "ok" and not end.startswith("client_gone")}
    return [f"failed: {model} at an upstream: {end}" for model, end in sorted(ends)]
