"""Answers as they come over the wire, and what they are taken to mean."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.classify import AnswerSource, classify_answer, classify_error
from gateway.core.outcomes.table import RULES
from gateway.core.types import CostClass, Dialect, OperationName, Outcome, Phase

NOON = 1_795_348_800.0
JSON = {b"content-type": b"application/json"}
HTML = {b"content-type": b"text/html; charset=UTF-8"}
CLOUDFLARE = {**HTML, b"server": b"cloudflare", b"cf-ray": b"875ab2ff4bf8963f-SJC"}
PAGE = b"<!DOCTYPE html>\n<html><head><title>api.piapi.ai | 524: A timeout occurred</title></head></html>"
OPENAI_ERROR = b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}'


def judge(
    status: int,
    body: bytes = OPENAI_ERROR,
    headers: dict[bytes, bytes] = JSON,
    *,
    dialect: Dialect = "piapi",
    operation: OperationName = "chat",
    cost_class: CostClass = CostClass.TOKENS,
    host: str = "api.piapi.ai",
) -> Outcome:
    return classify_answer(
        status,
        headers,
        body,
        AnswerSource(dialect, operation, cost_class, host),
        wall_seconds=NOON,
    )


def html_behind(start: bytes) -> str:
    """What a page with this start comes to; JSON's own words would make it ``upstream_5xx``."""
    return judge(502, start + b"<html><body>Bad gateway</body></html>", {}).slug


def test_a_page_is_known_by_its_first_tag_behind_any_comments():
    for start in (b"", b" \n", b"<!-- a --> ", b"<!----><!-- b\n-- --> <!-- <p> -->\n"):
        assert html_behind(start) == "bad_content_type"
    for start in (b"x", b"<!-- never ends ", b"<!-- a --> x", b"<p>"):
        assert html_behind(start) == "upstream_5xx"


def test_a_row_of_comments_without_a_page_is_read_once():
    """Each of 73 could be taken for one comment or for a part of the one before: 2**73 ways, none of which fits."""
    assert judge(502, b"<!---->" * 73 + b"x", {}).slug == "upstream_5xx"


def said(code: object = None, type: str | None = None, message: str = "no") -> bytes:
    return orjson.dumps({"error": {"message": message, "type": type, "param": None, "code": code}})


@pytest.mark.parametrize(
    ("status", "slug", "phase"),
    [
        (400, "rejected", Phase.REJECTED),
        (401, "key_invalid", Phase.REJECTED),
        (402, "key_unfunded", Phase.REJECTED),
        (403, "key_forbidden", Phase.REJECTED),
        (404, "model_missing", Phase.REJECTED),
        (410, "model_missing", Phase.REJECTED),
        (405, "rejected", Phase.REJECTED),
        (408, "upstream_408", Phase.UNKNOWN),
        (409, "conflict", Phase.REJECTED),
        (413, "too_large", Phase.REJECTED),
        (415, "rejected", Phase.REJECTED),
        (422, "rejected", Phase.REJECTED),
        (429, "rate_limited", Phase.REJECTED),
        (500, "upstream_5xx", Phase.UNKNOWN),
        (502, "upstream_5xx", Phase.UNKNOWN),
        (503, "upstream_5xx", Phase.UNKNOWN),
        (504, "upstream_5xx", Phase.UNKNOWN),
        (520, "upstream_5xx", Phase.UNKNOWN),
        (521, "upstream_5xx", Phase.UNKNOWN),
        (524, "upstream_5xx", Phase.UNKNOWN),
    ],
)
def test_a_status_with_json(status: int, slug: str, phase: Phase) -> None:
    outcome = judge(status)
    assert (outcome.slug, outcome.phase, outcome.status) == (slug, phase, status)


@pytest.mark.parametrize(
    ("status", "code", "slug"),
    [
        (429, "insufficient_quota", "key_unfunded"),
        (429, "credit_balance_exhausted", "key_unfunded"),
        (403, "insufficient_user_quota", "key_unfunded"),
        (400, "invalid_api_key", "key_invalid"),
        (400, "model_not_found", "model_missing"),
        (400, "content_policy_violation", "content_policy"),
        (400, "moderation_blocked", "content_policy"),
        (400, "context_length_exceeded", "rejected"),
        (500, "context_length_exceeded", "rejected"),
        (503, "rate_limit_exceeded", "rate_limited"),
        (429, "server_error", "rate_limited"),
        (400, "timeout", "rejected"),
        (500, 401, "upstream_5xx"),
        (400, "something_new", "rejected"),
    ],
)
def test_a_known_word_is_more_exact_than_the_status(status: int, code: object, slug: str) -> None:
    assert judge(status, said(code)).slug == slug


def test_a_quota_may_be_named_by_type_alone() -> None:
    assert judge(429, said(None, "insufficient_quota")).slug == "key_unfunded"
    assert judge(429, said(None, "requests")).slug == "rate_limited"


def test_an_account_without_money_may_look_like_a_wrong_request() -> None:
    words = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
    body = orjson.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": words}})
    assert judge(400, body).slug == "key_unfunded"
    assert classify_error(orjson.loads(body)).slug == "key_unfunded"
    quoted = f"messages: unexpected text '{words}'"
    body = orjson.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": quoted}})
    assert judge(400, body).slug == "rejected"


def test_a_refusal_behind_a_5xx_proves_nothing() -> None:
    assert judge(503, said("rate_limit_exceeded")).phase is Phase.UNKNOWN


@pytest.mark.parametrize("status", [401, 402, 403, 429])
@pytest.mark.parametrize("body", [b"", b"Too Many Requests", b"null", b"[]"])
def test_a_refusal_without_json_proves_nothing(status: int, body: bytes) -> None:
    assert judge(status, body, {}).phase is Phase.UNKNOWN


def test_a_404_without_json_is_the_hosts_fault() -> None:
    assert judge(404, b"404 page not found", {b"content-type": b"text/plain"}).slug == "bad_content_type"


class TestCloudflare:
    @pytest.mark.parametrize(
        ("status", "slug", "phase"),
        [
            (520, "cf_unknown", Phase.UNKNOWN),
            (521, "cf_origin_down", Phase.REJECTED),
            (522, "cf_unknown", Phase.UNKNOWN),
            (523, "cf_origin_down", Phase.REJECTED),
            (524, "cf_524", Phase.UNKNOWN),
            (525, "cf_origin_down", Phase.REJECTED),
            (526, "cf_origin_down", Phase.REJECTED),
            (527, "cf_unknown", Phase.UNKNOWN),
            (530, "cf_origin_down", Phase.REJECTED),
            (502, "cf_unknown", Phase.UNKNOWN),
            (504, "cf_unknown", Phase.UNKNOWN),
            (403, "waf_block", Phase.REJECTED),
            (429, "waf_block", Phase.REJECTED),
        ],
    )
    def test_its_pages(self, status: int, slug: str, phase: Phase) -> None:
        outcome = judge(status, PAGE, CLOUDFLARE)
        assert (outcome.slug, outcome.phase) == (slug, phase)
        assert "875ab2ff4bf8963f-SJC" in outcome.detail
        assert outcome.message is None

    def test_its_plain_text(self) -> None:
        assert judge(524, b"error code: 524\n", {**CLOUDFLARE, b"content-type": b"text/plain"}).slug == "cf_524"

    def test_its_problem_details(self) -> None:
        body = orjson.dumps({"title": "Error 1016", "status": 530, "error_code": 1016, "ray_id": "875ab2ff4bf8963f"})
        headers = {**CLOUDFLARE, b"content-type": b"application/problem+json"}
        assert judge(530, body, headers).slug == "cf_origin_down"

    @pytest.mark.parametrize("missing", [b"server", b"cf-ray"])
    def test_evidence_must_be_whole(self, missing: bytes) -> None:
        headers = {name: value for name, value in CLOUDFLARE.items() if name != missing}
        outcome = judge(521, PAGE, headers)
        assert (outcome.slug, outcome.phase) == ("bad_content_type", Phase.UNKNOWN)

    def test_json_that_it_relays_is_the_providers(self) -> None:
        outcome = judge(521, OPENAI_ERROR, {**CLOUDFLARE, **JSON})
        assert (outcome.slug, outcome.phase) == ("upstream_5xx", Phase.UNKNOWN)

    def test_no_page_of_its_comes_from_the_host_that_bypasses_it(self) -> None:
        outcome = judge(521, PAGE, CLOUDFLARE, host="proxy.piapi.ai")
        assert (outcome.slug, outcome.phase) == ("bad_content_type", Phase.UNKNOWN)

    def test_a_page_of_the_origin_passed_through(self) -> None:
        assert judge(404, PAGE, CLOUDFLARE).slug == "bad_content_type"

    def test_a_forged_ray_is_not_repeated(self) -> None:
        outcome = judge(524, PAGE, {**CLOUDFLARE, b"cf-ray": b"x\r\ninjected: 1"})
        assert "injected" not in outcome.detail


def test_the_log_says_what_anthropic_can_be_asked_about() -> None:
    assert judge(500, headers={**JSON, b"request-id": b"req_011CS"}).detail.startswith(
        "status 500, request-id req_011CS"
    )
    assert "injected" not in judge(500, headers={**JSON, b"request-id": b"x\r\ninjected: 1"}).detail


class TestImagesByChat:
    """PiAPI does not charge a gpt-4o-image generation that it answers with 4xx or 5xx."""

    @pytest.mark.parametrize("status", [400, 408, 429, 500, 502, 503, 504, 524])
    def test_its_own_json_proves_that_nothing_was_bought(self, status: int) -> None:
        for host in ("api.piapi.ai", "proxy.piapi.ai"):
            assert judge(status, cost_class=CostClass.PAID, host=host).phase is Phase.REJECTED

    def test_a_page_from_on_the_way_does_not(self) -> None:
        assert judge(524, PAGE, CLOUDFLARE, cost_class=CostClass.PAID).phase is Phase.UNKNOWN
        assert judge(502, b"Bad Gateway", {}, cost_class=CostClass.PAID).phase is Phase.UNKNOWN

    def test_others_made_no_such_promise(self) -> None:
        assert judge(500, cost_class=CostClass.PAID, dialect="openai").phase is Phase.UNKNOWN
        assert judge(500, cost_class=CostClass.PAID, operation="images").phase is Phase.UNKNOWN


class TestRetryAfter:
    @pytest.mark.parametrize(("status", "seconds"), [(429, 20.0), (503, 20.0), (529, 20.0), (500, None), (400, None)])
    def test_counts_where_it_means_something(self, status: int, seconds: float | None) -> None:
        headers = {**JSON, b"retry-after": b"Sun, 22 Nov 2026 12:00:20 GMT"}
        assert judge(status, headers=headers).retry_after == (pytest.approx(seconds) if seconds else None)

    def test_garbage_means_nothing(self) -> None:
        assert judge(429, headers={**JSON, b"retry-after": b"-1"}).retry_after is None

    def test_a_proxys_page_may_limit_too(self) -> None:
        outcome = judge(429, PAGE, {**HTML, b"retry-after": b"3"})
        assert (outcome.slug, outcome.phase, outcome.retry_after) == ("rate_limited", Phase.UNKNOWN, 3.0)


class TestSuccessfulStatus:
    def test_a_completion(self) -> None:
        outcome = judge(200, b'{"id":"x","choices":[{"message":{"content":"hi"}}],"error":null}')
        assert outcome == Outcome("ok", Phase.ANSWERED, 200)

    @pytest.mark.parametrize(
        ("body", "slug", "phase"),
        [
            (said("insufficient_quota"), "key_unfunded", Phase.REJECTED),
            (said("rate_limit_exceeded"), "rate_limited", Phase.REJECTED),
            (b'{"code":400,"message":"invalid model","data":null}', "model_missing", Phase.REJECTED),
            (b'{"code":401,"message":"invalid key","data":null}', "key_invalid", Phase.REJECTED),
            (b'{"code":500,"message":"failed","data":null}', "upstream_5xx", Phase.ANSWERED),
            (b'{"error":"timeout"}', "upstream_408", Phase.ANSWERED),
            (b'{"error":"cookie_expired"}', "soft_error", Phase.ANSWERED),
            (b'{"error":{"message":"?","type":"server_error"}}', "upstream_5xx", Phase.ANSWERED),
            (b'{"code":99999,"message":"?","data":null}', "soft_error", Phase.ANSWERED),
        ],
    )
    def test_an_error_inside(self, body: bytes, slug: str, phase: Phase) -> None:
        outcome = judge(200, body)
        assert (outcome.slug, outcome.phase) == (slug, phase)

    @pytest.mark.parametrize(
        ("body", "headers", "slug"),
        [
            (PAGE, HTML, "bad_content_type"),
            (PAGE, JSON, "bad_content_type"),
            (b"hello", {b"content-type": b"text/plain"}, "bad_content_type"),
            (b"\x89PNG", {}, "bad_content_type"),
            (b'{"id":"x","choi', JSON, "bad_json"),
            (b"[1,2]", JSON, "bad_json"),
            (b"NaN", JSON, "bad_json"),
            (b'{"a":' * 3000, JSON, "bad_json"),
            (b"", JSON, "empty_response"),
            (b" \n ", JSON, "empty_response"),
            (b"{}", {**JSON, b"content-encoding": b"gzip"}, "bad_encoding"),
            (b"{}", {**JSON, b"content-encoding": b"br"}, "bad_encoding"),
        ],
    )
    def test_nothing_usable(self, body: bytes, headers: dict[bytes, bytes], slug: str) -> None:
        outcome = judge(200, body, headers)
        assert outcome.slug == slug
        assert outcome.phase in (Phase.UNKNOWN, Phase.ANSWERED)

    def test_identity_is_no_encoding(self) -> None:
        assert judge(200, b"{}", {**JSON, b"content-encoding": b"Identity"}).ok


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
def test_a_redirect_is_never_a_way(status: int) -> None:
    outcome = judge(status, b"", {b"location": b"https://elsewhere.example/"})
    assert (outcome.slug, outcome.phase) == ("redirect", Phase.UNKNOWN)
    assert "elsewhere" not in outcome.detail


def test_a_rejection_brings_the_upstreams_words_cleaned() -> None:
    body = orjson.dumps(
        {"error": {"message": "bad size\n(see https://x.test)", "type": "t", "param": "size", "code": "c d"}}
    )
    outcome = judge(400, body)
    assert (outcome.message, outcome.type, outcome.param, outcome.code) == (
        *("bad size (see https://x.test)", "t", "size", "c d"),
    )


class TestErrorsInStreams:
    @pytest.mark.parametrize(
        ("document", "slug", "phase"),
        [
            ({"error": {"code": "rate_limit_exceeded", "message": "slow"}}, "rate_limited", Phase.REJECTED),
            ({"error": {"code": "insufficient_quota"}}, "key_unfunded", Phase.REJECTED),
            ({"error": {"code": "invalid_api_key"}}, "key_invalid", Phase.REJECTED),
            ({"error": {"code": "model_not_found"}}, "model_missing", Phase.REJECTED),
            ({"error": {"code": "content_policy_violation"}}, "content_policy", Phase.REJECTED),
            ({"error": {"code": "moderation_blocked"}}, "content_policy", Phase.REJECTED),
            ({"error": {"code": "context_length_exceeded"}}, "rejected", Phase.REJECTED),
            ({"error": {"code": "server_error"}}, "upstream_5xx", Phase.ANSWERED),
            ({"error": {"code": "timeout"}}, "upstream_408", Phase.ANSWERED),
            ({"error": {"code": 429}}, "rate_limited", Phase.REJECTED),
            ({"error": {"code": "503"}}, "upstream_5xx", Phase.ANSWERED),
            ({"error": {"code": 7}}, "sse_error_first", Phase.ANSWERED),
            ({"error": {"type": "overloaded_error"}}, "upstream_5xx", Phase.ANSWERED),
            ({"error": {"message": "?"}}, "sse_error_first", Phase.ANSWERED),
            ({"error": "timeout"}, "upstream_408", Phase.ANSWERED),
            ({"error": "generation_failed", "code": "generation_failed"}, "sse_error_first", Phase.ANSWERED),
            ({"code": "rate_limit_exceeded", "message": "bare"}, "rate_limited", Phase.REJECTED),
            (None, "sse_error_first", Phase.ANSWERED),
        ],
    )
    def test_the_first_event(self, document: object, slug: str, phase: Phase) -> None:
        outcome = classify_error(document)
        assert (outcome.slug, outcome.phase) == (slug, phase)

    def test_after_content_nothing_else_counts(self) -> None:
        outcome = classify_error({"error": {"code": "rate_limit_exceeded"}}, forwarded=True)
        assert (outcome.slug, outcome.phase) == ("rate_limited", Phase.FORWARDED)


@given(
    status=st.integers(200, 599),
    body=st.one_of(st.binary(max_size=200), st.sampled_from([PAGE, OPENAI_ERROR, b"{}", b"error code: 524"])),
    headers=st.dictionaries(
        st.sampled_from([b"content-type", b"server", b"cf-ray", b"retry-after", b"content-encoding"]),
        st.one_of(st.binary(max_size=20), st.sampled_from([b"text/html", b"cloudflare", b"application/json"])),
    ),
    cost_class=st.sampled_from(CostClass),
)
def test_any_answer_means_something(
    status: int, body: bytes, headers: dict[bytes, bytes], cost_class: CostClass
) -> None:
    outcome = judge(status, body, headers, cost_class=cost_class)
    assert outcome.slug in RULES
    assert outcome.ok == (outcome.slug == "ok")
    assert outcome.status == status
    assert outcome.phase in (Phase.REJECTED, Phase.UNKNOWN, Phase.ANSWERED)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "code", "message", "type", "param", "x"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_error_object_means_something(document: object) -> None:
    assert classify_error(document).slug in RULES
