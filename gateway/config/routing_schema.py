"""The shape of the file's sections on the order in which a request's targets are tried, and on kept answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.config.fields import Boolean, PositiveDuration, Section, Size
from gateway.core.route_rules import Prefer

_PREFER = (
    "What its targets are put in order by. `order`: as they are listed. `cost`: by the most a request can cost there, "
    "by the prices in force; one without a price comes last. `speed`: by how long orders like it took there, once "
    "twelve were seen; until then a target is tried first, so that it becomes known. What is not healthy is passed "
    "over all the same."
)


class RoutingSection(Section):
    """Where a request begins, for all models; see [learned routing](learned-routing.md)."""

    learn: Boolean = Field(
        default=True,
        description="Whether it is learned how long orders for pictures take, so that an order that would meet the "
        "`wall` of an endpoint begins at another, tasks are asked after when they are about to be done, and answers "
        "tell `x-gateway-expected-seconds`.",
        examples=["false"],
    )
    half_life: PositiveDuration = Field(
        default=7 * 86400.0,
        description="How long it takes until an order counts half of what a new one does.",
        examples=["3d"],
    )
    prefer: Prefer = Field(
        default="order",
        description=f"{_PREFER} A model may have its own, and a request `x-gateway-prefer`.",
        examples=["cost"],
    )


class ModelRoutingSection(Section):
    """Where a model's requests begin."""

    prefer: Prefer | None = Field(
        default=None, description=f"{_PREFER} Left out: what holds for all models.", examples=["speed"]
    )


class CacheSection(Section):
    """Whole answers that are kept, in memory, for requests that are equal in every field. Never streams, requests with
    tools, and requests for several choices but at temperature 0. A request with `x-gateway-cache: off` passes by.
    """

    ttl: PositiveDuration = Field(default=3600.0, description="How long an answer is given again.", examples=["10m"])
    max: Size = Field(
        default=64 * 1024**2,
        description="The most the model's answers may take; those that were not asked for longest go first.",
        examples=["256MiB"],
    )
    share: Literal["key", "team"] = Field(
        default="key",
        description="Who gets an answer again: the virtual key that asked first, or all keys of its team.",
        examples=["team"],
    )
