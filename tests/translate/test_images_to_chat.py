"""Images bought from a chat: conversations as transcripts (see ``transcript.py``)."""

from __future__ import annotations

import pytest

from gateway.core.images.types import ImageFacts, MadeImage, SourceImage
from gateway.core.types import Usage
from gateway.translate.image_stream import VARIATION_PROMPT
from gateway.translate.images_to_chat import MASK_SENTENCE
from gateway.translate.present_chat import ChatPresenter

from .chat import KEY
from .image_chat import MADE, OTHER, PIECES, STREAM_HEAD, body, content, conversation, tell
from .images import BLACK, KEPT_URL, URL, WHITE, PlainPresenter, as_base64, source
from .transcript import play, transcript


class TestOrders:
    def test_a_prompt_is_a_message(self) -> None:
        assert body(conversation(n=4, quality="high", options={"user": "alice"})) == {
            "model": "gpt-4o-image",
            "messages": [{"role": "user", "content": "A cat"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    @pytest.mark.parametrize(
        ("size", "said"),
        [
            ("1536x1024", "A cat\n\nSize: 1536x1024 (3:2)."),
            ("1024x1024", "A cat\n\nSize: 1024x1024 (1:1)."),
            ("1024x1792", "A cat\n\nSize: 1024x1792 (4:7)."),
            ("1023x1024", "A cat\n\nSize: 1023x1024."),
            ("16:9", "A cat\n\nAspect ratio: 16:9."),
            ("2K", "A cat\n\nSize: 2K."),
            ("auto", "A cat"),
            (None, "A cat"),
        ],
    )
    def test_a_size_is_put_in_words(self, size: str | None, said: str) -> None:
        talk = conversation(size=size)
        assert content(talk) == said
        assert talk.size == talk.facts.size == (size if "x" in (size or "") else None)

    def test_images_come_before_the_words(self) -> None:
        images = (source(), SourceImage(url=URL))
        assert content(conversation(kind="edit", images=images)) == [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{as_base64(BLACK)}"}},
            {"type": "image_url", "image_url": {"url": URL}},
            {"type": "text", "text": "A cat"},
        ]

    def test_a_mask_is_one_more_image_and_is_explained(self) -> None:
        talk = conversation(kind="edit", images=(source(),), mask=source(WHITE), size="1024x1024")
        first, mask, words = content(talk)
        assert first["image_url"]["url"].endswith(as_base64(BLACK))
        assert mask["image_url"]["url"].endswith(as_base64(WHITE))
        assert words["text"] == f"{MASK_SENTENCE}\n\nA cat\n\nSize: 1024x1024 (1:1)."
        assert "transparent" in MASK_SENTENCE

    def test_a_variation_has_a_sentence_of_ours(self) -> None:
        parts = content(conversation(kind="variation", prompt="", images=(source(),)))
        assert parts[-1] == {"type": "text", "text": VARIATION_PROMPT}

    def test_tokens_are_estimated_from_what_was_said(self) -> None:
        talk = conversation()
        before = talk.estimate()
        assert (before.images, before.confidence, before.output_tokens) == (1, "estimated", 0)
        assert before.input_tokens >= len("A cat")
        transcript(talk, ">> 200 text/event-stream\n>> queuing sorry\n>> (end)", PIECES)
        assert talk.estimate().output_tokens == len("> ID: `task_1`\n> Queuing.I cannot make this image.")
        assert talk.estimate().input_tokens == before.input_tokens


class TestImages:
    def test_one_for_a_whole_answer(self) -> None:
        presenter = PlainPresenter()
        talk = conversation(presenter)
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream;charset=utf-8
            << receive content
            >> role fence queuing comment
            << receive idle
            >> 15% nothing 64%
            << receive idle
            >> image finish
            << receive finish
            >> done
            == ok FORWARDED
            """,
        )
        assert talk.made_images == (MADE,)
        assert presenter.delivered == [(MADE, ImageFacts())]
        assert [words for words in presenter.progressed if "%" in words] == ["15%", "64%"]
        assert (talk.images, talk.usage, talk.note, talk.answer) == (1, None, None, None)

    def test_all_that_come_though_one_was_ordered(self) -> None:
        talk = conversation(PlainPresenter(stream=True))
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> fence image other finish
            << receive finish
            >> usage
            << receive finish
            >> done
            << emit shown shown
            == ok FORWARDED
            """,
        )
        assert talk.made_images == (MADE, OTHER)
        assert talk.usage == Usage(11, 0, 5, images=2)

    def test_bytes_in_the_text(self) -> None:
        talk = conversation()
        outcome = tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> inline done
            == ok FORWARDED
            """,
        )
        assert outcome.status == 200
        assert talk.made_images == (MadeImage(None, as_base64(BLACK)),)

    def test_bytes_that_cannot_be_read_are_no_image(self) -> None:
        talk = conversation()
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> torn done
            == sse_empty ANSWERED
            """,
        )
        assert talk.images == 0

    def test_images_are_known_while_they_come(self) -> None:
        """For a client that leaves in the middle."""
        talk = conversation()
        conversing = talk.converse()
        for told in (None, STREAM_HEAD, PIECES["fence"], PIECES["image"]):
            conversing.send(told)
        assert talk.images == 1

    def test_progress_of_thoughts(self) -> None:
        presenter = PlainPresenter(stream=True)
        play(conversation(presenter), [STREAM_HEAD, PIECES["thought"], PIECES["image"] + PIECES["done"]])
        assert presenter.progressed == ["7%"]

    def test_a_downgrade_is_noted(self) -> None:
        talk = conversation()
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> dalle image done
            == ok FORWARDED
            """,
        )
        assert talk.note == "downgraded"

    def test_an_image_that_cannot_be_kept_is_delivered_as_it_is(self) -> None:
        telling = ChatPresenter(id="chatcmpl-1", created=1, model="gpt-4o-image", stream=False, include_usage=False)
        for answer, slug in (("(unavailable)", "ok"), (f"link {KEPT_URL}", "ok")):
            talk = conversation(telling)
            script = f">> 200 text/event-stream\n>> inline done\n>> {answer}"
            _, outcome = transcript(talk, script, PIECES)
            assert (outcome.slug, talk.images) == (slug, 1)

    @pytest.mark.parametrize("end", ["(end)", "(reset)", "(stall)", "error", "nonsense", "failed done"])
    def test_an_image_that_came_is_delivered_whatever_comes_after(self, end: str) -> None:
        talk = conversation()
        tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> fence image
            << receive idle
            >> {end}
            == ok FORWARDED
            """,
        )
        assert talk.made_images == (MADE,)

    @pytest.mark.parametrize("end", ["(end)", "(reset)", "(stall)", "error", "done"])
    def test_after_the_finish_nothing_matters(self, end: str) -> None:
        tell(
            conversation(),
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> sorry finish
            << receive finish
            >> {end}
            == content_policy ANSWERED
            """,
        )


class TestAnswersWithoutImages:
    @pytest.mark.parametrize(
        ("pieces", "reason"),
        [
            ("fence failed finish done", "output_moderation"),
            ("sorry finish done", "I cannot make this image."),
            ("no finish done", "I will not draw that."),
            ("sorry filtered done", "I cannot make this image."),
        ],
    )
    def test_failures_and_refusals_tell_their_reason(self, pieces: str, reason: str) -> None:
        talk = conversation()
        outcome = tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> {pieces}
            == content_policy ANSWERED
            """,
        )
        assert outcome.status == 200
        assert outcome.message is not None
        assert reason in outcome.message
        assert (talk.images, talk.made_images) == (0, ())

    def test_a_filter_need_not_say_why(self) -> None:
        outcome = tell(
            conversation(),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> filtered done
            == content_policy ANSWERED
            """,
        )
        assert outcome.message is None

    def test_a_refusal_that_repeats_the_key(self) -> None:
        _, outcome = transcript(conversation(), ">> 200 text/event-stream\n>> sorry-key done", PIECES)
        assert outcome.slug == "content_policy"
        assert KEY not in str(outcome)

    @pytest.mark.parametrize("end", ["(end)", "(reset)", "error"])
    def test_a_failure_named_outright_needs_no_proper_end(self, end: str) -> None:
        tell(
            conversation(),
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> fence failed
            << receive idle
            >> {end}
            == content_policy ANSWERED
            """,
        )

    @pytest.mark.parametrize(
        ("told", "awaiting", "end", "slug"),
        [
            ("role", "content", "(end)", "sse_empty"),
            ("half", "content", "(end)", "sse_cut_early"),
            ("sorry", "idle", "(end)", "sse_cut_early"),
            ("sorry", "idle", "(reset)", "sse_cut_early"),
            ("role", "content", "(stall)", "stall_content"),
            ("sorry", "idle", "(stall)", "stall_idle"),
            ("role", "content", "done", "sse_empty"),
            ("role", "content", "nonsense", "sse_bad_event"),
            ("role malformed", "content", "(end)", "sse_empty"),
            ("role", "content", "error", "upstream_5xx"),
            ("role", "content", "error-word", "sse_error_first"),
            ("role", "content", "error-delta done", "upstream_408"),
        ],
    )
    def test_streams_that_bring_nothing(self, told: str, awaiting: str, end: str, slug: str) -> None:
        """Words that broke off are no refusal: the image may have been on its way."""
        talk = conversation()
        tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> {told}
            << receive {awaiting}
            >> {end}
            == {slug} ANSWERED
            """,
        )
        assert talk.images == 0

    def test_an_answer_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.translate.images_to_chat.CHAT_ANSWER_LIMIT", 500)
        tell(
            conversation(),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> sorry
            << receive idle
            >> sorry sorry sorry
            == sse_event_too_big ANSWERED
            """,
        )


class TestWholeAnswers:
    @pytest.mark.parametrize(
        ("body", "slug", "phase"),
        [
            ("whole", "ok", "FORWARDED"),
            ("whole-sorry", "content_policy", "ANSWERED"),
            ("whole-empty", "empty_response", "ANSWERED"),
            ("whole-odd", "no_image", "ANSWERED"),
            ("no-completion", "bad_json", "UNKNOWN"),
        ],
    )
    def test_to_a_request_for_a_stream(self, body: str, slug: str, phase: str) -> None:
        talk = conversation()
        tell(
            talk,
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
        if slug == "ok":
            assert talk.made_images == (MADE,)
            assert talk.usage == Usage(11, 0, 5, images=1)

    def test_an_error_of_piapis_is_proof(self) -> None:
        outcome = tell(
            conversation(),
            """
            << send
            >> 400 application/json
            << receive content
            >> json-error
            << receive content
            >> (end)
            == rejected REJECTED
            """,
        )
        assert outcome.message == "Bad image"


def test_how_the_stream_is_split_makes_no_difference() -> None:
    whole = b"".join(PIECES[name] for name in ("role", "fence", "15%", "64%", "image", "other", "finish", "done"))
    for size in (1, 7, 100):
        talk = conversation()
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        _, outcome = play(talk, [STREAM_HEAD, *pieces])
        assert (outcome.slug, talk.made_images) == ("ok", (MADE, OTHER))
