"""What upstreams list, from end to end: shown by the official SDK, asked for in the background, in nobody's way."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.chat.models import BORN, MODELS

from .conftest import StartGateway
from .harness import BACKUP_KEY, FLUX_ONLY, PIAPI_KEY, Rig, eventually, get

BOB = "gw-bob-123123123123123123"
WITH_BUDGET = f"""
keys: [{{name: bob, key: {BOB}, budget: 50/month}}]
"""


@pytest.fixture(autouse=True)
def relaying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that the catalogue does not name are relayed along both upstreams."""
    monkeypatch.setattr("gateway.app.model_lists.relaying", lambda config: ("piapi", "backup"))


async def upstreams(rig: Rig) -> dict[str, dict[str, Any]]:
    """What ``status`` shows of each upstream's list."""
    described = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/upstreams"))
    return {one["name"]: one["model_list"] for one in described["upstreams"]}


async def until_asked(rig: Rig) -> dict[str, dict[str, Any]]:
    async def asked() -> bool:
        return all(one["asked_at"] for one in (await upstreams(rig)).values())

    await eventually(asked, "both upstreams asked")
    return await upstreams(rig)


async def test_the_sdk_sees_the_catalogue_and_what_is_listed(sandbox: Sandbox, gateway: StartGateway) -> None:
    sandbox.script("model_list;id=vendor/new-model;owner=the-vendor;shutdown=2099-06-30", role="backup", times=None)
    sandbox.script("model_list_none", role="api", times=None)
    sandbox.script("model_list_none", role="proxy", times=None)
    rig = await gateway(ask_for_models=True)
    listed = await until_asked(rig)
    assert (listed["piapi"]["models"], listed["piapi"]["reason"]) == (None, "answered 404")
    assert (listed["backup"]["models"], listed["backup"]["reason"]) == (len(MODELS) + 1, None)

    sdk = rig.openai()
    models = {model.id: model async for model in await sdk.models.list()}
    new = models["vendor/new-model"]
    assert (new.object, new.created, new.owned_by, new.shutdown_date) == ("model", BORN, "the-vendor", "2099-06-30")
    assert models["gpt-4o"].owned_by == "openai"
    assert models["claude-sonnet-4-20250514"].owned_by == "anthropic"
    assert models["Qubico/flux1-dev"].owned_by == "black-forest-labs"
    assert not [name for name in models if "*" in name]
    assert all(isinstance(model.created, int) and model.owned_by for model in models.values())
    assert await sdk.models.retrieve("vendor/new-model") == new
    with pytest.raises(openai.NotFoundError) as missing:
        await sdk.models.retrieve("vendor/newer-model")
    assert missing.value.code == "model_not_found"
    assert [model.id async for model in await rig.openai(api_key=FLUX_ONLY).models.list() if "vendor" in model.id] == []
    assert {(one.role, one.key) for one in sandbox.listings} == {
        ("api", PIAPI_KEY),
        ("proxy", PIAPI_KEY),
        ("backup", BACKUP_KEY),
    }
    assert sandbox.requests == []
    assert (await rig.figures()).total("gateway_upstream_attempts_total") == 0


async def test_a_key_with_a_budget_sees_what_it_can_use(sandbox: Sandbox, gateway: StartGateway) -> None:
    sandbox.script("model_list;id=new-model", role="backup", times=None)
    rig = await gateway(WITH_BUDGET, ask_for_models=True)
    await until_asked(rig)
    sdk = rig.openai(api_key=BOB)
    seen = [model.id async for model in await sdk.models.list()]
    assert "gpt-4o" in seen
    assert "new-model" not in seen
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("new-model")


async def test_with_unpriced_models_allowed_it_sees_them_too(sandbox: Sandbox, gateway: StartGateway) -> None:
    sandbox.script("model_list;id=new-model", role="backup", times=None)
    rig = await gateway(f"{WITH_BUDGET}allow_unpriced: true", ask_for_models=True)
    await until_asked(rig)
    assert (await rig.openai(api_key=BOB).models.retrieve("new-model")).id == "new-model"


async def test_a_day_that_is_over_by_the_backups_own_list_takes_it_off_the_route(
    sandbox: Sandbox, gateway: StartGateway
) -> None:
    sandbox.script("model_list;id=gpt-4o;shutdown=2026-01-14", role="backup", times=None)
    rig = await gateway(ask_for_models=True)
    await until_asked(rig)
    [line] = await rig.log_lines("model_shut_down")
    assert (line["level"], line["upstream"], line["model"], line["shutdown_date"]) == (
        "warning",
        "backup",
        "gpt-4o",
        "2026-01-14",
    )
    sandbox.script("status;code=503", role="api", times=None)
    sandbox.script("status;code=503", role="proxy", times=None)
    assert (await rig.chat()).status == 502
    assert {request.role for request in sandbox.requests} == {"api", "proxy"}
    assert (await rig.openai().models.retrieve("gpt-4o")).shutdown_date is None, "PiAPI names no day"


@pytest.mark.parametrize("day", ["tomorrow", "0000-00-00", "1970-01-01", "2027-02-30"])
async def test_a_day_that_is_none_switches_nothing_off(sandbox: Sandbox, gateway: StartGateway, day: str) -> None:
    sandbox.script(f"model_list;id=gpt-4o;shutdown={day}", role="backup", times=None)
    rig = await gateway(ask_for_models=True)
    await until_asked(rig)
    sandbox.script("status;code=503", role="api", times=None)
    sandbox.script("status;code=503", role="proxy", times=None)
    assert (await rig.chat()).status == 200


@pytest.mark.parametrize(
    "fault",
    [
        "html_200",
        "key_invalid",
        "key_forbidden",
        "rate_limited",
        "server_error",
        "redirect",
        "bad_json",
        "garbage",
        "reset_before_head",
        "cf_524",
        "soft_error",
    ],
)
async def test_a_list_that_cannot_be_had_is_no_error(sandbox: Sandbox, gateway: StartGateway, fault: str) -> None:
    sandbox.script(f"{fault};path=/v1/models", times=None)
    rig = await gateway(ask_for_models=True)
    listed = await until_asked(rig)
    assert [one["models"] for one in listed.values()] == [None, None]
    assert all(one["reason"] for one in listed.values())
    lines = await rig.log_lines("models_not_listed", 2)
    assert sorted((line["level"], line["upstream"]) for line in lines) == [("debug", "backup"), ("debug", "piapi")]
    described = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/upstreams"))["upstreams"]
    assert {place["breaker"] for one in described for place in one["endpoints"]} == {"closed"}
    assert {key["cooling"] for one in described for key in one["keys"]} == {None}
    assert (await rig.figures()).total("gateway_upstream_attempts_total") == 0
    assert "gpt-4o" in [model.id async for model in await rig.openai().models.list()]
    assert (await rig.chat(stream=True)).payloads[-1] == b"[DONE]"
    bad = {line["event"] for line in rig._read_log() if line["level"] in ("warning", "error")}
    assert bad <= {"model_ends", "model_ended"}, "the catalogue's own ends, and no word of lists"


@pytest.mark.parametrize("fault", ["stall_head;path=/v1/models", "model_list_slow"])
async def test_a_silent_list_delays_nothing(sandbox: Sandbox, gateway: StartGateway, fault: str) -> None:
    """Start, requests, a reload and, at the end of the test, the shutdown, all while both lists hang."""
    sandbox.script(fault, times=None)
    rig = await gateway(ask_for_models=True)
    await eventually(lambda: len(sandbox.listings) == 2, "both lists asked for")
    assert (await rig.chat()).status == 200
    assert "gpt-4o" in [model.id async for model in await rig.openai().models.list()]
    assert await rig.gateway.reload() == []
    assert {one.ending for one in sandbox.listings} == {"running"}
    assert [one["asked_at"] for one in (await upstreams(rig)).values()] == [None, None]


async def test_a_reload_with_another_key_asks_again_with_it(sandbox: Sandbox, gateway: StartGateway) -> None:
    rig = await gateway(ask_for_models=True)
    await until_asked(rig)
    before = len(sandbox.listings)
    path = rig.folder / "config.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(BACKUP_KEY, "sk-another-backup-key"), encoding="utf-8")
    assert await rig.gateway.reload() == []
    await eventually(lambda: len(sandbox.listings) > before, "the list asked for again")
    assert [(one.role, one.key) for one in sandbox.listings[before:]] == [("backup", "sk-another-backup-key")]
    assert await rig.gateway.reload() == []
    assert (await rig.chat()).status == 200
    assert len(sandbox.listings) == before + 1, "nothing changed, nothing asked"


async def test_a_base_url_with_v1_is_understood(sandbox: Sandbox, gateway: StartGateway) -> None:
    backup = f"{sandbox.urls['backup']}/v1"
    rig = await gateway(f"upstreams: {{backup: {{endpoints: [{{url: '{backup}'}}]}}}}", ask_for_models=True)
    assert (await until_asked(rig))["backup"]["models"] == len(MODELS)


async def test_it_can_be_left_unasked(rig: Rig, sandbox: Sandbox) -> None:
    assert (await rig.chat()).status == 200
    assert sandbox.listings == []
