"""The shape of the file's section on requests that name no model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.config import values
from gateway.config.fields import Read, Section

OptionalModel = Annotated[str, Read(values.optional_model, "model's name, or empty")]

DEFAULT_ROUTE = ("piapi", "backup")
"""The upstreams that a model without an entry is asked of, unless the file says otherwise."""


class DefaultModelsSection(Section):
    """The model of a request that names none, by kind of request. Empty: such a request is refused."""

    chat: OptionalModel = Field(
        default="",
        description="Of `/v1/chat/completions`: one of the models, or any name that the default route relays.",
        examples=["gpt-4o-mini"],
    )
    images: OptionalModel = Field(
        default="",
        description="Of `/v1/images/…`: one of the models, and one that makes images.",
        examples=["gpt-image-2"],
    )
    embeddings: OptionalModel = Field(
        default="",
        description="Of `/v1/embeddings`: one of the models, or any name that the default route relays.",
        examples=["text-embedding-3-small"],
    )
