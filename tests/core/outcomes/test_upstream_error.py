"""An upstream's error, whatever shape it came in, and what of it a client may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.upstream_error import (
    MESSAGE_LIMIT,
    UpstreamError,
    error_in,
    plain_name,
    plain_param,
    read_upstream_error,
    sanitise,
)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            UpstreamError("m", "t", "p", "c"),
        ),
        ({"error": {"message": "m", "code": 429}}, UpstreamError("m", code=429)),
        ({"error": {"message": "m", "code": "429"}}, UpstreamError("m", code=429)),
        ({"error": "timeout"}, UpstreamError("timeout", code="timeout")),
        (
            {"error": "generation_failed", "code": "generation_failed"},
            UpstreamError("generation_failed", code="generation_failed"),
        ),
        ({"error": {"raw_message": "r"}, "message": "outer", "code": 400}, UpstreamError("r", code=400)),
        ({"error": {}, "message": "no error"}, None),
        ({"error": ["odd"], "code": 500}, UpstreamError(code=500)),
        ({"code": 400, "message": "invalid model", "data": None}, UpstreamError("invalid model", code=400)),
        ({"code": 200, "message": "success", "data": {}}, None),
        ({"code": 0, "message": "success"}, None),
        ({"code": True, "message": "odd"}, None),
        ({"error": None, "choices": []}, None),
        ({"choices": [], "code": 400, "message": "a model said this"}, None),
        (["error"], None),
        (None, None),
    ],
)
def test_finding_an_error(document: object, words: UpstreamError | None) -> None:
    assert error_in(document) == words


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"message": "flat", "type": "t", "code": "c"}, UpstreamError("flat", "t", None, "c")),
        ({"detail": "Not Found"}, UpstreamError("Not Found")),
        ("bare", UpstreamError("bare", code="bare")),
        ({}, UpstreamError()),
        (None, UpstreamError()),
        ([1], UpstreamError()),
    ],
)
def test_words_of_a_document_known_to_be_an_error(document: object, words: UpstreamError) -> None:
    assert read_upstream_error(document) == words


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (None, None),
        ("", None),
        (" \x00\n ", None),
        ("plain words", "plain words"),
        ("two\r\nlines\tand\u2028more", "two lines and more"),
        ("<!DOCTYPE html><html><title>524</title></html>", None),
        ("<center>nginx</center>", None),
        ("expected a value < 5 and > 2", "expected a value < 5 and > 2"),
        ("see https://platform.openai.com/docs?x=1 for more", "see [link] for more"),
        ("dial tcp 10.0.3.17:8080: refused", "dial tcp [host]: refused"),
        ("no route to relay-7.internal.example.com:443", "no route to [host]"),
        ("Incorrect key sk-proj-AbCd1234efgh", "Incorrect key [redacted]"),
        ("key 0123456789abcdef0123456789abcdef01234567 refused", "key [redacted] refused"),
        ("request 063f708f-0a1b-4c2d-8e3f-123456789abc failed", "request [redacted] failed"),
        ("Authorization: Bearer abc", "Authorization: [redacted]"),
        ("write to support@piapi.ai", "write to [address]"),
        (
            "max_tokens is too large for claude-3-7-sonnet-20250219",
            "max_tokens is too large for claude-3-7-sonnet-20250219",
        ),
        ("gpt-4.1-mini wants messages[0].content.text", "gpt-4.1-mini wants messages[0].content.text"),
    ],
)
def test_what_a_client_may_see(raw: str | None, shown: str | None) -> None:
    assert sanitise(raw) == shown


def test_a_long_message_is_cut() -> None:
    shown = sanitise("word " * 1000)
    assert shown is not None
    assert len(shown) <= MESSAGE_LIMIT
    assert shown.endswith("…")


@given(st.text(max_size=3000))
def test_whatever_comes_is_one_short_printable_line(raw: str) -> None:
    shown = sanitise(raw)
    if shown is not None:
        assert 0 < len(shown) <= MESSAGE_LIMIT
        assert not any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in shown)
        assert "https://" not in shown.lower()


@given(st.from_regex(r"[A-Za-z0-9]{32,64}", fullmatch=True).filter(lambda run: any(c.isdigit() for c in run)))
def test_no_long_token_survives(token: str) -> None:
    shown = sanitise(f"the key {token} is not valid")
    assert shown is not None
    assert token not in shown


def test_names_and_fields_must_be_plain() -> None:
    assert plain_name("rate_limit_exceeded") == "rate_limit_exceeded"
    assert plain_name("two words") is None
    assert plain_name(7) is None
    assert plain_name("sk-abcdefgh") is None
    assert plain_param("messages[0].content") == "messages[0].content"
    assert plain_param("<b>") is None
    assert plain_param(None) is None
