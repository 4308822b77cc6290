"""The fuzz is not blind: a gateway that does wrong in any of these ways is found out by a few hundred cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fuzz import streams
from tests.fuzz.driving import Played
from tests.fuzz.request_grammar import RequestCase
from tests.fuzz.request_oracle import check_answer
from tests.fuzz.stream_oracle import Fault
from tests.fuzz.streams import StreamCase, check_stream, play_stream
from tests.raw_client import Answer

Result = tuple[Played, bytes | None]
Wrong = Callable[[Played, bytes | None], Result]
CASES = 300


def broken(change: Wrong) -> Callable[[StreamCase], Result]:
    return lambda case: change(*play_stream(case))


def emitting(change: Callable[[bytes], bytes]) -> Wrong:
    return lambda played, answer: (replace(played, emitted=change(played.emitted)), answer)


def answering(change: Callable[[dict[str, Any]], None]) -> Wrong:
    def changed(played: Played, answer: bytes | None) -> Result:
        if answer is None:
            return played, None
        document = json.loads(answer)
        change(document)
        return played, json.dumps(document).encode()

    return changed


def always_complete(played: Played, answer: bytes | None) -> Result:
    done = b"" if b"[DONE]" in played.emitted else b"data: [DONE]\n\n"
    return replace(played, outcome=replace(played.outcome, slug="ok"), emitted=played.emitted + done), answer or b"{}"


def never_complete(played: Played, answer: bytes | None) -> Result:
    return replace(played, outcome=replace(played.outcome, slug="sse_truncated")), answer


def without_last_call(document: dict[str, Any]) -> None:
    for choice in document["choices"]:
        if choice["message"].get("tool_calls"):
            choice["message"]["tool_calls"].pop()


def with_other_finish(document: dict[str, Any]) -> None:
    document["choices"][-1]["finish_reason"] = "other"


def with_text_twice(document: dict[str, Any]) -> None:
    message = document["choices"][0]["message"]
    message["content"] = message["content"] and message["content"] * 2


def without_reasoning(document: dict[str, Any]) -> None:
    for choice in document["choices"]:
        choice["message"].pop("reasoning_content", None)


WRONG: dict[str, Wrong] = {
    "told complete when it was not": always_complete,
    "told cut when it was complete": never_complete,
    "an event lost": emitting(lambda data: b"\n\n".join(data.split(b"\n\n")[1:])),
    "an event twice": emitting(lambda data: data[: data.find(b"\n\n") + 2] + data),
    "a word changed": emitting(lambda data: data.replace(b"Oslo", b"Rome")),
    "no usage": emitting(lambda data: data.replace(b"prompt_tokens", b"x")),
    "no terminator": emitting(lambda data: data.replace(b"[DONE]", b"")),
    "a call lost": answering(without_last_call),
    "another finish reason": answering(with_other_finish),
    "a text twice": answering(with_text_twice),
    "thoughts lost": answering(without_reasoning),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_gateway_that_does_wrong_is_found_out(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "play_stream", broken(wrong))
    found = 0
    for seed in range(CASES):
        try:
            check_stream(seed)
        except (Fault, LookupError):
            found += 1
    assert found


FINE = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "x_new": 1}
HEADERS = [("content-type", "application/json"), ("x-request-id", "r"), ("x-should-retry", "false")]


def answer(status: int, param: str | None = None) -> Answer:
    error = {"message": "No.", "type": "invalid_request_error", "param": param, "code": None}
    body = {"choices": [{}]} if status == 200 else {"error": error}
    return Answer(status, HEADERS, json.dumps(body).encode(), complete=True)


@pytest.mark.parametrize(
    ("case", "answered", "sent"),
    [
        (RequestCase(0, b"", document=FINE), answer(500), FINE),
        (RequestCase(0, b"", document=FINE), answer(400, "x_new"), None),
        (RequestCase(0, b"", document=FINE), answer(200), {**FINE, "x_new": 2}),
        (RequestCase(0, b"", document={**FINE, "provider": "p"}), answer(200), {**FINE, "provider": "p"}),
        (RequestCase(0, b"", document=FINE, wrong=["n"]), answer(400, "model"), None),
        (RequestCase(0, b"", document=FINE, wrong=["n"]), answer(200), FINE),
        (RequestCase(0, b"", unreadable=(400,)), answer(200), FINE),
    ],
)
def test_an_answer_to_a_request_that_is_wrong_is_found_out(
    case: RequestCase, answered: Answer, sent: dict[str, Any] | None
) -> None:
    with pytest.raises(Fault):
        check_answer(case, answered, sent)
    check_answer(RequestCase(0, b"", document=FINE), answer(200), FINE)
