"""Which targets can make images, and how an order for several images is split into subrequests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.images.flux import FluxOrder
from gateway.core.types import CostClass, Target


def usable_targets(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets that make images: Images APIs, tasks, and chats that are sold by the image."""
    return tuple(one for one in targets if one.operation != "chat" or one.cost_class is CostClass.PAID)


def split_order(total: int, targets: Sequence[Target], orders: Mapping[str, FluxOrder]) -> list[int]:
    """How many images each subrequest brings, chosen so that every target can bring one subrequest's images at once."""
    room = {"chat": 1, "images": total}
    most = max(1, min((room.get(one.operation) or orders[one.model].batch for one in targets), default=1))
    return [min(most, total - done) for done in range(0, total, most)]
