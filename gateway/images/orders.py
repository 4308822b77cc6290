"""From a checked request for images to the operation that brings them; used by the image and chat routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.flux import flux_order, images_wanted
from gateway.core.images.flux_catalogue import FluxFacts
from gateway.core.images.flux_task_type import VARIATION
from gateway.core.images.splitting import split_order
from gateway.core.images.task_model import images_ordered, needs_no_words, order_name, priced, task_order
from gateway.core.images.task_order import PAINTED, Picture, TaskOrder, pictures_of
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.core.types import Target
from gateway.images.mask_renderer import CONVERTED, MaskRenderer
from gateway.images.operation import MAKERS_OF_IMAGES, ImageOperation, ImageOrderPart, ImageTools, SharedOrder
from gateway.images.own_images import Open, with_own_images
from gateway.translate.images_to_chat import chat_order
from gateway.translate.presenting import Presenter
from gateway.wire.images_async_order import async_quality_problem, takes_newest
from gateway.wire.images_request import IMAGES_PARAMETERS, WITHHELD

_IMAGES_APIS = ("images", "images_async")
"""The operations whose upstream judges the fields of an order itself."""


@dataclass(frozen=True, slots=True)
class ImageOrders:
    """The makers of image operations, for one configuration.

    ``flux_models``: every model with a task of Flux behind it → PiAPI's name of it.
    ``task_models``: every model with another task behind it → its target. In both, models whose upstream has no key at
        present are included: what may be ordered does not depend on which upstreams can serve it.
    ``open_kept``: opens an image that is kept here.
    """

    flux: FluxFacts
    flux_models: Mapping[str, str]
    tools: ImageTools
    mask_renderer: MaskRenderer
    open_kept: Open
    task_models: Mapping[str, Target] = field(default_factory=dict)

    async def with_own_images(self, request: ImagesRequest) -> ImagesRequest:
        """The request with the bytes of images that are kept here in the place of their links. Raises ClientError."""
        return await with_own_images(request, self.open_kept)

    def needs_no_words(self, model: str, flux: Mapping[str, object]) -> bool:
        """Whether an order for ``model`` is complete without a prompt: variations have a sentence of their own."""
        described = self.task_models.get(model)
        if described is not None:
            return needs_no_words(described.tasks, flux)
        return model in self.flux_models and (flux.get("task_type") or self.flux.aliases.get(model)) == VARIATION

    @property
    def wordless(self) -> frozenset[str]:
        """The models that may be ordered without a prompt."""
        return frozenset(model for model, target in self.task_models.items() if needs_no_words(target.tasks, {}))

    def own_fields(self, model: str) -> frozenset[str]:
        """The names of a described task model's own fields; none for any other model."""
        described = self.task_models.get(model)
        if described is None:
            return frozenset()
        return frozenset(name for facts in described.tasks.values() for name in facts.fields)

    def operation(
        self, path: str, request: ImagesRequest, targets: tuple[Target, ...], presenter: Presenter
    ) -> ImageOperation:
        """The operation for ``request``. Raises ClientError.

        Everything that can be wrong with the order is found here, before anything is bought, except faults inside the
        images, which the operation's ``prepare`` finds.
        """
        tasks = {order_name(target): target for target in targets if target.operation == "task"}
        upstream_model, described = self.flux_models.get(request.model), self.task_models.get(request.model)
        made_here = upstream_model is not None or any(target.operation not in _IMAGES_APIS for target in targets)
        if not made_here:
            request = replace(request, extras={**request.extras, **request.flux}, flux={})
        elif described is not None:
            request = replace(request, flux={**request.extras, **request.flux}, extras={})
        elif upstream_model is None and request.flux and not tasks:
            name = next(iter(request.flux))
            raise invalid_request(
                f"Unknown parameter: '{name}'. Only Flux models take it.", param=name, code="unknown_parameter"
            )
        elif request.extras:
            raise _unknown(request)
        if made_here and (request.attached or request.withheld):
            raise _unknown(request)
        orders = {name: self.task(request, target) for name, target in tasks.items()}
        total = request.n
        if upstream_model is not None:
            # An order for Flux must be a valid one also where another upstream is to serve it.
            orders.setdefault(upstream_model, flux_order(request, upstream_model, self.flux))
            total = images_wanted(request, upstream_model, self.flux)
        elif described is not None:
            orders.setdefault(order_name(described), self.task(request, described))
            total = images_ordered(request, described.tasks)
        shared, supports = SharedOrder(request, orders), _supports(request, targets)
        parts = [
            ImageOrderPart(shared, images, presenter, self.tools, supports)
            for images in split_order(total, targets, orders, stream=presenter.stream)
        ]
        at_prices = tuple(
            priced(target, orders[order_name(target)].each) if target.operation == "task" else target
            for target in targets
        )
        has_bytes = any(image.data for image in (*request.images, *((request.mask,) if request.mask else ())))
        preparation = OrderPreparation(self, shared, targets) if has_bytes else None
        return ImageOperation(path, request, presenter, parts, preparation, at_prices)

    def task(self, request: ImagesRequest, target: Target) -> TaskOrder:
        """The task for a target that is one. Raises ClientError."""
        if target.tasks:
            return task_order(request, target.model, target.tasks)
        return flux_order(request, target.model, self.flux)


@dataclass(frozen=True, slots=True)
class OrderPreparation:
    """The slow part of an order: converting images, painting a mask into its image, encoding images as text. Done once
    for all parts.
    """

    image_orders: ImageOrders
    shared: SharedOrder
    targets: tuple[Target, ...]

    async def run(self) -> None:
        """Complete what the parts share. Raises ClientError for a mask that does not fit, and for an image that cannot
        be converted.
        """
        shared, image_orders = self.shared, self.image_orders
        tasks = {order_name(target): target for target in self.targets if target.operation == "task"}
        request = await self._converted(shared.request)
        if request is not shared.request:  # another picture may have other sides
            made = {name: image_orders.task(request, target) for name, target in tasks.items()}
            shared.request, shared.tasks = request, {**shared.tasks, **made}
        for target in self.targets:
            if target.operation == "chat":
                await asyncio.to_thread(chat_order, request, target.model, shared.bodies)
        needed = {picture for name in tasks for picture in pictures_of(shared.tasks[name])}
        images = dict(enumerate(request.images))
        if any(picture.place == PAINTED for picture in needed):
            assert request.mask is not None
            data = await image_orders.mask_renderer.paint(request.images[0].data, request.mask.data)
            images[PAINTED] = replace(request.images[0], data=data, content_type="image/png")
        shared.pictures = {
            picture: await asyncio.to_thread(_written, images[picture.place], picture) for picture in needed
        }

    async def _converted(self, request: ImagesRequest) -> ImagesRequest:
        """The request with its images in formats that every upstream reads; the same one if they are."""
        if not any(image.content_type in CONVERTED for image in (*request.images, request.mask) if image is not None):
            return request
        images, mask = list(request.images), request.mask
        convert = self.image_orders.mask_renderer.convert
        for place, image in enumerate(images):
            if image.content_type in CONVERTED:
                images[place] = await convert(image, "image")
        if mask is not None and mask.content_type in CONVERTED:
            mask = await convert(mask, "mask")
        return replace(request, images=tuple(images), mask=mask)


def _supports(request: ImagesRequest, targets: Sequence[Target]) -> frozenset[str]:
    """The operations that can do what is ordered. Raises ClientError if none of the targets' can.

    What only an Images API is known to take goes to one; where there is none, the others may refuse it themselves.
    """
    problem = async_quality_problem(request)
    operations = {target.operation for target in targets}
    if problem is not None and operations == {"images_async"}:
        raise problem
    if problem is not None or ("images" in operations and takes_newest(request)):
        return MAKERS_OF_IMAGES - {"images_async"}
    return MAKERS_OF_IMAGES


def _unknown(request: ImagesRequest) -> ClientError:
    """The error for what is unknown here, where the order is made here and no upstream would say that it is
    misspelt.
    """
    names = [*request.extras, *request.withheld]
    if not names:
        shown = shorten(request.attached[0].name)
        advice = "Images are sent as 'image' or 'image[]', a mask as 'mask'."
        return invalid_request(f"Unknown file: '{shown}'. {advice}", param=shown, code="unknown_parameter")
    shown = shorten(names[0])
    near = get_close_matches(shown, sorted(IMAGES_PARAMETERS.difference(WITHHELD)), n=3)
    advice = f"Near it: {', '.join(near)}." if near else "An order for this model is made of what is known only."
    return invalid_request(f"Unknown parameter: '{shown}'. {advice}", param=shown, code="unknown_parameter")


def _written(image: SourceImage, picture: Picture) -> str:
    return image.as_base64() if picture.form == "base64" else image.as_url()
