"""Anthropic's Messages API relayed to an upstream that has it: byte for byte, with the rules of a chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .claude import MODEL, PROMPT, SECOND_KEY, either, events, messages, relayed, words
from .conftest import StartGateway
from .harness import ALICE, PIAPI_KEY


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_every_byte_of_the_answer_is_the_upstreams(stream: bool, sandbox: Sandbox, gateway: StartGateway) -> None:
    rig = await gateway(relayed(sandbox))
    answer = await messages(rig, stream=stream, system="Be brief.")
    assert answer.status == 200
    (asked,) = sandbox.requests
    assert answer.header("request-id") == answer.header("x-request-id")
    assert asked.path == "/v1/messages"
    assert asked.get(b"x-api-key") == PIAPI_KEY.encode()
    assert asked.get(b"authorization") is None
    assert asked.get(b"anthropic-version") == b"2023-06-01"
    sent = {"model": MODEL, "max_tokens": 500, "messages": PROMPT, "stream": stream, "system": "Be brief."}
    assert asked.json == sent
    if stream:
        kinds = [event["type"] for event in events(answer)]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        assert kinds[2] == "ping"
        assert events(answer)[0]["message"]["id"].startswith("msg_sandbox")
    else:
        assert answer.json()["id"].startswith("msg_sandbox")
        assert "cost" not in answer.json()["usage"]
    row = await rig.row()
    assert row.charged == sandbox.bill[0].amount
    assert row.charged > 0
    assert (row.state, row.confidence) == ("settled", "measured")
    if not stream:
        assert answer.header("x-gateway-cost-usd")
