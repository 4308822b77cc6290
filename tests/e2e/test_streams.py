"""A stream from the upstream to the client: which bytes pass, how it ends, and whether it tells of usage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import Rig
from .streams import (
    ASKED,
    EVERYTHING,
    SHORT,
    TOOLS,
    UNASKED,
    direct,
    is_whole,
    plain,
    until_done,
)


class TestBytes:
    @pytest.mark.parametrize(
        ("scenario", "fields"),
        [
            ("ok", {}),
            ("ok", {"n": 2}),
            ("ok", {"logprobs": True}),
            ("tool_calls", {"tools": TOOLS}),
            ("reasoning", {}),
            ("refusal", {}),
            ("crlf", {}),
            ("cr", {}),
            ("no_space", {}),
            ("multi_data", {}),
            ("bom", {}),
            ("u2028", {}),
            ("bytewise", {}),
            ("trickle;size=7", {}),
            ("changing_id", {}),
            ("until_close", {}),
            ("trailers", {}),
            ("informational", {}),
            ("extra_bytes", {}),
            ("silent_close", {}),
        ],
        ids=lambda value: value if isinstance(value, str) else "-".join(value),
    )
    async def test_are_the_upstreams_own(self, gateway: StartGateway, scenario: str, fields: dict[str, Any]) -> None:
        rig = await gateway("cost_in_answers: false")
        expected = await direct(rig.sandbox, scenario, **ASKED, **fields)
        expected.body = expected.body.removeprefix(b"\xef\xbb\xbf")
        rig.sandbox.script(scenario)

        answer = await rig.chat(**ASKED, **fields)

        assert answer.status == 200
        assert answer.complete
        assert plain(answer.body) == plain(until_done(expected.body)) + b"data: [DONE]\n\n"
        assert plain(b"".join(answer.payloads)) == plain(b"".join(expected.payloads))
        assert (await rig.row()).outcomes == ["ok"]

    async def test_are_the_upstreams_own_but_for_the_cost_in_the_last_chunk(self, rig: Rig) -> None:
        for scenario in ("ok", "crlf", "no_space", "u2028"):
            expected = await direct(rig.sandbox, scenario, **ASKED)
            rig.sandbox.script(scenario)

            answer = await rig.chat(**ASKED)

            before_usage = plain(until_done(until_done(expected.body)))
            assert plain(until_done(until_done(answer.body))) == before_usage
            last = json.loads(answer.payloads[-2])
            assert last["usage"].pop("cost") > 0
            theirs = json.loads(expected.payloads[-2])
            assert {**last, "id": "", "created": 0} == {**theirs, "id": "", "created": 0}

    async def test_come_over_one_connection_that_is_kept(self, rig: Rig) -> None:
        for stream in (True, False, True):
            rig.sandbox.script("slow;delay=2")
            assert (await rig.chat(stream=stream)).status == 200
            await rig.sandbox.until_idle()

        assert [(request.connection, request.nth) for request in rig.sandbox.requests] == [(1, 1), (1, 2), (1, 3)]

    async def test_nothing_of_the_upstreams_head_passes(self, rig: Rig) -> None:
        answer = await rig.chat(**UNASKED)

        names = {name for name, _ in answer.headers}
        assert not names & {"server", "cf-ray", "cf-cache-status", "x-sandbox", "trailer"}
        assert answer.header("content-type") == "text/event-stream; charset=utf-8"
        assert answer.header("x-gateway-upstream") == "piapi"
        assert answer.header("x-gateway-attempts") == "1"

    async def test_comments_become_pings_and_only_after_content(self, rig: Rig) -> None:
        rig.sandbox.script(f"comments;ids=0;{SHORT}")

        answer = await rig.chat(**ASKED)

        first_word = next(number for number, event in enumerate(answer.events) if b"This" in event)
        comments = [number for number, event in enumerate(answer.events) if event.startswith(b":")]
        assert {answer.events[number] for number in comments} == {b": ping\n\n"}
        assert len(comments) == 5  # after each of two words, the finish, the usage; and before the terminator
        assert min(comments) > first_word
        assert len(answer.payloads) == EVERYTHING
        assert is_whole(answer)

    async def test_comments_are_left_out_beside_ids(self, rig: Rig) -> None:
        """openai-python takes what follows a comment for an event without data once it has seen an id."""
        rig.sandbox.script(f"comments;{SHORT}")

        answer = await rig.chat(**ASKED)

        assert b": ping" not in answer.body
        assert b"id: 7\n" in answer.body
        assert len(answer.payloads) == EVERYTHING
        assert all(answer.payloads)

    async def test_empty_data_never_reaches_the_client(self, rig: Rig) -> None:
        rig.sandbox.script("bad_event;after_events=3;data=")

        answer = await rig.chat(**UNASKED)

        assert all(answer.payloads)
        assert "hello" in answer.text
        assert is_whole(answer)

    async def test_a_whole_json_answer_is_told_as_a_stream(self, rig: Rig) -> None:
        rig.sandbox.script("whole_json;calls=2")

        answer = await rig.chat(**ASKED, tools=TOOLS)

        chunks = [json.loads(payload) for payload in answer.payloads[:-1]]
        calls = [call for chunk in chunks for each in chunk["choices"] for call in each["delta"].get("tool_calls", ())]
        assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "sun"), (1, "rain")]
        assert chunks[-1]["usage"]["completion_tokens"] > 0
        assert answer.header("content-type") == "text/event-stream; charset=utf-8"
        assert is_whole(answer)
        assert (await rig.row()).confidence == "measured"


class TestUsage:
    @pytest.mark.parametrize("scenario", ["ok", "usage_mixed", "usage_everywhere"])
    async def test_is_withheld_from_who_did_not_ask(self, rig: Rig, scenario: str) -> None:
        rig.sandbox.script(scenario)

        answer = await rig.chat(**UNASKED)

        chunks = [json.loads(payload) for payload in answer.payloads[:-1]]
        assert all(chunk.get("usage") is None for chunk in chunks)
        assert all(chunk["choices"] for chunk in chunks)
        assert "hello" in answer.text
        row = await rig.row()
        assert (row.confidence, row.input_tokens, row.output_tokens) == ("measured", 12, 18)

    async def test_comes_once_at_the_end_for_who_asked(self, rig: Rig) -> None:
        answer = await rig.chat(**ASKED)

        chunks = [json.loads(payload) for payload in answer.payloads[:-1]]
        assert [chunk["usage"] is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 18

    @pytest.mark.parametrize("fields", [ASKED, UNASKED], ids=["asked", "unasked"])
    async def test_is_counted_where_the_upstream_sends_none(self, rig: Rig, fields: dict[str, Any]) -> None:
        rig.sandbox.script("no_usage")

        answer = await rig.chat(**fields)

        row = await rig.row()
        assert row.confidence == "estimated"
        assert row.input_tokens > 0
        assert row.output_tokens > 0
        assert row.charged == row.input_tokens * 1875 + row.output_tokens * 7500
        told = [json.loads(payload).get("usage") for payload in answer.payloads[:-1]]
        if fields is ASKED:
            assert told[-1]["prompt_tokens"] == row.input_tokens
            assert told[-1]["completion_tokens"] == row.output_tokens
        else:
            assert told == [None] * len(told)
        assert is_whole(answer)

    @pytest.mark.parametrize("fields", [ASKED, UNASKED], ids=["asked", "unasked"])
    @pytest.mark.parametrize("value", ["empty", "null", "negative", "huge", "text"])
    async def test_that_cannot_be_believed_is_counted(self, rig: Rig, value: str, fields: dict[str, Any]) -> None:
        rig.sandbox.script(f"zero_usage;value={value}")

        answer = await rig.chat(**fields)

        row = await rig.row()
        assert is_whole(answer)
        assert (row.confidence, row.status) == ("estimated", 200)
        assert 0 < row.charged < 1_000_000
        told = [usage for payload in answer.payloads[:-1] if (usage := json.loads(payload).get("usage")) is not None]
        if fields is UNASKED:
            assert told == []
        else:  # the client is told what it pays for, once, and none of the nonsense
            assert [(usage["prompt_tokens"], usage["completion_tokens"]) for usage in told] == [
                (row.input_tokens, row.output_tokens)
            ]

    async def test_of_cached_input_has_its_own_price(self, rig: Rig) -> None:
        await rig.sandbox.refuse("api")
        await rig.sandbox.refuse("proxy")
        rig.sandbox.script("ok;cached=10", role="backup")

        await rig.chat(**UNASKED)

        row = await rig.row()
        assert (row.input_tokens, row.cached_input_tokens, row.output_tokens) == (12, 10, 18)
        assert row.charged == 2 * 2500 + 10 * 1250 + 18 * 10_000
        assert row.charged == rig.sandbox.billed


class TestTerminators:
    @pytest.mark.parametrize(
        "scenario",
        ["no_done", "odd_done", "odd_done;text=[NONE]", "clean_eof;after_events=3;finish=1", "hang_after_done"],
    )
    async def test_exactly_one_done_goes_out(self, rig: Rig, scenario: str) -> None:
        rig.sandbox.script(scenario)

        answer = await rig.chat(**UNASKED)

        assert is_whole(answer)
        assert answer.body.count(b"[DONE]") == 1
        assert b"[none]" not in answer.body.lower()
        assert (await rig.row()).outcomes == ["ok"]

    async def test_a_finished_answer_that_stays_open_is_ended_after_a_grace(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.exchange.timers.GRACE_AFTER_FINISH", 0.1)
        rig.sandbox.script("stall_after_finish")

        answer = await rig.chat(**ASKED)

        assert is_whole(answer)
        assert json.loads(answer.payloads[-2])["usage"]["completion_tokens"] > 0
        row = await rig.row()
        assert (row.outcomes, row.confidence, row.status) == (["ok"], "estimated", 200)

    async def test_a_clean_end_in_the_middle_is_not_taken_for_the_end(self, rig: Rig) -> None:
        rig.sandbox.script("clean_eof;after_events=3")

        answer = await rig.chat(**UNASKED)

        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        row = await rig.row()
        assert row.outcomes == ["sse_truncated"]
        assert (row.confidence, row.output_tokens > 0) == ("estimated", True)

    async def test_with_two_choices_both_must_have_finished(self, rig: Rig) -> None:
        events = (await direct(rig.sandbox, f"ok;{SHORT}", **ASKED, n=2)).body.split(b"\n\n")
        finishes = [number for number, event in enumerate(events, 1) if b'"finish_reason":"stop"' in event]
        for place, whole in zip(finishes, (False, True), strict=True):
            rig.sandbox.script(f"cut;{SHORT};after_events={place}")

            answer = await rig.chat(**UNASKED, n=2)

            assert is_whole(answer) is whole
            if not whole:
                assert answer.stream_error()["code"] == "upstream_stream_interrupted"
