"""A reasoning model stands in for gpt-4o: fields it refuses are renamed or dropped where the configuration says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import Rig

NOTE = "x-gateway-note"
STAND_IN = """
models:
  gpt-4o:
    targets:
      - {upstream: piapi, price: {input: 2, output: 8}}
      - upstream: backup
        model: gpt-6-luna
        price: {input: 1, output: 4}
        rewrites: %s
"""
REWRITES = STAND_IN % "{max_tokens: max_completion_tokens, drop: [stop, temperature]}"


def play(rig: Rig, backup: str, *, piapi: str = "status;code=503") -> None:
    for role in ("api", "proxy"):
        rig.sandbox.script(piapi, role=role, times=None)  # type: ignore[arg-type]
    rig.sandbox.script(backup, role="backup", times=None)


def sent(rig: Rig) -> dict[str, list[dict[str, Any]]]:
    """Host → the bodies it got."""
    found: dict[str, list[dict[str, Any]]] = {"api": [], "proxy": [], "backup": []}
    for one in rig.sandbox.requests:
        found[one.role].append(one.json)
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_refuses_max_tokens_stands_in(gateway: StartGateway, stream: bool) -> None:
    rig = await gateway(REWRITES)
    play(rig, "refuses_max_tokens")

    answer = await rig.chat(max_tokens=50, stop=["END"], seed=7, stream=stream)

    assert answer.status == 200
    assert answer.header("x-gateway-upstream") == "backup"
    assert answer.header(NOTE) == "rewritten: max_tokens as max_completion_tokens; dropped: stop"
    bodies = sent(rig)
    first = bodies["api"][0]
    assert (first["max_tokens"], first["stop"], first["seed"]) == (50, ["END"], 7)  # the original
    assert "max_completion_tokens" not in first
    [last] = bodies["backup"]
    assert (last["model"], last["max_completion_tokens"], last["seed"]) == ("gpt-6-luna", 50, 7)
    assert not last.keys() & {"max_tokens", "stop", "temperature"}
    row = await rig.row()
    assert (row.state, row.confidence) == ("settled", "measured")
    assert row.charged > 0


async def test_nothing_is_told_where_nothing_was_done(gateway: StartGateway) -> None:
    rig = await gateway(REWRITES)

    by_the_first = await rig.chat(max_tokens=50, stop=["END"])
    play(rig, "reasoning_model")
    without = await rig.chat(max_completion_tokens=50)

    assert (by_the_first.status, by_the_first.header(NOTE)) == (200, None)
    assert (without.status, without.header(NOTE)) == (200, None)


async def test_where_both_names_are_there_the_new_one_stays(gateway: StartGateway) -> None:
    rig = await gateway(REWRITES)
    play(rig, "reasoning_model")

    answer = await rig.chat(max_tokens=50, max_completion_tokens=60, temperature=0.2)

    assert answer.status == 200
    assert answer.header(NOTE) == "dropped: max_tokens, temperature"
    [body] = sent(rig)["backup"]
    assert body["max_completion_tokens"] == 60


async def test_it_is_told_beside_what_is_ignored(gateway: StartGateway) -> None:
    rig = await gateway(REWRITES)
    play(rig, "reasoning_model")

    answer = await rig.chat(max_tokens=50, models=["a"])

    assert answer.header(NOTE) == "ignored: models; rewritten: max_tokens as max_completion_tokens"


async def test_without_the_setting_the_request_goes_as_it_came_and_the_400_is_the_answer(gateway: StartGateway) -> None:
    rig = await gateway(STAND_IN % "{}")
    play(rig, "refuses_max_tokens")

    answer = await rig.chat(max_tokens=50)

    assert answer.status == 400
    assert (answer.error()["code"], answer.error()["param"]) == ("unsupported_parameter", "max_tokens")
    assert answer.header(NOTE) is None
    assert (await rig.row()).charged == 0


async def test_a_refusal_of_something_else_is_still_the_answer(gateway: StartGateway) -> None:
    rig = await gateway(REWRITES)
    play(rig, "reasoning_model")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    answer = await rig.chat(max_tokens=50, tools=tools)

    assert (answer.status, answer.error()["param"]) == (400, "reasoning_effort")
    assert answer.header(NOTE) == "rewritten: max_tokens as max_completion_tokens"


async def test_the_sdk_sees_an_answer_as_any_other(gateway: StartGateway) -> None:
    rig = await gateway(REWRITES)
    play(rig, "reasoning_model")

    answer = await rig.openai().chat.completions.with_raw_response.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], max_tokens=9, stop="x", temperature=0.5
    )

    assert answer.headers[NOTE] == "rewritten: max_tokens as max_completion_tokens; dropped: stop, temperature"
    assert answer.parse().choices[0].message.content


KEYS = """
keys: [{name: alice, key: gw-alice-000111222333444555, budget: 0.01/day}]
"""


@pytest.mark.parametrize(
    ("rewrites", "status"),
    [
        # 0.004 dollars per 1,000 tokens: 50 tokens fit into a cent, the model's 16,384 do not.
        ("{max_tokens: max_completion_tokens}", 200),
        ("{drop: [max_tokens]}", 429),
        ("{max_tokens: max_output_tokens}", 429),
    ],
)
async def test_a_budget_reserves_for_what_the_target_is_asked(
    gateway: StartGateway, rewrites: str, status: int
) -> None:
    only_the_stand_in = f"""
models:
  gpt-4o:
    targets:
      - {{upstream: backup, model: gpt-6-luna, price: {{input: 1, output: 4}}, rewrites: {rewrites}}}
"""
    rig = await gateway(only_the_stand_in + KEYS)

    assert (await rig.chat(max_tokens=50)).status == status
    assert (await rig.chat(max_tokens=50, n=2)).status == status


async def test_a_catalogue_of_ones_own_is_read_again_at_a_reload(gateway: StartGateway) -> None:
    rig = await gateway("")
    mine = rig.folder / "my-models.yaml"
    mine.write_text("house-model: {targets: [{upstream: backup, model: gpt-4o, price: {input: 1, output: 1}}]}\n")
    path = rig.folder / "config.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "\ncatalogue: my-models.yaml\n", encoding="utf-8")
    assert (await rig.chat(model="house-model")).status == 404

    assert await rig.gateway.reload() == []
    assert (await rig.chat(model="house-model")).status == 200

    mine.write_text("other-model: {targets: [{upstream: nowhere}]}\n")
    [problem] = await rig.gateway.reload()
    assert problem.startswith(f"{mine}:1:36: models.other-model.targets[0].upstream: there is no such upstream")
    assert (await rig.chat(model="house-model")).status == 200  # a bad file changes nothing

    mine.unlink()
    [problem] = await rig.gateway.reload()
    assert f"{mine} cannot be read" in problem
    assert (await rig.chat(model="house-model")).status == 200

    mine.write_text(json.dumps({"models": {"other-model": {"targets": [{"upstream": "backup", "model": "gpt-4o"}]}}}))
    assert await rig.gateway.reload() == []
    assert (await rig.chat(model="house-model")).status == 404
    assert (await rig.chat(model="other-model")).status == 200
