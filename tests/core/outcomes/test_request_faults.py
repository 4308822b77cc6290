"""Whose fault an error is: the prompt's, the request's size, or after all the key's."""

from __future__ import annotations

import orjson
import pytest

from gateway.core.outcomes.classify import AnswerSource, classify_answer, classify_error
from gateway.core.outcomes.request_faults import exceeds_every_allowance, is_refusal_name, refusing_rule
from gateway.core.outcomes.table import client_error
from gateway.core.types import CostClass, Outcome, Phase

JSON = {b"content-type": b"application/json"}
SOURCE = AnswerSource("openai", "chat", CostClass.TOKENS, "api.example.com")


def judge(status: int, document: object) -> Outcome:
    return classify_answer(status, JSON, orjson.dumps(document), SOURCE, wall_seconds=0.0)


def said(message: str, **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


REFUSALS = (
    # OpenAI
    "Your request was rejected as a result of our safety system. Your prompt may contain text that is not allowed.",
    "Your request was rejected by the safety system. If you believe this is an error, contact us at help.openai.com",
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again.",
    "Your request was flagged as violating our usage policy. Your organization may lose access.",
    # OpenRouter
    "The request was flagged by moderation: violence.",
    'Requires moderation on Anthropic. Your input was flagged for "harassment". No credits were charged.',
    # Azure, Anthropic, Bedrock, Google, xAI, Stability
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "Output blocked by content filtering policy",
    "This request has been blocked by our content filters.",
    "Request blocked by guardrail",
    "Blocked due to SAFETY",
    "The prompt was blocked: PROHIBITED_CONTENT",
    "This prompt contains sensitive words that violate Google's Responsible AI practices.",
    "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
    "Your request was flagged by our content moderation system",
    # Relays and Chinese vendors
    "Input data may contain inappropriate content.",
    "The request was rejected because it was considered high risk",
    "Content Exists Risk",
    "sensitive words detected",
    "input new_sensitive",
    "系统检测到输入或生成内容可能包含不安全或敏感内容，请您避免输入易产生敏感内容的提示语，感谢您的配合。",
    "内容审核未通过",
    "当前内容违反相关规定，请修改后重试",
    # In other words
    "Your prompt violates our content policy",
    "Your request violates our usage policies",
    "NSFW content detected in the prompt",
    "Prompt rejected: it may contain hate speech",
    "The prompt is not allowed by our safety system",
    "Your message was blocked for violating community guidelines",
    "I'm sorry, but this prompt goes against our content guidelines",
    "This content may violate our usage policies. If this continues your account may be suspended.",
)

KEYS_FAULTS = (
    "Your account was flagged",
    "Your account was flagged for violating our usage policies",
    "Your account has been disabled for violating the terms of service",
    "Your account was blocked because it was flagged by our safety system",
    "Request blocked: your account violates our terms of service",
    "This account has violated our usage policies and was suspended",
    "Your organization has been flagged by our moderation team.",
    "Your organization's policy does not allow model gpt-4o",
    "Project policy does not permit access to model gpt-4o",
    "Key violates the policy of your organization",
    "Your key's safety settings do not allow this model",
    "This API key is not allowed to call the moderation endpoint",
    "You don't have permission to use omni-moderation-latest",
    "Access to model omni-moderation-latest denied",
    "Access to this model requires acceptance of our usage policy",
    "The model gpt-5 is blocked by your workspace guardrail",
    "No access to content filter configuration",
    "Unknown parameter: 'safety_identifier'.",
    "Country, region, or territory not supported",
    "User location is not supported for the API use.",
    "Access denied due to IP policy",
    "Request flagged as suspicious: you seem to be a bot",
    "Your request was blocked.",
    "Header names are case-sensitive content must match",
    "illegal content type",
    "Unsupported parameter: 'moderation' is not allowed with this model",
    "Invalid value for safety settings: BLOCK_NONE is not permitted",
    "The field 'moderation' is not supported",
    "this key may not do that",
    "账号因违规被封禁",
    "用户分组 default 无权访问模型 gpt-4o",
    "令牌状态不可用",
)


@pytest.mark.parametrize("status", [403, 400, 422, 451])
@pytest.mark.parametrize("words", REFUSALS)
def test_what_refuses_a_prompt_is_the_prompts_fault(words: str, status: int) -> None:
    outcome = judge(status, said(words, code=status))
    assert (outcome.slug, outcome.phase, outcome.message) == ("content_policy", Phase.REJECTED, words)
    error = client_error(outcome, CostClass.TOKENS, model="m")
    assert (error.status, error.type, error.code) == (400, "invalid_request_error", "content_policy_violation")
    assert words not in outcome.detail


@pytest.mark.parametrize("words", REFUSALS)
def test_inside_a_stream_as_well(words: str) -> None:
    assert classify_error(said(words, code=403)).slug == "content_policy"
    assert classify_error(said(words, type="upstream_error")).slug == "content_policy"
    assert classify_error(said(words, code=400), forwarded=True).phase is Phase.FORWARDED


@pytest.mark.parametrize("words", KEYS_FAULTS)
def test_what_speaks_of_the_key_or_the_account_is_held_against_the_key(words: str) -> None:
    assert refusing_rule(words) is None
    assert judge(403, said(words, code=403)).slug == "key_forbidden"
    assert judge(400, said(words)).slug == "rejected"


@pytest.mark.parametrize("status", [401, 402, 404, 429, 500, 503])
def test_other_statuses_are_what_they_were(status: int) -> None:
    assert judge(status, said(REFUSALS[0])).slug == judge(status, said("no")).slug


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (403, said("no", code=403, metadata={"reasons": ["violence"], "flagged_input": "x"})),
        (403, {"error": "Forbidden", "message": "Your prompt was flagged by our moderation."}),
        (403, [said("Blocked due to SAFETY", code=403)]),
        (403, {"detail": "prompt rejected by the content filter"}),
        (400, said("no", promptFeedback={"blockReason": "SAFETY"})),
        (400, said("no", type="content_policy_violation")),
        (400, {"code": "DataInspectionFailed", "message": "no"}),
        (400, said("no", code="1301")),
        (400, said("no", innererror={"code": "ResponsibleAIPolicyViolation"})),
        (
            400,
            said("Provider returned error", metadata={"raw": '{"error": {"message": "no", "code": "content_filter"}}'}),
        ),
        (500, said("no", code="content_filter")),
    ],
)
def test_names_and_marks_tell_as_well_as_words(status: int, document: object) -> None:
    assert judge(status, document).slug == "content_policy"


def test_a_code_for_a_parameter_is_believed_before_the_words() -> None:
    outcome = judge(400, said("moderation failed: flagged", code="unsupported_parameter", param="moderation"))
    assert (outcome.slug, outcome.code, outcome.param) == ("rejected", "unsupported_parameter", "moderation")


def test_in_plain_text_as_well() -> None:
    text = {b"content-type": b"text/plain"}
    outcome = classify_answer(403, text, b"Your prompt was rejected by our safety system.\n", SOURCE, wall_seconds=0.0)
    assert (outcome.slug, outcome.phase) == ("content_policy", Phase.REJECTED)
    assert outcome.message == "Your prompt was rejected by our safety system."


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("content_filter", ("content_policy_violation", "content_filter")),
        ("sensitive_words_detected", ("content_policy_violation", "sensitive_words_detected")),
        ("DataInspectionFailed", ("content_policy_violation", "DataInspectionFailed")),
        ("content_policy_violation", ("invalid_request_error", "content_policy_violation")),
        ("invalid_prompt", ("content_policy_violation", "invalid_prompt")),
        ("permission_denied", ("invalid_request_error", "content_policy_violation")),
        ("forbidden", ("invalid_request_error", "content_policy_violation")),
        (403, ("invalid_request_error", "content_policy_violation")),
        (None, ("invalid_request_error", "content_policy_violation")),
    ],
)
def test_a_code_that_names_the_refusal_is_kept_and_the_other_name_says_what_it_means(
    code: object, told: tuple[str, str]
) -> None:
    outcome = judge(403, said(REFUSALS[0], code=code, type="some_error"))
    error = client_error(outcome, CostClass.TOKENS, model="m")
    assert (error.type, error.code) == told


@pytest.mark.parametrize(
    ("name", "refuses"),
    [
        ("content_filter", True),
        ("ResponsibleAIPolicyViolation", True),
        ("InputTextSensitiveContentDetected", True),
        ("data_inspection_failed", True),
        ("SAFETY", True),
        ("PROHIBITED_CONTENT", True),
        ("content_filter_error", False),
        ("moderation_unavailable", False),
        ("organization_policy_violation", False),
        ("AccountPolicyViolation", False),
        ("safety_identifier", False),
        ("content_type_invalid", False),
        ("data_policy", False),
        (403, False),
        (None, False),
    ],
)
def test_names_of_refusals(name: str | int | None, refuses: bool) -> None:
    assert is_refusal_name(name) is refuses


TOO_LARGE = (
    "Request too large for model on tokens per min (TPM): Limit 30000, Requested 48211.",
    "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30,000, Requested 48,211. The "
    "input or output tokens must be reduced in order to run successfully.",
    "Rate limit reached for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, Used 0, Requested 12000.",
    "Request too large for model `x` in organization `org_01` service tier `on_demand` on tokens per minute (TPM): "
    "Limit 6000, Requested 7000, please reduce your message size and try again.",
    "Limit: 30K tokens/min, requested: 48.2K",
    "Requested 48211 tokens, but the limit is 30000",
    "48211 tokens in this request exceed your limit of 30000",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "This request is too large for your tier",
    "请求过大",
)

CURED_BY_WAITING = (
    "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 5000. Try again in 8s.",
    "Request too large? Limit 30000, Used 29000, Requested 5000",
    "Rate limit reached for gpt-4 on requests per min (RPM): Limit 3, Used 3, Requested 1",
    "Limit 30000, Requested 30000",
    "Quota exceeded for metric: limit: 0, Requested 5",
    "This request would exceed your organization's rate limit of 40,000 input tokens per minute",
    "Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your current AIServices S0 "
    "pricing tier. Please retry after 20 seconds",
    "Rate limit: 70 requests in the last minute exceed the limit of 60",
    "Your usage of 31000 tokens with this request exceeds the limit of 30000",
    "You have made 61 requests, the limit is 60 per minute",
    "Too many tokens, please wait before trying again.",
    "You exceeded your current rate",
    "too many requests",
)


@pytest.mark.parametrize("words", TOO_LARGE)
def test_a_request_above_the_whole_allowance_is_too_large(words: str) -> None:
    outcome = judge(429, said(words, type="tokens", code="rate_limit_exceeded"))
    assert (outcome.slug, outcome.phase) == ("too_large", Phase.REJECTED)
    error = client_error(outcome, CostClass.TOKENS, model="m")
    assert (error.status, error.type, error.code) == (413, "invalid_request_error", "request_too_large")
    assert error.retry_after is None
    assert classify_error(said(words, code=429)).slug == "too_large"


@pytest.mark.parametrize("words", CURED_BY_WAITING)
def test_what_waiting_cures_is_a_rate_limit(words: str) -> None:
    assert not exceeds_every_allowance(words)
    assert judge(429, said(words, type="tokens", code="rate_limit_exceeded")).slug == "rate_limited"


def test_a_413_with_the_code_of_a_rate_limit_is_none() -> None:
    assert judge(413, said("no", type="tokens", code="rate_limit_exceeded")).slug == "too_large"


def test_a_used_up_account_is_one_whatever_its_words() -> None:
    assert judge(429, said(TOO_LARGE[0], code="insufficient_quota")).slug == "key_unfunded"


@pytest.mark.parametrize("code", ["invalid_api_key", "insufficient_quota", "rate_limit_exceeded", "model_not_found"])
def test_a_relays_own_trouble_with_its_provider_is_not_our_keys(code: str) -> None:
    raw = orjson.dumps(said("no", code=code)).decode()
    assert judge(400, said("Provider returned error", code=400, metadata={"raw": raw})).slug == "rejected"
    assert judge(502, said("Provider returned error", code=502, metadata={"raw": raw})).slug == "upstream_5xx"


def test_long_messages_are_searched_quickly() -> None:
    """A pattern that could split a text in many ways would not come to an end."""
    for words in ("request blocked content policy " * 20_000, "a" * 1_000_000, "limit 1 requested " * 50_000):
        refusing_rule(words)
        exceeds_every_allowance(words)
