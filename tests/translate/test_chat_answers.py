"""What comes of a conversation: one document, somebody else's words without our keys, and no more than fits."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.core.types import Outcome, Phase, Usage
from gateway.wire.answer_head import Head

from .chat import (
    ASKING,
    BILLED,
    INPUT_TOKENS,
    KEY,
    PIECES,
    SOLD_BY_IMAGE,
    STREAM,
    STREAM_HEAD,
    USAGE,
    chunk,
    conversation,
    delta,
    folded,
    tell,
)
from .transcript import emitted, play

COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 9,
    "model": "gpt-4o-upstream",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length"}],
    "usage": USAGE,
}


class TestWholeAnswers:
    def test_a_stream_is_folded(self) -> None:
        talk = conversation()
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> role hello
            << receive idle
            >> world comment escaped
            << receive idle
            >> hello finish
            << receive finish
            >> usage done
            == ok FORWARDED
            """,
        )
        answer = folded(talk)
        assert answer["object"] == "chat.completion"
        assert answer["choices"][0]["message"]["content"] == 'Hello world"\nHello'
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"] == USAGE
        assert talk.usage == Usage(11, 0, 5)

    def test_usage_that_never_came_is_estimated(self) -> None:
        talk = conversation()
        play(talk, [STREAM_HEAD, PIECES["hello"] + PIECES["finish"] + PIECES["done"]])
        assert folded(talk)["usage"].items() >= {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}.items()
        assert talk.usage == Usage(7, 0, 5, confidence="estimated")

    def told(self, document: Any, status: int = 200) -> list[Head | bytes]:
        """One JSON document in two pieces."""
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        head = Head(status, ((b"content-type", b"application/json"),))
        return [head, body[:10], body[10:], b""]

    def test_one_that_was_not_streamed_to_us(self) -> None:
        talk = conversation()
        said, outcome = play(talk, self.told(COMPLETION))
        assert (outcome, emitted(said)) == (Outcome("ok", Phase.FORWARDED, 200), b"")
        answer = folded(talk)
        assert (answer["id"], answer["usage"]) == ("chatcmpl-9", USAGE)
        [choice] = answer["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello", "length")
        assert talk.usage == Usage(11, 0, 5)

    @pytest.mark.parametrize("fields", [STREAM, ASKING], ids=["unasked", "asked"])
    def test_one_that_was_not_streamed_to_us_for_a_client_that_streams(self, fields: dict[str, Any]) -> None:
        talk = conversation(**fields)
        said, outcome = play(talk, self.told(COMPLETION))
        assert outcome.ok
        payloads = [event.removeprefix(b"data: ") for event in emitted(said).split(b"\n\n")[:-1]]
        assert payloads.pop() == b"[DONE]"
        chunks = [json.loads(payload) for payload in payloads]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hello"
        assert [reason for choice in choices if (reason := choice["finish_reason"])] == ["length"]
        assert [chunk["usage"] for chunk in chunks if "usage" in chunk] == ([USAGE] if fields is ASKING else [])

    def test_a_document_that_is_no_completion(self) -> None:
        _, outcome = play(conversation(), self.told({"choices": [{"index": 0}]}))
        assert (outcome.slug, outcome.phase, outcome.detail) == (
            "bad_json",
            Phase.UNKNOWN,
            "no completion: a choice has no message",
        )

    @pytest.mark.parametrize(
        ("status", "document", "came"),
        [
            (401, {"error": {"message": "bad key"}}, ("key_invalid", Phase.REJECTED)),
            (500, {"error": {"message": "broke"}}, ("upstream_5xx", Phase.UNKNOWN)),
            (200, {"code": 500, "message": "generation failed"}, ("upstream_5xx", Phase.ANSWERED)),
            (200, b"", ("empty_response", Phase.ANSWERED)),
            (200, b"<html>hello</html>", ("bad_content_type", Phase.UNKNOWN)),
        ],
    )
    def test_errors(self, status: int, document: Any, came: tuple[str, Phase]) -> None:
        for fields in (STREAM, {}):
            talk = conversation(**fields)
            said, outcome = play(talk, [piece for piece in self.told(document, status) if piece != b""] + [b""])
            assert (outcome.slug, outcome.phase, outcome.status) == (*came, status)
            assert (emitted(said), talk.answer) == (b"", None)

    def test_one_that_does_not_end_is_not_read_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.translate.chat_to_chat.WHOLE_ANSWER_LIMIT", 1000)
        monkeypatch.setattr("gateway.translate.chat_to_chat.CHAT_ERROR_LIMIT", 100)
        for status, asked in ((200, 3), (500, 1)):
            head = Head(status, ((b"content-type", b"application/json"),))
            said, outcome = play(conversation(), [head, *[b"x" * 400] * asked])
            assert len(said) == 1 + asked
            assert not outcome.ok

    @pytest.mark.parametrize(
        ("sent", "content"),
        [
            (b'"Hello \\ud83d"', "Hello \ufffd"),
            (b'"Hello \xff"', "Hello \ufffd"),
            (b'"Hello","x":[NaN,-Infinity,123456789012345678901234567890]', "Hello"),
        ],
    )
    @pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("fields", [STREAM, {}])
    def test_what_a_strict_reader_refuses_is_an_answer_all_the_same(
        self, fields: dict[str, Any], before: bytes, sent: bytes, content: str
    ) -> None:
        head = Head(200, ((b"content-type", b"application/json"),))
        talk = conversation(**fields)
        said, outcome = play(talk, [head, before + orjson.dumps(COMPLETION).replace(b'"Hello"', sent), b""])
        assert outcome.ok
        if fields:
            assert content.encode() in emitted(said)
        else:
            assert folded(talk)["choices"][0]["message"]["content"] == content

    def test_nor_does_it_silence_an_error(self) -> None:
        head = Head(400, ((b"content-type", b"application/json"),))
        for words, told in ((b"half an \\ud83d", "half an \ufffd"), (b"caf\xe9", "caf\ufffd")):
            _, outcome = play(conversation(), [head, b'{"error":{"message":"%s","x":NaN}}' % words, b""])
            assert (outcome.slug, outcome.message) == ("rejected", told)

    def test_an_encoding_nobody_asked_for_is_not_taken_for_events(self) -> None:
        head = Head(200, ((b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")))
        _, outcome = play(conversation(**STREAM), [head, b"\x1f\x8b", b""])
        assert outcome.slug == "bad_encoding"


class TestAKeyThatIsRepeated:
    """An upstream may quote the key it was sent; whatever field it is in, and wherever a text is cut."""

    def shows_no_part_of_it(self, outcome: Outcome) -> None:
        shown = repr(outcome)
        assert not [place for place in range(len(KEY) - 5) if KEY[place : place + 6] in shown], shown

    def errors(self) -> list[dict[str, Any]]:
        places = [f"Incorrect key: {KEY}.", *("x" * (500 - cut) + KEY for cut in range(0, len(KEY) + 1, 3))]
        return [
            *({"message": words} for words in places),
            {"message": "Incorrect key", "code": KEY},
            {"message": "Incorrect key", "param": KEY},
            {"message": "Incorrect key", "type": KEY},
            {"message": "Incorrect key", "code": "invalid_api_key", "param": f"headers.{KEY}"},
        ]

    @pytest.mark.parametrize("status", [401, 400, 500, 200])
    def test_in_a_whole_answer(self, status: int) -> None:
        head = Head(status, ((b"content-type", b"application/json"),))
        for error in self.errors():
            _, outcome = play(conversation(), [head, orjson.dumps({"error": error}), b""])
            assert not outcome.ok
            self.shows_no_part_of_it(outcome)

    @pytest.mark.parametrize("before", ["role", "hello"])
    def test_in_a_stream(self, before: str) -> None:
        for error in self.errors():
            data = PIECES[before] + b"data: " + orjson.dumps({"error": error}) + b"\n\n"
            _, outcome = play(conversation(**STREAM), [STREAM_HEAD, data])
            assert not outcome.ok
            self.shows_no_part_of_it(outcome)
            assert outcome.message

    def test_as_bare_words(self) -> None:
        for document in ({"error": f"no such key {KEY}"}, {"code": 401, "message": f"bad {KEY}", "data": None}):
            _, outcome = play(conversation(**STREAM), [STREAM_HEAD, b"data: " + orjson.dumps(document) + b"\n\n"])
            assert "[redacted]" in str(outcome.message)
            self.shows_no_part_of_it(outcome)

    def test_bare_words_that_mean_something_still_do(self) -> None:
        _, outcome = play(conversation(**STREAM), [STREAM_HEAD, b'data: {"error":"insufficient_quota"}\n\n'])
        whole = Head(200, ((b"content-type", b"application/json"),))
        _, same = play(conversation(), [whole, b'{"error":"insufficient_quota"}', b""])
        assert (outcome.slug, same.slug) == ("key_unfunded", "key_unfunded")


class TestBounds:
    def test_what_comes_before_content_is_held_but_not_without_end(self) -> None:
        role, comment = PIECES["role"], b": x\n\n"
        limit = 5 * len(role)
        for piece in (role, comment):
            most = limit // len(piece)
            _, outcome = play(conversation(event_limit=limit, **STREAM), [STREAM_HEAD, *[piece] * most, role * 2])
            assert (outcome.slug, outcome.phase) == ("sse_event_too_big", Phase.ANSWERED)
            assert outcome.detail == "too much came before any content"
        _, outcome = play(
            conversation(event_limit=limit, **STREAM),
            [STREAM_HEAD, *[role] * 5, PIECES["hello"] * 10, PIECES["finish"], PIECES["done"]],
        )
        assert outcome.ok

    def test_one_event_is_bounded(self) -> None:
        big = chunk(delta(content="x" * 300))
        for before, phase in ((b"", Phase.ANSWERED), (PIECES["hello"], Phase.FORWARDED)):
            said, outcome = play(conversation(event_limit=300, **STREAM), [STREAM_HEAD, before + big])
            assert (outcome.slug, outcome.phase) == ("sse_event_too_big", phase)
            assert emitted(said) == before

    @pytest.mark.parametrize("end", ["finish", "done"])
    def test_one_that_is_too_big_behind_a_complete_answer_spoils_nothing(self, end: str) -> None:
        whole = PIECES["hello"] + PIECES[end]
        talk = conversation(event_limit=300, **STREAM)
        said, outcome = play(talk, [STREAM_HEAD, whole + chunk(delta(content="x" * 300))])
        assert outcome.ok
        assert emitted(said) == PIECES["hello"] + PIECES["finish"] + PIECES["done"]

    def test_a_folded_answer_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.translate.chat_stream.WHOLE_ANSWER_LIMIT", 1000)
        _, outcome = play(conversation(), [STREAM_HEAD, PIECES["hello"], *[PIECES["world"]] * 6])
        assert (outcome.slug, outcome.phase) == ("sse_event_too_big", Phase.ANSWERED)

    def test_of_a_long_text_only_a_part_is_kept_and_the_rest_is_reckoned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.translate.chat_stream.TEXT_KEPT", 20)
        counted: list[int] = []

        def count(text: str) -> int:
            counted.append(len(text))
            return len(text) // 2

        talk = conversation(count=count, **STREAM)
        play(talk, [STREAM_HEAD, *[PIECES["world"]] * 1000, PIECES["finish"], PIECES["done"]])
        assert counted == [24]  # the piece that reached the bound is whole
        assert talk.usage == Usage(INPUT_TOKENS, 0, 3000, confidence="estimated")


class TestImages:
    LINK = "![image](https://storage.theapi.app/one.png)"

    def test_only_answers_that_are_sold_by_the_image_are_looked_through(self) -> None:
        told: list[Head | bytes] = [STREAM_HEAD, chunk(delta(content=self.LINK)), PIECES["finish"], PIECES["done"]]
        for target, images in ((SOLD_BY_IMAGE, 1), (BILLED, 0)):
            talk = conversation(target, **STREAM)
            _, outcome = play(talk, told)
            assert (outcome.ok, talk.images) == (True, images)
