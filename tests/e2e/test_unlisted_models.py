"""A model that the catalogue does not name: relayed, booked as unknown, refused where a budget is, then priced."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from gateway.sandbox.faults.missing_models import MISSING_MODELS
from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .harness import ALICE, MESSAGES, PROMPT, Rig, error_of, eventually
from .image_orders import SOURCE

NOVA = "gpt-7-nova"
CHAT = "/v1/chat/completions"

BUDGETED = "gw-dora-888999000111222333"
OF_A_TEAM = "gw-emil-888999000111222444"
FEW = "gw-fred-888999000111222555"

KEYS = f"""
teams: {{growth: {{}}, thrift: {{budget: 100/month}}}}
keys:
  - {{name: alice, team: growth, key: {ALICE}}}
  - {{name: dora, key: {BUDGETED}, budget: 50/month}}
  - {{name: emil, team: thrift, key: {OF_A_TEAM}}}
  - {{name: fred, key: {FEW}, models: ["gpt-4o*"]}}
"""


async def ask(rig: Rig, model: str | None, key: str = ALICE, **fields: Any) -> tuple[int, dict[str, Any], Any]:
    """Status, document, headers of a whole chat answer."""
    document = {"messages": MESSAGES, **fields} | ({} if model is None else {"model": model})
    answer = await rig.post(json.dumps(document).encode(), key=key)
    return answer.status, json.loads(answer.body), answer


def rewrite(rig: Rig, change: dict[str, Any]) -> None:
    """Add to the configuration file."""
    path = rig.folder / "config.yaml"
    document = read_yaml(path.read_text(encoding="utf-8"))
    document.update(change)
    path.write_text(write_yaml(document), encoding="utf-8")


class TestTheWholeStory:
    async def test_relayed_then_refused_on_a_budget_then_priced_by_two_lines(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway(KEYS, ask_for_models=True)
        sdk = rig.openai()
        await eventually(lambda: len(rig.sandbox.listings) == 2, "both lists asked for")

        async def listed(key: str = ALICE) -> bool:
            return NOVA in {one.id async for one in rig.openai(api_key=key).models.list()}

        await eventually(listed, "the model listed")
        assert not await listed(BUDGETED)  # which cannot pay what has no price
        whole = await sdk.chat.completions.with_raw_response.create(model=NOVA, messages=MESSAGES)
        answer = whole.parse()
        assert (answer.model, whole.headers["x-gateway-upstream"]) == (NOVA, "piapi")
        assert "x-gateway-cost-usd" not in whole.headers
        assert answer.usage is not None
        assert answer.usage.completion_tokens > 0

        stream = await sdk.chat.completions.create(
            model=NOVA, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert {chunk.model for chunk in chunks} == {NOVA}
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        for row in await rig.rows(2):
            assert (row.model, row.confidence, row.charged) == (NOVA, "unknown", 0)
        [spent] = await rig.usage("model")
        assert (spent["model"], spent["requests"]) == (NOVA, 2)
        chats = {"route": "/v1/chat/completions", "status": "200"}
        assert (await rig.figures()).total("gateway_requests_total", model="other", **chats) == 2

        refusals = []
        for key in (BUDGETED, OF_A_TEAM):
            with pytest.raises(openai.PermissionDeniedError) as refused:
                await rig.openai(api_key=key).chat.completions.create(model=NOVA, messages=MESSAGES)
            assert (refused.value.code, refused.value.param) == ("model_not_allowed", "model")
            refusals.append(refused.value.body["message"])  # type: ignore[index]
        assert "the key 'dora'" in refusals[0]
        assert "the team 'thrift'" in refusals[1]
        assert len(rig.sandbox.requests) == 2  # nothing was sent for those

        lines = refusals[0][refusals[0].index("models:") :]
        assert len(lines.splitlines()) == 2
        filled = lines.replace("…", "3", 1).replace("…", "11", 1).replace("…", "4", 1).replace("…", "12", 1)
        rewrite(rig, read_yaml(filled))
        assert await rig.gateway.reload() == []

        paid = await rig.openai(api_key=BUDGETED).chat.completions.with_raw_response.create(
            model=NOVA, messages=MESSAGES
        )
        usage = paid.parse().usage
        assert usage is not None
        row = (await rig.rows(3))[-1]
        due = (usage.prompt_tokens * 3_000_000_000 + usage.completion_tokens * 11_000_000_000) // 1_000_000
        assert (row.key, row.model, row.confidence, row.charged) == ("dora", NOVA, "measured", due)
        assert float(paid.headers["x-gateway-cost-usd"]) == pytest.approx(due / 1e9)
        assert await listed(BUDGETED)
        assert (await rig.figures()).total("gateway_requests_total", model=NOVA, status="200") == 1


class TestUnlisted:
    async def test_goes_on_to_the_backup_where_piapi_does_not_have_it(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway()
        for number, name in enumerate(MISSING_MODELS):
            for stream in (False, True):
                model = f"gpt-new-{number}-{stream}"
                rig.sandbox.script(name, role="api")
                answer = await rig.chat(model=model, stream=stream)
                assert (answer.status, answer.header("x-gateway-upstream")) == (200, "backup"), name
                assert model.encode() in answer.body
        status, _, answer = await ask(rig, "gpt-4o")  # nothing is held against the host
        assert (status, answer.header("x-gateway-upstream")) == (200, "piapi")

    async def test_that_nobody_has_is_404_in_the_last_upstreams_words(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway()
        for _ in range(2):  # also while it is remembered that they do not have it
            status, document, answer = await ask(rig, "nonsense-1")
            error = document["error"]
            assert (status, error["type"], error["code"], error["param"]) == (
                404,
                "invalid_request_error",
                "model_not_found",
                "model",
            )
            assert "The model `nonsense-1` does not exist or you do not have access to it." in error["message"]
            assert answer.header("x-should-retry") == "false"
            assert answer.header("x-gateway-attempts") == "2"

    async def test_fails_over_and_is_booked_as_any_chat(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway()
        rig.sandbox.script("server_error", role="api")
        rig.sandbox.script("cut_early", role="proxy")
        status, document, answer = await ask(rig, NOVA)
        assert (status, document["model"], answer.header("x-gateway-upstream")) == (200, NOVA, "backup")
        assert (await rig.row()).model == NOVA

    async def test_is_asked_of_the_named_upstreams_only(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway("default_route: [backup]")
        status, _, answer = await ask(rig, NOVA)
        assert (status, answer.header("x-gateway-upstream")) == (200, "backup")
        assert [request.role for request in rig.sandbox.requests] == ["backup"]

    async def test_is_404_without_a_default_route(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway("default_route: []")
        status, document, _ = await ask(rig, NOVA)
        assert (status, document["error"]["code"]) == (404, "model_not_found")
        assert rig.sandbox.requests == []

    async def test_is_404_on_a_picture_route(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway()
        with pytest.raises(openai.NotFoundError) as refused:
            await rig.openai().images.generate(model="gpt-image-77", prompt="a bear")
        assert refused.value.code == "model_not_found"
        assert rig.sandbox.requests == []

    async def test_is_only_for_keys_that_may_use_the_name(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway(KEYS)
        for model, expected in (
            (NOVA, 403),
            ("gpt-4o-unheard-of", 200),
            ("openai/gpt-4o", 200),
            ("gpt-4o-2024-08-06", 200),
            ("gpt-4o/gpt-4.1", 403),
            ("gpt-4o-x/claude-sonnet-4-20250514", 403),
            ("openai/gpt-4.1", 403),
        ):
            status, _, _ = await ask(rig, model, key=FEW)
            assert status == expected, model

    @pytest.mark.parametrize("model", ["gpt-7-*", "*", "a" * 257, "gpt 7", "gpt-7\n"])
    async def test_that_is_no_name_is_not_relayed(self, gateway: StartGateway, model: str) -> None:
        rig: Rig = await gateway()
        status, document, _ = await ask(rig, model)
        assert status in (400, 404)
        assert document["error"]["param"] == "model"
        assert rig.sandbox.requests == []


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "openai/gpt-4o",
            "azure/gpt-4o",
            "gpt-4o-2024-08-06",
            "gpt-4o-20240806",
            "gpt-4o@2024-08-06",
            "gpt-4o-latest",
            "openai/gpt-4o-2024-11-20",
            "GPT-4o",
            "OpenAI/GPT-4O",
        ],
    )
    async def test_mean_the_model_with_its_targets_and_price(self, gateway: StartGateway, name: str) -> None:
        rig: Rig = await gateway(KEYS)
        status, document, answer = await ask(rig, name, key=BUDGETED)
        assert (status, document["model"]) == (200, "gpt-4o")  # what the upstream says it is
        assert answer.header("x-gateway-cost-usd") is not None
        [request] = rig.sandbox.requests
        assert request.json["model"] == "gpt-4o"
        row = await rig.row()
        assert (row.model, row.confidence) == ("gpt-4o", "measured")

    async def test_of_picture_models_are_meant_on_every_route(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway()
        sdk = rig.openai()
        for name in ("openai/gpt-image-2", "gpt-image-2-2026-04-21", "GPT-Image-2"):
            assert (await sdk.images.generate(model=name, prompt="a bear")).data
        body = {"model": "piapi/Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a bear"}}
        async with rig.client() as client:
            await client.ask(json.dumps(body).encode(), ALICE, target="/api/v1/task")
            answer = await client.rest(await client.head())
        assert answer.status == 200
        rows = await rig.rows(4)
        assert [row.model for row in rows] == ["gpt-image-2"] * 3 + ["Qubico/flux1-schnell"]


class TestARequestWithoutAModel:
    @pytest.mark.parametrize("given", [{}, {"model": None}, {"model": ""}])
    async def test_gets_the_default(self, gateway: StartGateway, given: dict[str, Any]) -> None:
        rig: Rig = await gateway("default_models: {chat: gpt-4o-mini, images: gpt-image-2}")
        answer = await rig.post(json.dumps({"messages": MESSAGES, **given}).encode())
        status, document = answer.status, answer.json()
        assert (status, document["model"]) == (200, "gpt-4o-mini")
        assert rig.sandbox.requests[0].json["model"] == "gpt-4o-mini"
        assert (await rig.row()).model == "gpt-4o-mini"

    async def test_gets_the_default_picture_model_by_json_and_form(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway("default_models: {images: gpt-image-2}")
        sdk = rig.openai()
        assert (await sdk.images.generate(prompt="a bear")).data
        assert (await sdk.images.edit(image=SOURCE, prompt="a bigger bear")).data
        assert [row.model for row in await rig.rows(2)] == ["gpt-image-2"] * 2

    @pytest.mark.parametrize(("path", "kind"), [(CHAT, "chat"), ("/v1/images/generations", "images")])
    async def test_is_refused_with_the_line_that_would_help(self, gateway: StartGateway, path: str, kind: str) -> None:
        rig: Rig = await gateway()
        body = json.dumps({"messages": MESSAGES, "prompt": PROMPT}).encode()
        async with rig.client() as client:
            await client.ask(body, ALICE, target=path)
            answer = await client.rest(await client.head())
        error = error_of(answer.json())
        assert (answer.status, error["code"], error["param"]) == (400, "missing_required_parameter", "model")
        assert f"default_models: {{{kind}: " in error["message"]

    async def test_gets_a_default_that_a_reload_brings(self, gateway: StartGateway) -> None:
        rig: Rig = await gateway()
        assert (await ask(rig, None))[0] == 400
        rewrite(rig, {"default_models": {"chat": NOVA}})
        assert await rig.gateway.reload() == []
        status, document, _ = await ask(rig, None)
        assert (status, document["model"]) == (200, NOVA)
        await eventually(lambda: len(rig.sandbox.requests) == 1, "one request upstream")


async def test_a_budget_pays_for_what_has_no_price_where_that_is_allowed(gateway: StartGateway) -> None:
    rig: Rig = await gateway(KEYS + "\nallow_unpriced: true")
    status, _, answer = await ask(rig, NOVA, key=BUDGETED)
    assert (status, answer.header("x-gateway-cost-usd")) == (200, None)
    row = await rig.row()
    assert (row.key, row.confidence, row.charged) == ("dora", "unknown", 0)
