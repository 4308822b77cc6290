"""``status``: a running gateway at a glance, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.status import read_status
from gateway.config import load
from gateway.core.errors import OperatorError
from gateway.sandbox import Sandbox
from gateway.sandbox.chat.models import MODELS
from tests.e2e.harness import eventually
from tests.process.running import settings, write

from .in_process import NOWHERE, command, done, obeyed, one_line, serving


async def test_a_running_gateway_at_a_glance(folder: Path, sandbox: Sandbox) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        seen = await done("status", *gateway.meet)
        scripted = json.loads(await done("status", "--json", *gateway.meet))
    assert "serving, 0 in flight" in seen
    assert {"models", "listed_at", "asked_at", "reason"} == scripted["upstreams"][0]["model_list"].keys()
    for word in (sandbox.urls["api"], "first", "second", "closed"):
        assert word in seen
    assert scripted["store"] == str((folder / "gateway.db").resolve())
    assert [upstream["name"] for upstream in scripted["upstreams"]] == ["piapi", "backup"]


async def test_one_whose_store_is_gone_is_not_said_to_serve(
    folder: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        monkeypatch.setattr(gateway.gateway._store.ledger, "usable", lambda: False)
        seen = await done("status", *gateway.meet)
    assert "refusing requests, as its store is gone, 0 in flight" in seen


async def test_what_upstreams_list_is_shown_once_they_were_asked(folder: Path, sandbox: Sandbox) -> None:
    sandbox.script("model_list_none", role="api", times=None)
    sandbox.script("model_list_none", role="proxy", times=None)
    async with serving(folder, settings(sandbox, folder)) as gateway:
        await eventually(lambda: gateway.events("models_listed") != [], "a list")
        while "answered 404" not in (seen := await done("status", *gateway.meet)):
            pass
    [backup] = [line.split() for line in seen.splitlines() if line.split()[:2] == ["backup", str(len(MODELS))]]
    assert backup[2].endswith("Z")


def test_no_gateway_is_told_with_where_it_was_looked_for(folder: Path) -> None:
    write(folder, {"admin": NOWHERE})
    told = one_line(obeyed("status"), 1)
    assert "no gateway answers at http://127.0.0.1:1/" in told
    assert "is it running, with this configuration?" in told


async def test_status_of_something_else_is_told_plainly(folder: Path, sandbox: Sandbox) -> None:
    """The port of the admin listener may be another program's."""
    path = write(folder, {"admin": {"listen": sandbox.url.removeprefix("http://")}})
    sandbox.set_default("html_200")
    assert "not as this gateway does; what listens there?" in one_line(await command("status"), 1)
    for scenario in ("status;code=404", "bad_json", "soft_error", "reset_before_head"):
        sandbox.set_default(scenario)
        with pytest.raises(OperatorError, match="/admin/v1/upstreams"):
            await read_status(load(path, {}))
