"""``rewrites`` of a target: what it may say, and where it is told that it may not."""

from __future__ import annotations

import pytest

from gateway.config import describe_models
from gateway.core.types import Rewrites

from .conftest import Faults, Load

MODEL = """\
models:
  gpt-4o:
    targets:
      - {upstream: piapi}
      - upstream: backup
        model: gpt-6-luna
        rewrites: %s
"""


def test_it_is_the_targets_alone_and_shown(load_text: Load) -> None:
    config = load_text(MODEL % "{max_tokens: max_completion_tokens, drop: [stop, logit_bias, stop]}")
    [first, second] = next(route.targets for route in config.declared if route.model == "gpt-4o")
    assert first.rewrites is None
    assert second.rewrites == Rewrites((("max_tokens", "max_completion_tokens"),), ("stop", "logit_bias"))
    shown = next(row for row in describe_models(config, 0) if row["model"] == "gpt-4o")["targets"]
    assert "rewrites" not in shown[0]
    assert shown[1]["rewrites"] == {"max_tokens": "max_completion_tokens", "drop": ["stop", "logit_bias"]}


@pytest.mark.parametrize("given", ["{}", "", "{drop: []}"])
def test_nothing_is_nothing(load_text: Load, given: str) -> None:
    config = load_text(MODEL % given)
    route = next(route for route in config.declared if route.model == "gpt-4o")
    assert route.targets[1].rewrites is None


def test_nothing_is_rewritten_by_the_built_in_catalogue(load_text: Load) -> None:
    assert all(target.rewrites is None for route in load_text("").declared for target in route.targets)


@pytest.mark.parametrize(
    ("given", "column", "path", "words"),
    [
        ("{model: name}", 27, "model", "'model' is never renamed"),
        ("{messages: input}", 30, "messages", "'messages' is never renamed"),
        ("{streaming: stream}", 31, "streaming", "'stream' is never renamed"),
        ("{stream_options: x}", 36, "stream_options", "'stream_options' is never renamed"),
        ("{count: n}", 27, "count", "'n' is never renamed"),
        ("{drop: [stop, n]}", 33, "drop[1]", "'n' is never dropped"),
        ("{drop: [messages]}", 27, "drop[0]", "'messages' is never dropped"),
        ("{base: api_base}", 26, "base", "could choose another model or place"),
        ("{models: other}", 28, "models", "could choose another model or place"),
        ("{hook: webhook_config}", 26, "hook", "could choose another model or place"),
        ("{drop: stop}", 26, "drop", "expected a list of fields"),
        ("{stop: [a]}", 26, "stop", "expected one field's new name"),
        ("{stop: stop}", 26, "stop", "must differ"),
        ("{stop: drop}", 26, "stop", "write drop: [stop]"),
        ("{a: b, drop: [a]}", 23, "a", "'a' is among those that are dropped"),
        ("{a: b, drop: [b]}", 23, "a", "'b' is among those that are dropped"),
        ("{a: b, b: c}", 23, "a", "'b' is renamed itself"),
        ("{a: c, b: c}", 29, "b", "another field becomes 'c' already"),
        ("{a: 5}", 23, "a", "expected the name of a field"),
        ('{"max tokens": x}', 20, '"max tokens"', "expected the name of a field"),
    ],
)
def test_what_makes_no_sense_is_told_at_its_place(
    faults: Faults, given: str, column: int, path: str, words: str
) -> None:
    [problem] = faults(MODEL % given)
    where, told = problem.split(": ", 1)
    assert where == f"config.yaml:7:{column}"
    assert told.startswith("models.gpt-4o.targets[1].rewrites")
    assert path.split("[")[0] in told
    assert words in told


@pytest.mark.parametrize("operation", ["images", "task", "images_async"])
def test_only_chats_have_fields_of_a_chat(faults: Faults, operation: str) -> None:
    [problem] = faults(
        "models:\n"
        "  x:\n"
        "    targets:\n"
        f"      - {{upstream: piapi, operation: {operation}, rewrites: {{drop: [stop]}}}}\n"
    )
    assert "rewrites: only a target whose operation is chat" in problem
