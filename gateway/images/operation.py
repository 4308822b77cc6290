"""An image order for the exchange: its subrequests, and the conversation for each target."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from gateway.core.headers import noted
from gateway.core.images.ignored_fields import ignored_fields
from gateway.core.images.sizes import pixels_of
from gateway.core.images.task_model import order_name
from gateway.core.images.task_order import PictureTexts, TaskOrder, TaskWebhook
from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.pricing.prices import image_stake
from gateway.core.pricing.usage_sums import together
from gateway.core.routing.durations import Expected, OrderShape
from gateway.core.routing.refused_wishes import OwnWishes, no_wishes
from gateway.core.types import ALL_WISHES, ASYNCHRONOUS, NO_WISHES, Endpoint, Target, Usage, Wish
from gateway.translate.commands import Conversation
from gateway.translate.context import EVENT_LIMIT, AttemptContext
from gateway.translate.image_stream import VARIATION_PROMPT
from gateway.translate.images_to_async import ImagesToAsync
from gateway.translate.images_to_chat import ImagesToChat
from gateway.translate.images_to_images import ImagesToImages, relay_wishes
from gateway.translate.images_to_task import ImagesToTask
from gateway.translate.presenting import Presenter
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.images_order import size_and_quality
from gateway.wire.request_shape import images_shape
from gateway.wire.tokens import rough_tokens

ImageConversation = ImagesToAsync | ImagesToChat | ImagesToImages | ImagesToTask

MAKERS_OF_IMAGES: frozenset[str] = frozenset({"chat", "images", "images_async", "task"})
"""The operations that a conversation about images exists for."""


@dataclass(frozen=True, slots=True)
class ImageTools:
    """The functions and settings that conversations need beside the order.

    ``wall_ns``: Unix time.
    ``jitter``: a number from 0 to 1.
    ``event_limit``: bytes of one event of an upstream's stream.
    ``expected``: says how long an order takes; None where nothing is learned.
    ``webhook_base``: the URL at which PiAPI reaches this gateway; empty without webhooks.
    ``webhook_secret``: the secret PiAPI then sends.
    """

    count: Callable[[str], int]
    redact: Callable[[bytes], bytes]
    redact_document: Callable[[bytes], bytes]
    wall_ns: Callable[[], int]
    jitter: Callable[[], float]
    points_per_usd: int
    event_limit: int = EVENT_LIMIT
    expected: Callable[[Target, OrderShape], Expected | None] | None = None
    webhook_base: str = ""
    webhook_secret: str = field(default="", repr=False)

    def context(self, target: Target, endpoint: Endpoint, shape: OrderShape) -> AttemptContext:
        """The context of an attempt that begins now, at an order of this shape."""
        return AttemptContext(
            target,
            endpoint,
            self.wall_ns() / 1_000_000_000,
            self.redact,
            self.event_limit,
            redact_document=self.redact_document,
            expected=None if self.expected is None else self.expected(target, shape),
        )

    def webhook(self) -> TaskWebhook | None:
        """A new address known only to the upstream; None where webhooks are off."""
        if not self.webhook_base or not self.webhook_secret:
            return None
        token = secrets.token_urlsafe(32)
        return TaskWebhook(f"{self.webhook_base}/webhooks/piapi/{token}", self.webhook_secret, token)


@dataclass(slots=True)
class SharedOrder:
    """What all parts of an order share. A preparation completes it before anything is bought.

    ``request``: its images may yet become others.
    ``tasks``: for targets that are tasks, by ``order_name``: checked, and without the bytes of pictures.
    ``pictures``: what stands in these tasks for each picture.
    ``bodies``: of requests to chat targets, by model.
    """

    request: ImagesRequest
    tasks: Mapping[str, TaskOrder]
    pictures: PictureTexts = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageOrderPart:
    """One subrequest of an order.

    ``images``: how many images it brings.
    """

    shared: SharedOrder
    images: int
    presenter: Presenter
    tools: ImageTools
    supports: frozenset[str] = MAKERS_OF_IMAGES

    @property
    def request(self) -> ImagesRequest:
        return self.shared.request

    def converse_with(
        self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES
    ) -> ImageConversation:
        """The conversation for ``target``. It notes what the target cannot honour."""
        conversation = self._conversation(target, endpoint, without)
        if ignored := ignored_fields(self.request, target):
            conversation.note = noted(conversation.note, f"ignored: {', '.join(ignored)}")
        return conversation

    def _conversation(self, target: Target, endpoint: Endpoint, without: frozenset[Wish]) -> ImageConversation:
        tools = self.tools
        context = tools.context(target, endpoint, self.shape(target))
        if target.operation == "task":
            return ImagesToTask(
                self.shared.tasks[order_name(target)],
                context,
                n=self.images,
                pictures=self.shared.pictures,
                presenter=self.presenter,
                points_per_usd=tools.points_per_usd,
                jitter=tools.jitter,
                webhook=tools.webhook(),
            )
        if target.operation == "images_async":
            return ImagesToAsync(
                self.request,
                context,
                presenter=self.presenter,
                points_per_usd=tools.points_per_usd,
                jitter=tools.jitter,
                webhook=tools.webhook(),
            )
        if target.operation == "images":
            return ImagesToImages(
                self.request,
                context,
                n=self.images,
                presenter=self.presenter,
                boundary=secrets.token_hex(16),
                without=without,
            )
        return ImagesToChat(
            self.request,
            context,
            presenter=self.presenter,
            count=tools.count,
            shared=self.shared.bodies,
            without=without,
        )

    def wishes(self, target: Target) -> OwnWishes:
        """What a conversation with ``target`` asks for beyond the client's order."""
        if target.operation in ASYNCHRONOUS:
            return no_wishes(target)
        wishes = relay_wishes(target, self.presenter) if target.operation == "images" else ALL_WISHES
        return OwnWishes(wishes, images_shape(self.request))

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        """Nano-dollars this subrequest can cost at most at ``target``; None if unknown."""
        request = self.request
        asked = RequestedWork(
            input_tokens=len((request.prompt or VARIATION_PROMPT).encode()),
            subrequests=(self.images,),
            sources=len(request.images) + (request.mask is not None),
            faithful=request.options.get("input_fidelity") == "high",
            previews=request.partial_images,
            quality=request.quality,
            size=self._size(target),
        )
        return cost_bound((target,), asked)

    def cost_reason(self, target: Target) -> str:
        """Nothing: the client knows what it ordered."""
        return ""

    def shape(self, target: Target) -> OrderShape:
        """What decides how long it takes."""
        request = self.request
        if target.operation == "task":
            order = self.shared.tasks[order_name(target)]
            return OrderShape.of(order.size, order.task_type, self.images)
        asked = size_and_quality(request, target.model)
        previews = self.presenter.stream and bool(request.partial_images) and target.operation == "images"
        return OrderShape.of(asked.get("size"), asked.get("quality"), self.images, silent=not previews)

    def stake(self, target: Target) -> int | None:
        """Nano-dollars the images can cost at most at ``target``; None if unknown."""
        request = self.request
        return image_stake(
            target.price, self.images, operation=target.operation, quality=request.quality, size=self._size(target)
        )

    def _size(self, target: Target) -> str | None:
        """The size the target is asked for; None where that is not known before."""
        size = size_and_quality(self.request, target.model).get("size")
        return size if size is not None and pixels_of(size) is not None else None


class Preparation(Protocol):
    """Work that must be done before the first attempt."""

    async def run(self) -> None:
        """Do the work. Raises ClientError."""
        ...


@dataclass(frozen=True, slots=True)
class ImageOperation:
    """A client's whole order.

    ``route``: the path it was sent to.
    ``preparation``: the work that takes long; None without any.
    ``targets``: what may serve it, at the prices of this order.
    """

    route: str
    request: ImagesRequest
    presenter: Presenter
    parts: Sequence[ImageOrderPart]
    preparation: Preparation | None = None
    targets: tuple[Target, ...] = ()

    @property
    def bare(self) -> bool:
        return False

    @property
    def prepares(self) -> bool:
        return self.preparation is not None

    async def prepare(self) -> None:
        if self.preparation is not None:
            await self.preparation.run()

    @property
    def stream(self) -> bool:
        return self.presenter.stream

    @property
    def notes(self) -> Sequence[str]:
        return self.presenter.notes

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        served = cast("Sequence[ImageConversation]", conversations)
        images: list[MadeImage] = [image for one in served for image in one.made_images]
        cost = AnswerCost(charge()) if self.presenter.tells_cost else None
        return self.presenter.conclude(images, _common(served), _sum([one.usage for one in served]), cost)

    def rough_input_tokens(self) -> int:
        return rough_tokens(len(self.request.prompt))


def _sum(usages: Sequence[Usage | None]) -> Usage | None:
    """The usage of all subrequests together; None if that of any is unknown."""
    known = [usage for usage in usages if usage is not None]
    if not known or len(known) < len(usages):
        return None
    return together(known)


def _common(served: Sequence[ImageConversation]) -> ImageFacts:
    """The facts that hold for every subrequest's images. Usage objects of several subrequests are left out."""
    facts = [one.facts for one in served]
    first = facts[0]
    if len(facts) == 1:
        return first
    return ImageFacts(
        size=first.size if all(one.size == first.size for one in facts) else None,
        quality=first.quality if all(one.quality == first.quality for one in facts) else None,
        background=first.background if all(one.background == first.background for one in facts) else None,
        output_format=first.output_format if all(one.output_format == first.output_format for one in facts) else None,
    )
