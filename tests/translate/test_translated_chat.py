"""The seam between a chat's conversation and a presenter of another API: what each is told, in which order."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.errors import GatewayError, TransportError
from gateway.core.types import Outcome, Phase, Usage
from gateway.translate.commands import Awaiting, Charge, ConversationState, Conversing, Emit, Receive, Relay
from gateway.translate.translated_chat import TranslatedConversation
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.sse import DONE, encode_event

OK = Outcome("ok", Phase.FORWARDED, 200)


def event(text: str) -> bytes:
    return encode_event(orjson.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}))


class Words:
    """A presenter that writes the words it is told."""

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        return (chunk["choices"][0]["delta"].get("content") or "").encode()

    def alive(self) -> bytes:
        return b"."

    def end(self, usage: Usage, cost: AnswerCost | None) -> bytes:
        return b"|%d|%s" % (usage.output_tokens, (cost.usd or "" if cost else "untold").encode())

    def failed(self, error: GatewayError) -> bytes:
        return b"!"

    def whole(self, completion: dict[str, Any], usage: Usage, cost: AnswerCost | None) -> bytes:
        return completion["choices"][0]["message"]["content"].encode() + self.end(usage, cost)


class Stream:
    """A chat's stream that passes on what it is fed."""

    over = False
    awaiting = Awaiting.CONTENT
    progress = 0

    def is_heavy(self, data: bytes) -> bool:
        return False

    def feed(self, data: bytes) -> bytes:
        self.progress += 1
        self.over = not data
        return data


class Chat(ConversationState):
    """A chat's conversation whose stream says what it is fed, and which then ends."""

    images = delivered = 0

    def __init__(self) -> None:
        self.stream = Stream()
        self.usage = Usage(3, 0, 5)
        self.troubles: list[Exception] = []

    def estimate(self) -> Usage:
        return Usage()

    def converse(self) -> Conversing:
        try:
            yield Receive(Awaiting.CONTENT)
            yield Relay(self.stream)
        except TransportError as trouble:
            self.troubles.append(trouble)
            return Outcome("sse_cut_late", Phase.FORWARDED)
        yield Emit(event("c") + DONE)
        return OK


def translated(chat: Chat, *, streamed: bool = True, tells_cost: bool = True) -> TranslatedConversation:
    return TranslatedConversation(chat, Words(), streamed=streamed, tells_cost=tells_cost, event_limit=1000)


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_a_stream_is_told_by_the_presenter_and_its_cost_at_the_end(size: int) -> None:
    conversing = translated(Chat()).converse()
    assert type(next(conversing)) is Receive
    relay = conversing.send(b"")
    assert isinstance(relay, Relay)
    said = event("a") + b": ping\n\n" + event("b")
    assert b"".join(relay.stream.feed(said[at : at + size]) for at in range(0, len(said), size)) == b"a.b"
    relay.stream.feed(b"")
    assert relay.stream.over
    assert type(conversing.send(None)) is Charge
    last = conversing.send("0.25")
    assert isinstance(last, Emit)
    assert last.data == b"c|5|0.25"
    with pytest.raises(StopIteration) as end:
        conversing.send(None)
    assert end.value.value is OK


def test_what_goes_wrong_is_thrown_into_the_chat() -> None:
    chat = Chat()
    conversing = translated(chat).converse()
    next(conversing)
    conversing.send(b"")
    trouble = TransportError("connection_reset", Phase.UNKNOWN, "gone")
    with pytest.raises(StopIteration) as end:
        conversing.throw(trouble)
    assert (end.value.value.slug, chat.troubles) == ("sse_cut_late", [trouble])


def test_a_whole_answer_is_told_once_the_chat_has_it() -> None:
    answer = orjson.dumps({"choices": [{"message": {"content": "all"}}]})
    told = translated(Chat(), streamed=False)
    assert told.whole(answer, AnswerCost("1.5")) == b"all|5|1.5"
    assert told.whole(None, None) is None


def test_an_end_that_comes_after_the_conversation_is_told_then() -> None:
    told = translated(Chat())
    assert told.last_bytes(event("z") + DONE, None) == b"z|5|untold"
    assert told.last_bytes(None, None) is None
