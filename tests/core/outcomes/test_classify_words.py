"""An error's own words: what of them the log may hold, and how secrets are kept out of them."""

from __future__ import annotations

import orjson
import pytest

from gateway.core.outcomes.classify import AnswerSource, classify_answer, classify_error
from gateway.core.types import CostClass, Outcome

JSON = {b"content-type": b"application/json"}


def judge(status: int, body: bytes) -> Outcome:
    return classify_answer(
        status,
        JSON,
        body,
        AnswerSource("piapi", "chat", CostClass.TOKENS, "api.piapi.ai"),
        wall_seconds=1_795_348_800.0,
    )


def said(code: object = None, message: str = "no") -> bytes:
    return orjson.dumps({"error": {"message": message, "type": None, "param": None, "code": code}})


PROMPT = "a cat with a red hat"


class TestWordsInTheLog:
    """The client is told the upstream's words; the log only where they cannot be about what the client asked for."""

    @pytest.mark.parametrize(
        ("status", "code", "slug"),
        [
            (401, None, "key_invalid"),
            (402, None, "key_unfunded"),
            (403, None, "key_forbidden"),
            (404, None, "model_missing"),
            (408, None, "upstream_408"),
            (429, None, "rate_limited"),
            (500, None, "upstream_5xx"),
        ],
    )
    def test_words_about_us_are_for_the_operator(self, status: int, code: object, slug: str) -> None:
        outcome = judge(status, said(code, message="the account 7 is gone"))
        assert (outcome.slug, outcome.message) == (slug, "the account 7 is gone")
        assert outcome.detail == f"status {status}: the account 7 is gone"

    @pytest.mark.parametrize(
        ("status", "code", "slug"),
        [
            (400, None, "rejected"),
            (400, "content_policy_violation", "content_policy"),
            (409, None, "conflict"),
            (413, None, "too_large"),
            (200, "cookie_expired", "soft_error"),
        ],
    )
    def test_words_about_the_request_are_not(self, status: int, code: object, slug: str) -> None:
        outcome = judge(status, said(code, message=f"cannot draw '{PROMPT}'"))
        assert (outcome.slug, outcome.message) == (slug, f"cannot draw '{PROMPT}'")
        assert PROMPT not in outcome.detail
        assert str(code or status) in outcome.detail

    def test_nor_in_a_stream(self) -> None:
        outcome = classify_error({"error": {"message": PROMPT, "type": "image_error", "code": 7}})
        assert (outcome.slug, outcome.message) == ("sse_error_first", PROMPT)
        assert outcome.detail == "an error inside a 200, code 7, type image_error"


class TestSecretsInWords:
    SECRET = "piapi0123456789"

    def redact(self, data: bytes) -> bytes:
        """Refuses what would take long."""
        assert len(data) <= 1 << 16
        return data.replace(self.SECRET.encode(), b"[redacted]")

    @pytest.mark.parametrize("status", [200, 400, 401])
    def test_only_the_words_are_searched_not_the_document(self, status: int) -> None:
        words = dict.fromkeys(("message", "type", "param", "code"), f"{self.SECRET}")
        body = orjson.dumps({"error": words, "rest": "x" * (1 << 20 if status == 200 else 1)})
        outcome = classify_answer(
            status,
            JSON,
            body,
            AnswerSource("piapi", "images", CostClass.PAID, "api.piapi.ai"),
            wall_seconds=1_795_348_800.0,
            redact=self.redact,
        )
        assert outcome.message == "[redacted]"
        assert self.SECRET not in repr(outcome)

    def test_of_endless_words_the_beginning_is_enough(self) -> None:
        outcome = classify_error({"error": f"bad key {self.SECRET} " + "x " * 1_000_000}, redact=self.redact)
        assert outcome.message is not None
        assert outcome.message.startswith("bad key [redacted] x x")
        assert self.SECRET not in repr(outcome)

    def test_an_error_without_words_has_none_to_search(self) -> None:
        assert classify_error({"error": {"code": 7}}, redact=self.redact).message is None
