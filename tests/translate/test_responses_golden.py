"""Responses over chats, held against golden transcripts: what is sent, what comes back, wherever the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.outcomes.table import client_error
from gateway.core.types import CostClass, Outcome
from gateway.translate.chat_to_chat import ChatConversation
from gateway.translate.commands import Charge, Command, Send
from gateway.translate.translated_chat import TranslatedConversation
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.responses.answer import ResponseFacts, as_stored
from gateway.wire.responses.presenter import ResponsePresenter
from gateway.wire.responses.request import ResponsesRequest, chat_document, read_request

from .chat import BILLED, INPUT_TOKENS, STREAM_HEAD, attempt_context
from .golden_files import asked, cases, hold
from .transcript import UNANSWERED, Told, emitted, step_by_step

CASES = cases("responses_over_chat")
BROKEN = ("error", "cut")
COST = "0.000125"
NOW = 1_700_000_000

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Talk:
    """One request, about to be tried. ``ended``: the responses that were told as ended."""

    def __init__(self, case: Path, *, stream: bool) -> None:
        self.request: ResponsesRequest = read_request({**asked(case), "stream": stream})
        document = chat_document(self.request, [], self.request.items)
        chat = ChatConversation(
            parse_chat_request(document.body),
            replace(attempt_context(BILLED)),
            count=len,
            input_tokens=lambda: INPUT_TOKENS,
        )
        facts = ResponseFacts(
            "resp_0", NOW, self.request.model, self.request.asked, lambda: NOW + 1, document.tools.names,
            document.tools.spaced, document.tools.searches, summarized=self.request.summarized,
        )  # fmt: skip
        self.ended: list[Any] = []
        self.presenter = ResponsePresenter(facts, self.ended.append, streamed=stream)
        self.conversation = TranslatedConversation(
            chat, self.presenter, streamed=stream, tells_cost=True, event_limit=1 << 20
        )

    def told(self, pieces: list[bytes]) -> tuple[bytes, bytes, Outcome]:
        """What goes to the upstream and to the client of a stream, and the outcome, if the upstream's come so."""
        said, outcome = converse(self.conversation, [STREAM_HEAD, *pieces, b""])
        [sent] = [command.body for command in said if isinstance(command, Send)]
        events = emitted(said)
        if not outcome.ok:
            error = client_error(outcome, CostClass.TOKENS, model=self.request.model)
            events += self.presenter.failed(error)
        return sent, events, outcome


def converse(conversation: TranslatedConversation, told: Iterable[Told]) -> tuple[list[Command], Outcome]:
    """Converse to the end as a driver would, which also says what the answer costs."""
    conversing = step_by_step(conversation.converse())
    answers = iter(told)
    said: list[Command] = [next(conversing)]
    while True:
        answer: Any = None if isinstance(said[-1], UNANSWERED) else COST
        if not isinstance(said[-1], (*UNANSWERED, Charge)):
            answer = next(answers)
        try:
            said.append(conversing.send(answer))
        except StopIteration as end:
            outcome: Outcome = end.value
            return said, outcome


def upstream(case: Path) -> bytes:
    return (case / "upstream.sse").read_bytes()


@every_case
def test_golden_stream(case: Path) -> None:
    talk = Talk(case, stream=True)
    sent, events, outcome = talk.told([upstream(case)])
    hold(case, "sent.json", sent)
    hold(case, "events.sse", events)
    assert outcome.ok is (case.name not in BROKEN)
    [ended] = talk.ended
    documents = [json.loads(line[6:]) for line in events.decode().split("\n") if line.startswith("data: ")]
    assert [one["sequence_number"] for one in documents] == list(range(len(documents)))
    assert documents[-1]["response"] == json.loads(as_stored(ended))


@every_case
def test_golden_whole_answer(case: Path) -> None:
    if case.name in BROKEN:
        return
    talk = Talk(case, stream=False)
    talk.told([upstream(case)])
    whole = talk.conversation.whole(talk.conversation.inner.answer, AnswerCost(COST))
    assert whole is not None
    hold(case, "whole.json", whole)


@every_case
def test_golden_stream_cut_at_every_byte(case: Path) -> None:
    body = upstream(case)
    _, whole, _ = Talk(case, stream=True).told([body])
    for at in range(1, len(body)):
        _, events, _ = Talk(case, stream=True).told([body[:at], body[at:]])
        assert events == whole, at
    _, events, _ = Talk(case, stream=True).told([body[at : at + 1] for at in range(len(body))])
    assert events == whole
