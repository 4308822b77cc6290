"""A model that refuses what models before it took."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, ask

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


async def test_max_tokens_is_refused_in_openais_words(sandbox: Sandbox) -> None:
    for scenario in ("refuses_max_tokens", "reasoning_model"):
        refused = await ask(sandbox, {**HELLO, "max_tokens": 5}, scenario)
        assert refused.status == 400
        assert refused.json["error"] == {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "type": "invalid_request_error",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        }
        assert refused.json["sandbox"]
    assert sandbox.bill == []
    assert (await ask(sandbox, {**HELLO, "max_completion_tokens": 5}, "refuses_max_tokens")).status == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": ["x"]}, "stop"),
        ({"temperature": 0.7}, "temperature"),
        ({"tools": TOOLS}, "reasoning_effort"),
        ({"tools": TOOLS, "reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
async def test_so_is_the_rest(sandbox: Sandbox, fields: dict[str, Any], param: str) -> None:
    refused = await ask(sandbox, {**HELLO, **fields}, "reasoning_model")
    assert (refused.status, refused.json["error"]["param"]) == (400, param)
    assert (await ask(sandbox, {**HELLO, **fields}, "refuses_max_tokens")).status == 200


@pytest.mark.parametrize(
    "fields", [{}, {"temperature": 1}, {"tools": TOOLS, "reasoning_effort": "none"}, {"max_tokens": None}]
)
async def test_what_asks_for_none_of_it_is_answered(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    assert (await ask(sandbox, {**HELLO, **fields}, "reasoning_model")).status == 200
