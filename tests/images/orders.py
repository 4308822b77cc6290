"""Orders for images as the image and chat routes hand them on, with everything the conversations need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from gateway.core.images.types import ImageFacts, MadeImage, SourceImage
from gateway.core.types import Credential, Endpoint, OperationName, Price, Target, Upstream, Usage
from gateway.images.operation import ImageTools
from gateway.images.orders import ImageOrders
from gateway.wire.answer_cost import AnswerCost
from tests.core.images.flux_orders import DEV, FACTS

HOST = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443)
PIAPI = Upstream("piapi", "piapi", (HOST,), (Credential("first", "the-key-itself"),))
CENT = 10_000_000
FLUX = Target(PIAPI, DEV, "task", Price(image=2 * CENT))
IMAGES = Target(
    PIAPI, "gpt-image-1", "images", Price(table={"low": {"1024x1024": CENT}, "high": {"1024x1024": 17 * CENT}})
)
CHAT = Target(PIAPI, "gpt-4o-image", "chat", Price(image=2 * CENT))


class Presenter:
    """Keeps what it is to conclude."""

    stream = False
    notes: Sequence[str] = ()

    def __init__(self, *, tells_cost: bool = False) -> None:
        self.tells_cost = tells_cost
        self.concluded: list[tuple[Sequence[MadeImage], ImageFacts, Usage | None]] = []
        self.costs: list[AnswerCost | None] = []

    def conclude(
        self, images: Sequence[MadeImage], facts: ImageFacts, usage: Usage | None, cost: AnswerCost | None = None
    ) -> bytes | None:
        self.concluded.append((images, facts, usage))
        self.costs.append(cost)
        return b"answer"


class Renderer:
    """Paints by writing both images' bytes together; counts how often."""

    def __init__(self) -> None:
        self.painted = 0

    async def convert(self, image: SourceImage, param: str) -> SourceImage:
        return replace(image, content_type="image/png")

    async def paint(self, image: bytes, mask: bytes) -> bytes:
        self.painted += 1
        return image + b"+" + mask


def tools(**changes: Any) -> ImageTools:
    plain: dict[str, Any] = {
        "count": len,
        "redact": lambda data: data,
        "redact_document": lambda data: data,
        "wall_ns": lambda: 1_700_000_000 * 10**9,
        "jitter": lambda: 0.5,
        "points_per_usd": 10_000_000,
    }
    return ImageTools(**(plain | changes))


def desk(models: Mapping[str, str] | None = None, renderer: Renderer | None = None) -> ImageOrders:
    """``models``: names that stand for Flux models; ``flux`` for flux1-dev if none are given."""

    async def nothing_kept(name: str) -> None:
        return None

    flux = {"flux": DEV} if models is None else models
    return ImageOrders(FACTS, flux, tools(), cast("Any", renderer or Renderer()), nothing_kept)


def target(operation: OperationName) -> Target:
    return {"task": FLUX, "images": IMAGES, "chat": CHAT}[operation]
