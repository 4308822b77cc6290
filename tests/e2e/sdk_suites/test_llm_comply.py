"""llm-comply's checks of an API's form, against a gateway in front of the sandbox: all of them pass, none is skipped.

Its checks of reasoning are for models of certain names, so o3 is asked. In responses the model's thoughts are not told:
the events of thoughts have other names in llm-comply's specification than OpenAI and its SDKs give them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.e2e.conftest import StartGateway
from tests.e2e.harness import ALICE, Rig

from .environment import REQUIREMENTS, is_made, program
from .results import keep

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(("form", "model", "checks"), [("openai-chat", "reasoning", 9), ("open-responses", "ok", 13)])
async def test_all_checks_pass(form: str, model: str, checks: int, gateway: StartGateway) -> None:
    """``model``: how the sandbox plays it."""
    if not is_made():
        pytest.skip("run python -m tests.e2e.sdk_suites.environment first: llm-comply is NOT RUN")
    rig = await gateway()
    rig.for_all_roles(model)
    report = await comply(rig, form)
    keep(f"llm-comply-{form}", "llm-comply", version(), lambda around: rows(report, form, around))
    wrong = {check["name"]: check for check in report["results"] if check["status"] != "passed"}
    assert wrong == {}
    assert report["summary"] == {"total": checks, "passed": checks, "failed": 0, "skipped": 0}


async def comply(rig: Rig, form: str) -> Any:
    """What llm-comply says of a form."""
    command = [str(program("llm-comply")), "--json", "-u", rig.url, "-k", ALICE, "-m", "o3", "--format", form]
    process = await asyncio.create_subprocess_exec(
        *command, env={}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaints = await process.communicate()
    assert said, complaints
    return json.loads(said)


def version() -> str:
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("llm-comply==")).removeprefix("llm-comply==").rstrip(" \\")


def rows(report: Any, form: str, around: Mapping[str, str]) -> Iterable[dict[str, str]]:
    for check in report["results"]:
        note = "; ".join(check.get("errors") or check.get("warnings") or ())
        yield {**around, "call": f"{form}: {check['name']}", "result": check["status"], "note": note}
