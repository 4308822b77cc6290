"""What of a relayed message is acted on: its events, its headers, its tokens, what it can cost, whose its ids are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.translate.relay_work import most_work
from gateway.wire.messages.counting import count_message
from gateway.wire.messages.headers import passed_headers
from gateway.wire.messages.relayed import event_of_message, ids_in_message, relayed_request
from gateway.wire.most_input import UNKNOWN_WINDOW

USER = {"role": "user", "content": "Hello"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 500, "messages": [USER], **fields}


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def start(**block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


@pytest.mark.parametrize(
    ("event", "content", "text"),
    [
        ({"type": "message_start", "message": {"id": "msg_1"}}, False, ""),
        (start(type="text", text=""), False, ""),
        (start(type="text", text="Hi"), True, "Hi"),
        (start(type="thinking", thinking="", signature=""), False, ""),
        (start(type="redacted_thinking", data="x"), True, ""),
        (start(type="tool_use", id="toolu_1", name="f", input={}), True, ""),
        ({"type": "content_block_start", "index": 0}, False, ""),
        (delta(type="text_delta", text="Hi"), True, "Hi"),
        (delta(type="text_delta", text=""), False, ""),
        (delta(type="input_json_delta", partial_json='{"a'), True, '{"a'),
        (delta(type="thinking_delta", thinking="Hm"), True, "Hm"),
        (delta(type="signature_delta", signature="s"), True, ""),
        (delta(type="newer_delta", newer={"a": 1}), True, ""),
        ({"type": "content_block_delta", "index": 0, "delta": "odd"}, False, ""),
        ({"type": "content_block_stop", "index": 0}, False, ""),
        ({"type": "message_delta", "delta": {"stop_reason": None}}, False, ""),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, True, ""),
        ({"type": "message_delta"}, False, ""),
        ({"type": "ping"}, False, ""),
        ({"type": "newer"}, False, ""),
    ],
)
def test_what_an_event_says(event: dict[str, Any], content: bool, text: str) -> None:
    facts = event_of_message(event)
    assert (facts.content, facts.text, facts.last) == (content, text, False)
    assert facts.ended == (event.get("delta") == {"stop_reason": "end_turn"})


def test_the_last_event() -> None:
    facts = event_of_message({"type": "message_stop"})
    assert (facts.last, facts.content) == (True, False)


@pytest.mark.parametrize(
    ("versions", "betas", "passed"),
    [
        ([], [], [(b"anthropic-version", b"2023-06-01")]),
        ([b" 2026-10-21 "], [], [(b"anthropic-version", b"2026-10-21")]),
        ([b""], [b"", b"a-1"], [(b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a-1")]),
        ([], [b"a, b", b"c_2.x"], [(b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a, b,c_2.x")]),
    ],
)
def test_the_headers_that_go_upstream(versions: list[bytes], betas: list[bytes], passed: list[Any]) -> None:
    assert list(passed_headers(versions, betas)) == passed


@pytest.mark.parametrize(
    ("versions", "betas", "name"),
    [
        ([b"2023-06-01", b"2024-01-01"], [], "anthropic-version"),
        ([b"a b"], [], "anthropic-version"),
        ([b"x" * 33], [], "anthropic-version"),
        ([], [b"a;b"], "anthropic-beta"),
        ([], [b"a,,b"], "anthropic-beta"),
        ([], [b"\xc3\xa4"], "anthropic-beta"),
        ([], [b",".join([b"a"] * 65)], "anthropic-beta"),
    ],
)
def test_a_header_that_is_no_list_of_names(versions: list[bytes], betas: list[bytes], name: str) -> None:
    with pytest.raises(ClientError) as refused:
        passed_headers(versions, betas)
    assert (refused.value.status, refused.value.param) == (400, name)


def most(**fields: Any) -> tuple[int, int, int]:
    """The most input and output tokens, and calls."""
    document = body(**fields)
    work = most_work(relayed_request(document, 1000, slow=False), context=None, max_output=None)
    return work.input_tokens, work.output_tokens, work.asked.calls


class TestTheMostThatItTakes:
    def test_its_bytes_and_the_clients_bound(self) -> None:
        assert most(system="Be brief.", metadata={"user_id": "u"}, stop_sequences=["x"]) == (1256, 500, 0)

    def test_tools_of_the_client(self) -> None:
        assert most(tools=[TOOL], tool_choice={"type": "auto"}) == (2000, 500, 0)

    def test_thinking_is_within_the_bound(self) -> None:
        assert most(thinking={"type": "enabled", "budget_tokens": 400}) == (1256, 500, 0)
        assert most(thinking={"type": "enabled", "budget_tokens": 9000}) == (1256, 9000, 0)

    def test_a_picture_costs_more_than_its_bytes(self) -> None:
        assert most(messages=[{"role": "user", "content": [PICTURE]}]) == (1256 - 400 + 5000, 500, 0)

    @pytest.mark.parametrize(
        "fields",
        [
            {"tools": [SEARCH]},
            {"thread": {"type": "continue", "previous_message_id": "msg_1"}},
            {"context_management": {"edits": [{"type": "compact_20260112"}]}},
            {"mcp_servers": [{"type": "url", "url": "https://example.com"}]},
            {"newer": True},
            {"messages": [{"role": "user", "content": [{"type": "newer"}]}]},
            {
                "messages": [
                    {"role": "user", "content": [{**PICTURE, "type": "document", "source": {"url": "https://e"}}]}
                ]
            },
        ],
        ids=lambda fields: next(iter(fields)),
    )
    def test_what_is_fetched_may_fill_the_window(self, fields: dict[str, Any]) -> None:
        assert most(**fields)[0] == UNKNOWN_WINDOW

    def test_calls_of_a_tool_that_the_provider_runs(self) -> None:
        assert most(tools=[SEARCH, TOOL])[2] == 3


def test_a_count_grows_with_all_that_is_read() -> None:
    def count(**fields: Any) -> int:
        return count_message(body(**fields), len)

    plain = count()
    assert plain == 9  # five letters, and four tokens around the message
    assert count(system="Be brief.") == plain + 4 + 9
    assert count(tools=[TOOL]) == plain + len(json.dumps([TOOL], separators=(",", ":")))
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}, PICTURE]}
    assert count(messages=[{"role": "user", "content": [result]}]) == 4 + 5 + 1568
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    assert count(messages=[{"role": "assistant", "content": [call]}]) == 4 + len('{"name":"f","input":{"a":1}}')
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "12345"}}
    assert count(messages=[{"role": "user", "content": [text]}]) == 4 + 5
    packed = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 1600}}
    assert count(messages=[{"role": "user", "content": [packed]}]) == 4 + 100


def test_whose_ids_a_request_names() -> None:
    asked = body(
        container={"id": "c_1", "skills": [{"type": "anthropic", "skill_id": "pdf"}, {"skill_id": "mine"}]},
        thread={"type": "continue", "previous_message_id": "msg_1"},
        messages=[{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f_1"}}]}],
        tools=[{**TOOL, "input_schema": {"properties": {"file_id": {"type": "string"}}}}],
    )
    assert {(named.kind, named.id) for named in ids_in_message(asked)} == {
        ("container", "c_1"),
        ("item", "mine"),
        ("message", "msg_1"),
        ("file", "f_1"),
    }
