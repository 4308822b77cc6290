"""The models that the simulated providers list, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "claude-3-7-sonnet-20250219",
    "claude-sonnet-4-20250514",
    "gpt-7-nova",  # of no catalogue: what an upstream sells that the gateway has never heard of
    "gpt-4o-image",
    "gpt-image-1",
    "gpt-image-2",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.6-flare",
    "gpt-image-2.6-sunburst",
)
BORN = 1_700_000_000
"""Unix seconds."""

BORN_AT = "2023-11-14T22:13:20Z"
"""The same moment, as Anthropic writes it."""


def model_entry(name: str, shutdown_date: str | None = None, owned_by: str = "sandbox") -> dict[str, Any]:
    """One model as OpenAI lists it; ``shutdown_date`` is null for a model without an end."""
    return {"id": name, "object": "model", "created": BORN, "owned_by": owned_by, "shutdown_date": shutdown_date}
