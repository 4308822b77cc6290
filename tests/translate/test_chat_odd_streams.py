"""Streams that are right in an unusual way, as transcripts (see ``transcript.py``)."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.core.types import Usage
from gateway.translate.commands import Awaiting, Stalled
from gateway.wire.answer_head import Head

from .chat import ASKING, PIECES, STREAM, STREAM_HEAD, USAGE, chunk, conversation, delta, folded
from .transcript import emitted, lines, play, transcript

ODD = {
    **{name: piece for name, piece in PIECES.items() if name != "half"},
    "hello-stop": chunk(delta("stop", content="Hello")),
    "world-stop": chunk(delta("stop", content=" world")),
    "calls-end": chunk(delta("tool_calls")),
    "stop-usage": chunk(delta("stop"), usage=USAGE),
    "object-ping": b'data: {"type":"ping"}\n\n',
    "comment-ping": b"data: : keepalive\n\n",
    "null": b"data: null\n\n",
    "empty": b"data: {}\n\n",
    "no-choices": b'data: {"choices":null}\n\n',
    "named-ping": b"event: ping\ndata: it lives\n\n",
    "json": b'{"choices":[{"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}',
    "finish-alone": PIECES["finish"].strip(),
    "done-alone": PIECES["done"].strip(),
    "cut-done": b"data: [DON",
}
BARE = {"text/plain", "application/json", "application/octet-stream", ""}


def tell(text: str, **fields: Any) -> None:
    talk = conversation(**fields)
    said, _ = transcript(talk, text, ODD)
    assert said.split("\n") == lines(text)


def text_of(told: list[Head | bytes], **fields: Any) -> tuple[str, str | None, str]:
    """The folded text, the finish reason, and the outcome's slug."""
    talk = conversation(**fields)
    _, outcome = play(talk, told)
    if talk.answer is None:
        return "", None, outcome.slug
    choice = json.loads(talk.answer)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"], outcome.slug


class TestWhenAnAnswerIsOver:
    def test_content_after_a_finish_reason_counts(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello-stop
            << emit hello-stop
            << receive finish
            >> world-stop
            << emit world-stop
            << receive finish
            >> finish
            << emit finish
            << receive finish
            >> done
            << emit done
            == ok FORWARDED
            """,
            **STREAM,
        )

    def test_a_cut_after_content_that_followed_a_finish_reason_is_a_cut(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello-stop world-stop
            << emit hello-stop world-stop
            << receive finish
            >> (reset)
            == sse_cut_late FORWARDED
            """,
            **STREAM,
        )

    def test_silence_is_no_cut(self) -> None:
        told: list[Any] = [STREAM_HEAD, ODD["hello-stop"] + ODD["world-stop"], Stalled(Awaiting.FINISH, 5)]
        assert text_of(told) == ("Hello world", "stop", "ok")
        told = [STREAM_HEAD, ODD["hello-stop"] + ODD["world"], Stalled(Awaiting.IDLE, 60)]
        assert text_of(told)[2] == "stall_idle"

    def test_but_a_stream_that_was_closed_properly_has_ended(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello-stop world-stop
            << emit hello-stop world-stop
            << receive finish
            >> (end)
            << emit done
            == ok FORWARDED
            """,
            **STREAM,
        )

    def test_an_upstream_that_runs_a_tool_of_its_own_is_waited_for(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello calls-end
            << emit hello calls-end
            << receive idle
            >> world finish
            << emit world finish
            << receive finish
            >> (stall)
            << emit done
            == ok FORWARDED
            """,
            **STREAM,
        )

    def test_and_has_ended_if_nothing_comes(self) -> None:
        told: list[Any] = [STREAM_HEAD, ODD["hello"] + ODD["calls-end"], b""]
        assert text_of(told) == ("Hello", "tool_calls", "ok")

    def test_a_terminator_without_a_reason_gets_one(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello done
            << emit hello finish done
            == ok FORWARDED
            """,
            **STREAM,
        )
        assert text_of([STREAM_HEAD, ODD["hello"] + ODD["done"]]) == ("Hello", "stop", "ok")

    def test_the_reason_is_tool_calls_where_there_are_calls(self) -> None:
        calls = chunk(delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]))
        for fields in (STREAM, {}):
            talk = conversation(**fields)
            said, _ = play(talk, [STREAM_HEAD, calls + ODD["done"]])
            data = emitted(said) if fields else orjson.dumps(folded(talk))
            assert b'"finish_reason":"tool_calls"' in data

    @pytest.mark.parametrize("word", ["null", "", "None"])
    def test_words_that_are_no_reason(self, word: str) -> None:
        said, outcome = play(
            conversation(**STREAM), [STREAM_HEAD, chunk(delta(word, content="Hello")), ODD["world"] + ODD["done"]]
        )
        assert outcome.ok
        assert emitted(said).endswith(ODD["world"] + ODD["finish"] + ODD["done"])

    @pytest.mark.parametrize("last", ["finish-alone", "done-alone"])
    def test_the_last_event_may_lack_its_blank_line(self, last: str) -> None:
        for fields in (STREAM, {}):
            _, outcome = play(conversation(**fields), [STREAM_HEAD, ODD["hello"], ODD[last], b""])
            assert outcome.ok
        _, outcome = play(conversation(**STREAM), [STREAM_HEAD, ODD["hello"], ODD["cut-done"], b""])
        assert outcome.slug == "sse_truncated"


class TestUsage:
    def test_of_the_last_choice_ends_the_stream_for_who_asked(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello stop-usage done
            << emit hello finish usage done
            == ok FORWARDED
            """,
            **ASKING,
        )

    def test_waits_for_the_end_even_if_content_follows_it(self) -> None:
        tell(
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello usage world finish done
            << emit hello world finish usage done
            == ok FORWARDED
            """,
            **ASKING,
        )

    def test_of_every_chunk_passes_to_who_asked_for_that(self) -> None:
        running = chunk(delta(content="Hello"), usage=USAGE)
        options = {"include_usage": True, "continuous_usage_stats": True}
        said, _ = play(
            conversation(stream=True, stream_options=options), [STREAM_HEAD, running + ODD["finish"] + ODD["done"]]
        )
        assert emitted(said).startswith(running)

    def test_that_comes_late_is_taken(self) -> None:
        talk = conversation()
        play(talk, [STREAM_HEAD, ODD["hello"] + ODD["finish"], ODD["usage"], ODD["done"]])
        assert talk.usage == Usage(11, 0, 5)


class TestSignsOfLife:
    @pytest.mark.parametrize("sign", ["object-ping", "comment-ping", "null", "empty", "no-choices", "named-ping"])
    def test_are_passed_over(self, sign: str) -> None:
        tell(
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> {sign}
            << receive content
            >> hello {sign} world finish done
            << emit hello ping world finish done
            == ok FORWARDED
            """,
            **STREAM,
        )
        told: list[Head | bytes] = [
            STREAM_HEAD,
            *(ODD[name] for name in ("hello", sign, "world", "finish", sign, "done")),
        ]
        assert text_of(told) == ("Hello world", "stop", "ok")

    def test_are_no_answer(self) -> None:
        talk = conversation()
        _, outcome = play(talk, [STREAM_HEAD, *(ODD[name] for name in ("object-ping", "null", "empty", "done"))])
        assert outcome.slug == "sse_empty"


class TestLabels:
    @pytest.mark.parametrize("label", sorted(BARE))
    @pytest.mark.parametrize(
        "first", [b"", b"\xef\xbb\xbf", b"\r\n\n", b": hello\n\n", b"event: message\n", b"id: 7\n"]
    )
    def test_what_begins_like_events_is_events(self, label: str, first: bytes) -> None:
        data = first + ODD["hello"] + ODD["finish"] + ODD["done"]
        for size in (1, 3, len(data)):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            assert text_of([Head(200, ((b"content-type", label.encode()),)), *pieces]) == ("Hello", "stop", "ok")

    @pytest.mark.parametrize("label", [*sorted(BARE), "text/event-stream"])
    @pytest.mark.parametrize("first", [b"", b"\n \n"])
    def test_what_begins_like_json_is_json(self, label: str, first: bytes) -> None:
        data = first + ODD["json"]
        for size in (4, len(data)):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            told: list[Head | bytes] = [Head(200, ((b"content-type", label.encode()),)), *pieces, b""]
            assert text_of(told) == ("Hello", "stop", "ok")

    def test_what_is_neither_is_no_answer(self) -> None:
        for body in (b"it works", b"<html></html>", b"dat", b""):
            told: list[Head | bytes] = [Head(200, ((b"content-type", b"text/plain"),)), body, *([b""] if body else [])]
            assert text_of(told)[2] in ("bad_content_type", "empty_response")


class TestWhatNoJsonCanHold:
    def test_half_an_emoji_passes_and_the_halves_meet_in_the_whole_answer(self) -> None:
        first = b'data: {"choices":[{"index":0,"delta":{"content":"x \\ud83d"}}]}\n\n'
        second = b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00 y"},"finish_reason":"stop"}]}\n\n'
        said, _ = play(conversation(**STREAM), [STREAM_HEAD, first, second, ODD["done"]])
        assert emitted(said) == first + second + ODD["done"]
        assert text_of([STREAM_HEAD, first, second, ODD["done"]]) == ("x \U0001f600 y", "stop", "ok")

    def test_one_that_never_meets_the_other_becomes_a_mark(self) -> None:
        only = b'data: {"choices":[{"index":0,"delta":{"content":"x \\ud83d"},"finish_reason":"stop"}]}\n\n'
        assert text_of([STREAM_HEAD, only, ODD["done"]]) == ("x �", "stop", "ok")

    def test_the_tokens_of_such_a_text_can_be_counted(self) -> None:
        only = b'data: {"choices":[{"index":0,"delta":{"content":"x \\ud83d"},"finish_reason":"stop"}]}\n\n'
        talk = conversation(count=lambda text: len(text.encode()))
        play(talk, [STREAM_HEAD, only, ODD["done"]])
        assert talk.usage is not None
        assert talk.usage.output_tokens == len("x �".encode())


def told_in_pieces(label: str, data: bytes, size: int) -> list[Head | bytes]:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return [Head(200, ((b"content-type", label.encode()),)), *pieces, b""]


class TestTheLastEvent:
    """The stream is closed in good order, without the blank line that ends its last event."""

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    @pytest.mark.parametrize(
        "last",
        [
            b'data: {"choices":[{"index":0,"delta":{"content":" world"},"finish_reason":"stop"}]}',
            b'data: data: {"choices":[{"index":0,"delta":{"content":" world"},"finish_reason":"stop"}]}',
            b'data: {"choices":[{"index":0,"delta":{"content":" world"},"logprobs":{"a":NaN},"finish_reason":"stop"}]}',
            b'data:{"choices":[{"index":0,"delta":{"content":" worl\\u0064"},"finish_reason":"stop"}],"x":"\\ud83d"}',
        ],
    )
    def test_counts_if_it_is_whole(self, last: bytes, end: bytes) -> None:
        assert text_of([STREAM_HEAD, ODD["hello"] + last + end, b""]) == ("Hello world", "stop", "ok")

    @pytest.mark.parametrize("end", [b"", b"\n"])
    def test_ends_the_answer_if_it_is_a_terminator_wrapped_up(self, end: bytes) -> None:
        assert text_of([STREAM_HEAD, ODD["hello"] + b"data: data: [DONE]" + end, b""]) == ("Hello", "stop", "ok")

    @pytest.mark.parametrize("half", [b"d", b"data:", b'data: {"choices":[{"index":0,"delta":{"content":" w'])
    def test_is_a_cut_if_it_is_half_and_more_followed_the_reason(self, half: bytes) -> None:
        first = ODD["hello-stop"] + ODD["world-stop"]
        assert text_of([STREAM_HEAD, first + half, b""])[2] == "sse_cut_early"
        assert text_of([STREAM_HEAD, ODD["calls-end"] + ODD["hello"] + half, b""])[2] == "sse_cut_early"
        assert text_of([STREAM_HEAD, first + b"data: [DO", b""])[2] == "ok"
        assert text_of([STREAM_HEAD, ODD["hello"] + ODD["finish"] + half, b""])[2] == "ok"


@pytest.mark.parametrize("after", [b'data: {"error":"late"}\n\n', b"data: {nonsense\n\n", ODD["world"]])
@pytest.mark.parametrize("done", [b"data: data: [DONE]\n\n", b"data: data:[none]\n\n"])
def test_nothing_after_a_terminator_wrapped_up_counts(done: bytes, after: bytes) -> None:
    assert text_of([STREAM_HEAD, ODD["hello"] + done + after]) == ("Hello", "stop", "ok")


class TestWholeAnswersThatNoStrictReaderTakes:
    @pytest.mark.parametrize("label", [*sorted(BARE), "text/event-stream"])
    @pytest.mark.parametrize("first", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
    @pytest.mark.parametrize(
        "odd",
        [b'"logprobs":{"content":[{"logprob":NaN}]}', b'"logprobs":{"content":[{"logprob":-Infinity}]}', b'"x":"\x01"'],
    )
    def test_are_read_all_the_same(self, label: str, first: bytes, odd: bytes) -> None:
        body = b'{"choices":[{"message":{"role":"assistant","content":"Hello"},%b,"finish_reason":"stop"}]}' % odd
        for size in (1, 5, 1000):
            assert text_of(told_in_pieces(label, first + body, size)) == ("Hello", "stop", "ok")

    def test_have_a_mark_for_half_a_character(self) -> None:
        body = b'{"choices":[{"message":{"content":"x \\ud83d"},"finish_reason":"stop"}]}'
        assert text_of(told_in_pieces("application/json", body, 1000)) == ("x \ufffd", "stop", "ok")

    def test_are_none_if_they_break_off(self) -> None:
        body = b'{"choices":[{"message":{"content":"x"},"logprobs":{"a":NaN'
        assert text_of(told_in_pieces("application/json", body, 1000))[2] == "bad_json"

    def test_of_one_choice_are_told_as_choice_0(self) -> None:
        body = b'{"choices":[{"index":3,"message":{"content":"Hello"},"finish_reason":"stop"}]}'
        said, _ = play(conversation(**STREAM), told_in_pieces("application/json", body, 1000))
        assert b'"index":0' in emitted(said)
        assert b'"index":3' not in emitted(said)


class TestWhatIsSaidElsewhere:
    @pytest.mark.parametrize(
        "choices",
        [
            b'{"index":0,"delta":{"content":"Hello"}}',
            b'{"delta":{"content":"Hello"},"finish_reason":null}',
            b'{"index":"0","message":{"content":"Hello"}}',
            b'{"text":"Hello"}',
            b'[{"index":0,"delta":{},"text":"Hello"}]',
            b'[{"index":0,"delta":null,"text":"Hello"}]',
        ],
    )
    def test_counts_and_passes(self, choices: bytes) -> None:
        event = b'data: {"choices":%b}\n\n' % choices
        assert text_of([STREAM_HEAD, event, ODD["done"]]) == ("Hello", "stop", "ok")
        said, outcome = play(conversation(**STREAM), [STREAM_HEAD, event, ODD["finish"] + ODD["done"]])
        assert emitted(said) == event + ODD["finish"] + ODD["done"]
        assert outcome.ok

    @pytest.mark.parametrize("number", [b"0", b"5", b"1.5"])
    def test_a_number_is_its_digits(self, number: bytes) -> None:
        event = b'data: {"choices":[{"index":0,"delta":{"content":%b}}]}\n\n' % number
        assert text_of([STREAM_HEAD, event, ODD["done"]]) == (number.decode(), "stop", "ok")
