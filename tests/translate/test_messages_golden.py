"""Messages over chats and over an upstream of their own API, held against golden transcripts: what is sent, what comes
back, wherever the bytes are cut.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.table import client_error
from gateway.core.types import CostClass, Outcome, Price, Target, Usage
from gateway.translate.chat_to_chat import ChatConversation
from gateway.translate.commands import Send
from gateway.translate.messages_relay import MessagesRelay
from gateway.translate.translated_chat import TranslatedConversation
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.answer_head import Head
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.messages.errors import AnthropicErrors
from gateway.wire.messages.headers import version_header
from gateway.wire.messages.presenter import MessageFacts, MessagePresenter
from gateway.wire.messages.relayed import merged_usage, relayed_request, usage_in
from gateway.wire.messages.request import MessagesRequest, read_request

from .chat import BILLED, INPUT_TOKENS, PIAPI, STREAM_HEAD, attempt_context, chunk, delta
from .golden_files import asked, cases, hold
from .test_responses_golden import COST, converse
from .transcript import emitted

OVER_CHAT = cases("messages_over_chat")
RELAYED = cases("messages_over_messages")
BROKEN = ("error", "cut")
CLAUDES = replace(PIAPI, name="claude", dialect="anthropic")
AT_CLAUDES = Target(CLAUDES, "claude-sonnet-4-5", "messages", Price(input=1, output=1))
JSON_HEAD = Head(200, ((b"content-type", b"application/json"),))


def name_of(case: Path) -> str:
    return case.name


over_chat = pytest.mark.parametrize("case", OVER_CHAT, ids=name_of)
relayed = pytest.mark.parametrize("case", RELAYED, ids=name_of)


class AsChat:
    """One request that is asked as a chat, about to be tried."""

    def __init__(self, case: Path, *, stream: bool) -> None:
        self.request: MessagesRequest = read_request({**asked(case), "stream": stream})
        context = replace(attempt_context(BILLED))
        request = parse_chat_request(self.request.chat)
        chat = ChatConversation(request, context, count=len, input_tokens=lambda: INPUT_TOKENS)
        facts = MessageFacts("msg_0", self.request.model, self.request.stops, self.request.offered)
        presenter = MessagePresenter(facts)
        self.conversation = TranslatedConversation(
            chat, presenter, streamed=stream, tells_cost=True, event_limit=1 << 20
        )

    def told(self, pieces: list[bytes]) -> tuple[bytes, bytes, Outcome]:
        """What goes to the upstream and to the client of a stream, and the outcome, if the upstream's come so."""
        said, outcome = converse(self.conversation, [STREAM_HEAD, *pieces, b""])
        [sent] = [command.body for command in said if isinstance(command, Send)]
        return sent, emitted(said) + last_event(outcome), outcome


class AsItIs:
    """One request that is relayed, about to be tried."""

    def __init__(self, case: Path, *, stream: bool) -> None:
        document = {**asked(case), "stream": stream}
        request = relayed_request(document, len(json.dumps(document)), slow=False)
        context = replace(attempt_context(AT_CLAUDES))
        self.conversation = MessagesRelay(request, context, count=len, headers=(version_header(),))

    def told(self, pieces: list[bytes], head: Head = STREAM_HEAD) -> tuple[bytes, bytes, Outcome]:
        said, outcome = converse(self.conversation, [head, *pieces, b""])  # type: ignore[arg-type]
        [sent] = [command for command in said if isinstance(command, Send)]
        assert (sent.path, sent.key_header) == ("/v1/messages", b"x-api-key")
        assert version_header() in sent.headers
        return sent.body, emitted(said) + last_event(outcome), outcome

    def usage(self) -> bytes:
        """What the books are told, as JSON."""
        usage: Usage = self.conversation.usage or self.conversation.estimate()
        return json.dumps({name: value for name, value in asdict(usage).items() if value}).encode()


def last_event(outcome: Outcome) -> bytes:
    """What a client is told of a stream that broke off."""
    if outcome.ok:
        return b""
    return AnthropicErrors().last_event(client_error(outcome, CostClass.TOKENS, model="it"))


def upstream(case: Path) -> bytes:
    return (case / "upstream.sse").read_bytes()


@over_chat
def test_golden_stream_of_a_chat(case: Path) -> None:
    sent, events, outcome = AsChat(case, stream=True).told([upstream(case)])
    hold(case, "sent.json", sent)
    hold(case, "events.sse", events)
    assert outcome.ok is (case.name not in BROKEN)


@over_chat
def test_golden_whole_answer_of_a_chat(case: Path) -> None:
    if case.name in BROKEN:
        return
    talk = AsChat(case, stream=False)
    talk.told([upstream(case)])
    whole = talk.conversation.whole(talk.conversation.inner.answer, AnswerCost(COST))
    assert whole is not None
    hold(case, "whole.json", whole)
    assert folded(AsChat(case, stream=True).told([upstream(case)])[1]) == without_usage(json.loads(whole))


@over_chat
def test_golden_chat_cut_at_every_byte(case: Path) -> None:
    body = upstream(case)
    _, whole, _ = AsChat(case, stream=True).told([body])
    for at in range(1, len(body)):
        assert AsChat(case, stream=True).told([body[:at], body[at:]])[1] == whole, at
    assert AsChat(case, stream=True).told([body[at : at + 1] for at in range(len(body))])[1] == whole


@relayed
def test_golden_relayed_stream(case: Path) -> None:
    talk = AsItIs(case, stream=True)
    sent, events, outcome = talk.told([upstream(case)])
    hold(case, "sent.json", sent)
    hold(case, "usage.json", talk.usage())
    assert outcome.ok is (case.name not in BROKEN)
    if case.name in BROKEN:
        hold(case, "events.sse", events)
    elif case.name == "unended":
        assert events == upstream(case) + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    else:
        assert events == upstream(case)


@relayed
def test_golden_relayed_whole_answer(case: Path) -> None:
    if case.name in BROKEN:
        return
    body = (case / "upstream.json").read_bytes()
    streamed = AsItIs(case, stream=True)
    streamed.told([upstream(case)])
    for at in range(len(body)):
        talk = AsItIs(case, stream=False)
        _, events, outcome = talk.told([piece for piece in (body[:at], body[at:]) if piece], JSON_HEAD)
        assert (events, outcome.ok, talk.conversation.answer) == (b"", True, body)
    assert talk.usage() == streamed.usage()


@relayed
def test_a_whole_message_told_as_events_is_put_together_to_the_same(case: Path) -> None:
    """An upstream that does not stream: its answer comes as a document."""
    if case.name in BROKEN:
        return
    document = json.loads((case / "upstream.json").read_text(encoding="utf-8"))
    talk = AsItIs(case, stream=True)
    _, events, outcome = talk.told([(case / "upstream.json").read_bytes()], JSON_HEAD)
    assert outcome.ok
    assert folded(events) == without_usage(document)
    assert events.startswith(b"event: message_start\ndata: ")
    assert events.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert talk.conversation.answer is None


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("body", [b'{"ok":true}', b'{"content":"Hi"}', b'{"choices":[{"message":{"content":"Hi"}}]}'])
def test_a_document_that_is_no_message_is_asked_for_elsewhere(body: bytes, stream: bool) -> None:
    talk = AsItIs(RELAYED[0], stream=stream)
    _, events, outcome = talk.told([body], JSON_HEAD)
    assert outcome.slug == "bad_json"
    assert events == last_event(outcome)
    assert talk.conversation.answer is None


def test_a_stream_of_another_api_has_nothing_to_say() -> None:
    talk = AsItIs(RELAYED[0], stream=True)
    _, _, outcome = talk.told([chunk(delta(content="Hello")), chunk(delta("stop")), b"data: [DONE]\n\n"])
    assert outcome.slug == "sse_empty"


@relayed
def test_golden_relayed_stream_cut_at_every_byte(case: Path) -> None:
    body = upstream(case)
    first = AsItIs(case, stream=True)
    _, whole, _ = first.told([body])
    for at in range(1, len(body)):
        talk = AsItIs(case, stream=True)
        assert talk.told([body[:at], body[at:]])[1] == whole, at
        assert talk.usage() == first.usage()
    assert AsItIs(case, stream=True).told([body[at : at + 1] for at in range(len(body))])[1] == whole


def cut_at(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(body) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges) if start < end]


@given(case=st.sampled_from(RELAYED), places=st.lists(st.integers(min_value=0), max_size=12))
def test_a_relayed_stream_is_the_same_however_it_is_cut(case: Path, places: list[int]) -> None:
    body = upstream(case)
    first, again = AsItIs(case, stream=True), AsItIs(case, stream=True)
    assert first.told([body])[1] == again.told(cut_at(body, places))[1]
    assert first.usage() == again.usage()


_TEXTS = st.text(min_size=1, max_size=12)
_DELTAS = st.lists(
    st.one_of(
        _TEXTS.map(lambda text: {"content": text}),
        _TEXTS.map(lambda text: {"reasoning_content": text}),
        st.dictionaries(_TEXTS, st.one_of(st.integers(-9, 9), _TEXTS, st.none()), max_size=3).map(
            lambda given: {"call": json.dumps(given)}
        ),
    ),
    min_size=1,
    max_size=6,
)


def chat_of(deltas: list[dict[str, Any]], piece: int) -> bytes:
    """A chat's stream. ``piece``: characters of a call's arguments in one chunk."""
    out, calls = [chunk(delta(role="assistant", content=""))], 0
    for one in deltas:
        if (arguments := one.get("call")) is None:
            out.append(chunk(delta(**one)))
            continue
        opened = {"index": calls, "id": f"call_{calls}", "type": "function", "function": {"name": "get_weather"}}
        out.append(chunk(delta(tool_calls=[opened])))
        for start in range(0, len(arguments), piece):
            more = {"index": calls, "function": {"arguments": arguments[start : start + piece]}}
            out.append(chunk(delta(tool_calls=[more])))
        calls += 1
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    return b"".join([*out, chunk(delta("tool_calls" if calls else "stop")), chunk(usage=usage), b"data: [DONE]\n\n"])


@given(deltas=_DELTAS, piece=st.integers(1, 9))
def test_a_streamed_message_put_together_is_the_whole_one(deltas: list[dict[str, Any]], piece: int) -> None:
    case = next(case for case in OVER_CHAT if case.name == "tools")
    body = chat_of(deltas, piece)
    whole_talk = AsChat(case, stream=False)
    whole_talk.told([body])
    whole = whole_talk.conversation.whole(whole_talk.conversation.inner.answer, None)
    assert whole is not None
    _, events, outcome = AsChat(case, stream=True).told([body])
    assert outcome.ok
    message = folded(events)
    said = [block for block in message["content"] if block["type"] == "text"]
    calls = [block["input"] for block in message["content"] if block["type"] == "tool_use"]
    assert "".join(block["text"] for block in said) == "".join(one.get("content", "") for one in deltas)
    assert calls == [json.loads(one["call"]) for one in deltas if "call" in one]
    assert message["stop_reason"] == json.loads(whole)["stop_reason"]


def test_summaries_made_on_the_way_are_billed_beside_the_sums() -> None:
    lifetimes = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    summary = {"type": "compaction", "input_tokens": 100, "output_tokens": 20, "cache_creation_input_tokens": 7}
    stated = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 2, "cache_creation": None}
    turn = {"type": "message", "input_tokens": 10, "output_tokens": 5}
    usage = usage_in({**stated, "iterations": [{**summary, "cache_creation": lifetimes}, turn]})
    assert usage == Usage(119, 2, 25, cache_write_tokens=7, cache_write_hour_tokens=4)
    assert usage_in({**stated, "iterations": [turn]}) == Usage(12, 2, 5)


_FIGURES = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]),
    st.integers(1, 1000),
)


@given(parts=st.lists(_FIGURES, min_size=1, max_size=4))
def test_of_each_figure_of_the_use_the_last_one_holds(parts: list[dict[str, int]]) -> None:
    stated: dict[str, Any] = {}
    for part in parts:
        stated = merged_usage(stated, part)
    assert stated == {name: value for part in parts for name, value in part.items()}
    assert merged_usage(stated, {**dict.fromkeys(stated, 0), "output_tokens": 7}) == {**stated, "output_tokens": 7}


def folded(events: bytes) -> dict[str, Any]:
    """A message put together of its events, as Anthropic's SDKs do it; without its usage."""
    message: dict[str, Any] = {}
    partial: dict[int, str] = {}
    for payload in [json.loads(line[6:]) for line in events.decode().split("\n") if line.startswith("data: ")]:
        match payload["type"]:
            case "message_start":
                message = dict(payload["message"])
                message["content"] = list(message["content"])
            case "content_block_start":
                message["content"].append(dict(payload["content_block"]))
            case "content_block_delta":
                block, delta = message["content"][payload["index"]], payload["delta"]
                if delta["type"] == "input_json_delta":
                    partial[payload["index"]] = partial.get(payload["index"], "") + delta["partial_json"]
                    continue
                field = delta["type"].removesuffix("_delta")
                block[field] = block.get(field, "") + delta[field]
            case "message_delta":
                message.update(payload["delta"])
    for index, text in partial.items():
        message["content"][index]["input"] = json.loads(text)
    return without_usage(message)


def without_usage(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "usage"}
