"""The model of a request that names none: the configured one for its kind of request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import invalid_request


def with_default_model(fields: dict[str, Any], defaults: Mapping[str, str], kind: str) -> dict[str, Any]:
    """The fields of a request, with the default model if they have none; null and empty text are none.

    ``defaults``: kind of request → model. ``kind``: this one's, as ``default_models`` names it.
    Raises ClientError 400 ``missing_required_parameter`` if there is no default either.
    """
    if "model" in fields and (model := fields["model"]) is not None and model != "":
        return fields
    default = defaults.get(kind)
    if default is None:
        raise invalid_request(
            "Missing required parameter: 'model'. Whoever runs this gateway can choose one for requests without it: "
            f"default_models: {{{kind}: NAME}} in the configuration.",
            param="model",
            code="missing_required_parameter",
        )
    return {**fields, "model": default}
