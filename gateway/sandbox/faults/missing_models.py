"""Answers of upstreams that have no such model, in the shapes that vendors and relays really send, by name.

The names in the words are those of the scenario's own play: no list of models was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.sandbox.faults.error_shapes import ErrorShape

_ROW = 10
_MODEL = "gpt-sandbox"


def _error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


_SHAPES = (
    ErrorShape(
        "no_such_model_openai",
        "OpenAI's 404 for a model it has not",
        404,
        _error(
            f"The model `{_MODEL}` does not exist or you do not have access to it.",
            type="invalid_request_error",
            param=None,
            code="model_not_found",
        ),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_no_access",
        "OpenAI's 403 for a model its project may not use",
        403,
        _error(
            f"Project `proj_sandbox` does not have access to model `{_MODEL}`",
            type="invalid_request_error",
            param=None,
            code="model_not_found",
        ),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_envelope",
        "PiAPI's envelope in a 200: invalid model",
        200,
        {"code": 400, "message": "invalid model", "data": None},
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_channel",
        "a relay's 503: no available channel",
        503,
        _error(
            f"No available channel for model {_MODEL} under group default (distributor) (request id: sandbox)",
            type="new_api_error",
            param="",
            code="model_not_found",
        ),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_channel_chinese",
        "a relay's 503 without a code, in Chinese",
        503,
        _error(f"当前分组 default 下对于模型 {_MODEL} 无可用渠道 (request id: sandbox)", type="one_api_error"),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_deepseek",
        "DeepSeek's 400: Model Not Exist",
        400,
        _error("Model Not Exist", type="invalid_request_error", param=None, code="invalid_request_error"),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_openrouter",
        "OpenRouter's 400: not a valid model ID",
        400,
        _error(f"{_MODEL} is not a valid model ID", code=400),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_litellm",
        "LiteLLM's 400: invalid model name passed in",
        400,
        _error(
            f"/chat/completions: Invalid model name passed in model={_MODEL}. Call `/v1/models` to view available "
            "models for your key.",
            type="invalid_request_error",
            param="model",
            code="400",
        ),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_litellm_none",
        "LiteLLM's 400 as Python writes it: param and type None",
        400,
        _error(
            f"/chat/completions: Invalid model name passed in model={_MODEL}. Call `/v1/models` to view available "
            "models for your key.",
            type="None",
            param="None",
            code="400",
        ),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_decommissioned",
        "Groq's 400: the model has been decommissioned",
        400,
        _error(
            f"The model `{_MODEL}` has been decommissioned and is no longer supported. Please refer to the docs.",
            type="invalid_request_error",
            code="model_decommissioned",
        ),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_end_of_life",
        "NVIDIA's 410: the model has reached its end of life",
        410,
        {
            "status": 410,
            "title": "Gone",
            "detail": f"The model '{_MODEL}' has reached its end of life on 2026-05-01 and is no longer available.",
        },
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_not_supported",
        "GitHub's 400: the requested model is not supported",
        400,
        _error("The requested model is not supported.", code="model_not_supported", param="model"),
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_enumeration",
        "a validator's 422 about the field model",
        422,
        {
            "detail": [
                {"loc": ["body", "model"], "msg": "value is not a valid enumeration member", "type": "type_error.enum"}
            ]
        },
        fault_row=_ROW,
    ),
    ErrorShape(
        "no_such_model_google",
        "Google's 404 in an array",
        404,
        [_error(f"models/{_MODEL} is not found for API version v1main.", code=404, status="NOT_FOUND")],
        fault_row=_ROW,
    ),
)

MISSING_MODELS: Mapping[str, ErrorShape] = MappingProxyType({shape.name: shape for shape in _SHAPES})
