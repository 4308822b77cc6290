"""The syntax of scenarios: strict, and clear about mistakes."""

from __future__ import annotations

import pytest

from gateway.sandbox import Sandbox, ScenarioError
from gateway.sandbox.faults.parsing import parse_scenario


def test_parameters_get_their_declared_types_and_defaults() -> None:
    choice = parse_scenario(" cut ; after_events = 7 ;role=proxy; delay=1.5;")

    assert choice.name == "cut"
    assert (choice.values["after_events"], choice.values["reset"]) == (7, 0)
    assert (choice.values["role"], choice.values["delay"]) == ("proxy", 1.5)
    assert choice.values["variant"] == "piapi"


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
