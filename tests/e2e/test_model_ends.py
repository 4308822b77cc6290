"""A model whose last day is over, as clients see it: what still serves it, what they are told, what is listed."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import openai
import pytest

from tests.days import TODAY, in_days, move_to
from tests.yaml_text import write_yaml

from .conftest import StartGateway
from .harness import ALICE, Rig

YESTERDAY, TOMORROW = in_days(-1), in_days(1)


def models(entries: dict[str, Any]) -> str:
    """Overrides with these models, each a list of targets, or an entry."""
    full = {name: {"targets": one} if isinstance(one, list) else one for name, one in entries.items()}
    return write_yaml({"models": full})


def ended(upstream: str = "backup", **more: Any) -> dict[str, Any]:
    return {"upstream": upstream, "shutdown": YESTERDAY, "successor": "gpt-6-luna", **more}


def told(error: openai.APIStatusError, model: str, successor: str = "gpt-6-luna") -> None:
    """It is the 404 for a model that ended, by the name that was asked for."""
    assert isinstance(error, openai.NotFoundError)
    assert (error.code, error.param) == ("model_not_found", "model")
    assert f"'{model}'" in error.message
    assert f"'{successor}'" in error.message
    assert YESTERDAY in error.message


async def test_a_target_past_its_day_is_skipped(gateway: StartGateway) -> None:
    rig = await gateway(models({"ours": [ended("piapi"), {"upstream": "backup", "model": "gpt-4o"}]}))
    answer = await rig.chat(model="ours")
    assert answer.status == 200
    assert (await rig.row()).upstream == "backup"
    assert not [request for request in rig.sandbox.requests if request.role != "backup"]


async def test_a_target_is_asked_on_its_last_day(gateway: StartGateway) -> None:
    rig = await gateway(models({"ours": [ended(shutdown=TODAY.isoformat(), model="gpt-4o")]}))
    assert (await rig.chat(model="ours")).status == 200
    await rig.row()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["ours", "our-alias", "many-x"])
async def test_a_chat_model_that_is_gone_names_its_successor(gateway: StartGateway, name: str, stream: bool) -> None:
    both = [ended(), ended("piapi", shutdown=in_days(-9), successor="older")]
    rig = await gateway(models({"ours": {"targets": both, "aliases": ["our-alias"]}, "many-*": [ended()]}))
    with pytest.raises(openai.APIStatusError) as raised:
        await rig.openai().chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Hello"}], stream=stream
        )
    told(raised.value, name)
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("name", ["ours", "our-alias"])
async def test_a_picture_model_that_is_gone_names_its_successor(gateway: StartGateway, name: str) -> None:
    gone = ended(operation="images", model="gpt-image-1", successor="gpt-image-2.6-flare")
    rig = await gateway(models({"ours": {"targets": [gone], "aliases": ["our-alias"]}}))
    with pytest.raises(openai.APIStatusError) as raised:
        await rig.openai().images.generate(model=name, prompt="a lighthouse")
    told(raised.value, name, "gpt-image-2.6-flare")
    with pytest.raises(openai.APIStatusError) as raised:  # a picture ordered by chat, too
        await rig.openai().chat.completions.create(model=name, messages=[{"role": "user", "content": "a lighthouse"}])
    told(raised.value, name, "gpt-image-2.6-flare")
    assert rig.sandbox.requests == []


async def test_a_task_model_that_is_gone_names_its_successor(gateway: StartGateway) -> None:
    gone = ended("piapi", operation="task", model="Qubico/flux1-schnell", successor="flux-dev")
    rig = await gateway(models({"flux-schnell": [gone]}))
    with pytest.raises(openai.APIStatusError) as raised:
        await rig.openai().images.generate(model="flux-schnell", prompt="a lighthouse")
    told(raised.value, "flux-schnell", "flux-dev")
    order = {"model": "flux-schnell", "task_type": "txt2img", "input": {"prompt": "a lighthouse"}}
    async with rig.client() as client:
        await client.ask(json.dumps(order).encode(), target="/api/v1/task")
        answer = await client.rest(await client.head())
    assert answer.status == 404
    assert "flux-dev" in answer.body.decode()
    assert rig.sandbox.requests == []


async def test_a_model_that_is_gone_is_not_listed(gateway: StartGateway) -> None:
    rig = await gateway(models({"ours": [ended()], "kept": [ended(shutdown=TOMORROW)]}))
    names = {model.id async for model in rig.openai().models.list()}
    assert "ours" not in names
    assert {"kept", "gpt-4o", "gpt-6-luna", "gpt-image-1"} <= names
    with pytest.raises(openai.APIStatusError) as raised:
        await rig.openai().models.retrieve("ours")
    told(raised.value, "ours")


async def test_a_key_that_may_not_use_it_is_told_nothing_of_it(gateway: StartGateway) -> None:
    rig = await gateway(
        write_yaml({"keys": [{"name": "alice", "team": "growth", "key": ALICE, "models": ["gpt-4o"]}]})
        + models({"ours": [ended()]})
    )
    answer = await rig.chat(model="ours")
    assert (answer.status, answer.error()["code"]) == (403, "model_not_allowed")


async def test_an_end_comes_while_the_gateway_runs(gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await gateway(models({"ours": [ended(shutdown=TOMORROW, model="gpt-4o")]}))
    assert (await rig.chat(model="ours")).status == 200
    await rig.row()
    move_to(TODAY + timedelta(days=1), monkeypatch)
    assert (await rig.chat(model="ours")).status == 200
    move_to(TODAY + timedelta(days=2), monkeypatch)
    assert "ours" not in {model.id async for model in rig.openai().models.list()}
    answer = await rig.chat(model="ours")
    assert (answer.status, answer.error()["code"]) == (404, "model_not_found")


class TestTheCatalogue:
    """What OpenAI has shut down, or soon will."""

    async def test_asks_piapi_alone_once_openais_gpt_4o_is_gone(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move_to(date(2027, 1, 15), monkeypatch)
        rig = await gateway()
        rig.for_all_roles("overloaded")
        assert (await rig.chat(model="gpt-4o")).status >= 500
        assert {request.role for request in rig.sandbox.requests} == {"api", "proxy"}

    async def test_without_piapi_names_the_successor(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move_to(date(2027, 1, 15), monkeypatch)
        rig = await gateway("upstreams: {piapi: {keys: []}}")
        for model, successor in (
            ("gpt-4o", "gpt-6-luna"),
            ("gpt-4.1-nano", "gpt-6-luna"),
            ("gpt-3.5-turbo", "gpt-6-luna"),
            ("gpt-5", "gpt-6.1-sol"),
        ):
            answer = await rig.chat(model=model)
            assert answer.status == 404
            assert f"Ask for '{successor}' instead" in answer.error()["message"]
        listed = {model.id async for model in rig.openai().models.list()}
        assert "gpt-6-luna" in listed
        assert not {"gpt-4o", "gpt-5", "gpt-3.5-turbo", "gpt-image-1-mini"} & listed

    async def test_has_a_stand_in_for_pictures(self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
        move_to(date(2027, 1, 15), monkeypatch)
        rig = await gateway("upstreams: {piapi: {keys: []}}")
        for number, model in enumerate(("gpt-image-1", "gpt-image-1.5", "gpt-4o-image"), 1):
            await rig.openai().images.generate(model=model, prompt="a lighthouse")
            assert rig.sandbox.requests[-1].json["model"] == "gpt-image-2.6-flare"
            await rig.rows(number)

    @pytest.mark.parametrize(
        "name", ["gpt-5.6", "gpt-5.6-sol", "gpt-chat-latest", "chat-latest", "gpt-6.2-astra", "gpt-6-luna"]
    )
    async def test_serves_the_models_of_today(self, gateway: StartGateway, name: str) -> None:
        rig = await gateway()
        answer = await rig.chat(model=name)
        assert answer.status == 200
        assert rig.sandbox.requests[-1].role == "backup"
        await rig.row()


class TestTheLog:
    async def lines(self, rig: Rig, event: str, model: str, count: int) -> list[dict[str, Any]]:
        await rig.log_lines(event)
        lines = [line for line in await rig.log_lines(event) if line["model"] == model]
        assert len(lines) == count
        return lines

    async def test_warns_once_at_the_start_and_after_a_reload(self, gateway: StartGateway) -> None:
        soon = ended(shutdown=in_days(10))
        rig = await gateway(models({"ours": [soon, {**soon, "model": "gpt-4o"}], "gone": [ended()]}))
        (line,) = await self.lines(rig, "model_ends", "ours", 1)
        assert (line["level"], line["shutdown"], line["successor"]) == ("info", in_days(10), "gpt-6-luna")
        assert "in 10 days" in line["message"]
        await self.lines(rig, "model_ended", "gone", 1)
        (warning,) = await rig.log_lines("models_end")
        assert (warning["level"], warning["shutdown"]) == ("warning", in_days(2)), "the nearest, which is built in"
        assert await rig.gateway.reload() == []
        await rig.log_lines("config_reloaded")
        await self.lines(rig, "model_ends", "ours", 2)
        await self.lines(rig, "model_ended", "gone", 2)
        assert len(await rig.log_lines("models_end", 2)) == 2

    async def test_says_nothing_of_what_has_thirty_one_days(self, gateway: StartGateway) -> None:
        rig = await gateway(models({"ours": [ended(shutdown=in_days(31))]}))
        await rig.log_lines("model_ends")
        assert not [line for line in await rig.log_lines("model_ends") if line["model"] == "ours"]


async def test_a_scrape_says_how_old_the_prices_are(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await rig.figures()).total("gateway_catalogue_age_days") == 0
    move_to(TODAY + timedelta(days=100), monkeypatch)
    assert (await rig.figures()).total("gateway_catalogue_age_days") == 100
