"""Prices that change while a gateway runs: each request keeps the one it began with; what has none is seen as such."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import Rig, eventually

CHEAP, DEAR = {"input": 1, "output": 2}, {"input": 10, "output": 20}

OWN_MODELS = """
models:
  gpt-priced: {targets: [{upstream: piapi, price: {input: 1, output: 2}}]}
  gpt-free: {targets: [{upstream: piapi, price: {input: 0, output: 0}}]}
  gpt-dark: {targets: [{upstream: piapi}]}
  gpt-half: {targets: [{upstream: piapi, price: {input: 1}}]}
  painter-dark: {targets: [{upstream: backup, model: gpt-image-9, operation: images}]}
"""

AS_WRITTEN = "input: 1\n        output: 2"
"""The price of ``gpt-priced`` in the rig's file."""


async def reprice(rig: Rig, old: str, new: str) -> None:
    path = rig.folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert await rig.gateway.reload() == []


async def by_model(rig: Rig, fields: str = "model") -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in await rig.usage(fields)}


def booked(row: dict[str, Any]) -> list[tuple[Any, int]]:
    return [(one["price"], one["requests"]) for one in row["prices"]]


def due(row: Any, price: dict[str, int]) -> int:
    return int(row.input_tokens * price["input"] * 1000 + row.output_tokens * price["output"] * 1000)


class TestANewPrice:
    async def test_holds_from_the_reload_on_and_old_rows_keep_theirs(self, gateway: StartGateway) -> None:
        rig = await gateway(OWN_MODELS)
        await rig.chat(model="gpt-priced")
        await rig.rows(1)
        await reprice(rig, AS_WRITTEN, AS_WRITTEN.replace("1", "10").replace("2", "20"))
        for _ in range(2):
            await rig.chat(model="gpt-priced")
        first, *later = await rig.rows(3)
        assert first.charged == due(first, CHEAP)
        assert [row.charged for row in later] == [due(row, DEAR) for row in later]
        for _ in range(2):  # the second time after a restart
            row = (await by_model(rig))["gpt-priced"]
            assert booked(row) == [(DEAR, 2), (CHEAP, 1)]
            places = {(one["upstream"], one["model"], one["tier"]) for one in row["prices"]}
            assert places == {("piapi", "gpt-priced", None)}
            assert [one["from"] <= row["prices"][0]["from"] for one in row["prices"]] == [True, True]
            assert round(row["cost_usd"] * 1e9) == sum(one.charged for one in (first, *later))
            assert row["more_prices"] == 0
            await rig.restart()

    @pytest.mark.parametrize("stream", [True, False])
    async def test_what_runs_meanwhile_keeps_the_price_it_began_with(self, gateway: StartGateway, stream: bool) -> None:
        rig = await gateway(OWN_MODELS)
        rig.for_all_roles("slow;delay=0.4")
        async with asyncio.TaskGroup() as running:
            asked = running.create_task(rig.chat(model="gpt-priced", stream=stream))
            await eventually(lambda: bool(rig.sandbox.requests), "the request upstream")
            await reprice(rig, AS_WRITTEN, AS_WRITTEN.replace("1", "10").replace("2", "20"))
        assert asked.result().status == 200
        row = await rig.row()
        assert row.charged == due(row, CHEAP)
        assert booked((await by_model(rig))["gpt-priced"]) == [(CHEAP, 1)]

    async def test_a_price_that_is_taken_away_and_one_that_comes(self, gateway: StartGateway) -> None:
        rig = await gateway(OWN_MODELS)
        await rig.chat(model="gpt-dark")
        await rig.rows(1)
        unpriced = "gpt-dark:\n    targets:\n    - "
        await reprice(rig, unpriced, f"{unpriced}price: {{input: 10, output: 20}}\n      ")
        await rig.chat(model="gpt-dark")
        dark, priced = await rig.rows(2)
        assert (dark.charged, priced.charged) == (0, due(priced, DEAR))
        row = (await by_model(rig))["gpt-dark"]
        assert sorted(booked(row), key=str) == [(None, 1), (DEAR, 1)]
        assert (row["requests"], row["unpriced_requests"]) == (2, 1)
        assert [one["unpriced_requests"] for one in row["prices"] if one["price"] is None] == [1]

    async def test_the_same_price_written_otherwise_is_the_same(self, gateway: StartGateway) -> None:
        rig = await gateway(OWN_MODELS)
        await rig.chat(model="gpt-priced")
        await rig.rows(1)
        await reprice(rig, AS_WRITTEN, AS_WRITTEN.replace("1", "1.000").replace("2", "2.0"))
        await rig.chat(model="gpt-priced")
        await rig.rows(2)
        assert booked((await by_model(rig))["gpt-priced"]) == [(CHEAP, 2)]

    async def test_the_price_is_that_of_the_target_that_served(self, gateway: StartGateway) -> None:
        backup = "{upstream: backup, model: gpt-4o-2024-08-06, price: {input: 10, output: 20}}"
        rig = await gateway(
            f"models: {{gpt-own: {{targets: [{{upstream: piapi, price: {{input: 1, output: 2}}}}, {backup}]}}}}"
        )
        rig.sandbox.script("server_error", role="api", times=None)
        rig.sandbox.script("server_error", role="proxy", times=None)
        await rig.chat(model="gpt-own")
        row = await rig.row()
        assert (row.upstream, row.charged) == ("backup", due(row, DEAR))
        [told] = (await by_model(rig))["gpt-own"]["prices"]
        assert (told["upstream"], told["model"], told["price"]) == ("backup", "gpt-4o-2024-08-06", DEAR)


class TestWithoutAPrice:
    async def test_is_told_from_what_is_free(self, gateway: StartGateway) -> None:
        rig = await gateway(OWN_MODELS)
        for model in ("gpt-free", "gpt-dark", "gpt-half", "gpt-priced"):
            assert (await rig.chat(model=model)).status == 200
        rows = {row.model: row for row in await rig.rows(4)}
        used = await by_model(rig)
        assert {model: row["unpriced_requests"] for model, row in used.items()} == {
            "gpt-free": 0, "gpt-dark": 1, "gpt-half": 1, "gpt-priced": 0
        }  # fmt: skip
        for model in ("gpt-dark", "gpt-half"):
            assert used[model]["unpriced_input_tokens"] == used[model]["input_tokens"] == rows[model].input_tokens > 0
            assert used[model]["unpriced_output_tokens"] == rows[model].output_tokens > 0
            assert used[model]["unknown_requests"] == 0
        figures = await rig.figures()
        counted = {
            model: figures.total("gateway_unpriced_requests_total", model=model, key="alice", team="growth")
            for model in used
        }
        assert counted == {"gpt-free": 0, "gpt-dark": 1, "gpt-half": 1, "gpt-priced": 0}
        dark = rows["gpt-dark"]
        assert figures.total("gateway_unpriced_tokens_total", model="gpt-dark", type="input") == dark.input_tokens
        assert figures.total("gateway_unpriced_tokens_total", model="gpt-dark", type="output") == dark.output_tokens
        lines = {line["model"]: line for line in await rig.log_lines("request", 4)}
        assert {model: line.get("unpriced") for model, line in lines.items()} == {
            "gpt-free": None, "gpt-dark": True, "gpt-half": True, "gpt-priced": None
        }  # fmt: skip

    @pytest.mark.parametrize("scenario", ["cut;after_events=3", "ok"])
    async def test_streams_whole_and_broken(self, gateway: StartGateway, scenario: str) -> None:
        rig = await gateway(OWN_MODELS)
        rig.for_all_roles(scenario)
        await rig.chat(model="gpt-dark", stream=True)
        row = await rig.row()
        assert (row.state, row.confidence) == ("settled", "unknown")
        assert (await by_model(rig))["gpt-dark"]["unpriced_output_tokens"] == row.output_tokens > 0

    async def test_pictures(self, gateway: StartGateway) -> None:
        rig = await gateway(OWN_MODELS)
        await rig.openai().images.generate(model="painter-dark", prompt="a bear", n=2)
        assert (await rig.row()).confidence == "unknown"
        used = (await by_model(rig))["painter-dark"]
        assert (used["unpriced_requests"], used["unpriced_images"]) == (1, 2)
        assert booked(used) == [(None, 1)]

    @pytest.mark.parametrize("scenario", ["server_error", "rejected"])
    async def test_what_was_not_served_is_not_counted(self, gateway: StartGateway, scenario: str) -> None:
        rig = await gateway(OWN_MODELS)
        rig.for_all_roles(scenario)
        await rig.chat(model="gpt-dark")
        await rig.rows(1)
        assert await rig.usage("model") == []
        assert (await rig.figures()).total("gateway_unpriced_requests_total") == 0


async def test_prices_are_bounded_and_the_rest_is_counted(sandbox: Sandbox, gateway: StartGateway) -> None:
    names = [f"gpt-{number}" for number in range(20)]
    models = ", ".join(f"{name}: {{targets: [{{upstream: piapi, price: {{input: 1, output: 1}}}}]}}" for name in names)
    rig = await gateway(f"models: {{{models}}}")
    for name in names:
        assert (await rig.chat(model=name)).status == 200
    await rig.rows(20)
    [row] = await rig.usage("key")
    assert (len(row["prices"]), row["more_prices"]) == (16, 4)
    assert {one["more_prices"] for one in await rig.usage("model")} == {0}
