"""The responder: what it bills of an answer by how that ended, and the role a path names."""

from __future__ import annotations

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.faults.parsing import parse_scenario
from gateway.sandbox.faults.playback import ScenarioContext
from gateway.sandbox.server.history import History
from gateway.sandbox.server.responder import BilledPlayback
from gateway.sandbox.wire.answers import Answer, Role, Sale, json_reply
from gateway.sandbox.wire.http import Request
from gateway.sandbox.wire.requests import AnswerEnding
from tests.sandbox.client import HELLO, ask

REQUEST = Request("POST", "/v1/chat/completions", ((b"authorization", b"Bearer sk-one"),))
TOKENS = Sale("gpt-4o", 10, output_tokens=5)
IMAGES = Sale("gpt-4o-image", images=1, flat=True)


def playback(history: History, sale: Sale | None, scenario: str = "ok", role: Role = "api") -> BilledPlayback:
    def make() -> Answer:
        return json_reply(200, {}, sale=sale)

    recorded = history.record(REQUEST, role, 1, 1, 0.0)
    context = ScenarioContext(parse_scenario(scenario), REQUEST, recorded.id, role, 1, 120.0, make)
    return BilledPlayback(context, recorded, history, lambda: None)


@pytest.mark.parametrize(
    ("sale", "ending", "delivered", "billed"),
    [
        (TOKENS, "complete", (5, 0), [(5, 0, True)]),
        (TOKENS, "client_gone", (2, 0), [(2, 0, False)]),
        (TOKENS, "broken_off", (0, 0), []),
        (TOKENS, "walled", (0, 0), []),
        (IMAGES, "complete", (0, 0), [(0, 0, True)]),  # a whole answer without an image has a price, too
        (IMAGES, "broken_off", (3, 0), []),
        (IMAGES, "client_gone", (3, 1), [(3, 1, False)]),
        (None, "complete", (0, 0), []),
    ],
)
def test_what_was_delivered_is_billed(
    sale: Sale | None, ending: AnswerEnding, delivered: tuple[int, int], billed: list[tuple[int, int, bool]]
) -> None:
    history = History(10)
    answer = playback(history, sale)
    list(answer.steps)

    answer.ended(ending, *delivered, sent=99)

    assert [(line.output_tokens, line.images, line.whole) for line in history.bill] == billed
    assert (history.requests[0].ending, history.requests[0].bytes_sent, history.running) == (ending, 99, 0)


def test_an_answer_that_was_never_made_is_billed_only_if_it_was_bought() -> None:
    history = History(10)
    for scenario in ("server_error", "server_error;bought=1"):
        answer = playback(history, TOKENS, scenario)
        list(answer.steps)
        answer.ended("complete", 0, 0, sent=99)

    assert [(line.number, line.output_tokens) for line in history.bill] == [(1, 5)]


def test_cloudflare_stands_before_the_api_only() -> None:
    history = History(10)

    seconds, page = playback(history, None).wall()
    assert seconds == 120.0
    assert page.startswith(b"HTTP/1.1 524 ")
    assert playback(history, None, role="proxy").wall() == (None, b"")


async def test_one_port_plays_every_role_by_a_prefix() -> None:
    async with Sandbox(roles=("proxy",)) as sandbox:
        for role in ("api", "proxy", "backup"):
            received = await ask(sandbox, HELLO, path=f"/role/{role}/v1/chat/completions")
            assert received.status == 200
            assert sandbox.requests[-1].role == role
            assert sandbox.requests[-1].path == "/v1/chat/completions"
            assert (b"cf-ray" in received.headers) == (role == "api")
