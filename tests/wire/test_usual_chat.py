"""What is left out of a request as usual adds nothing to what is looked for in it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.billing_terms import NOTHING_ASKED
from gateway.wire.asked_work import _lifetimes, asked_of, most_asked_output, most_beside, most_choices
from gateway.wire.chat_request import _withheld, parse_chat_request
from gateway.wire.most_input import most_input, most_of_words
from gateway.wire.named_ids import ids_in_chat
from gateway.wire.request_shape import chat_shape
from gateway.wire.usual_chat import unusual_part

USUAL: dict[str, dict[str, Any]] = {
    "words": {"messages": [{"role": "user", "content": "hi"}]},
    "a conversation": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be brief"}], "name": "desk"},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "{}"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {}}}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"thinking": 1}}},
        "metadata": {"thread_id": "t-1"},
        "stop": ["a", "b"],
        "temperature": 1,
        "max_completion_tokens": 100,
        "n": 2,
    },
    "a stream": {
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
}

UNUSUAL: dict[str, dict[str, Any]] = {
    "a picture": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]}]
    },
    "a mark": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]},
    "a sound": {"messages": [{"role": "assistant", "content": "a", "audio": {"id": "audio_1"}}]},
    "a call by another": {"messages": [{"role": "assistant", "tool_calls": [{"type": "web", "id": "x"}]}]},
    "an object for a role": {"messages": [{"role": {}, "content": "a"}]},
    "an object for words": {"messages": [{"role": "user", "content": "a", "name": {"file_id": "file-1"}}]},
    "a part that is text itself": {"messages": [{"role": "user", "content": ["a"]}]},
    "a vendor's tool": {"tools": [{"type": "web_search"}]},
    "a marked tool": {"tools": [{"type": "function", "function": {}, "cache_control": {"type": "ephemeral"}}]},
    "tools that are no list": {"tools": {"type": "web_search"}},
    "thinking": {"reasoning_effort": "high"},
    "thinking among the options of the stream": {"stream_options": {"include_usage": {"thinking": {"max_tokens": 9}}}},
    "thinking in a choice": {"tool_choice": {"thinking": {"max_tokens": 9}}},
    "objects to stop at": {"stop": [{"thinking": {"max_tokens": 9}}]},
    "a tier": {"service_tier": "fast"},
    "another place": {"models": ["a"]},
    "a field that is newer": {"newer": 1},
}


@pytest.mark.parametrize("fields", USUAL.values(), ids=USUAL)
def test_words_and_calls_are_usual(fields: dict[str, Any]) -> None:
    assert unusual_part({"model": "m", **fields}).usual


@pytest.mark.parametrize("fields", UNUSUAL.values(), ids=UNUSUAL)
def test_everything_else_is_looked_at(fields: dict[str, Any]) -> None:
    usual = {"role": "user", "content": "hi"}
    body = {"model": "m", "messages": [usual], **fields}
    part = unusual_part({**body, "messages": [usual, *body["messages"]]})
    assert not part.usual
    if "messages" in fields:
        assert (part.body["messages"], list(part.places)) == (fields["messages"], [1])


def _scattered(names: str) -> st.SearchStrategy[Any]:
    """Values whose fields are taken from ``names``, so that what is looked for turns up anywhere."""
    words = st.sampled_from(
        ["", "text", "function", "fast", "auto", "file-abc1", "12h", "1h", "user", "data:image/png;base64,QUJD", "9"]
    )
    return st.recursive(
        words | st.integers(-1, 9) | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(names.split()), inner, max_size=3),
        max_leaves=5,
    )


ANY = _scattered(
    "id type text content function file_id file audio image_url url images thinking reasoning max_tokens ttl tools "
    "cache_control budget_tokens effort messages name arguments data source prediction speed service_tier n input"
)
USUAL_MESSAGES = st.sampled_from([message for fields in USUAL.values() for message in fields["messages"]])
MESSAGES = USUAL_MESSAGES | st.dictionaries(
    st.sampled_from(
        ["role", "content", "name", "tool_calls", "id", "audio", "images", "cache_control", "refusal", "x"]
    ),
    ANY,
    max_size=4,
)
USUAL_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"thinking": 9}}}
TOOLS = st.lists(st.just(USUAL_TOOL) | ANY, max_size=3) | ANY
NAMES = (
    "temperature top_p stop seed user tool_choice logprobs verbosity response_format metadata store thinking top_k x "
    "reasoning_effort service_tier speed extra_body prediction web_search_options search_parameters config models "
    "webhook_config prompt_cache_options prompt_cache_retention logit_bias functions file_id audio modalities "
    "max_output_tokens prompt_cache_key safety_identifier cache_control stream_options"
)
FIELDS = st.dictionaries(st.sampled_from(NAMES.split()), ANY, max_size=4)
MODELS = st.sampled_from(["gpt-4o", "gpt-4o-mini", "claude-sonnet-5", "gpt-4o-search-preview", "sonar"])


@settings(max_examples=1500)
@example([{"role": "user", "content": "hi"}], [USUAL_TOOL, {"file_id": "one"}], {}, "gpt-4o", None, None)
@given(
    st.lists(MESSAGES, min_size=1, max_size=4),
    st.none() | TOOLS,
    FIELDS,
    MODELS,
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 128),
)
def test_what_is_looked_for_is_found_in_the_unusual_part(
    messages: list[dict[str, Any]],
    tools: Any,
    fields: dict[str, Any],
    model: str,
    limit: int | None,
    choices: int | None,
) -> None:
    body = {"model": model, "messages": messages, "tools": tools, "max_tokens": limit, "n": choices, **fields}
    part, size = unusual_part(body), len(orjson.dumps(body))
    assert list(ids_in_chat(part.body, part.places)) == list(ids_in_chat(body))
    assert chat_shape(part.body) == chat_shape(body)
    for window in (None, 128_000):
        assert most_input(part.body, model, window, size) == most_input(body, model, window, size)
    assert most_beside(part.body, model) == most_beside(body, model)
    assert most_choices(part.body) == most_choices(body)
    assert most_asked_output(part.body) == most_asked_output(body)
    assert asked_of(part.body, model) == asked_of(body, model)
    if part.usual:
        assert list(ids_in_chat(body)) == []
        assert _withheld(body) == ()
        assert (most_beside(body, model), most_choices(body), most_asked_output(body)) == ((0, 0), choices or 1, limit)
        assert _lifetimes(body) == {"usual"}
        if model in ("gpt-4o", "gpt-4o-mini", "claude-sonnet-5"):
            assert asked_of(body, model) == NOTHING_ASKED
            assert most_of_words(size, None, tools=bool(tools)) == most_input(body, model, None, size)


def test_a_long_conversation_is_walked_through_once_for_all_that_is_looked_for() -> None:
    words = [{"role": "user", "content": "hi"}] * 1_000
    seen = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}
    request = parse_chat_request({"model": "m", "messages": [*words, seen, *words]})
    assert request.unusual.body["messages"] == [seen]
    assert list(request.unusual.places) == [1_000]
