"""Recorded requests: their JSON, their form, and the model they name."""

from __future__ import annotations

import pytest

from gateway.sandbox.wire.http import Request
from gateway.sandbox.wire.requests import RecordedRequest

FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-image-1\r\n--x--\r\n'


def recorded(body: bytes, content_type: bytes = b"application/json") -> RecordedRequest:
    request = Request("POST", "/v1/x", ((b"content-type", content_type), (b"authorization", b"Bearer sk-one")), body)
    return RecordedRequest(0, "req-sandbox-1", "api", 1, 1, 0.0, request, request.path)


@pytest.mark.parametrize(
    ("body", "json", "model"),
    [
        (b'{"model":"gpt-4o"}', {"model": "gpt-4o"}, "gpt-4o"),
        (b'{"model":4}', {"model": 4}, None),
        (b"[1]", [1], None),
        (b"{", None, None),
        (b"", None, None),
    ],
)
def test_the_model_of_a_json_body(body: bytes, json: object, model: str | None) -> None:
    request = recorded(body)

    assert (request.json, request.model) == (json, model)
    assert request.form is None


def test_the_model_of_a_form() -> None:
    request = recorded(FORM, b"multipart/form-data; boundary=x")

    assert request.form is not None
    assert request.form.fields == (("model", "gpt-image-1"),)
    assert (request.json, request.model) == (None, "gpt-image-1")


def test_a_broken_form_is_none() -> None:
    request = recorded(FORM[:-4], b"multipart/form-data; boundary=x")

    assert (request.form, request.model) == (None, None)


def test_keys_and_bodies_stay_out_of_the_repr() -> None:
    request = recorded(b'{"prompt":"secret words"}')

    assert request.key == "sk-one"
    assert "sk-one" not in repr(request)
    assert "secret" not in repr(request)
