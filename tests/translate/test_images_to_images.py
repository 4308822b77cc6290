"""Images bought from an Images API: conversations as transcripts (see ``transcript.py``)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.images.types import ImageFacts, MadeImage, SourceImage
from gateway.core.types import Price, Usage
from gateway.translate.image_stream import VARIATION_PROMPT
from gateway.translate.present_images import ImagesPresenter
from gateway.wire.answer_head import Head

from .image_relay import (
    AT_OPENAI,
    BLACK_IMAGE,
    PIECES,
    USAGE,
    WHITE_IMAGE,
    conversation,
    event,
    sent,
    tell,
)
from .images import BLACK, GREY, KEPT_URL, URL, WHITE, PlainPresenter, as_base64, order, source
from .transcript import play, transcript


class TestOrders:
    def test_piapi_is_always_asked_for_a_stream(self) -> None:
        command = sent(conversation(n=2, size="512x512", partial_images=2))
        assert (command.method, command.path) == ("POST", "/v1/images/generations")
        assert command.headers == ((b"content-type", b"application/json"),)
        assert json.loads(command.body) == {
            "model": "gpt-image-up",
            "prompt": "A cat",
            "n": 2,
            "size": "1024x1024",
            "stream": True,
        }

    def test_others_only_where_the_client_wants_one(self) -> None:
        command = sent(conversation(AT_OPENAI))
        assert "stream" not in json.loads(command.body)
        assert (b"accept", b"application/json") in command.headers
        command = sent(conversation(AT_OPENAI, presenter=PlainPresenter(stream=True), partial_images=2))
        body = json.loads(command.body)
        assert (body["stream"], body["partial_images"]) == (True, 2)
        assert command.headers == ((b"content-type", b"application/json"),)

    @pytest.mark.parametrize(
        ("kind", "prompt", "said"), [("edit", "A hat", "A hat"), ("variation", "", VARIATION_PROMPT)]
    )
    def test_edits_and_variations_are_forms(self, kind: Any, prompt: str, said: str) -> None:
        command = sent(conversation(kind=kind, prompt=prompt, images=(source(),)))
        assert command.path == "/v1/images/edits"
        assert command.headers == ((b"content-type", b"multipart/form-data; boundary=bound-7"),)
        assert said.encode() in command.body

    def test_a_link_goes_upstream_as_a_link(self) -> None:
        command = sent(conversation(kind="edit", images=(SourceImage(url=URL),)))
        assert (command.path, command.headers) == ("/v1/images/edits", ((b"content-type", b"application/json"),))
        assert json.loads(command.body)["images"] == [{"image_url": URL}]

    def test_what_was_asked_for_is_known_from_then_on(self) -> None:
        talk = conversation(size="1792x1024", quality="hd")
        sent(talk)
        assert (talk.size, talk.quality) == ("1536x1024", "high")
        assert talk.facts == ImageFacts("1536x1024", "high")
        assert talk.estimate() == Usage(output_tokens=6240, images=1, confidence="estimated", image_output_tokens=6240)
        vague = conversation(n=3, size="auto", quality="auto")
        sent(vague)
        assert (vague.size, vague.quality) == (None, None)
        assert vague.estimate().images == 3

    @pytest.mark.parametrize(
        ("fields", "tokens"),
        [
            ({"size": "1024x1024", "quality": "high"}, 7_024),
            ({"size": "1024x1024", "quality": "low"}, 196),
            ({"size": "1536x1024", "quality": "medium"}, 1_372),
            ({"size": "auto", "quality": "auto"}, 7_024),  # the dearest that may have been chosen
        ],
    )
    def test_a_model_with_a_formula_is_estimated_by_it(self, fields: dict[str, Any], tokens: int) -> None:
        price = Price(input=5, image_input=8, output=30, picture_tokens={"low": 16, "medium": 48, "high": 96})
        talk = conversation(replace(AT_OPENAI, model="gpt-image-2", price=price), n=2, **fields)
        sent(talk)
        estimate = talk.estimate()
        assert (estimate.output_tokens, estimate.image_output_tokens) == (2 * tokens, 2 * tokens)
        assert (estimate.input_tokens, estimate.images, estimate.confidence) == (len("A cat"), 2, "estimated")


class TestStreams:
    def test_an_image_for_a_whole_answer(self) -> None:
        presenter = PlainPresenter()
        talk = conversation(presenter=presenter, size="auto")
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream; charset=utf-8
            << receive content
            >> comment unknown empty preview
            << receive idle
            >> black
            == ok FORWARDED
            """,
        )
        assert talk.made_images == (BLACK_IMAGE,)
        assert talk.images == 1
        assert talk.usage == Usage(9, 0, 272, images=1, image_output_tokens=272)
        assert (talk.size, talk.quality) == ("1024x1024", "low")
        assert talk.facts == ImageFacts("1024x1024", "low", "opaque", "png", USAGE)
        assert presenter.delivered == [(BLACK_IMAGE, talk.facts)]
        assert presenter.previews == []
        assert len(presenter.progressed) == 1
        assert talk.answer is None

    def test_several_for_a_stream_with_previews(self) -> None:
        presenter = PlainPresenter(stream=True)
        talk = conversation(n=2, presenter=presenter, partial_images=1)
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> preview
            << emit shown
            << receive idle
            >> bad-preview black
            << emit image
            << receive idle
            >> white
            << emit image
            == ok FORWARDED
            """,
        )
        assert presenter.previews == [(as_base64(GREY), 1)]
        assert talk.made_images == (BLACK_IMAGE, WHITE_IMAGE)
        assert talk.usage == Usage(9, 0, 272, images=2, image_output_tokens=272)

    def test_edits_have_events_of_their_own(self) -> None:
        talk = conversation(kind="edit", images=(source(),))
        outcome = tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> edited
            == ok FORWARDED
            """,
        )
        assert (outcome.status, talk.images) == (200, 1)

    def test_a_whole_answer_in_one_event(self) -> None:
        talk = conversation()
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> whole-event
            == ok FORWARDED
            """,
        )
        assert (talk.images, talk.usage) == (1, Usage(9, 0, 272, images=1, image_output_tokens=272))

    def test_usage_that_cannot_be_true_is_left_to_the_table(self) -> None:
        talk = conversation(quality="low")
        hostile = event("completed", b64_json=as_base64(BLACK), usage={"input_tokens": 5, "output_tokens": 10**9})
        _, outcome = play(talk, [Head(200, ((b"content-type", b"text/event-stream"),)), hostile])
        assert (outcome.slug, talk.usage, talk.facts.usage) == ("ok", None, None)
        assert (talk.quality, talk.images) == ("low", 1)

    def test_images_through_a_real_presenter(self) -> None:
        """A conversation hands its presenter's commands on, and their answers back."""
        telling = ImagesPresenter(order(), created=1, format="url", explicit=True)
        talk = conversation(presenter=telling)
        head = Head(200, ((b"content-type", b"text/event-stream"),))
        said, outcome = play(talk, [head, PIECES["black"], KEPT_URL])
        assert outcome.slug == "ok"
        assert talk.made_images == (MadeImage(KEPT_URL),)
        body = telling.conclude(talk.made_images, talk.facts, talk.usage)
        assert body is not None
        assert json.loads(body)["data"] == [{"url": KEPT_URL}]
        assert len(said) == 3

    def test_images_that_cannot_be_kept_are_delivered_as_they_are(self) -> None:
        telling = ImagesPresenter(order(), created=1, format="url", explicit=True)
        talk = conversation(n=2, presenter=telling)
        unkept = transcript(
            talk,
            """
            >> 200 text/event-stream
            >> black
            >> (unavailable)
            >> white
            >> (unavailable)
            """,
            PIECES,
        )[1]
        assert unkept.ok
        body = telling.conclude(talk.made_images, talk.facts, talk.usage)
        assert body is not None
        assert [base64.b64decode(item["b64_json"]) for item in json.loads(body)["data"]] == [BLACK, WHITE]
        assert telling.notes == ["b64_instead_of_link"]
