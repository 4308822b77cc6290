"""The table of scenarios: complete against the fault catalogue, and strict about how it is written."""

from __future__ import annotations

import math

import pytest

from gateway.sandbox import SCENARIOS, Sandbox, ScenarioError
from gateway.sandbox.faults.parsing import parse_scenario
from gateway.sandbox.faults.playback import pause_for
from gateway.sandbox.faults.selection import RANDOM_FAULTS
from tests.sandbox.client import HELLO, STREAM, ask
from tests.sandbox.tasks.test_service import TASK

# Rows 1 to 4 are played by closing the port and by TLS, row 6 needs HTTP/2, which the gateway does not speak upstream.
PLAYED_ROWS = {5, *range(7, 41)}


def test_every_row_of_the_catalogue_that_http_can_show_has_a_scenario() -> None:
    assert {scenario.fault_row for scenario in SCENARIOS.values()} >= PLAYED_ROWS


def test_every_scenario_says_what_it_does() -> None:
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name
        assert scenario.summary


def test_parameters_get_their_declared_types_and_defaults() -> None:
    choice = parse_scenario(" cut ; after_events = 7 ;role=proxy; delay=1.5;")

    assert choice.name == "cut"
    assert (choice.values["after_events"], choice.values["reset"]) == (7, 0)
    assert (choice.values["role"], choice.values["delay"]) == ("proxy", 1.5)
    assert choice.values["variant"] == "piapi"


def test_below_zero_a_pause_lasts_for_ever() -> None:
    assert pause_for(-1).seconds == math.inf
    assert pause_for(2).seconds == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cutt", "no scenario 'cutt'; there are: ok, slow"),
        ("", "no scenario ''"),
        ("cut;after=1", "has no parameter 'after'; it has: after_events, reset"),
        ("cut;after_events=two", "'after_events' must be int"),
        ("stall_head;seconds=", "'seconds' must be float"),
        ("rate_limited;retry_after=1\r\nx: y", "printable"),
        ("ok;role=moon", "role must be one of api, proxy, backup"),
        ("ok;method=DELETE", "method must be one of GET, POST, not 'DELETE'"),
        ("ok;task=fialed", "task must be one of ok, failed"),
        ("ok;vocabulary=", "vocabulary must be one of docs, lower"),
        ("ok;shape=piapi", "shape must be one of url, urls"),
    ],
)
def test_a_typing_error_is_named(text: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words.replace(".", r"\.")):
        parse_scenario(text)
    with pytest.raises(ScenarioError):
        Sandbox(scenario=text or "nothing")


def test_a_scenario_with_its_own_word_for_shape_keeps_it() -> None:
    assert parse_scenario("soft_error;shape=openai").values["shape"] == "openai"
    assert parse_scenario("ok;shape=legacy").values["shape"] == "legacy"


FINITE = [name for name in SCENARIOS if name not in ("endless", "random_faults")]
LOUD = [name for name in FINITE if name not in ("garbage", "reset_before_head")]


CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"
CONTENTS = {
    "whole": (CHAT, HELLO),
    "stream": (CHAT, STREAM),
    "image_chat": (CHAT, {**STREAM, "model": "gpt-4o-image"}),
    "images": (IMAGES, {"model": "gpt-image-1", "prompt": "a fox", "stream": True, "partial_images": 1}),
    "task": ("/api/v1/task", TASK),
}
SHORTER = {"drip": "drip;interval=1;count=2", "big_picture": "big_picture;mib=1"}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", FINITE)
async def test_every_scenario_plays_and_says_it_is_a_simulation(name: str, kind: str) -> None:
    """Silences are cut by a short wall, so this also shows that no scenario outlasts Cloudflare."""
    path, content = CONTENTS[kind]
    async with Sandbox(wall=0.02) as sandbox:
        received = await ask(sandbox, content, SHORTER.get(name, name), path=path)

        await sandbox.until(lambda: sandbox.open_connections == 0)
        assert sandbox.requests[0].ending != "running"
        assert sandbox.requests[0].scenario == name
        assert sandbox.protocol_errors == []
    if name in LOUD:
        assert b"\r\nx-sandbox: 1\r\n" in received.raw or received.ending == "reset"


def test_random_faults_hold_only_what_a_crowd_survives() -> None:
    for choice in RANDOM_FAULTS:
        assert choice.values.get("seconds", 0) == 0, f"{choice.name} is silent"
        assert SCENARIOS[choice.name].fault_row not in (7, 8, 9, 15, 16), f"{choice.name} cools a key"
