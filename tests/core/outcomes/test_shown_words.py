"""What of an upstream's words a client may read: everything but keys, ids of accounts, and private hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.shown_words import MESSAGE_LIMIT, plain_name, sanitise, shown_name, shown_param


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (None, None),
        ("", None),
        (" \x00\n ", None),
        ("two\r\nlines\tand\u2028more", "two lines and more"),
        ("<!DOCTYPE html><html><title>524</title></html>", None),
        ("<center>nginx</center>", None),
        ("Bad gateway: <!DOCTYPE html><html><head></head></html>", "Bad gateway"),
        # Private hosts, and links that lead to them or carry a secret
        ("dial tcp 10.0.3.17:8080: refused", "dial tcp [host]: refused"),
        ("dial tcp [::1]:8080: refused", "dial tcp [host]: refused"),
        ("dial tcp fe80::1: refused", "dial tcp [host]: refused"),
        ("ask 192.168.0.1, not 169.254.169.254", "ask [host], not [host]"),
        ("no route to relay-7.internal:443", "no route to [host]"),
        ("no route to db.prod.svc.cluster.local.", "no route to [host]."),
        ("localhost:11434 is down", "[host] is down"),
        ("ask http://localhost:8080/v1", "ask [link]"),
        ("ask (http://127.0.0.1/v1).", "ask ([link])."),
        ("ask http://litellm:4000/v1", "ask [link]"),
        ("ask https://relay.internal/v1", "ask [link]"),
        ("ask http://[fd00::1]/v1", "ask [link]"),
        ("ask https://me:pass@example.com/v1", "ask [link]"),
        ("ask https://example.com/v1?api_key=abc", "ask [link]"),
        ("ask https://example.com/v1?page=2&X-Amz-Signature=abc", "ask [link]"),
        ("ask https://example.com/v1#access_token=abc", "ask [link]"),
        ("redis://:pass@example.com:6379 is down", "[link] is down"),
        # Keys, and ids of accounts
        ("Incorrect key sk-proj-AbCd1234efgh", "Incorrect key [redacted]"),
        ("Incorrect API key provided: sk-proj-****abcd.", "Incorrect API key provided: [redacted]"),
        ("key sk-ant-api03-Ab1_cd2-ef3456789012 is not known", "key [redacted] is not known"),
        ("key sk-0123456789abcdef0123456789abcdef is not known", "key [redacted] is not known"),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv is not known", "[redacted] is not known"),
        ("gsk_0123456789abcdefghijABCD is not known", "[redacted] is not known"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK is over", "[redacted] is over"),
        ("Authorization: Bearer abc", "Authorization: [redacted]"),
        ("sent Bearer 0123456789abcdef", "sent [redacted]"),
        ("x-api-key: 0123456789abcdef0123456789abcdef is not known", "x-api-key: [redacted] is not known"),
        ("limit in organization org-AbCd1234EfGh5678IjKl on tokens", "limit in organization [redacted] on tokens"),
    ],
)
def test_what_a_client_may_not_see(raw: str | None, shown: str | None) -> None:
    assert sanitise(raw) == shown


@pytest.mark.parametrize(
    "words",
    [
        "plain words",
        "expected a value < 5 and > 2",
        "Invalid tag <div> in your input",
        "Invalid schema for function 'fetch_user_profile_v2_details_0123456789'",
        "No tool output found for call_abc123DEF456ghi789JKL012mno345",
        "toolu_01A09q90qw90lq917835lq9 has no result",
        "org_chart_lookup and proj_list_2024_items are no tools",
        "file-AbCd1234EfGh5678IjKl9012 and resp_0123456789abcdef0123456789abcdef do not exist",
        "socket.io, node.js, asyncio.io and api.example.com are not installed",
        "threading.local and std::string are no types",
        "see https://platform.openai.com/docs/guides/function-calling?lang=python#top",
        "see https://help.openai.com (or write to support@openai.com)",
        "Failed to download https://example.com/cat_0123456789012345678901234.png",
        "request 063f708f-0a1b-4c2d-8e3f-123456789abc failed",
        "the hash 0123456789abcdef0123456789abcdef01234567 differs",
        "8.8.8.8 at 12:30:45 with version 1.2.3.4.5",
        "a Bearer token is required",
        "Bearer authentication is required",
        "sk-learn-pipeline-2, sk-SK, task-12345678 and disk-usage2024 are names",
        "the api key is missing",
        "max_tokens is too large for claude-3-7-sonnet-20250219",
        "gpt-4.1-mini wants messages[0].content.text",
        "输入的内容太长",
    ],
)
def test_what_is_no_key_stays(words: str) -> None:
    assert sanitise(words) == words


def test_a_long_message_is_cut() -> None:
    shown = sanitise("word " * 10_000)
    assert shown is not None
    assert len(shown) <= MESSAGE_LIMIT
    assert shown.endswith("…")


def test_a_list_of_what_is_wrong_is_not_cut() -> None:
    words = "; ".join(f"messages.{number}.content.0.text: field required" for number in range(30))
    assert sanitise(words) == words


@given(st.text(max_size=3000))
def test_whatever_comes_is_one_short_printable_line(raw: str) -> None:
    shown = sanitise(raw)
    if shown is not None:
        assert 0 < len(shown) <= MESSAGE_LIMIT
        assert not any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in shown)


@given(st.from_regex(r"sk-(?:proj-)?[A-Za-z0-9]{32,64}", fullmatch=True))
def test_no_key_survives(key: str) -> None:
    for words in (f"the key {key} is not valid", f'"{key}"', f"key={key}&x", f"https://example.com/{key}"):
        shown = sanitise(words)
        assert shown is not None
        assert key not in shown


class TestNames:
    @pytest.mark.parametrize("name", ["rate_limit_exceeded", "InvalidParameter.DataCheck", "two words", "1301"])
    def test_names_pass_as_they_are(self, name: str) -> None:
        assert shown_name(name) == name

    @pytest.mark.parametrize(
        "param",
        [
            "messages[0].content",
            "tools[0].function.parameters",
            "messages.[3].content.[0].image_url",
            "tool_calls.call_abc123DEF456ghi789JKL012mno345",
            "response_format.json_schema.schema.$defs.Über",
        ],
    )
    def test_places_pass_as_they_are(self, param: str) -> None:
        assert shown_param(param) == param

    @pytest.mark.parametrize("odd", [None, 7, "", " ", "two\nlines", "x" * 1000, "sk-proj-AbCd1234efgh"])
    def test_what_is_neither(self, odd: object) -> None:
        assert shown_name(odd) is None
        assert shown_param(odd) is None

    def test_the_log_gets_identifiers_only(self) -> None:
        assert plain_name("rate_limit_exceeded") == "rate_limit_exceeded"
        assert plain_name("two words") is None
        assert plain_name("sk-proj-AbCd1234efgh") is None
