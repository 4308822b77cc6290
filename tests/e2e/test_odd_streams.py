"""Streams that are right in an unusual way are read, whole and streamed; the sandbox plays each by name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import Answer, Rig
from .streams import ASKED, SHORT, UNASKED, is_whole

ODD = [
    "finish_in_every_chunk",
    "finish_in_every_chunk;reason=length",
    "finish_in_every_chunk;delay=30",
    "word_for_no_reason",
    "word_for_no_reason;word=",
    "word_for_no_reason;word=None",
    "no_finish",
    "signs_of_life",
    *(f"signs_of_life;which={which}" for which in range(7)),
    "not_a_number",
    "odd_index",
    "odd_index;kind=0",
    "odd_index;kind=first",
    "wrong_index",
    "wrapped_twice",
    "message_for_delta",
    "usage_mixed",
    "usage_everywhere",
    "mislabelled",
    "mislabelled;type=",
    "mislabelled;type=text/plain",
    "mislabelled;type=application/json",
    "json_as_events",
    "unended_last_event",
    "huge_event;size=900000",
    "huge_event;size=900000;after_events=3",
]


def content(answer: Answer) -> str:
    """What a client that reads chunk by chunk has in the end, as openai-python reads them."""
    text = ""
    for payload in answer.payloads[:-1]:
        for choice in json.loads(payload)["choices"]:
            text += (choice.get("delta") or {}).get("content") or ""
            if "message" in choice:
                text = choice["message"]["content"]
    return text


async def honest(rig: Rig) -> str:
    rig.sandbox.script(f"ok;{SHORT}")
    text: str = (await rig.chat()).json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("scenario", ODD)
async def test_nothing_of_the_answer_is_lost(rig: Rig, scenario: str) -> None:
    expected = await honest(rig)
    for asked in ({}, UNASKED, ASKED):
        rig.sandbox.script(f"{scenario};{SHORT}")

        answer = await rig.chat(**asked)

        if asked:
            assert is_whole(answer)
            text = content(answer)
        else:
            choice = answer.json()["choices"][0]
            text = choice["message"]["content"]
            assert choice["finish_reason"] in ("stop", "length")
            assert answer.json()["usage"]["completion_tokens"] > 0
        assert re.sub("x{1000,}", "", text) == expected
    for row in await rig.rows(4):
        assert row.outcomes == ["ok"]


@pytest.mark.parametrize("scenario", ODD)
async def test_who_asked_gets_the_usage_once_and_last_in_a_chunk_without_choices(rig: Rig, scenario: str) -> None:
    rig.sandbox.script(f"{scenario};{SHORT}")

    answer = await rig.chat(**ASKED)

    documents: list[dict[str, Any]] = [json.loads(payload) for payload in answer.payloads[:-1]]
    assert [number for number, each in enumerate(documents) if each.get("usage")] == [len(documents) - 1]
    assert documents[-1]["choices"] == []
    assert all(documents[-1][name] for name in ("id", "created", "model"))
    reasons = [choice.get("finish_reason") for each in documents for choice in each["choices"]]
    assert any(reason in ("stop", "length") for reason in reasons)


@pytest.mark.parametrize("asked", [{}, ASKED], ids=["whole", "streamed"])
@pytest.mark.parametrize("scenario", ["pause_after_finish", "pause_after_finish;reason=stop", "late_usage"])
async def test_what_comes_seconds_after_a_finish_reason_counts(
    rig: Rig, scenario: str, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.exchange.timers.GRACE_AFTER_FINISH", 0.8)
    expected = await honest(rig)
    rig.sandbox.script(f"{scenario};seconds=0.4;{SHORT}")

    answer = await rig.chat(**asked)

    text = content(answer) if asked else answer.json()["choices"][0]["message"]["content"]
    assert text == expected
    rows = await rig.rows(2)
    assert [row.outcomes for row in rows] == [["ok"], ["ok"]]
    assert rows[-1].confidence == "measured"


async def test_a_tool_that_the_upstream_runs_itself_may_take_longer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.exchange.timers.GRACE_AFTER_FINISH", 0.1)
    expected = await honest(rig)
    rig.sandbox.script(f"pause_after_finish;seconds=0.5;{SHORT}")

    answer = await rig.chat()

    assert answer.json()["choices"][0]["message"]["content"] == expected


async def test_half_an_emoji_passes_as_it_came_and_the_whole_answer_has_all_of_it(rig: Rig) -> None:
    rig.sandbox.script(f"half_emoji;{SHORT}")
    streamed = await rig.chat(**UNASKED)
    rig.sandbox.script(f"half_emoji;{SHORT}")
    whole = await rig.chat()

    assert b"\\ud83d" in streamed.body
    assert b"\\ude00" in streamed.body
    text = whole.json()["choices"][0]["message"]["content"]
    assert text.replace("\ufffd", "") == content(streamed).replace("\ud83d", "").replace("\ude00", "")
    assert text.count("\ufffd") == 2  # they do not touch: a word is between them


async def test_what_no_json_can_hold_is_null_in_the_whole_answer(rig: Rig) -> None:
    rig.sandbox.script(f"not_a_number;{SHORT}")
    streamed = await rig.chat(**UNASKED)
    rig.sandbox.script(f"not_a_number;{SHORT}")
    whole = await rig.chat()

    assert b"-Infinity" in streamed.body
    assert whole.json()["choices"][0]["logprobs"]["content"][0]["logprob"] is None


@pytest.mark.parametrize("place", [1, 3], ids=["before content", "after content"])
@pytest.mark.parametrize("asked", [{}, UNASKED], ids=["whole", "streamed"])
async def test_by_default_an_event_of_megabytes_asks_nobody_else(
    gateway: StartGateway, asked: dict[str, Any], place: int
) -> None:
    rig = await gateway("limits: {event: 32MiB}")
    rig.sandbox.script(f"huge_event;size=20000000;after_events={place};{SHORT}")

    answer = await rig.chat(**asked)

    assert answer.status == 200
    assert len(answer.body) > 20_000_000
    assert b"error" not in answer.body[-1000:]
    row = await rig.row()
    assert row.outcomes == ["ok"]
    assert len(rig.sandbox.requests) == 1
