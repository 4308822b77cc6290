"""Chat bought as a stream and passed on as one, or folded: conversations as transcripts (see ``transcript.py``)."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Usage
from gateway.translate.commands import Send, Stalled

from .chat import ASKING, ESTIMATED, INPUT_TOKENS, PIECES, STREAM, STREAM_HEAD, conversation, folded, tell
from .transcript import play, transcript


def test_the_upstream_is_asked_for_a_stream_with_usage_whatever_the_client_wants() -> None:
    for fields in ({}, STREAM, ASKING):
        command = next(conversation(temperature=0.5, **fields).converse())
        assert isinstance(command, Send)
        assert (command.method, command.path) == ("POST", "/v1/chat/completions")
        body = json.loads(command.body)
        assert body["model"] == "gpt-4o-upstream"
        assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
        assert body["temperature"] == 0.5


class TestStreams:
    def test_a_plain_one(self) -> None:
        talk = conversation(**STREAM)
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> role
            << receive content
            >> hello
            << emit role hello
            << receive idle
            >> world
            << emit world
            << receive idle
            >> finish
            << emit finish
            << receive finish
            >> usage
            << receive finish
            >> done
            << emit done
            == ok FORWARDED
            """,
        )
        assert talk.usage == Usage(11, 0, 5)
        assert talk.answer is None

    def test_usage_is_passed_on_to_who_asked_for_it(self) -> None:
        tell(
            conversation(**ASKING),
            """
            << send
            >> 200 text/event-stream; charset=utf-8
            << receive content
            >> role hello finish
            << emit role hello finish
            << receive finish
            >> usage done
            << emit usage done
            == ok FORWARDED
            """,
        )

    def test_usage_that_never_comes_is_estimated(self) -> None:
        talk = conversation(**ASKING)
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello world finish done
            << emit hello world finish estimated done
            == ok FORWARDED
            """,
        )
        assert talk.usage == ESTIMATED

    def test_an_estimate_is_not_shown_to_who_did_not_ask(self) -> None:
        talk = conversation(**STREAM)
        tell(
            talk,
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello world finish done
            << emit hello world finish done
            == ok FORWARDED
            """,
        )
        assert talk.usage == ESTIMATED

    def test_their_terminator_is_replaced_by_ours(self) -> None:
        tell(
            conversation(**STREAM),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello finish none
            << emit hello finish done
            == ok FORWARDED
            """,
        )

    def test_comments_are_held_before_content_and_short_after_it(self) -> None:
        tell(
            conversation(**STREAM),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> comment role comment
            << receive content
            >> hello
            << emit role hello
            << receive idle
            >> comment
            << emit ping
            << receive idle
            >> comment world
            << emit ping world
            << receive idle
            >> finish done
            << emit finish done
            == ok FORWARDED
            """,
        )

    def test_comments_are_left_out_where_events_have_ids(self) -> None:
        """openai-python would fail on them."""
        tell(
            conversation(**STREAM),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> id hello
            << emit id hello
            << receive idle
            >> comment
            << receive idle
            >> finish done
            << emit finish done
            == ok FORWARDED
            """,
        )


class TestTheEndThatDoesNotCome:
    """A choice that has named its finish reason is complete; what follows is usage at best."""

    @pytest.mark.parametrize("ending", ["(end)", "(stall)", "(reset)"])
    def test_after_the_finish(self, ending: str) -> None:
        tell(
            conversation(**STREAM),
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> hello finish
            << emit hello finish
            << receive finish
            >> {ending}
            << emit done
            == ok FORWARDED
            """,
        )

    @pytest.mark.parametrize("ending", ["(end)", "(stall)", "(reset)"])
    def test_after_the_finish_of_a_folded_answer(self, ending: str) -> None:
        talk = conversation()
        tell(
            talk,
            f"""
            << send
            >> 200 text/event-stream
            << receive content
            >> hello finish
            << receive finish
            >> {ending}
            == ok FORWARDED
            """,
        )
        assert folded(talk)["choices"][0]["message"]["content"] == "Hello"

    def test_one_finish_of_two_is_not_the_end(self) -> None:
        outcome = tell(
            conversation(n=2, **STREAM),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello finish
            << emit hello finish
            << receive idle
            >> (reset)
            == sse_cut_late FORWARDED
            """,
        )
        assert outcome.detail == "connection_reset: it was reset"


class TestStreamsThatBreak:
    @pytest.mark.parametrize(
        ("trouble", "came"),
        [
            ("(stall)", "stall_content ANSWERED"),
            ("(reset)", "sse_cut_early ANSWERED"),
            ("(end)", "sse_empty ANSWERED"),
            ("done", "sse_empty ANSWERED"),
            ("nonsense", "sse_bad_event ANSWERED"),
            ("error", "upstream_5xx ANSWERED"),
            ("limited", "rate_limited REJECTED"),
        ],
    )
    def test_before_anything_came(self, trouble: str, came: str) -> None:
        """Nothing is emitted, so that another upstream can be tried."""
        for fields in (STREAM, {}):
            talk = conversation(**fields)
            tell(
                talk,
                f"""
                << send
                >> 200 text/event-stream
                << receive content
                >> {trouble}
                == {came}
                """,
            )
            assert talk.answer is None

    @pytest.mark.parametrize(
        ("trouble", "came"),
        [
            ("(stall)", "stall_content ANSWERED"),
            ("(reset)", "sse_cut_early ANSWERED"),
            ("(end)", "sse_cut_early ANSWERED"),
            ("done", "sse_empty ANSWERED"),
            ("nonsense", "sse_bad_event ANSWERED"),
            ("limited", "rate_limited REJECTED"),
        ],
    )
    def test_after_the_role(self, trouble: str, came: str) -> None:
        for fields in (STREAM, {}):
            tell(
                conversation(**fields),
                f"""
                << send
                >> 200 text/event-stream
                << receive content
                >> role comment
                << receive content
                >> {trouble}
                == {came}
                """,
            )

    @pytest.mark.parametrize(
        ("trouble", "came"),
        [
            ("(stall)", "stall_idle"),
            ("(reset)", "sse_cut_late"),
            ("(end)", "sse_truncated"),
            ("nonsense", "sse_bad_event"),
            ("error", "upstream_5xx"),
            ("limited", "rate_limited"),
        ],
    )
    def test_after_content(self, trouble: str, came: str) -> None:
        """What was passed on cannot be taken back; a folded answer can still be bought elsewhere."""
        text = """
            << send
            >> 200 text/event-stream
            << receive content
            >> hello
            {emit}
            << receive idle
            >> {trouble}
            == {came} {phase}
            """
        tell(conversation(**STREAM), text.format(emit="<< emit hello", trouble=trouble, came=came, phase="FORWARDED"))
        phase = "REJECTED" if trouble == "limited" else "ANSWERED"
        folded_slug = "sse_cut_early" if came in ("sse_cut_late", "sse_truncated") else came
        talk = conversation()
        tell(talk, text.format(emit="", trouble=trouble, came=folded_slug, phase=phase))
        assert talk.answer is None
        assert talk.estimate() == Usage(INPUT_TOKENS, 0, 5, confidence="estimated")

    def test_content_in_the_same_piece_as_the_error_is_passed_on_first(self) -> None:
        tell(
            conversation(**STREAM),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> role hello error
            << emit role hello
            == upstream_5xx FORWARDED
            """,
        )

    def test_half_an_event_is_not_content(self) -> None:
        tell(
            conversation(**STREAM),
            """
            << send
            >> 200 text/event-stream
            << receive content
            >> half
            << receive content
            >> (end)
            == sse_cut_early ANSWERED
            """,
        )

    def test_a_stall_before_the_head_is_the_driver_s_business(self) -> None:
        with pytest.raises(Stalled):
            transcript(conversation(), "<< send\n>> (stall)", PIECES)
        with pytest.raises(TransportError):
            transcript(conversation(), "<< send\n>> (reset)", PIECES)

    def test_the_provider_s_words_come_along(self) -> None:
        _, outcome = play(conversation(**STREAM), [STREAM_HEAD, PIECES["limited"]])
        assert (outcome.message, outcome.code, outcome.status) == ("Slow down", "rate_limit_exceeded", 200)
