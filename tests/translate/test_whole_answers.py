"""Whole answers in JSON that only a lenient reader takes; each kind of conversation reads them all the same."""

from __future__ import annotations

from gateway.core.types import Outcome, Phase
from gateway.translate.whole_answers import judged_leniently
from gateway.wire.answer_head import Head

from . import chat, image_chat, image_relay
from .transcript import play

JSON = Head(200, ((b"content-type", b"application/json"),))
HALF = b"\\ud83d"


def test_what_a_strict_reader_takes_is_judged_once() -> None:
    judged: list[bytes] = []

    def judge(body: bytes) -> tuple[Outcome, None]:
        judged.append(body)
        return Outcome("bad_json", Phase.UNKNOWN), None

    for body in (b"{}", b"words", b"", b"{broken"):
        judged.clear()
        assert judged_leniently(body, judge)[2] is body
        assert judged == [body]


def test_what_only_a_lenient_one_takes_is_judged_as_the_nearest_that_it_does() -> None:
    bodies: list[bytes] = []

    def judge(body: bytes) -> tuple[Outcome, int]:
        bodies.append(body)
        return Outcome("ok" if len(bodies) == 2 else "bad_json", Phase.ANSWERED), len(bodies)

    outcome, read, body = judged_leniently(b'{"a":NaN,"b":"' + HALF + b'"}', judge)
    assert (outcome.ok, read, body) == (True, 2, '{"a":null,"b":"\ufffd"}'.encode())


def test_a_chat() -> None:
    talk = chat.conversation()
    answer = b'{"choices":[{"message":{"role":"assistant","content":"x ' + HALF + b'"},"finish_reason":"stop"}]}'
    _, outcome = play(talk, [JSON, answer, b""])
    assert outcome.ok
    assert chat.folded(talk)["choices"][0]["message"]["content"] == "x \ufffd"


def test_pictures_from_a_chat_and_from_an_images_api() -> None:
    words = b'"content":"' + HALF + b' ![image](https://storage.theapi.app/one.png)"'
    talk = image_chat.conversation()
    _, outcome = play(talk, [JSON, b'{"choices":[{"message":{' + words + b'},"finish_reason":"stop"}]}', b""])
    assert (outcome.ok, talk.images) == (True, 1)

    relay = image_relay.conversation()
    item = image_relay.document({"url": "https://storage.theapi.app/one.png", "revised_prompt": "HALF"})
    _, outcome = play(relay, [JSON, item.replace(b"HALF", HALF), b""])
    assert (outcome.ok, relay.images) == (True, 1)
