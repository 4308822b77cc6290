"""Errors in the words of what was asked: a chat's fields by their names in a response."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import UpstreamFault, internal_error, invalid_request
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


def test_a_field_that_no_response_has_is_named_as_it_was_sent() -> None:
    error = invalid_request("no", param="messages", code="unsupported_parameter")
    assert json.loads(ResponsesErrors().body(error))["error"]["param"] == "messages"
    said = UpstreamFault(400, "invalid_request_error", "unsupported_parameter", "no", param="max_tokens")
    assert json.loads(ResponsesErrors().body(said))["error"]["param"] == "max_output_tokens"


@pytest.mark.parametrize(("status", "tells"), [(400, False), (404, False), (429, True), (502, True), (504, True)])
def test_why_targets_were_not_asked_is_said_where_another_might_have_served(status: int, tells: bool) -> None:
    form = ResponsesErrors()
    form.left_out = "Others were not asked."
    message = json.loads(form.body(UpstreamFault(status, "t", "c", "All failed.")))["error"]["message"]
    assert message == ("All failed. Others were not asked." if tells else "All failed.")
    assert json.loads(form.body(internal_error()))["error"]["message"] == internal_error().message
