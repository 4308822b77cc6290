"""Real clients in environments of their own, driven as their users drive them, against ``piapi-gateway``.

make compatibility                      # installs what is missing, and runs all of it
make compatibility ARGS="-k codex"
make compatibility-results              # the same, and keeps what came of it for docs/compatibility.md
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.compatibility import environments
from tests.compatibility.kept_results import Result, keep, today_text
from tests.compatibility.stage import Stage
from tests.compatibility.table import Client, read_clients
from tests.compatibility.trials import TRIALS, trials_of

pytestmark = [pytest.mark.compatibility, pytest.mark.timeout(600)]


@pytest.mark.parametrize("client", read_clients(), ids=lambda client: client.id)
async def test_a_client_does_its_work(client: Client, tmp_path: Path) -> None:
    """Every call that the table names; all of them are made, also behind one that failed."""
    if not environments.is_made(client):
        pytest.skip(f"{client.name} {client.version} IS NOT INSTALLED and is NOT tested: make compatibility says why")
    results: list[Result] = []
    async with Stage.set_up(client, tmp_path) as stage:
        for api in client.apis:
            results += [await _tried(client, stage, api, name) for name in trials_of(api)]
    if os.environ.get("COMPATIBILITY_RESULTS"):
        keep(client, results)
    failed = {result["call"]: result["note"] for result in results if result["result"] == "failed"}
    assert failed == client.fails


async def _tried(client: Client, stage: Stage, api: str, name: str) -> Result:
    call = f"{api}/{name}"
    if call in client.without:
        return _result(client, call, "not applicable", client.without[call])
    trial = TRIALS[name].fitted(name, client)
    seen = await stage.call(api, trial)
    faults = trial.faults(seen, client, call)
    if not faults:
        return _result(client, call, "passed", "")
    print(call, faults, seen)
    return _result(client, call, "failed", client.fails.get(call, "; ".join(faults)))


def _result(client: Client, call: str, result: str, note: str) -> Result:
    return {
        "client": client.name,
        "version": client.version,
        "date": today_text(),
        "call": call,
        "result": result,
        "note": note,
    }
