"""OpenAI's image routes: a request becomes an order, which the exchange runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from gateway.core.errors import ClientError, gateway_overloaded
from gateway.core.images.gpt_image import is_gpt_image
from gateway.core.images.splitting import usable_targets
from gateway.core.images.types import ImageKind, ImagesRequest
from gateway.core.jobs.fingerprint import fingerprint
from gateway.core.json_weight import LONG, is_slow
from gateway.core.limits.body_memory import BodyLease
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.admission import Admission, marks_of
from gateway.endpoints.job_wishes import wishes_of
from gateway.endpoints.ownership import refuse_foreign_ids
from gateway.endpoints.preference import preferred
from gateway.exchange.exchange import Exchange
from gateway.images.operation import ImageOperation
from gateway.images.resumed import remembered
from gateway.jobs.job import Asked
from gateway.jobs.waiting import Waiting
from gateway.runtime.off_loop import off_loop
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.present_images import ImagesPresenter
from gateway.wire.client_json import loads_object
from gateway.wire.default_model import with_default_model
from gateway.wire.form_data import parse_form
from gateway.wire.form_fields import unbracket
from gateway.wire.images_request import parse_images_request
from gateway.wire.named_ids import ids_in_fields

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
PATHS: Mapping[str, ImageKind] = {
    GENERATIONS: "generation",
    EDITS: "edit",
    "/v1/images/variations": "variation",
}

HELD_TIMES = 2
"""How often the bytes of images are in memory while they are worked on, as bytes and as text; every subrequest may add
one more copy."""


class ImagesEndpoint:
    """The handler of one of the routes."""

    def __init__(self, admission: Admission, path: str, waiting: Waiting) -> None:
        self._admission = admission
        self._path = path
        self._waiting = waiting
        self._kind = PATHS[path]

    async def __call__(self, request: Request, client: Client) -> None:
        admission, services, jobs = self._admission, self._admission.services, self._waiting.jobs
        with ExitStack() as held:
            key = admission.authenticate(request)
            marks, wishes = marks_of(request), wishes_of(request, self._waiting.telling.deliveries, may_be_async=True)
            order, print_, lease = await self._read(request, key.name)
            held.callback(lease.release)
            key = admission.recheck(request, key)
            model = request.model = order.model
            asked = Asked(key.name, key.team, self._path, model, print_, marks)
            job = await jobs.join(asked, request.id)
            joined = job is not None
            if job is None:
                operation, route, order = await self.operation(order, key)
                route = preferred(request, route)
                copies = HELD_TIMES + len(operation.parts)
                if not lease.grow(copies * sum(len(image.data) for image in order.images)):
                    raise gateway_overloaded()
                memory = remembered(operation, request.host)
                job, joined = await jobs.begin(asked, request.id, request.host, stream=order.stream, order=memory)
                if not joined:
                    assert job.client is not None
                    job.webhooks |= wishes.webhooks
                    job.client.trace = request.trace
                    exchange = Exchange(
                        services, operation, route, key, job.client, sdk_retry=marks.again, asked=model, job=job
                    )
                    jobs.run(job, exchange, held.pop_all())
        await self._waiting.answer(request, client, job, key, joined=joined, wishes=wishes)

    async def operation(self, order: ImagesRequest, key: VirtualKey) -> tuple[ImageOperation, Route, ImagesRequest]:
        """An order as an operation, its route at its prices, and the order with its pictures and its model's own name.

        Raises the errors of the model and of the order.
        """
        route = self._admission.route(order.model, key)
        targets = usable_targets(route.targets)
        if route.targets and not targets:
            raise _makes_no_images(order.model)
        route = replace(route, targets=targets)
        image_orders = self._admission.services.snapshot.image_orders
        order = await image_orders.with_own_images(replace(order, model=route.named))
        operation = self._operation(order, route)
        return operation, replace(route, targets=operation.targets), order

    async def _read(self, request: Request, owner: str) -> tuple[ImagesRequest, bytes, BodyLease]:
        """The order, its fingerprint, and the lease of memory that its images take until they are no longer needed."""
        services = self._admission.services
        content_type = request.fields.get(b"content-type", b"")
        form = content_type.lower().startswith(b"multipart/form-data")
        limit = services.snapshot.upload_limit if form else services.snapshot.body_limit
        body = await read_body(request, limit, budget=services.bodies, owner=owner)
        lease = services.bodies.lease(owner)
        if len(body) <= LONG and (form or not is_slow(body)):
            return *self._parse(body, content_type, form), lease
        if not lease.grow(len(body)):
            raise gateway_overloaded()
        try:
            return *(await off_loop(self._parse, body, content_type, form)), lease
        except ClientError:
            lease.release()
            raise

    def _parse(self, body: bytes, content_type: bytes, form: bool) -> tuple[ImagesRequest, bytes]:
        parsed = parse_form(body, content_type) if form else None
        given = unbracket(parsed.fields) if parsed is not None else loads_object(body)
        snapshot = self._admission.services.snapshot
        fields = with_default_model(given, snapshot.default_models, "images")
        refuse_foreign_ids(ids_in_fields(fields))
        wordless = _ModelsMeant(snapshot.image_orders.wordless, snapshot.routes)
        files = parsed.files if parsed is not None else ()
        order = parse_images_request(self._kind, fields, files, wordless)
        return order, fingerprint(self._path, given, [(file.name, file.data) for file in files])

    def _operation(self, request: ImagesRequest, route: Route) -> ImageOperation:
        # A gpt-image model answers as it does at OpenAI, also by a stand-in; for any other model an Images API
        # gives links of this gateway.
        first = route.targets[0] if route.targets else None
        relayed = (
            first is not None
            and first.operation in ("images", "images_async")
            and (first.model == request.model or is_gpt_image(request.model))
        )
        services = self._admission.services
        presenter = ImagesPresenter(
            request,
            created=services.clock.wall_ns() // 1_000_000_000,
            format=request.format or ("b64_json" if relayed else "url"),
            explicit=request.format is not None,
            tells_cost=services.snapshot.cost_in_answers,
            links_last=services.snapshot.links_last,
        )
        return services.snapshot.image_orders.operation(self._path, request, route.targets, presenter)


@dataclass(frozen=True, slots=True)
class _ModelsMeant:
    """Some models of the catalogue, by any name they are asked for. Read by other threads, too."""

    models: frozenset[str]
    routes: RouteTable

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.routes.names.own(name) in self.models


def _makes_no_images(model: str) -> ClientError:
    return ClientError(
        404,
        "invalid_request_error",
        "model_not_found",
        f"The model '{model}' makes no images: use it at /v1/chat/completions.",
        param="model",
    )
