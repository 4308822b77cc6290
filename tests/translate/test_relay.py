"""Relayed routes: answers that pass byte for byte however they are cut, and what is told of those that break."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Credential, Endpoint, Outcome, Phase, Price, Target, Upstream, Usage, Wish
from gateway.translate.commands import Awaiting, Head, Send, Stalled
from gateway.translate.context import AttemptContext
from gateway.translate.relay import RelayConversation, relay_wishes
from gateway.translate.responses_relay import RESPONSES, ids_made
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.form_data import Form, FormFile
from gateway.wire.relay_request import RelayRequest, parse_document, parse_relayed_form
from gateway.wire.relay_routes import COMPLETIONS, EMBEDDINGS, SPEECH, TRANSCRIPTIONS, RelayRoute

from .transcript import Told, emitted, play

HOST = Endpoint("https://api.openai.com", "https", "api.openai.com", 443)
BACKUP = Upstream("backup", "openai", (HOST,), (Credential("first", "sk-x"),))
EVENTS = Head(200, ((b"content-type", b"text/event-stream; charset=utf-8"),))
JSON = Head(200, ((b"content-type", b"application/json"),))
MP3 = Head(200, ((b"content-type", b"audio/mpeg"),))
CUT = TransportError("connection_reset", Phase.ANSWERED, "it was reset")


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chunk(text: str, finish: str | None = None, index: int = 0) -> bytes:
    return event(model="m", choices=[{"index": index, "text": text, "finish_reason": finish}])


USAGE = event(model="m", choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
DONE = b"data: [DONE]\n\n"
COMPLETION = [chunk("Once "), b": ping\n\n", chunk("upon"), chunk("", "stop"), USAGE, DONE]
HEARD = {"type": "tokens", "input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
TRANSCRIPT = [
    event(type="transcript.text.delta", delta="so "),
    event(type="transcript.of_tomorrow", x=1),
    event(type="transcript.text.delta", delta="it is"),
    event(type="transcript.text.done", text="so it is", usage=HEARD),
]
SPOKEN = [
    event(type="speech.audio.delta", audio="AAAA"),
    event(type="speech.audio.done", usage={"input_tokens": 2, "output_tokens": 12, "total_tokens": 14}),
]


def asked(route: RelayRoute, **fields: Any) -> RelayRequest:
    if route.is_form:
        form = Form([("model", "m"), *fields.items()], [FormFile("file", "", bytes(80_000), "mp3")])
        return parse_relayed_form(route, form, 80_200, {})
    return parse_document(route, {"model": "m", **fields}, 5_000, {})


def talk(
    request: RelayRequest, price: Price | None = None, *, tells_cost: bool = True, without: Any = frozenset()
) -> RelayConversation:
    target = Target(BACKUP, "theirs", request.route.operation, price)
    context = AttemptContext(target, HOST, 1.0, lambda data: data, 1 << 20, tells_cost=tells_cost)
    return RelayConversation(request, context, count=len, boundary="0123456789abcdef", without=without)


def heard(conversation: RelayConversation, *told: Told) -> tuple[bytes, Outcome]:
    said, outcome = play(conversation, told)
    return emitted(said), outcome


STREAMS = {
    "completions": (asked(COMPLETIONS, prompt="x", stream=True), COMPLETION),
    "transcripts": (asked(TRANSCRIPTIONS, stream="true"), TRANSCRIPT),
    "speech": (asked(SPEECH, input="so", stream_format="sse"), SPOKEN),
}


class TestAStream:
    @pytest.mark.parametrize("name", STREAMS)
    def test_passes_as_it_came_wherever_it_is_cut(self, name: str) -> None:
        request, events = STREAMS[name]
        whole = b"".join(events)
        wanted = whole.replace(USAGE, b"")  # which its client did not ask for
        for at in range(1, len(whole)):
            conversation = talk(request)
            parts = [whole[:at], whole[at:]]
            out, outcome = heard(conversation, EVENTS, *parts, *([] if name == "completions" else [b""]))
            assert outcome.ok
            assert out == wanted or out.replace(b": ping\n\n", b"") == wanted.replace(b": ping\n\n", b"")
            assert conversation.usage is not None
            assert conversation.usage.confidence == "measured"

    @pytest.mark.parametrize("name", STREAMS)
    def test_that_is_cut_anywhere_is_no_answer(self, name: str) -> None:
        request, events = STREAMS[name]
        whole = b"".join(events[:-1] if name != "completions" else events[:3])
        for at in range(0, len(whole), 7):
            for end in (CUT, b""):
                out, outcome = heard(talk(request), EVENTS, *([whole[:at]] if at else []), end)
                assert not outcome.ok
                assert (outcome.phase is Phase.FORWARDED) == bool(out)
                assert b"[DONE]" not in out

    @pytest.mark.parametrize("name", STREAMS)
    def test_that_falls_silent_is_no_answer(self, name: str) -> None:
        request, events = STREAMS[name]
        out, outcome = heard(talk(request), EVENTS, Stalled(Awaiting.CONTENT, 60))
        assert (outcome.slug, outcome.phase, out) == ("stall_content", Phase.ANSWERED, b"")
        out, outcome = heard(talk(request), EVENTS, events[0], Stalled(Awaiting.IDLE, 60))
        assert (outcome.slug, outcome.phase, out) == ("stall_idle", Phase.FORWARDED, events[0])

    @pytest.mark.parametrize("name", ["transcripts", "speech"])
    @pytest.mark.parametrize("end", [CUT, Stalled(Awaiting.FINISH, 5), DONE])
    def test_is_over_after_its_last_event_however_it_ends(self, name: str, end: Told) -> None:
        request, events = STREAMS[name]
        out, outcome = heard(talk(request), EVENTS, b"".join(events), end)
        assert (outcome.ok, out) == (True, b"".join(events))

    def test_of_a_completion_without_its_terminator_gets_one(self) -> None:
        request, events = STREAMS["completions"]
        out, outcome = heard(talk(request), EVENTS, b"".join(events[:-2]), b"")
        assert outcome.ok
        assert out == b"".join(events[:-2]) + DONE

    def test_of_several_choices_is_over_with_the_last(self) -> None:
        request = asked(COMPLETIONS, prompt=["x", "y"], stream=True)
        first = chunk("a", "stop", 0)
        assert heard(talk(request), EVENTS, first, b"")[1].slug == "sse_truncated"
        assert heard(talk(request), EVENTS, first + chunk("b", "stop", 1), b"")[1].ok

    def test_tells_its_cost_to_who_asked_for_its_use(self) -> None:
        request = asked(COMPLETIONS, prompt="x", stream=True, stream_options={"include_usage": True})
        out, outcome = heard(talk(request), EVENTS, b"".join(COMPLETION), "0.00125")
        assert outcome.ok
        assert out.startswith(b"".join(COMPLETION[:1]))
        *_, usage, done = out.split(b"\n\n")[:-1]
        assert json.loads(usage[6:])["usage"]["cost"] == 0.00125
        assert done == b"data: [DONE]"
        plain, _ = heard(talk(request, tells_cost=False), EVENTS, b"".join(COMPLETION))
        assert json.loads(plain.split(b"\n\n")[-3][6:])["usage"] == {
            "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("event", "slug"),
        [
            (b'data: {"error": {"message": "no", "code": "rate_limit_exceeded"}}\n\n', "rate_limited"),
            (b'event: error\ndata: {"message": "no"}\n\n', "sse_error_first"),
            (b'data: {"type": "error", "message": "no"}\n\n', "sse_error_first"),
            (b"data: {oops\n\n", "sse_bad_event"),
            (b"data: [DONE]\n\n", "sse_empty"),
        ],
    )
    def test_that_begins_badly_may_be_asked_for_elsewhere(self, event: bytes, slug: str) -> None:
        for request, _ in STREAMS.values():
            out, outcome = heard(talk(request), EVENTS, event)
            assert (outcome.slug, out) == (slug, b"")
            assert outcome.phase is not Phase.FORWARDED

    def test_with_signs_of_life_alone_is_no_answer(self) -> None:
        request, _ = STREAMS["completions"]
        life = b": one\n\nevent: ping\ndata: {}\n\ndata: {}\n\ndata: null\n\n"
        assert heard(talk(request), EVENTS, life, b"")[1].slug == "sse_empty"

    def test_whose_numbers_are_none_is_read_all_the_same(self) -> None:
        request, _ = STREAMS["completions"]
        odd = b'data: {"choices": [{"text": "a", "logprobs": {"top": NaN}, "finish_reason": "stop"}]}\n\n'
        out, outcome = heard(talk(request), EVENTS, odd + DONE)
        assert (outcome.ok, out) == (True, odd + DONE)

    def test_that_is_a_document_says_the_same_as_events(self) -> None:
        request, _ = STREAMS["transcripts"]
        for head in (JSON, EVENTS):
            out, outcome = heard(
                talk(request), head, b'{"text": "so", "usage": {"type": "duration", "seconds": 3}}', b""
            )
            assert outcome.ok
            assert json.loads(out[6:])["type"] == "transcript.text.done"

    def test_under_another_label_is_one_all_the_same(self) -> None:
        request, events = STREAMS["speech"]
        plain = Head(200, ((b"content-type", b"text/plain"),))
        assert heard(talk(request), plain, b"".join(events), b"")[0] == b"".join(events)

    def test_asks_for_its_use_unless_that_is_refused(self) -> None:
        request, _ = STREAMS["completions"]
        assert relay_wishes(request) == frozenset({Wish.STREAM_OPTIONS})
        send = next(talk(request, without=frozenset({Wish.STREAM_OPTIONS})).converse())
        assert isinstance(send, Send)
        assert "stream_options" not in json.loads(send.body)
        refusal = b'{"error": {"message": "Unknown parameter", "param": "stream_options"}}'
        outcome = heard(talk(request), Head(400, ()), refusal, b"")[1]
        assert (outcome.slug, outcome.wish) == ("wish_refused", Wish.STREAM_OPTIONS)
        assert relay_wishes(STREAMS["speech"][0]) == frozenset()


class TestADocument:
    BODY = b'{"data": [{"embedding": [0.1]}], "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}}'

    def test_passes_as_it_came_but_for_its_cost(self) -> None:
        conversation = talk(asked(EMBEDDINGS, input="x"))
        out, outcome = heard(conversation, JSON, self.BODY[:20], self.BODY[20:], b"")
        assert (out, outcome.ok) == (b"", True)
        assert (conversation.answer, conversation.usage) == (self.BODY, Usage(2))
        assert conversation.terms.model == "m"
        conversation.cost = AnswerCost("0.5")
        assert conversation.answer == self.BODY.replace(b"}}", b"}}").replace(
            b'{"prompt_tokens": 2, "total_tokens": 2}', b'{"prompt_tokens":2,"total_tokens":2,"cost":0.5}'
        )

    def test_of_two_thousand_embeddings_is_not_too_much(self) -> None:
        numbers = b"[" + b",".join([b"-0.0123456"] * 1536) + b"]"
        body = b'{"data":[' + b",".join([b'{"embedding":' + numbers + b"}"] * 2048) + b'],"usage":{"prompt_tokens":9}}'
        conversation = talk(asked(EMBEDDINGS, input="x"))
        assert heard(conversation, JSON, body, b"")[1].ok
        assert conversation.answer == body
        assert conversation.usage == Usage(9)

    @pytest.mark.parametrize("at", range(0, len(BODY) - 1, 5))
    def test_that_is_cut_anywhere_is_no_answer(self, at: int) -> None:
        conversation = talk(asked(EMBEDDINGS, input="x"))
        _, outcome = heard(conversation, JSON, *([self.BODY[:at]] if at else []), b"")
        assert outcome.slug in ("bad_json", "empty_response")
        assert conversation.answer is None

    def test_that_no_strict_reader_takes_is_read_leniently(self) -> None:
        conversation = talk(asked(EMBEDDINGS, input="x"))
        assert heard(conversation, JSON, self.BODY.replace(b"0.1", b"NaN"), b"")[1].ok
        assert json.loads(conversation.answer or b"")["data"] == [{"embedding": [None]}]

    @pytest.mark.parametrize(
        ("head", "body", "slug"),
        [
            (JSON, b'{"error": {"message": "no", "code": "insufficient_quota"}}', "key_unfunded"),
            (JSON, b'{"code": 429, "message": "slow down", "data": null}', "rate_limited"),
            (JSON, b"[1, 2]", "bad_json"),
            (JSON, b"{}", "bad_json"),
            (JSON, b'{"object": "list", "data": null}', "bad_json"),
            (Head(200, ((b"content-type", b"text/html"),)), b"<html>", "bad_content_type"),
            (EVENTS, b"", "bad_content_type"),
            (Head(200, ((b"content-encoding", b"gzip"),)), b"\x1f\x8b", "bad_encoding"),
            (Head(401, ()), b'{"error": {"message": "no"}}', "key_invalid"),
            (Head(503, ()), b"{}", "upstream_5xx"),
        ],
    )
    def test_that_is_none_is_judged_as_a_chats(self, head: Head, body: bytes, slug: str) -> None:
        conversation = talk(asked(EMBEDDINGS, input="x"))
        assert (
            heard(conversation, head, *([body] if body else []), *([b""] if head is not EVENTS else []))[1].slug == slug
        )

    def test_whose_use_cannot_be_true_is_estimated(self) -> None:
        conversation = talk(asked(EMBEDDINGS, input="abc"), Price(input=1))
        heard(conversation, JSON, self.BODY.replace(b": 2", b": 90000000"), b"")
        assert conversation.usage is None
        assert conversation.estimate() == Usage(3, confidence="estimated")


class TestAResponseThatGoesOnUnseen:
    ASKED = asked(RESPONSES, input="abc", background=True, max_output_tokens=900)
    BEGUN = b'{"id": "resp_1", "status": "queued", "output": [], "usage": null}'

    def test_is_charged_for_all_it_may_write_since_it_goes_on_unseen(self) -> None:
        conversation = talk(self.ASKED)
        assert heard(conversation, JSON, self.BEGUN, b"")[1].ok
        assert conversation.usage is None
        assert conversation.estimate() == Usage(3, 0, 900, confidence="estimated")

    def test_is_so_too_if_its_client_leaves_the_stream(self) -> None:
        conversation = talk(asked(RESPONSES, input="abc", background=True, stream=True, max_output_tokens=900))
        begun = event(type="response.created", response={"id": "resp_1", "status": "queued"})
        heard(conversation, EVENTS, begun, event(type="response.output_text.delta", delta="a"), CUT)
        assert conversation.estimate() == Usage(3, 0, 900, confidence="estimated")

    def test_tells_what_it_made_though_its_stream_broke_off(self) -> None:
        conversation = talk(asked(RESPONSES, input="abc", stream=True))
        begun = event(type="response.created", response={"id": "resp_1", "output": []})
        thought = event(type="response.output_item.added", item={"id": "rs_1", "type": "reasoning"})
        heard(conversation, EVENTS, begun, thought, event(type="response.output_text.delta", delta="a"), CUT)
        assert [*ids_made(conversation)] == ["resp_1", "rs_1"]

    def test_is_charged_for_its_usage_where_that_is_told(self) -> None:
        conversation = talk(self.ASKED)
        told = b'{"id": "resp_1", "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 2}}'
        assert heard(conversation, JSON, told, b"")[1].ok
        assert conversation.usage == Usage(3, 0, 2)


class TestWords:
    TEXT = Head(200, ((b"content-type", b"text/plain; charset=utf-8"),))

    @pytest.mark.parametrize("body", [b"hello\n", b"[music]\n", b"{ sighs }", "naïve ✓".encode(), b"\n"])
    def test_pass_as_they_are(self, body: bytes) -> None:
        conversation = talk(asked(TRANSCRIPTIONS, response_format="text"))
        assert heard(conversation, self.TEXT, body, b"")[1].ok
        assert conversation.answer == body
        assert conversation.content_type == b"text/plain; charset=utf-8"
        conversation.cost = AnswerCost("1")
        assert conversation.answer == body

    @pytest.mark.parametrize(
        ("head", "body", "slug"),
        [
            (TEXT, b"", "empty_response"),
            (TEXT, b"<!doctype html><html>", "bad_content_type"),
            (TEXT, b'{"error": {"message": "no"}}', "soft_error"),
            (TEXT, b"\xff\xfe\x00", "bad_content_type"),
            (JSON, b"hello", "bad_json"),
            (EVENTS, b"", "bad_content_type"),
        ],
    )
    def test_that_are_none_are_judged(self, head: Head, body: bytes, slug: str) -> None:
        conversation = talk(asked(TRANSCRIPTIONS, response_format="srt"))
        told = [body, b""] if body else [b""]
        assert heard(conversation, head, *(told if head is not EVENTS else []))[1].slug == slug

    def test_are_no_document_that_was_asked_for(self) -> None:
        assert heard(talk(asked(TRANSCRIPTIONS)), self.TEXT, b"hello", b"")[1].slug == "bad_content_type"

    def test_may_be_a_document_in_a_form_of_tomorrow(self) -> None:
        conversation = talk(asked(TRANSCRIPTIONS, response_format="of_tomorrow"))
        assert heard(conversation, JSON, b'{"text": "so"}', b"")[1].ok
        assert conversation.content_type == b"application/json"

    def test_are_estimated_by_the_files_bytes(self) -> None:
        conversation = talk(asked(TRANSCRIPTIONS, response_format="text"), Price(seconds=100_000))
        heard(conversation, self.TEXT, b"hello", b"")
        assert conversation.usage is None
        assert conversation.estimate() == Usage(audio_milliseconds=10_000, confidence="estimated")


class TestASound:
    BY_CHARACTERS = Price(characters=15_000_000_000)

    def test_passes_as_it_comes_and_tells_its_cost_before(self) -> None:
        conversation = talk(asked(SPEECH, input="abc"), self.BY_CHARACTERS)
        said, outcome = play(conversation, [MP3, b"ID3 and so on", "0.000045", b"\x00\x01", b""])
        assert (outcome.ok, emitted(said)) == (True, b"ID3 and so on\x00\x01")
        assert conversation.headers == ((b"x-gateway-cost-usd", b"0.000045"),)
        assert conversation.usage == Usage(characters=3)
        assert (conversation.content_type, conversation.answer) == (b"audio/mpeg", None)

    @pytest.mark.parametrize("trouble", [CUT, Stalled(Awaiting.IDLE, 60)])
    def test_that_breaks_off_is_charged_for_what_came(self, trouble: Told) -> None:
        conversation = talk(asked(SPEECH, input="a" * 1000), self.BY_CHARACTERS, tells_cost=False)
        _, outcome = heard(conversation, MP3, bytes(125_000), trouble)
        assert outcome.phase is Phase.FORWARDED
        assert conversation.usage is None
        assert conversation.estimate() == Usage(characters=100, confidence="estimated")

    @pytest.mark.parametrize(
        ("head", "body", "slug"),
        [
            (MP3, b"", "empty_response"),
            (JSON, b'{"error": {"message": "no"}}', "soft_error"),
            (JSON, b'{"audio": "AAAA"}', "bad_content_type"),
            (MP3, b'{"error": {"message": "no", "code": "model_not_found"}}', "model_missing"),
            (MP3, b"<!doctype html><html></html>", "bad_content_type"),
            (Head(200, ((b"content-type", b"text/html"),)), b"plain words", "bad_content_type"),
        ],
    )
    def test_that_is_none_is_judged(self, head: Head, body: bytes, slug: str) -> None:
        out, outcome = heard(talk(asked(SPEECH, input="x")), head, *([body] if body else []), b"")
        assert (outcome.slug, out) == (slug, b"")

    def test_of_raw_samples_may_begin_with_any_byte(self) -> None:
        conversation = talk(asked(SPEECH, input="x", response_format="pcm"))
        raw = Head(200, ((b"content-type", b"application/octet-stream"),))
        assert heard(conversation, raw, b"{\x00<\x00{{{{{{{{", b"")[1].ok


def test_what_was_left_out_is_noted() -> None:
    assert talk(asked(EMBEDDINGS, provider="x")).note == "ignored: provider"
    assert talk(asked(EMBEDDINGS)).note is None


def test_what_takes_long_is_not_held_to_the_wait_for_a_head() -> None:
    def is_whole(request: RelayRequest) -> bool:
        send = next(talk(request).converse())
        assert isinstance(send, Send)
        return send.whole

    assert is_whole(asked(COMPLETIONS, prompt="x"))
    assert is_whole(asked(TRANSCRIPTIONS))
    assert not is_whole(asked(EMBEDDINGS, input="x"))
    assert not is_whole(asked(SPEECH, input="x"))
    assert not is_whole(asked(COMPLETIONS, prompt="x", stream=True))
