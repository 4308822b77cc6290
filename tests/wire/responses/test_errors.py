"""Errors in the words of what was asked: a chat's fields by their names in a response."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import internal_error, invalid_request
from gateway.wire.responses.errors import ResponsesErrors, place_of


@pytest.mark.parametrize(
    ("chats", "responses"),
    [
        (None, None),
        ("model", "model"),
        ("messages[3].content", "input"),
        ("messages.[3].role", "input"),
        ("max_completion_tokens", "max_output_tokens"),
        ("reasoning_effort", "reasoning.effort"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("response_format", "text.format"),
        ("tools[2].function.parameters", "tools[2].parameters"),
        ("tool_choice.function.name", "tool_choice.name"),
        ("temperature", "temperature"),
        ("verbosity_of_mine", "verbosity_of_mine"),
    ],
)
def test_a_field_is_named_as_it_was_asked(chats: str | None, responses: str | None) -> None:
    assert place_of(chats) == responses


def test_the_body_has_all_four_and_a_stream_is_ended_by_who_writes_it() -> None:
    form = ResponsesErrors()
    error = invalid_request("no", param="messages[0]", code="invalid_value")
    told = {"message": "no", "type": "invalid_request_error", "param": "input", "code": "invalid_value"}
    assert json.loads(form.body(error)) == {"error": told}
    assert form.last_event(internal_error()).startswith(b"data: ")
    form.failed = lambda error: error.message.encode()
    assert form.last_event(error) == b"no"
