"""How answers of an Images API end: broken streams, errors in band, whole documents (see ``transcript.py``)."""

from __future__ import annotations

import pytest

from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Target, Usage
from gateway.translate import image_stream as image_stream

from .chat import KEY
from .image_relay import (
    AT_OPENAI,
    AT_PIAPI,
    PIECES,
    USAGE,
    conversation,
    tell,
)
from .images import BLACK, URL, PlainPresenter, as_base64
from .transcript import transcript


class TestBrokenStreams:
    @pytest.mark.parametrize("end", ["(end)", "(reset)", "(stall)", "done", "error", "nonsense"])
    def test_some_of_the_images_are_an_answer(self, end: str) -> None:
        talk = conversation(n=3)
        tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> black white
            << receive idle
            >> {end}
            == ok FORWARDED
            """,
        )
        assert (talk.images, len(talk.made_images)) == (2, 2)

    @pytest.mark.parametrize(("end", "usage"), [("(reset)", (181, "estimated")), ("done", (272, "measured"))])
    def test_what_was_broken_off_is_not_counted_for_the_client(self, end: str, usage: tuple[int, str]) -> None:
        """The usage is told for all three images; two of them came."""
        talk = conversation(n=3)
        tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> black white
            << receive idle
            >> {end}
            == ok FORWARDED
            """,
        )
        assert talk.usage is not None
        assert (talk.usage.output_tokens, talk.usage.confidence) == usage
        assert (talk.usage.input_tokens, talk.usage.images) == (9, 2)

    @pytest.mark.parametrize(
        ("told", "end", "slug"),
        [
            ("unknown", "(end)", "sse_empty"),
            ("half", "(end)", "sse_cut_early"),
            ("unknown", "(reset)", "sse_cut_early"),
            ("unknown", "(stall)", "stall_content"),
            ("unknown", "done", "sse_empty"),
            ("unknown", "nonsense", "sse_bad_event"),
            ("unknown list", "(end)", "sse_empty"),
            ("unknown list", "nonsense", "sse_bad_event"),
            ("unknown", "deep", "sse_bad_event"),
        ],
    )
    def test_none_at_all(self, told: str, end: str, slug: str) -> None:
        talk = conversation()
        tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> {told}
            << receive content
            >> {end}
            == {slug} ANSWERED
            """,
        )
        assert (talk.images, talk.usage) == (0, None)

    def test_a_preview_is_no_image(self) -> None:
        talk = conversation(partial_images=1)
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> preview nothing
            << receive idle
            >> (end)
            == sse_cut_early ANSWERED
            """,
        )
        assert talk.images == 0

    @pytest.mark.parametrize(
        ("end", "slug"),
        [("(end)", "sse_truncated"), ("(reset)", "sse_cut_late"), ("(stall)", "stall_idle"), ("error", "upstream_5xx")],
    )
    def test_after_a_preview_went_to_the_client_there_is_no_way_back(self, end: str, slug: str) -> None:
        tell(
            conversation(presenter=PlainPresenter(stream=True), partial_images=1),
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> preview
            << emit shown
            << receive idle
            >> {end}
            == {slug} FORWARDED
            """,
        )

    def test_events_have_a_limit(self) -> None:
        for pieces in ("black", "unknown black"):
            tell(
                conversation(event_limit=100),
                f"""
                << send
                >> 200 text/event-stream
                << receive content
                >> {pieces}
                == sse_event_too_big ANSWERED
                """,
            )

    def test_an_answer_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.translate.images_to_images.IMAGES_ANSWER_LIMIT", 150)
        tell(
            conversation(),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> unknown
            << receive content
            >> unknown unknown
            == sse_event_too_big ANSWERED
            """,
        )

    @pytest.mark.parametrize(
        ("piece", "slug", "phase"),
        [
            ("error", "upstream_5xx", "ANSWERED"),
            ("typed", "content_policy", "REJECTED"),
            ("bare", "sse_error_first", "ANSWERED"),
            ("envelope", "rate_limited", "REJECTED"),
        ],
    )
    def test_errors_in_band(self, piece: str, slug: str, phase: str) -> None:
        outcome = tell(
            conversation(),
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> {piece}
            == {slug} {phase}
            """,
        )
        assert outcome.message

    def test_an_upstream_that_repeats_the_key(self) -> None:
        outcome = tell(
            conversation(),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> leak
            == sse_error_first ANSWERED
            """,
        )
        assert KEY not in str(outcome)
        assert outcome.message == "bad key [redacted]"


class TestWholeAnswers:
    @pytest.mark.parametrize("target", [AT_PIAPI, AT_OPENAI])
    def test_one_document(self, target: Target) -> None:
        """Also to a request for a stream."""
        talk = conversation(target)
        tell(
            talk,
            """
            << send
            >> 200 application/json
            << receive content
            >> whole
            << receive content
            >> (end)
            == ok FORWARDED
            """,
        )
        assert talk.made_images == (MadeImage(None, as_base64(BLACK), "A black cat"),)
        assert talk.usage == Usage(9, 0, 272, images=1, image_output_tokens=272)
        assert talk.facts == ImageFacts("1024x1024", "low", "opaque", "png", USAGE)

    def test_for_a_client_that_wants_a_stream(self) -> None:
        tell(
            conversation(presenter=PlainPresenter(stream=True)),
            """
            << send
            >> 200 application/json
            << receive content
            >> whole
            << receive content
            >> (end)
            << emit image
            == ok FORWARDED
            """,
        )

    def test_links(self) -> None:
        talk = conversation(n=2)
        _, outcome = transcript(talk, ">> 200 application/json\n>> links\n>> (end)", PIECES)
        assert (outcome.slug, talk.made_images, talk.usage) == ("ok", (MadeImage(URL),), None)

    @pytest.mark.parametrize(
        ("body", "slug", "phase"),
        [
            ("no-images", "empty_response", "ANSWERED"),
            ("no-data", "bad_json", "UNKNOWN"),
            ("deep-body", "bad_json", "UNKNOWN"),
            ("inner-400", "rejected", "REJECTED"),
            ("half", "sse_cut_early", "ANSWERED"),
        ],
    )
    def test_that_are_none(self, body: str, slug: str, phase: str) -> None:
        tell(
            conversation(),
            f"""
            << send
            >> 200 application/json
            << receive content
            >> {body}
            << receive content
            >> (end)
            == {slug} {phase}
            """,
        )

    def test_refusals(self) -> None:
        outcome = tell(
            conversation(AT_OPENAI),
            """
            << send
            >> 400 application/json
            << receive content
            >> refused
            << receive content
            >> (end)
            == content_policy REJECTED
            """,
        )
        assert outcome.message == "Your request was rejected."

    def test_errors_are_not_read_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_stream, "IMAGE_ERROR_LIMIT", 100)
        tell(
            conversation(),
            """
            << send
            >> 500 text/plain
            << receive content
            >> whole
            == upstream_5xx UNKNOWN
            """,
        )
