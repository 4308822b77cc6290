"""Faults that are another answer: statuses, Cloudflare's pages, bodies that are wrong."""

from __future__ import annotations

import gzip
import zlib

import orjson
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, STREAM, ask


@pytest.mark.parametrize("content", [HELLO, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("scenario", "status", "type", "code"),
    [
        ("key_invalid", 401, "invalid_request_error", "invalid_api_key"),
        ("key_unfunded", 402, "insufficient_quota", "insufficient_quota"),
        ("insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
        ("key_forbidden", 403, "request_forbidden", None),
        ("model_missing", 404, "invalid_request_error", "model_not_found"),
        ("upstream_408", 408, "invalid_request_error", "request_timeout"),
        ("conflict", 409, "invalid_request_error", "conflict"),
        ("too_large", 413, "invalid_request_error", "request_too_large"),
        ("rejected", 400, "invalid_request_error", None),
        ("unprocessable", 422, "invalid_request_error", None),
        ("rate_limited", 429, "rate_limit_error", "rate_limit_exceeded"),
        ("server_error", 500, "server_error", None),
        ("bad_gateway", 502, "server_error", "bad_gateway"),
        ("overloaded", 503, "service_unavailable_error", "server_is_overloaded"),
        ("gateway_timeout", 504, "server_error", "gateway_timeout"),
        ("status;code=418;type=teapot;error=short", 418, "teapot", "short"),
    ],
)
async def test_statuses_speak_openai(
    sandbox: Sandbox, content: object, scenario: str, status: int, type: str, code: str | None
) -> None:
    received = await ask(sandbox, content, scenario)

    error = received.json["error"]
    assert (received.status, error["type"], error["code"]) == (status, type, code)
    assert error["message"].startswith("Sandbox: ")
    assert sandbox.bill == []


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("piapi", b'{"code":500,"message":"no","data":null}'),
        ("string", b'{"error":"no"}'),
        ("message", b'{"message":"no"}'),
        ("plain", b"no"),
        ("empty", b""),
    ],
)
async def test_errors_come_in_other_shapes(sandbox: Sandbox, shape: str, body: bytes) -> None:
    assert (await ask(sandbox, HELLO, f"status;code=500;message=no;shape={shape}")).body == body


@pytest.mark.parametrize("value", ["3", "0.5", "-1", "NaN", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
async def test_retry_after_goes_out_as_it_is_written(sandbox: Sandbox, value: str) -> None:
    received = await ask(sandbox, HELLO, f"rate_limited;retry_after={value}")

    assert received.headers[b"retry-after"] == value.encode()
    assert b"retry-after" not in (await ask(sandbox, HELLO, "rate_limited_bare")).headers


@pytest.mark.parametrize("code", [403, 502, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530])
async def test_cloudflares_pages_look_like_cloudflares(sandbox: Sandbox, code: int) -> None:
    for role in ("api", "proxy"):
        received = await ask(sandbox, STREAM, f"cloudflare;code={code}", role=role)
        assert received.status == code
        assert received.headers[b"content-type"] == b"text/html; charset=UTF-8"
        assert received.headers[b"server"] == b"cloudflare"
        assert len(received.headers[b"cf-ray"]) == 20
        assert received.raw.count(b"\r\ncf-ray:") == 1
        assert f"| {code}: ".encode() in received.body


async def test_cloudflares_other_forms(sandbox: Sandbox) -> None:
    assert (await ask(sandbox, STREAM, "cf_524;plain=1")).body == b"error code: 524"

    problem = await ask(sandbox, STREAM, "cf_json;code=522;retry_after=7")
    assert problem.headers[b"content-type"] == b"application/problem+json"
    assert (problem.json["error_code"], problem.json["retry_after"], problem.json["retryable"]) == (522, 7, True)


async def test_the_wall_can_be_played_anywhere(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "wall;seconds=0.01", role="backup")

    assert received.status == 524


async def test_two_hundred_is_not_always_good_news(sandbox: Sandbox) -> None:
    page = await ask(sandbox, HELLO, "html_200")
    assert (page.status, page.headers[b"content-type"]) == (200, b"text/html; charset=utf-8")

    envelope = await ask(sandbox, HELLO, "soft_error;code=402;message=poor")
    assert (envelope.status, envelope.json) == (200, {"code": 402, "message": "poor", "data": None})

    openai = await ask(sandbox, HELLO, "soft_error;code=401;shape=openai")
    assert (openai.status, openai.json["error"]["code"]) == (200, "invalid_api_key")

    for scenario in ("bad_json", "truncated_json", "empty_body"):
        received = await ask(sandbox, HELLO, scenario)
        assert received.status == 200
        assert len(received.body) == int(received.headers[b"content-length"])
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(received.body)


async def test_one_body_for_a_client_that_wanted_a_stream(sandbox: Sandbox) -> None:
    received = await ask(sandbox, STREAM, "whole_json")

    assert received.headers[b"content-type"] == b"application/json"
    assert received.json["choices"][0]["message"]["content"].endswith("You said: hello there")


async def test_a_redirect_leads_elsewhere(sandbox: Sandbox) -> None:
    received = await ask(sandbox, HELLO, "redirect;code=307;location=http://127.0.0.1:1/x")

    assert (received.status, received.headers[b"location"]) == (307, b"http://127.0.0.1:1/x")


async def test_an_answer_is_packed_unasked(sandbox: Sandbox) -> None:
    whole = await ask(sandbox, HELLO, "gzip")
    assert whole.headers[b"content-encoding"] == b"gzip"
    assert orjson.loads(gzip.decompress(whole.body))["object"] == "chat.completion"

    stream = await ask(sandbox, STREAM, "gzip")
    assert stream.headers[b"content-type"].startswith(b"text/event-stream")
    assert gzip.decompress(stream.body).endswith(b"data: [DONE]\n\n")


async def test_the_bomb_is_a_good_gzip_file(sandbox: Sandbox) -> None:
    received = await ask(sandbox, HELLO, "bomb;mib=3")

    assert len(received.body) < 10_000
    assert gzip.decompress(received.body) == b" " * (3 << 20)
    assert zlib.decompressobj(31).decompress(received.body, 10) == b" " * 10
