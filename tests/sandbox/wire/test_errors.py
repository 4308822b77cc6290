"""Error answers by status, in every provider's shape and in Cloudflare's."""

from __future__ import annotations

import orjson
import pytest

from gateway.sandbox.wire.errors import (
    cloudflare_page,
    cloudflare_problem,
    cloudflare_ray,
    cloudflare_text,
    error_fields,
    error_in_shape,
    piapi_error,
)


def test_each_status_has_its_usual_words_and_an_argument_replaces_them() -> None:
    usual = error_fields(429)
    assert (usual["type"], usual["code"], usual["param"]) == ("rate_limit_error", "rate_limit_exceeded", None)

    given = error_fields(429, type="slow", code="down", message="later", param="n")
    assert given == {"type": "slow", "code": "down", "message": "later", "param": "n"}


def test_a_status_without_words_of_its_own_is_a_server_error() -> None:
    assert error_fields(599) == {
        "type": "server_error",
        "code": None,
        "message": "Sandbox: status 599.",
        "param": None,
    }


def test_an_exhausted_quota_is_told_by_its_code_under_any_status() -> None:
    fields = error_fields(429, code="insufficient_quota")

    assert fields["type"] == "insufficient_quota"
    assert fields["message"] == "Sandbox: you exceeded your current quota."


@pytest.mark.parametrize(
    ("shape", "content_type", "body"),
    [
        ("openai", b"application/json", b'{"error":{"message":"no"}}'),
        ("piapi", b"application/json", b'{"code":500,"message":"no","data":null}'),
        ("string", b"application/json", b'{"error":"no"}'),
        ("message", b"application/json", b'{"message":"no"}'),
        ("plain", b"text/plain; charset=utf-8", b"no"),
        ("empty", b"text/plain; charset=utf-8", b""),
    ],
)
def test_shapes(shape: str, content_type: bytes, body: bytes) -> None:
    reply = error_in_shape(shape, 500, {"message": "no"}, ((b"retry-after", b"1"),))

    assert (reply.status, reply.content_type, reply.body) == (500, content_type, body)
    assert reply.headers == ((b"retry-after", b"1"),)


def test_piapis_inner_code_is_no_http_status() -> None:
    reply = piapi_error(401, "no")

    assert reply.status == 200
    assert orjson.loads(reply.body) == {"code": 401, "message": "no", "data": None}


def test_cloudflare_names_the_request_by_its_ray() -> None:
    id = "req-sandbox-00000026"
    assert cloudflare_ray(id) == b"000000000000001a-SBX"

    page, text, problem = cloudflare_page(524, id), cloudflare_text(524, id), cloudflare_problem(524, id, 60)
    assert {reply.status for reply in (page, text, problem)} == {524}
    assert all((b"cf-ray", b"000000000000001a-SBX") in reply.headers for reply in (page, text, problem))
    assert b"524: A timeout occurred" in page.body
    assert text.body == b"error code: 524"
    document = orjson.loads(problem.body)
    assert (document["ray_id"], document["retry_after"]) == ("000000000000001a", 60)
    assert document["error_name"] == "a_timeout_occurred"
