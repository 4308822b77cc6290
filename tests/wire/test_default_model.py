"""A request that names no model gets the configured one; without one it is told which line would help."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.wire.default_model import with_default_model

DEFAULTS = {"chat": "gpt-4o-mini"}


@pytest.mark.parametrize("given", [{}, {"model": None}, {"model": ""}])
def test_no_model_is_the_default_one(given: dict[str, Any]) -> None:
    asked = {**given, "n": 2}
    assert with_default_model(asked, DEFAULTS, "chat") == {"n": 2, "model": "gpt-4o-mini"}
    assert asked == {**given, "n": 2}


@pytest.mark.parametrize("model", ["gpt-4o", " ", 0, False, [], {}])
def test_what_is_given_is_left_to_its_check(model: object) -> None:
    asked = {"model": model}
    assert with_default_model(asked, DEFAULTS, "chat") is asked


@pytest.mark.parametrize("kind", ["images", "embeddings"])
def test_without_a_default_the_line_is_named(kind: str) -> None:
    with pytest.raises(ClientError) as refused:
        with_default_model({}, DEFAULTS, kind)
    error = refused.value
    assert (error.status, error.param, error.code) == (400, "model", "missing_required_parameter")
    assert f"default_models: {{{kind}: NAME}}" in error.message
