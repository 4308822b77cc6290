"""What conversations ask for beyond their clients' requests, how they ask without, and what a refusal is to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from gateway.core.types import ALL_WISHES, NO_WISHES, Phase, Target, Wish
from gateway.translate.chat_to_chat import ChatConversation
from gateway.translate.commands import Conversation, Send
from gateway.translate.images_to_chat import ImagesToChat
from gateway.translate.images_to_images import ImagesToImages
from gateway.wire.answer_head import Head
from gateway.wire.chat_request import parse_chat_request

from .chat import BILLED, INPUT_TOKENS, KEY, SOLD_BY_IMAGE, STREAM_HEAD, USAGE, attempt_context, chunk, delta, folded
from .image_relay import AT_OPENAI, AT_PIAPI
from .images import PlainPresenter, order
from .transcript import play

WITHOUT_STREAM, WITHOUT_OPTIONS = frozenset({Wish.STREAM}), frozenset({Wish.STREAM_OPTIONS})
USAGE_ASKED = {"include_usage": True}
BAD, JSON_HEAD = Head(400, ((b"content-type", b"application/json"),)), Head(200, ())


def error(message: str, **fields: Any) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "invalid_request_error", **fields}})


VERIFY = error("Your organization must be verified to stream this model.", param="stream", code="unsupported_value")
UNKNOWN = error("Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter")


def chat(without: frozenset[Wish] = NO_WISHES, target: Target = BILLED, **fields: Any) -> ChatConversation:
    request = parse_chat_request({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields})
    return ChatConversation(
        request, attempt_context(target), count=len, input_tokens=lambda: INPUT_TOKENS, without=without
    )


def picture(without: frozenset[Wish] = NO_WISHES) -> ImagesToChat:
    return ImagesToChat(order(), attempt_context(SOLD_BY_IMAGE), presenter=PlainPresenter(), count=len, without=without)


def relay(without: frozenset[Wish] = NO_WISHES, target: Target = AT_PIAPI) -> ImagesToImages:
    return ImagesToImages(
        order(), attempt_context(target), n=1, presenter=PlainPresenter(), boundary="b", without=without
    )


def sent(talk: Conversation) -> tuple[object, object, bool, object]:
    """What it asks of a stream, whether it expects the answer whole, and which kind of answer it accepts."""
    command = next(talk.converse())
    assert isinstance(command, Send)
    body = json.loads(command.body)
    accepts = dict(command.headers).get(b"accept")
    return body.get("stream", "-"), body.get("stream_options", "-"), command.whole, accepts


STREAMS: dict[str, Any] = {"stream": True}


@pytest.mark.parametrize(
    ("fields", "without", "asked"),
    [
        ({}, NO_WISHES, (True, USAGE_ASKED, False, None)),
        ({}, WITHOUT_OPTIONS, (True, "-", False, None)),
        ({}, WITHOUT_STREAM, ("-", "-", True, b"application/json")),
        ({}, ALL_WISHES, ("-", "-", True, b"application/json")),
        ({"stream": False}, WITHOUT_STREAM, (False, "-", True, b"application/json")),
        (STREAMS, WITHOUT_OPTIONS, (True, "-", False, None)),
        (STREAMS, WITHOUT_STREAM, (True, USAGE_ASKED, False, None)),
        (
            STREAMS | {"stream_options": {"include_usage": False}},
            ALL_WISHES,
            (True, {"include_usage": False}, False, None),
        ),
        (STREAMS | {"stream_options": USAGE_ASKED}, ALL_WISHES, (True, USAGE_ASKED, False, None)),
    ],
)
def test_a_chat_asks(fields: dict[str, Any], without: frozenset[Wish], asked: tuple[object, ...]) -> None:
    assert sent(chat(without, **fields)) == asked


def test_an_order_by_chat_asks() -> None:
    assert sent(picture()) == (True, USAGE_ASKED, False, None)
    assert sent(picture(WITHOUT_OPTIONS)) == (True, "-", False, None)
    assert sent(picture(WITHOUT_STREAM)) == ("-", "-", True, b"application/json")


def test_an_order_at_an_images_api_asks() -> None:
    assert sent(relay())[0] is True
    assert sent(relay(WITHOUT_STREAM))[::3] == ("-", b"application/json")
    assert sent(relay(target=AT_OPENAI))[0] == "-"


@pytest.mark.parametrize(
    ("make", "body", "wish"),
    [
        (lambda: chat(), VERIFY, Wish.STREAM),
        (lambda: chat(), UNKNOWN, Wish.STREAM_OPTIONS),
        (lambda: chat(WITHOUT_OPTIONS), VERIFY, Wish.STREAM),
        (lambda: chat(stream=True), UNKNOWN, Wish.STREAM_OPTIONS),
        (lambda: chat(target=SOLD_BY_IMAGE), VERIFY, Wish.STREAM),
        (lambda: picture(), VERIFY, Wish.STREAM),
        (lambda: picture(), UNKNOWN, Wish.STREAM_OPTIONS),
        (lambda: relay(), VERIFY, Wish.STREAM),
    ],
)
@pytest.mark.parametrize("head", [BAD, JSON_HEAD], ids=["400", "200"])
def test_a_refusal_is_ours(make: Callable[[], Conversation], body: bytes, wish: Wish, head: Head) -> None:
    _, outcome = play(make(), [head, body, b""])
    assert (outcome.slug, outcome.phase, outcome.wish) == ("wish_refused", Phase.REJECTED, wish)
    assert (outcome.message, outcome.type, outcome.param, outcome.code) == (None, None, None, None)


@pytest.mark.parametrize(
    ("without", "fields", "body"),
    [
        (WITHOUT_STREAM, {}, VERIFY),
        (NO_WISHES, STREAMS, VERIFY),
        (WITHOUT_OPTIONS, STREAMS, UNKNOWN),
        (NO_WISHES, STREAMS | {"stream_options": USAGE_ASKED}, UNKNOWN),
    ],
)
def test_or_the_clients(without: frozenset[Wish], fields: dict[str, Any], body: bytes) -> None:
    _, outcome = play(chat(without, **fields), [BAD, body, b""])
    assert (outcome.slug, outcome.message) == ("rejected", json.loads(body)["error"]["message"])


def test_as_the_first_event_but_not_after_content() -> None:
    refusal = b"data: " + VERIFY + b"\n\n"
    _, first = play(chat(), [STREAM_HEAD, refusal])
    assert first.wish is Wish.STREAM
    _, late = play(chat(), [STREAM_HEAD, chunk(delta(content="Hello")) + refusal])
    assert (late.slug, late.wish) == ("rejected", None)


def test_the_log_learns_what_was_refused_but_neither_prompt_nor_key() -> None:
    _, outcome = play(chat(), [BAD, error(f"cannot stream for {KEY}: Hi", param="stream"), b""])
    assert "refused stream" in outcome.detail
    assert KEY not in outcome.detail
    assert "Hi" not in outcome.detail


AUDIO = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 9,
    "model": "gpt-audio",
    "service_tier": None,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "audio": {"id": "audio_1", "data": "UklGRg==", "expires_at": 9, "transcript": "Hello"},
                "annotations": [],
                "note": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}


def test_the_whole_answer_is_the_clients_as_it_came() -> None:
    talk = chat(WITHOUT_STREAM)
    _, outcome = play(talk, [JSON_HEAD, orjson.dumps(AUDIO), b""])
    assert outcome.ok
    assert folded(talk) == AUDIO


def test_its_usage_is_counted_if_it_has_none() -> None:
    talk = chat(WITHOUT_STREAM)
    _, outcome = play(talk, [JSON_HEAD, orjson.dumps({**AUDIO, "usage": None}), b""])
    assert outcome.ok
    assert folded(talk)["usage"]["prompt_tokens"] == INPUT_TOKENS
    assert talk.usage is not None
    assert talk.usage.confidence == "estimated"
