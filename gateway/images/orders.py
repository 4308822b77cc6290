"""From a checked request for images to the operation that brings them; used by the image and chat routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.flux import flux_order, images_wanted
from gateway.core.images.flux_catalogue import FluxFacts
from gateway.core.images.flux_task_type import VARIATION, choose_task
from gateway.core.images.splitting import split_order
from gateway.core.images.task_model import images_ordered, needs_no_words, order_name, priced, task_order
from gateway.core.images.task_order import TaskOrder
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.core.types import Target
from gateway.images.conversion import CONVERTED
from gateway.images.mask import MaskRenderer
from gateway.images.operation import MAKERS_OF_IMAGES, ImageOperation, ImageOrderPart, ImageTools, SharedRequest
from gateway.images.own_images import Open, with_own_images
from gateway.translate.images_to_chat import chat_order
from gateway.translate.presenting import Presenter
from gateway.wire.images_async_order import async_quality_problem
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
        light = _light(request)
        orders = {name: self._order(light, target) for name, target in tasks.items()}
        total = request.n
        if upstream_model is not None:
            # An order for Flux must be a valid one also where another upstream is to serve it.
            orders.setdefault(upstream_model, self._flux_order(light, upstream_model))
            total = images_wanted(request, upstream_model, self.flux)
        elif described is not None:
            orders.setdefault(order_name(described), self._order(light, described))
            total = images_ordered(request, described.tasks)
        shared: dict[str, bytes] = {}
        sources, supports = SharedRequest(request), _supports(request, targets)
        parts = [
            ImageOrderPart(sources, images, presenter, self.tools, orders, shared, supports)
            for images in split_order(total, targets, orders, stream=presenter.stream)
        ]
        at_prices = tuple(
            priced(target, orders[order_name(target)].each) if target.operation == "task" else target
            for target in targets
        )
        preparation = None if light is request else OrderPreparation(self, sources, targets, orders, shared)
        return ImageOperation(path, request, presenter, parts, preparation, at_prices)

    def _order(self, light: ImagesRequest, target: Target) -> TaskOrder:
        if target.tasks:
            return task_order(light, target.model, target.tasks)
        return self._flux_order(light, target.model)

    def _flux_order(self, light: ImagesRequest, model: str) -> TaskOrder:
        return flux_order(light, model, self.flux, painted=light.images[0] if light.mask and light.images else None)

    def needs_painting(self, request: ImagesRequest, model: str) -> bool:
        """Whether the task needs the mask as white pixels of its image."""
        return request.mask is not None and choose_task(request, model, self.flux) == "fill-inpaint"


@dataclass(frozen=True, slots=True)
class OrderPreparation:
    """The slow part of an order: converting images, painting a mask into its image, encoding images as text. Done once
    for all parts.
    """

    image_orders: ImageOrders
    sources: SharedRequest
    targets: tuple[Target, ...]
    orders: dict[str, TaskOrder]
    shared: dict[str, bytes]

    async def run(self) -> None:
        """Replace the light orders by the full ones. Raises ClientError for a mask that does not fit, and for an image
        that cannot be converted.
        """
        painted: SourceImage | None = None
        image_orders = self.image_orders
        request = self.sources.request = await self._converted(self.sources.request)
        for target in self.targets:
            model = target.model
            if target.operation == "chat":
                await asyncio.to_thread(chat_order, request, model, self.shared)
            if target.operation != "task":
                continue
            if target.tasks:
                order = await asyncio.to_thread(task_order, request, model, target.tasks)
                self.orders[order_name(target)] = order
                continue
            if painted is None and request.mask is not None and image_orders.needs_painting(request, model):
                data = await image_orders.mask_renderer.paint(request.images[0].data, request.mask.data)
                painted = replace(request.images[0], data=data, content_type="image/png")
            order = await asyncio.to_thread(flux_order, request, model, image_orders.flux, painted)
            self.orders[order_name(target)] = order

    async def _converted(self, request: ImagesRequest) -> ImagesRequest:
        """The request with its images in formats that every upstream reads."""
        images, mask = list(request.images), request.mask
        convert = self.image_orders.mask_renderer.convert
        for place, image in enumerate(images):
            if image.content_type in CONVERTED:
                images[place] = await convert(image, "image")
        if mask is not None and mask.content_type in CONVERTED:
            mask = await convert(mask, "mask")
        return replace(request, images=tuple(images), mask=mask)


def _supports(request: ImagesRequest, targets: Sequence[Target]) -> frozenset[str]:
    """The operations that can do what is ordered. Raises ClientError if none of the targets' can."""
    problem = async_quality_problem(request)
    if problem is None:
        return MAKERS_OF_IMAGES
    if all(target.operation == "images_async" for target in targets) and targets:
        raise problem
    return MAKERS_OF_IMAGES - {"images_async"}


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


def _light(request: ImagesRequest) -> ImagesRequest:
    """The same order with almost empty images: everything checked about them was read before."""
    if not any(image.data for image in (*request.images, *((request.mask,) if request.mask else ()))):
        return request

    def lightened(image: SourceImage) -> SourceImage:
        return replace(image, data=image.data[:1])

    mask = lightened(request.mask) if request.mask is not None else None
    return replace(request, images=tuple(map(lightened, request.images)), mask=mask)
