"""The building blocks of scenarios: heads, pauses, ends, and whole answers in steps."""

from __future__ import annotations

import math

import pytest

from gateway.sandbox.faults.parsing import parse_scenario
from gateway.sandbox.faults.playback import ScenarioContext, pause_for, play_honestly, scenario_close
from gateway.sandbox.wire.answers import DONE, Answer, Event, EventStream, Role, Sale, json_reply
from gateway.sandbox.wire.http import Request
from gateway.sandbox.wire.steps import Close, Pause, Send

REPLY = json_reply(200, {"a": 1}, headers=((b"server", b"origin"),), sale=Sale("gpt-4o", output_tokens=7, images=2))
STREAM = EventStream((Event(b"{}", "content", tokens=1), DONE), REPLY)


def context(answer: Answer, scenario: str = "ok", role: Role = "api") -> ScenarioContext:
    request = Request("POST", "/v1/chat/completions", ())
    return ScenarioContext(parse_scenario(scenario), request, "req-sandbox-1", role, 1, 120.0, lambda: answer)


def test_below_zero_a_pause_lasts_for_ever() -> None:
    assert pause_for(-1).seconds == math.inf
    assert pause_for(2).seconds == 2


def test_a_connection_ends_with_a_reset_where_the_scenario_says_so() -> None:
    assert scenario_close(context(REPLY, "cut;reset=1")) == Close(reset=True)
    assert scenario_close(context(REPLY, "cut")) == Close()
    assert scenario_close(context(REPLY, "ok")) == Close()


def test_a_whole_answer_is_one_step_that_delivers_its_sale() -> None:
    (step,) = play_honestly(context(REPLY, role="proxy"))

    assert isinstance(step, Send)
    assert (step.tokens, step.images) == (7, 2)
    assert step.data.startswith(b"HTTP/1.1 200 OK\r\nx-sandbox: 1\r\nx-request-id: req-sandbox-1\r\n")
    assert step.data.endswith(b'\r\ncontent-length: 7\r\n\r\n{"a":1}')


def test_a_header_of_the_answer_replaces_the_usual_one() -> None:
    (step,) = play_honestly(context(REPLY))

    assert isinstance(step, Send)
    assert b"\r\nserver: origin\r\n" in step.data
    assert b"cloudflare" not in step.data
    assert b"\r\ncf-ray: 0000000000000001-SBX\r\n" in step.data


def test_a_stream_is_a_head_its_events_and_an_end_with_delays_between() -> None:
    head, *rest = play_honestly(context(STREAM, "ok;delay=20"))

    assert isinstance(head, Send)
    assert b"transfer-encoding: chunked" in head.data
    assert rest == [
        Pause(0.02),
        Send(b"a\r\ndata: {}\n\n\r\n", tokens=1),
        Pause(0.02),
        Send(b"e\r\ndata: [DONE]\n\n\r\n"),
        Send(b"0\r\n\r\n"),
    ]


def test_only_a_stream_has_events_and_both_have_a_whole_body() -> None:
    assert context(STREAM).whole is context(REPLY).whole is REPLY
    assert context(STREAM).events == STREAM.events
    with pytest.raises(TypeError, match="a scenario for streams was played on an answer that is none"):
        _ = context(REPLY).events
