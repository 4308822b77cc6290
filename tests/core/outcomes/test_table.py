"""The policy table, row by row, and the questions asked of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gateway.core.outcomes.table import (
    OWN_ENDINGS,
    RULES,
    SAFETY,
    Permission,
    Scope,
    Verdict,
    booking,
    client_error,
    explains,
    is_doubtful,
    price_at_stake,
    verdict,
)
from gateway.core.types import CostClass, Outcome, Phase, Price
from tests.core.builders import CHEAP, DEAR, TOKENS, ended, target, upstream

E, K, V, X = Verdict.NEXT_ENDPOINT, Verdict.NEXT_CREDENTIAL, Verdict.NEXT_TARGET, Verdict.STOP
FRESH = Verdict.FRESH_CONNECTION
AGAIN = Verdict.AS_ASKED

# slug, where tokens go, where a paid item goes (None: only by price, then elsewhere), what is held against, the answer
ROWS = [
    ("connect_refused", E, E, Scope.ENDPOINT, 502, "upstream_unreachable"),
    ("dns_error", E, E, Scope.ENDPOINT, 502, "upstream_unreachable"),
    ("tls_error", E, E, Scope.ENDPOINT, 502, "upstream_unreachable"),
    ("connect_timeout", E, E, Scope.ENDPOINT, 502, "upstream_unreachable"),
    ("budget_denied", V, V, Scope.NOTHING, 429, "insufficient_quota"),
    ("taken_over", X, X, Scope.NOTHING, 504, "upstream_outcome_unknown"),
    ("pool_timeout", X, X, Scope.NOTHING, 503, "gateway_overloaded"),
    ("reused_conn_reset", FRESH, None, Scope.NOTHING, 502, "upstream_error"),
    ("connection_reset", E, None, Scope.ENDPOINT, 502, "upstream_error"),
    ("bad_http", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("head_too_big", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("key_invalid", K, K, Scope.KEY, 502, "upstream_auth_failed"),
    ("key_unfunded", K, K, Scope.KEY, 503, "upstream_quota_exhausted"),
    ("key_forbidden", K, K, Scope.KEY_MODEL, 502, "upstream_auth_failed"),
    ("waf_block", E, E, Scope.ENDPOINT, 502, "upstream_error"),
    ("model_missing", V, V, Scope.UPSTREAM_MODEL, 404, "model_not_found"),
    ("upstream_408", E, None, Scope.ORIGIN, 504, "upstream_timeout"),
    ("conflict", X, X, Scope.NOTHING, 409, "conflict"),
    ("too_large", X, X, Scope.NOTHING, 413, "request_too_large"),
    ("rejected", X, X, Scope.NOTHING, 400, "invalid_request"),
    ("wish_refused", AGAIN, AGAIN, Scope.NOTHING, 504, "upstream_timeout"),
    ("content_policy", X, X, Scope.NOTHING, 400, "content_policy_violation"),
    ("rate_limited", K, K, Scope.KEY_MODEL, 429, "rate_limit_exceeded"),
    ("upstream_5xx", E, None, Scope.ORIGIN, 502, "upstream_error"),
    ("cf_origin_down", E, E, Scope.ENDPOINT, 502, "upstream_unreachable"),
    ("cf_unknown", E, None, Scope.ENDPOINT, 502, "upstream_error"),
    ("cf_524", E, None, Scope.ENDPOINT_MODEL, 504, "upstream_timeout"),
    ("bad_content_type", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("bad_json", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("redirect", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("bad_encoding", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("soft_error", E, None, Scope.ORIGIN, 502, "upstream_error"),
    ("empty_response", E, None, Scope.ORIGIN, 502, "upstream_empty_response"),
    ("task_failed", V, V, Scope.NOTHING, 502, "upstream_error"),
    ("task_unknown", E, None, Scope.ORIGIN, 502, "upstream_invalid_response"),
    ("task_poll", X, X, Scope.NOTHING, 504, "upstream_timeout"),
    ("no_image", X, X, Scope.NOTHING, 502, "upstream_invalid_response"),
    ("asset_unavailable", X, X, Scope.NOTHING, 502, "result_unavailable"),
    ("sse_error_first", E, None, Scope.ORIGIN, 502, "upstream_error"),
    ("sse_empty", E, None, Scope.ORIGIN, 502, "upstream_empty_response"),
    ("sse_cut_early", E, None, Scope.ENDPOINT, 502, "upstream_error"),
    ("sse_cut_late", X, X, Scope.ENDPOINT, 502, "upstream_stream_interrupted"),
    ("sse_truncated", X, X, Scope.ENDPOINT, 502, "upstream_stream_interrupted"),
    ("sse_event_too_big", E, None, Scope.NOTHING, 502, "upstream_invalid_response"),
    ("sse_flood", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("sse_bad_event", E, None, Scope.ENDPOINT, 502, "upstream_invalid_response"),
    ("stall_head", E, None, Scope.ENDPOINT, 504, "upstream_timeout"),
    ("stall_content", E, None, Scope.ORIGIN, 504, "upstream_timeout"),
    ("stall_idle", X, X, Scope.NOTHING, 502, "upstream_stream_interrupted"),
    ("stall_finish", X, X, Scope.NOTHING, 502, "upstream_stream_interrupted"),
    ("stream_too_long", X, X, Scope.NOTHING, 502, "upstream_stream_interrupted"),
    ("client_gone_early", X, X, Scope.NOTHING, 499, "client_closed_request"),
    ("client_gone_wait", X, X, Scope.NOTHING, 499, "client_closed_request"),
    ("client_gone_stream", X, X, Scope.NOTHING, 499, "client_closed_request"),
    ("client_stalled", X, X, Scope.NOTHING, 499, "client_closed_request"),
    ("drain_cut", X, X, Scope.NOTHING, 503, "server_shutting_down"),
    ("deadline", X, X, Scope.NOTHING, 504, "upstream_timeout"),
    ("internal_error", X, X, Scope.NOTHING, 500, "internal_error"),
]


def test_every_slug_has_its_row_here() -> None:
    assert {row[0] for row in ROWS} | {"ok"} == set(RULES)


@pytest.mark.parametrize(("slug", "tokens", "paid", "against", "status", "code"), ROWS, ids=[row[0] for row in ROWS])
def test_row(slug: str, tokens: Verdict, paid: Verdict | None, against: Scope, status: int, code: str) -> None:
    outcome = ended(slug)
    assert verdict(outcome, CostClass.TOKENS) is tokens
    assert verdict(outcome, CostClass.READ) is tokens
    if paid is None:
        assert verdict(outcome, CostClass.PAID) is X
        assert verdict(outcome, CostClass.PAID, buy_again=True) is E
    else:
        assert verdict(outcome, CostClass.PAID) is paid
        assert verdict(outcome, CostClass.PAID, buy_again=True) is paid
    assert RULES[slug].against is against
    error = client_error(outcome, CostClass.TOKENS, model="gpt-4o")
    assert (error.status, error.code) == (status, code)
    assert (error.retry_after is not None) == (slug in ("rate_limited", "pool_timeout"))


@pytest.mark.parametrize("slug", sorted(RULES))
@pytest.mark.parametrize(("cost_class", "phase"), list(itertools.product(CostClass, Phase)))
def test_what_holds_in_every_phase_and_class(slug: str, cost_class: CostClass, phase: Phase) -> None:
    outcome = ended(slug, phase)
    decisions = {verdict(outcome, cost_class, buy_again=buy_again) for buy_again in (False, True)}
    if slug == "ok":
        assert decisions == {Verdict.DONE}
        assert booking(outcome, cost_class) == "billed"
        return
    assert Verdict.DONE not in decisions
    if phase is Phase.FORWARDED or slug in OWN_ENDINGS:
        assert decisions == {X}  # the client has seen content, or nobody upstream is at fault
    if phase in (Phase.UNSENT, Phase.REJECTED):
        assert len(decisions) == 1  # nothing was bought, so money is no question
        assert booking(outcome, cost_class) == "none"
        assert not is_doubtful(outcome, cost_class)
    elif cost_class is CostClass.PAID:
        assert verdict(outcome, cost_class) is X  # never again without weighing the price
        assert FRESH not in decisions
    else:
        assert len(decisions) == 1
    if is_doubtful(outcome, cost_class):
        assert booking(outcome, cost_class) == "unknown"
        assert booking(outcome, cost_class, bought_again=True) == "suspected_duplicate"


@pytest.mark.parametrize("slug", sorted(set(RULES) - {"ok"}))
@pytest.mark.parametrize(("cost_class", "phase"), list(itertools.product(CostClass, Phase)))
def test_no_error_invites_to_buy_twice_or_speaks_of_our_keys(slug: str, cost_class: CostClass, phase: Phase) -> None:
    error = client_error(ended(slug, phase), cost_class, model="gpt-4o")
    assert error.status not in (401, 402, 403)
    assert error.code
    assert error.type
    assert error.message
    if error.retry_after is not None:
        assert error.status in (429, 503)
        assert not is_doubtful(ended(slug, phase), cost_class)
        assert phase is not Phase.FORWARDED


def test_safety_is_complete() -> None:
    assert {(cost, phase) for cost, row in SAFETY.items() for phase in row} == set(itertools.product(CostClass, Phase))
    assert all(row[Phase.FORWARDED] is Permission.NEVER for row in SAFETY.values())


def test_a_paid_item_of_unknown_outcome_is_told_as_such() -> None:
    error = client_error(ended("cf_524"), CostClass.PAID, model="gpt-4o-image")
    assert (error.status, error.type, error.code) == (504, "upstream_error", "upstream_outcome_unknown")
    assert error.retry_after is None


def test_an_empty_paid_answer_is_told_as_empty() -> None:
    assert client_error(ended("sse_empty"), CostClass.PAID, model="m").code == "upstream_empty_response"


def test_a_rejection_passes_on_the_upstreams_words() -> None:
    outcome = Outcome(
        "rejected",
        Phase.REJECTED,
        status=422,
        message="'size' is not supported",
        type="invalid_request_error",
        param="size",
        code="unsupported_value",
    )
    error = client_error(outcome, CostClass.TOKENS, model="m")
    assert (error.status, error.message, error.param, error.code) == (
        422,
        "'size' is not supported",
        "size",
        "unsupported_value",
    )


@pytest.mark.parametrize("status", [200, 404, 418, 500])
def test_a_rejection_in_an_unfit_status_is_a_400(status: int) -> None:
    assert client_error(Outcome("rejected", Phase.REJECTED, status=status), CostClass.TOKENS, model="m").status == 400


def test_a_refused_image_and_a_refused_chat_differ_in_their_names() -> None:
    outcome = Outcome("content_policy", Phase.REJECTED, 400, message="no violence", code="moderation_blocked")
    image = client_error(outcome, CostClass.PAID, model="m")
    chat = client_error(outcome, CostClass.TOKENS, model="m")
    assert (image.status, image.type, image.code) == (
        400,
        "image_generation_user_error",
        "content_policy_violation",
    )
    assert (chat.type, chat.code, chat.message) == ("content_policy_violation", "moderation_blocked", "no violence")


@pytest.mark.parametrize("code", [None, "content_policy_violation"])
def test_a_refused_chat_without_a_name_of_its_own_is_told_the_usual_one(code: str | None) -> None:
    error = client_error(Outcome("content_policy", Phase.REJECTED, 400, code=code), CostClass.TOKENS, model="m")
    assert (error.status, error.type, error.code) == (400, "invalid_request_error", "content_policy_violation")


def test_an_image_refused_in_band_was_paid_for() -> None:
    assert booking(ended("content_policy", Phase.ANSWERED), CostClass.PAID) == "billed"
    assert booking(ended("content_policy", Phase.REJECTED), CostClass.PAID) == "none"


@pytest.mark.parametrize(("asked", "told"), [(None, 1.0), (0.0, 0.1), (2.5, 2.5), (60.0, 60.0), (3600.0, 60.0)])
def test_retry_after_of_a_rate_limit_is_capped(asked: float | None, told: float) -> None:
    assert client_error(ended("rate_limited"), CostClass.TOKENS, model="m", retry_after=asked).retry_after == told


def test_the_upstreams_own_retry_after_stands_in() -> None:
    assert client_error(ended("rate_limited", retry_after=7.0), CostClass.TOKENS, model="m").retry_after == 7.0


def test_an_account_used_up_is_told_with_a_time_but_not_to_be_sent_again() -> None:
    error = client_error(ended("key_unfunded"), CostClass.TOKENS, model="m", retry_after=600.0)
    assert (error.status, error.retry_after, error.should_retry) == (503, 60.0, False)


def test_an_overloaded_upstreams_wish_is_passed_on_as_a_hint() -> None:
    error = client_error(ended("upstream_5xx", retry_after=20.0), CostClass.TOKENS, model="m")
    assert (error.status, error.retry_after, error.should_retry) == (502, 20.0, False)
    doubtful = client_error(ended("upstream_5xx", retry_after=20.0), CostClass.PAID, model="m")
    assert (doubtful.code, doubtful.retry_after) == ("upstream_outcome_unknown", None)


def test_a_missing_model_is_named_as_the_client_named_it() -> None:
    error = client_error(ended("model_missing"), CostClass.TOKENS, model="gpt-{4}")
    assert "gpt-{4}" in error.message
    assert error.param == "model"


def test_of_a_missing_model_the_upstreams_words_are_told() -> None:
    error = client_error(replace(ended("model_missing"), message="Model {Not} Exist"), CostClass.TOKENS, model="gpt-9")
    assert "'gpt-9'" in error.message
    assert error.message.endswith("The last one says: Model {Not} Exist")
    assert (error.status, error.type, error.code) == (404, "invalid_request_error", "model_not_found")


def test_what_explains_most() -> None:
    order = ["rate_limited", "key_unfunded", "key_invalid", "upstream_5xx", "connect_refused", "model_missing"]
    ranks = [explains(ended(slug)) for slug in order]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


@pytest.mark.parametrize(
    ("price", "stake"),
    [
        (None, None),
        (TOKENS, None),
        (CHEAP, 20_000_000),
        (DEAR, 250_000_000),
        (Price(image=0), 0),
        (Price(minimum=5_000_000), 5_000_000),
        (Price(image=20_000_000, minimum=50_000_000), 50_000_000),
    ],
)
def test_price_at_stake(price: Price | None, stake: int | None) -> None:
    assert price_at_stake(target(upstream(), price=price)) == stake
