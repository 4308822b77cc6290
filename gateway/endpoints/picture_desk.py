"""From a checked request for pictures to the operation that brings them; shared by the picture and chat routes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.core.catalogue import FluxFacts
from gateway.core.flux import FluxOrder, flux_order, pictures_wanted
from gateway.core.flux_task_choice import choose_task
from gateway.core.pictures import PicturesRequest
from gateway.core.types import Target
from gateway.endpoints.picture_operation import PictureOperation, PictureTools, PictureWork, split
from gateway.errors import invalid_request
from gateway.painting import Painter
from gateway.translate.presenting import Presenter


@dataclass(frozen=True, slots=True)
class PictureDesk:
    """One configuration's."""

    flux: FluxFacts
    tools: PictureTools
    painter: Painter

    async def operation(
        self, path: str, request: PicturesRequest, targets: tuple[Target, ...], presenter: Presenter
    ) -> PictureOperation:
        """Everything that can be wrong with the order is found here, before anything is bought. Raises ClientError."""
        orders = await self._orders(request, targets)
        if request.flux and not orders:
            name = next(iter(request.flux))
            raise invalid_request(
                f"Unknown parameter: '{name}'. Only Flux models take it.", param=name, code="unknown_parameter"
            )
        total = request.n
        for target in targets:
            if target.operation == "task":
                total = pictures_wanted(request, target.model, self.flux)
                break
        works = [
            PictureWork(request, pictures, presenter, self.tools, orders) for pictures in split(total, targets, orders)
        ]
        return PictureOperation(path, request, presenter, works)

    async def _orders(self, request: PicturesRequest, targets: tuple[Target, ...]) -> dict[str, FluxOrder]:
        orders: dict[str, FluxOrder] = {}
        for target in targets:
            if target.operation != "task" or target.model in orders:
                continue
            painted = None
            if choose_task(request, target.model, self.flux) == "fill-inpaint" and request.mask is not None:
                image, mask = request.images[0], request.mask
                if image.data and mask.data:
                    data = await self.painter.paint(image.data, mask.data)
                    painted = replace(image, data=data, content_type="image/png")
            orders[target.model] = flux_order(request, target.model, self.flux, painted)
        return orders
