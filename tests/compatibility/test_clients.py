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
    results = []
    async with Stage.set_up(client, tmp_path) as stage:
        for api in client.apis:
            for name in trials_of(api):
                call = f"{api}/{name}"
                if call in client.without:
                    results.append(_result(client, call, "not applicable", client.without[call]))
                    continue
                seen = await stage.call(api, TRIALS[name])
                faults = TRIALS[name].faults(seen, chatty=client.chatty, retries=client.retries)
                if faults:
                    print(call, faults, seen)
                results.append(_result(client, call, "failed" if faults else "passed", "; ".join(faults)))
    if os.environ.get("COMPATIBILITY_RESULTS"):
        keep(client, results)
    assert [result for result in results if result["result"] == "failed"] == []


def _result(client: Client, call: str, result: str, note: str) -> Result:
    return {
        "client": client.name,
        "version": client.version,
        "date": today_text(),
        "call": call,
        "result": result,
        "note": note,
    }
