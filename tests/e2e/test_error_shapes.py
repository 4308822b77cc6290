"""What clients read of an upstream's error, whatever shape it came in, and what follows from whose fault it was."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.sandbox.faults.error_shapes import ERROR_SHAPES

from .conftest import StartGateway
from .harness import PIAPI_KEY, PROMPT, Rig

TWO_KEYS = """
upstreams:
  piapi: {keys: [{name: first, value: sk-piapi-aaabbbcccdddeeefff}, {name: second, value: sk-piapi-zzz888yyy999}]}
"""
STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

MAX_TOKENS = "max_tokens is too large: 999999"
TOOL = "Invalid value at 'tools[0]'"
TOP_K = "top_k is odd"

WORDS = {
    "error-google-array": (400, TOOL),
    "error-google-details": (400, "contents[0]: is empty"),
    "error-openrouter-raw": (400, MAX_TOKENS),
    "error-openrouter-object": (400, MAX_TOKENS),
    "error-openrouter-cut": (400, "max_tokens is too large"),
    "error-openrouter-text": (400, "max_tokens is too large"),
    "error-openrouter-page": (400, "Provider returned error"),
    "error-fastapi-detail": (
        422,
        "messages.0.content: field required; top_k: ensure this value is greater than 0",
    ),
    "error-detail-text": (400, "top_k is not supported"),
    "error-detail-object": (400, "top_k is not supported"),
    "error-plain-text": (400, "max_tokens too large"),
    "error-msg": (400, "top_k is not supported"),
    "error-list": (400, "n is odd; top_k is odd"),
    "error-nested-message": (400, TOP_K),
    "error-json-text": (400, TOP_K),
    "error-python-text": (400, "Unsupported value: 'top_k'"),
    "error-status-phrase": (400, "top_k must be a number"),
    "error-html-label": (400, TOP_K),
    "error-quotes-html": (400, "Invalid tag <div> in your input: close it, or write <p><table> as text."),
    "error-names-and-pages": (
        400,
        "Invalid schema for function 'fetch_user_profile_v2_details' (call_abc123DEF456ghi789JKL012, "
        "org_chart_lookup, socket.io): see https://platform.openai.com/docs/guides/function-calling",
    ),
}

REFUSED = {
    "prompt-refused-403": ("The request was flagged by moderation: violence.", "content_policy_violation"),
    "prompt-refused-text": ("Your prompt was rejected by our safety system.", "content_policy_violation"),
    "prompt-refused-chinese": ("系统检测到输入或生成内容可能包含不安全或敏感内容", "content_policy_violation"),
    "prompt-refused-dashscope": ("Input data may contain inappropriate content.", "DataInspectionFailed"),
    "error-azure-filter": (ERROR_SHAPES["error-azure-filter"].body["error"]["message"], "content_filter"),
}

TOO_LARGE = {
    "request-too-large-429": "Request too large for model on tokens per min (TPM): Limit 30000, Requested 48211.",
    "request-too-large-413": "Request too large for model on tokens per min (TPM): Limit 30000, Requested 48211. "
    "Please reduce your message size.",
}

KEYS_FAULT = {"key-barred-403", "tokens-used-up-429"}


def test_every_shape_is_played() -> None:
    assert {*WORDS, *REFUSED, *TOO_LARGE, *KEYS_FAULT} == set(ERROR_SHAPES)


async def told(rig: Rig, scenario: str, *, stream: bool) -> tuple[int, dict[str, Any]]:
    """What a client is told of an error that only the first host plays; nobody else is asked, and the next request is
    served by the same host with the same key.
    """
    rig.sandbox.script(scenario, role="api")
    answer = await rig.chat(stream=stream)
    error = answer.error()
    assert answer.header("x-should-retry") == "false"
    assert answer.header("retry-after") is None
    assert [request.role for request in rig.sandbox.requests] == ["api"]

    harmless = await rig.chat(stream=stream)
    assert harmless.status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api", "api"]
    assert {request.key for request in rig.sandbox.requests} == {PIAPI_KEY}
    return answer.status, error


@STREAMED
@pytest.mark.parametrize("shape", WORDS)
async def test_the_upstreams_words_reach_the_client(shape: str, stream: bool, gateway: StartGateway) -> None:
    status, error = await told(await gateway(), shape, stream=stream)
    assert (status, error["message"]) == WORDS[shape]
    assert error["type"] == "invalid_request_error"


async def test_places_and_codes_pass_as_they_are(gateway: StartGateway) -> None:
    rig = await gateway()
    _, error = await told(rig, "error-names-and-pages", stream=False)
    assert (error["param"], error["code"]) == ("tools[0].function.parameters", "invalid_function_parameters")
    rig.sandbox.script("error-fastapi-detail", role="api")
    assert (await rig.chat()).error()["param"] == "messages.0.content"


@STREAMED
@pytest.mark.parametrize("shape", REFUSED)
async def test_a_refused_prompt_is_the_prompts_fault(shape: str, stream: bool, gateway: StartGateway) -> None:
    rig = await gateway()
    status, error = await told(rig, shape, stream=stream)
    words, code = REFUSED[shape]
    assert (status, error["message"], error["code"]) == (400, words, code)
    assert "content_policy_violation" in (error["type"], error["code"])
    [refused, _] = await rig.rows(2)
    assert refused.outcomes == ["content_policy"]
    assert refused.charged == 0
    assert PROMPT not in (rig.folder / "gateway.log").read_text()
    assert words not in (rig.folder / "gateway.log").read_text()


@pytest.mark.parametrize("shape", ["prompt-refused-403", "error-azure-filter"])
async def test_the_sdk_raises_a_bad_request_and_asks_once(shape: str, gateway: StartGateway) -> None:
    rig = await gateway()
    rig.sandbox.script(shape, role="api")
    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai(max_retries=2).chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": PROMPT}]
        )
    assert caught.value.code == REFUSED[shape][1]
    assert len(rig.sandbox.requests) == 1


@STREAMED
async def test_a_refusal_inside_a_stream_is_the_prompts_fault_as_well(stream: bool, gateway: StartGateway) -> None:
    scenario = "sse_error_first;code=403;error=forbidden;message=Your prompt was flagged by our moderation."
    status, error = await told(await gateway(), scenario, stream=stream)
    assert (status, error["message"]) == (400, "Your prompt was flagged by our moderation.")
    assert error["code"] == "content_policy_violation"


async def test_a_refusal_after_content_ends_the_stream_with_its_words(gateway: StartGateway) -> None:
    rig = await gateway()
    rig.sandbox.script(
        "sse_error_late;code=400;error=content_filter;message=Output blocked by content filtering policy"
    )
    answer = await rig.chat(stream=True)
    error = answer.stream_error()
    assert (error["message"], error["code"]) == ("Output blocked by content filtering policy", "content_filter")


async def test_an_account_that_was_flagged_is_the_keys_fault(gateway: StartGateway) -> None:
    rig = await gateway()
    rig.sandbox.script("key-barred-403", role="api", times=None)
    for _ in range(2):
        assert (await rig.chat()).status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api", "backup", "backup"]


@STREAMED
@pytest.mark.parametrize("shape", TOO_LARGE)
async def test_a_request_above_every_allowance_is_too_large(shape: str, stream: bool, gateway: StartGateway) -> None:
    rig = await gateway(TWO_KEYS)
    rig.sandbox.script(shape, role="api")
    answer = await rig.chat(stream=stream)
    error = answer.error()
    assert (answer.status, error["message"]) == (413, TOO_LARGE[shape])
    assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
    assert (answer.header("x-should-retry"), answer.header("retry-after")) == ("false", None)
    assert len(rig.sandbox.requests) == 1
    for _ in range(24):  # keys are drawn by lot
        assert (await rig.chat(stream=stream)).status == 200
    assert {request.role for request in rig.sandbox.requests} == {"api"}
    assert len({request.key for request in rig.sandbox.requests[1:]}) == 2


async def test_a_time_to_come_back_changes_nothing_for_it(gateway: StartGateway) -> None:
    rig = await gateway()
    scenario = "rate_limited;retry_after=20;message=Request too large: Limit 30,000 per min, Requested 48,211"
    status, error = await told(rig, scenario, stream=False)
    assert (status, error["message"]) == (413, "Request too large: Limit 30,000 per min, Requested 48,211")


async def test_a_request_that_fits_later_cools_the_key(gateway: StartGateway) -> None:
    rig = await gateway()
    rig.sandbox.script("tokens-used-up-429", role="api", times=None)
    for _ in range(2):
        assert (await rig.chat()).status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api", "backup", "backup"]


async def test_links_to_upstreams_and_keys_are_struck_out(gateway: StartGateway) -> None:
    rig = await gateway()
    own = rig.sandbox.urls["backup"]
    rig.sandbox.script(f"rejected;message=See {own}/docs: {PIAPI_KEY} is not sk-proj-AbCd1234EfGh5678.", role="api")
    assert (await rig.chat()).error()["message"] == "See [link]: [redacted] is not [redacted]."


async def test_hosts_of_an_earlier_configuration_stay_hidden(gateway: StartGateway) -> None:
    rig = await gateway("upstreams: {backup: {endpoints: [{url: 'https://old.example.com'}]}}")
    path = rig.folder / "config.yaml"
    path.write_text(path.read_text().replace("https://old.example.com", "https://new.example.com"))
    assert await rig.gateway.reload() == []
    rig.sandbox.script("rejected;message=old.example.com and https://new.example.com/v1, not example.com", role="api")
    assert (await rig.chat()).error()["message"] == "[host] and [link], not example.com"


WILDCARD = """
models:
  "gpt-test*": {targets: [{upstream: piapi, model: "gpt-test*"}, {upstream: backup, model: "gpt-test*"}]}
"""


@STREAMED
async def test_on_a_wildcard_route_the_client_reads_the_name_it_asked_for(stream: bool, gateway: StartGateway) -> None:
    rig = await gateway(WILDCARD)
    rig.for_all_roles("model_missing")
    answer = await rig.chat(stream=stream, model="gpt-test-2026-11-29")
    assert answer.status == 404
    message = answer.error()["message"]
    assert "'gpt-test-2026-11-29'" in message
    assert "*" not in message
    assert (await rig.row()).model == "gpt-test-2026-11-29"


@pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "flux-dev"])
async def test_a_prompt_for_a_picture_is_refused_in_the_upstreams_words(model: str, gateway: StartGateway) -> None:
    rig = await gateway()
    rig.for_all_roles("prompt-refused-403")
    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai().images.generate(model=model, prompt=PROMPT)
    assert "The request was flagged by moderation: violence." in str(caught.value)
    assert caught.value.code == "content_policy_violation"
    assert caught.value.type == "image_generation_user_error"
    assert len([request for request in rig.sandbox.requests if request.method == "POST"]) == 1


@pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "flux-dev"])
async def test_an_order_for_a_picture_is_told_what_was_wrong(model: str, gateway: StartGateway) -> None:
    rig = await gateway()
    rig.for_all_roles("error-openrouter-raw")
    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai().images.generate(model=model, prompt=PROMPT)
    assert MAX_TOKENS in str(caught.value)
