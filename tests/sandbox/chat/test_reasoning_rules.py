"""Reasoning models refuse by their names what models before them took."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox.chat.reasoning_rules import reasoning_model
from tests.sandbox.chat.answers import TOOLS
from tests.sandbox.chat.refusals import refused, taken


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.6-sol", "gpt-6-luna", "gpt-6.2-sol"])
def test_all_of_them_refuse_max_tokens_and_stop(model: str) -> None:
    assert refused("api", model=model, max_tokens=5) == (
        "max_tokens",
        "unsupported_parameter",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    )
    assert refused(model=model, stop=["x"])[:2] == ("stop", "unsupported_parameter")
    taken(model=model, max_completion_tokens=5, temperature=1, top_p=1)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "chat-latest", "gpt-5-chat-latest", "gpt-7-nova"])
def test_others_take_it(model: str) -> None:
    taken(model=model, max_tokens=5, stop="x", temperature=0.2, logprobs=True)


@pytest.mark.parametrize("field", [{"temperature": 0.2}, {"top_p": 0.5}, {"logprobs": True}, {"presence_penalty": 1}])
def test_sampling_is_theirs_without_reasoning_only(field: dict[str, Any]) -> None:
    [name] = field
    for model in ("gpt-5", "o3", "gpt-6.2-sol", "gpt-6-luna"):
        param, code, _ = refused(model=model, **field)
        assert (param, str(code)[:11]) == (name, "unsupported")
    for model in ("gpt-6-luna", "gpt-6-sol", "gpt-6.1-terra", "gpt-5.6-sol"):
        taken(model=model, reasoning_effort="none", **field)
    taken(model="gpt-5.1", **field)  # it does not reason unless it is asked to
    refused(model="gpt-5.1", reasoning_effort="low", **field)


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        *(("gpt-6.2-astra", "none"), ("gpt-6.2-sol", "minimal"), ("gpt-6.1-sol", "none"), ("gpt-6.1-sol", "max")),
        *(("gpt-6-astra", "none"), ("gpt-5", "none"), ("gpt-5.1", "minimal"), ("o3", "xhigh")),
    ],
)
def test_an_effort_that_a_model_does_not_have(model: str, effort: str) -> None:
    param, code, message = refused(model=model, reasoning_effort=effort)
    assert (param, code) == ("reasoning_effort", "unsupported_value")
    assert f"does not support '{effort}' with this model. Supported values are: " in message
    taken(model=model, reasoning_effort="low")
    assert refused(model=model, reasoning_effort="huge")[1] == "invalid_value"


def test_function_tools() -> None:
    for model in ("gpt-6-luna", "gpt-6-sol"):
        assert refused(model=model, tools=TOOLS) == (
            "reasoning_effort",
            None,
            f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
        )
        taken(model=model, tools=TOOLS, reasoning_effort="none")
    for effort in ("low", "high"):
        assert refused(model="gpt-6-astra", tools=TOOLS, reasoning_effort=effort)[0] == "reasoning_effort"
    taken(model="gpt-6.2-sol", tools=TOOLS)
    taken(model="gpt-5.6-sol", tools=TOOLS)


def test_a_prefix_and_a_date_do_not_matter() -> None:
    assert reasoning_model("openai/gpt-6.1-terra-2026-10-26") is reasoning_model("gpt-6.1-terra")
    assert reasoning_model("gpt-5.6") is reasoning_model("gpt-5.6-sol")
    assert reasoning_model("gpt-50") is None
