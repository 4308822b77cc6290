"""Which targets can make images, and how an order for several images is split into subrequests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.images.task_model import order_name
from gateway.core.images.task_order import TaskOrder
from gateway.core.types import PICTURES, CostClass, Target


def usable_targets(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets that make images: Images APIs, tasks, and chats that are sold by the image."""
    return tuple(one for one in targets if one.operation in PICTURES or _sold_by_the_image(one))


def _sold_by_the_image(target: Target) -> bool:
    return target.operation == "chat" and target.cost_class is CostClass.PAID


def split_order(
    total: int, targets: Sequence[Target], orders: Mapping[str, TaskOrder], *, stream: bool = False
) -> list[int]:
    """How many images each subrequest brings, chosen so that every target can bring one subrequest's images at once.

    ``orders``: of targets that are tasks, by ``order_name``.
    ``stream``: the client wants events.
    """
    most = max(1, min((_room(one, orders, stream=stream) or total for one in targets), default=1))
    return [min(most, total - done) for done in range(0, total, most)]


def _room(target: Target, orders: Mapping[str, TaskOrder], *, stream: bool) -> int | None:
    """The most images that one subrequest can bring from a target; None for any number."""
    if target.operation == "task":
        return orders[order_name(target)].batch
    # OpenAI streams an order for one image only ("Streaming is only supported with n=1"), and PiAPI is asked for a
    # stream in any case (translate/images_to_images.py). Whether its asynchronous routes take an n is not
    # documented.
    streamed = stream or target.upstream.dialect == "piapi"
    return 1 if target.operation != "images" or streamed else None
