"""Which words say that an upstream has no such model, and which near ones do not."""

from __future__ import annotations

import time

import pytest

from gateway.core.outcomes.missing_model import missing_rule, names_a_missing_model
from gateway.core.upstream_errors.upstream_error import UpstreamError

MISSING = [
    "The model `gpt-9` does not exist or you do not have access to it.",
    "The model gpt-9 does not exist or your team 12 does not have access to it.",
    "The model or endpoint doubao-9 does not exist or you do not have access to it.",
    "Model Not Exist",
    "Model not exist.",
    "model 'llama9' not found",
    'model "llama9" not found, try pulling it first',
    "Model not found, inaccessible, and/or not deployed",
    "models/gemini-9 is not found for API version v1main, or is not supported for generateContent.",
    "openai/gpt-9 is not a valid model ID",
    "Invalid model: mistral-9",
    "Invalid model 'sonar-9'. Permitted models can be found in the documentation.",
    "/chat/completions: Invalid model name passed in model=gpt-9. Call `/v1/models` to view available models.",
    "invalid model",
    "Unknown model: gpt-9",
    "No endpoints found for gpt-9.",
    "Not found the model kimi-9 or Permission denied",
    "No available channel for model gpt-9 under group default (distributor) (request id: 2026)",
    "There are no channels available for model gpt-9 under the current group default",
    "当前分组 default 下对于模型 gpt-9 无可用渠道 (request id: 2025082215093026624875464905761)",
    "分组 default 下模型 gpt-9 无可用渠道（distributor）",
    "模型不存在，请检查模型代码。",
    "模型 gpt-9 不存在",
    "无效的模型",
    "model gpt-9 is not supported",
    "The requested model is not supported.",
    "The 'gpt-9' model is not supported when using Codex with a ChatGPT account.",
    "Error: this model is not supported by this provider",
    "Unsupported model gpt-9",
    "Unknown model gpt-9.1.",
    "The model `mixtral-8x7b` has been decommissioned and is no longer supported. Please refer to the documentation.",
    "The model 'meta/llama-3' has reached its end of life on 2026-05-01 and is no longer available.",
    "The model `gpt-4-32k` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
    "Model claude-2 is no longer available.",
    "model gpt-3 was retired",
    "This model has been shut down.",
]

NOT_MISSING = [
    "This model does not support tools.",
    "The model `gpt-4o` does not support image inputs.",
    "'temperature' is not supported with this model.",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "Unsupported model parameter: stop",
    "Invalid model output: the tool call was not found",
    "The model produced invalid content.",
    "The model is overloaded. Please try again later.",
    "No tool call found for function call output with call_id call_1.",
    "The file file-1 does not exist.",
    "The tool 'model_picker' was not found among the tools; choose one that is there",
    "This model's maximum context length is 128000 tokens.",
    "Too many requests to the model; no capacity",
    "当前分组上游负载已饱和，请稍后再试",
    "模型参数错误",
    "messages[3]: upstream model does not exist",
    "Invalid value at messages.0.content: model 'x' not found",
    "不支持的模型参数",
    "Image input with this model is not supported.",
    "Streaming for the model gpt-4o is not supported.",
    "The model gpt-4o is not supported with this parameter",
    "Invalid model parameters v2 given",
    "The parameter 'functions' of the model has been deprecated",
    "Unsupported model output format: xml",
    "This model is no longer accepting images",
    "",
]


@pytest.mark.parametrize("words", MISSING)
def test_words_that_say_so(words: str) -> None:
    assert missing_rule(words) is not None


@pytest.mark.parametrize("words", NOT_MISSING)
def test_words_about_something_else(words: str) -> None:
    assert missing_rule(words) is None


def test_a_code_that_says_something_else_is_believed() -> None:
    words = "Invalid model: x"
    assert names_a_missing_model(UpstreamError(words, code="invalid_request_error"))
    assert not names_a_missing_model(UpstreamError(words, code="unsupported_parameter"))
    assert names_a_missing_model(UpstreamError("?", code=1211))
    assert names_a_missing_model(UpstreamError(words, param="model"))
    assert names_a_missing_model(UpstreamError(words, param="body.model"))
    assert not names_a_missing_model(UpstreamError(words, param="tools"))
    assert not names_a_missing_model(UpstreamError(None))


@pytest.mark.parametrize(
    "words",
    [
        "body.model: value is not a valid enumeration member",
        "model: Input should be 'a' or 'b'",
        "Unsupported value: choose one of a, b",
        "this value is not allowed",
        "invalid value",
    ],
)
def test_what_refuses_the_value_of_the_field_means_the_name(words: str) -> None:
    assert names_a_missing_model(UpstreamError(words, param="body.model"))
    assert not names_a_missing_model(UpstreamError(words, param="body.tools"))
    assert not names_a_missing_model(UpstreamError(words))
    assert not names_a_missing_model(UpstreamError("the account has no funds", param="model"))


@pytest.mark.parametrize(
    "words", ["model " * 5000, "model" + "x" * 5000, "no channel " * 999, "模型" * 5000, "invalid " * 999]
)
def test_long_words_take_no_longer(words: str) -> None:
    began = time.process_time()
    missing_rule(words)
    assert time.process_time() - began < 1
