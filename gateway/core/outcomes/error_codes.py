"""The codes, types and statuses by which upstreams name their errors → slugs of the fault catalogue."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES: Mapping[str, tuple[str, ...]] = {
    "key_invalid": ("invalid_api_key", "invalid_authentication", "incorrect_api_key", "account_deactivated"),
    "key_unfunded": (
        "insufficient_quota",
        "insufficient_user_quota",
        "insufficient_balance",
        "insufficient_credits",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    ),
    "key_forbidden": ("permission_denied", "unsupported_country_region_territory", "request_forbidden"),
    "model_missing": (
        *("model_not_found", "model_not_available", "deployment_not_found", "deploymentnotfound"),
        *("model_not_exist", "model_does_not_exist", "invalid_model", "invalid_model_error", "unknown_model"),
        *("model_not_supported", "unsupported_model", "model_decommissioned", "model_deprecated", "model_retired"),
    ),
    "rate_limited": ("rate_limit_exceeded", "slow_down", "too_many_requests"),
    "content_policy": (
        "content_policy_violation",
        "moderation_blocked",
        "content_filter",
        "input_moderation",
        "output_moderation",
        "data_inspection_failed",
        "datainspectionfailed",
        "responsibleaipolicyviolation",
        "sensitive_words_detected",
        "prompt_blocked",
    ),
    "too_large": ("request_too_large", "payload_too_large"),
    "rejected": (
        "context_length_exceeded",
        "string_above_max_length",
        "invalid_value",
        "invalid_type",
        "invalid_image",
        "invalid_image_url",
        "image_parse_error",
        "missing_required_parameter",
        "unknown_parameter",
        "unsupported_parameter",
        "unsupported_value",
    ),
    "upstream_408": ("timeout", "request_timeout", "upstream_timeout", "gateway_timeout"),
    "upstream_5xx": (
        "server_error",
        "internal_error",
        "internal_server_error",
        "server_is_overloaded",
        "overloaded",
        "service_unavailable",
        "bad_gateway",
    ),
}

_TYPES: Mapping[str, str] = {
    "authentication_error": "key_invalid",
    "insufficient_quota": "key_unfunded",
    "billing_error": "key_unfunded",
    "permission_error": "key_forbidden",
    "not_found_error": "model_missing",
    "rate_limit_error": "rate_limited",
    "requests": "rate_limited",
    "tokens": "rate_limited",
    "image_generation_user_error": "rejected",
    "invalid_request_error": "rejected",
    "timeout_error": "upstream_408",
    "server_error": "upstream_5xx",
    "api_error": "upstream_5xx",
    "overloaded_error": "upstream_5xx",
    "service_unavailable_error": "upstream_5xx",
}

_STATUSES: Mapping[int, str] = {
    401: "key_invalid",
    402: "key_unfunded",
    403: "key_forbidden",
    404: "model_missing",
    408: "upstream_408",
    409: "conflict",
    410: "model_missing",
    413: "too_large",
    429: "rate_limited",
}

_SLUG_OF_NAME: Mapping[str, str] = {name: slug for slug, names in _NAMES.items() for name in names}


def slug_of_code(code: str | int | None) -> str | None:
    """The slug of an error's own code: a known name, or a number that is an HTTP status of an error. None if
    unknown.
    """
    if isinstance(code, int):
        return slug_of_status(code) if 400 <= code < 600 else None
    return None if code is None else _SLUG_OF_NAME.get(code.strip().lower())


def slug_of_type(type: str | None) -> str | None:
    """The slug of an error's type, which is less exact than a code and used only where the code is unknown."""
    return None if type is None else _TYPES.get(type.strip().lower())


def slug_of_status(status: int) -> str:
    """The slug of an HTTP status of an error, 400 or above."""
    if status >= 500:
        return "upstream_5xx"
    return _STATUSES.get(status, "rejected")
