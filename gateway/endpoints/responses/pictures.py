"""Pictures in a response: what the model orders by ``image_generation`` is made by this gateway's own picture routes.

The chat that orders is one exchange, each picture another: with the limits, the budget, the bill and the failing over
of its route. The client is answered once, after the last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.errors import GatewayError, internal_error, server_shutting_down
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.headers import Headers
from gateway.core.images.types import ImageKind
from gateway.core.types import VirtualKey
from gateway.endpoints.admission import Admission
from gateway.endpoints.images import ImagesEndpoint
from gateway.endpoints.responses.desk import Answering
from gateway.exchange.client import Client
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending, StandInClient
from gateway.images.resumed import remembered
from gateway.jobs.job import Job
from gateway.jobs.response_memory import with_picture
from gateway.runtime.off_loop import off_loop
from gateway.server.request import STATUS_CLIENT_GONE
from gateway.wire.images_request import parse_images_request
from gateway.wire.responses.answer import error_object
from gateway.wire.responses.pictures import (
    DEFAULT_MODEL,
    PicturesTotal,
    PictureTool,
    images_fields,
    made_item,
    order_of,
)
from gateway.wire.responses.presenter import ResponsePresenter
from gateway.wire.sse import Event, SSEParser

MOST_PICTURES = 10
"""Pictures that one response may order: a model that lost its way must not empty a budget."""

_TOO_MANY = {"code": "too_many_tool_calls", "message": "The response ordered more pictures than it may."}
_COST = b"x-gateway-cost-usd"
_OF_PARTIALS = ("size", "quality", "background", "output_format")
_LARGEST_EVENT = 256 << 20


class Leg(StandInClient):
    """The client of one exchange of several that answer one client, which is told only what concerns it.

    ``on_emit``: given the bytes of a stream, returns those for the client; None to pass them on.
    ``keeps_end``: asked when the exchange has ended well: whether the client is not to be told.
    ``keeps_errors``: whether the client is told of none.
    """

    def __init__(
        self,
        client: Client,
        *,
        stream: bool,
        on_emit: Callable[[bytes], bytes] | None = None,
        keeps_end: Callable[[], bool] = lambda: True,
        keeps_errors: bool = False,
    ) -> None:
        super().__init__(client.request_id, client.loop, host=client.host, trace=client.trace, most=0)
        self._client = client
        self._stream = stream
        self._on_emit = on_emit
        self._keeps_end = keeps_end
        self._keeps_errors = keeps_errors

    @property
    def started(self) -> bool:
        return self._client.started

    @property
    def gone(self) -> bool:
        return self._client.gone

    @property
    def stalled(self) -> bool:
        return self._client.stalled

    @property
    def kept(self) -> Ending | None:
        """How the exchange ended, if that was well and the client has not been told."""
        ending = self.ending
        return ending if ending is not None and ending.error is None else None

    def watch(self, on_gone: Callable[[], None]) -> None:
        self._client.watch(on_gone)

    def hold(
        self,
        *,
        stream: bool,
        heartbeat: float,
        headers: Callable[[], Headers],
        bare: bool = False,
        label: Callable[[], bytes | None] | None = None,
    ) -> None:
        super().hold(stream=stream, heartbeat=heartbeat, headers=headers)
        self._client.hold(stream=self._stream, heartbeat=heartbeat, headers=headers)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        due = data if self._on_emit is None else self._on_emit(data)
        if due:
            await self._client.emit(due, meaningful)

    def write_now(self, data: bytes) -> bool:
        return self._on_emit is None and self._client.write_now(data)

    async def complete(self, answer: bytes | None, headers: Headers = (), *, status: int = 200) -> None:
        if self._keeps_end():
            await super().complete(answer, headers, status=status)
        else:
            await self._client.complete(answer, headers, status=status)

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        await super().error(error, headers)
        if not self._keeps_errors:
            await self._client.error(error, headers)

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        await super().fail(error, headers)
        if not self._keeps_errors:
            await self._client.fail(error, headers)

    def release(self) -> None:
        super().release()
        self._client.release()

    def abort(self) -> None:
        self._client.abort()


@dataclass(slots=True)
class _Series:
    """The pictures of one response. ``job``: the one that the response is made in; None for none.

    ``cut``: the gateway was stopped, and one goes on after the next start.
    """

    client: Client
    answering: Answering
    presenter: ResponsePresenter
    tool: PictureTool
    key: VirtualKey
    job: Job | None
    total: PicturesTotal = field(default_factory=PicturesTotal)
    cut: bool = False


class _JobOfPicture:
    """The job of a response, as the exchange of one of its pictures needs it. Implements ``ExchangeJob``.

    ``note``: is told of the exchange before anything is bought.
    """

    def __init__(self, job: Job, note: Callable[[str], Awaitable[None]]) -> None:
        self._job = job
        self._note = note

    @property
    def id(self) -> str:
        return self._job.id

    @property
    def gone(self) -> bool:
        return self._job.gone

    async def admitted(self, record: ExchangeRecord) -> None:
        await self._note(record.id)

    async def held(self) -> bool:
        return await self._job.held()


class Pictures:
    """``make``, ``change``: the handlers of the picture routes. ``write``: has the store know a job as it is."""

    def __init__(
        self,
        admission: Admission,
        make: ImagesEndpoint,
        change: ImagesEndpoint,
        write: Callable[[Job], Awaitable[None]],
    ) -> None:
        self._admission = admission
        self._make = make
        self._change = change
        self._write = write

    @property
    def _services(self) -> Services:
        return self._admission.services

    def check(self, tool: PictureTool, key: VirtualKey) -> None:
        """Raise the error of a model that does not exist, or that the key may not use, before anything is bought."""
        self._admission.route(self._model(tool), key)

    def _model(self, tool: PictureTool) -> str:
        return tool.model or self._services.snapshot.default_models.get("images") or DEFAULT_MODEL

    def leg(self, client: Client, answering: Answering) -> Leg:
        """The client of the chat: it is not told the end if pictures are to follow."""
        return Leg(client, stream=answering.streamed, keeps_end=lambda: bool(_orders(answering)))

    async def follow(
        self,
        leg: Leg,
        client: Client,
        answering: Answering,
        tool: PictureTool,
        key: VirtualKey,
        job: Job | None = None,
    ) -> None:
        """Make what the chat has ordered, and end the answer. ``job``: remembers what is bought, for a restart."""
        presenter, chat = answering.newest, leg.kept
        if chat is None or presenter is None:
            return
        series = _Series(client, answering, presenter, tool, key, job)
        for number, (place, arguments) in enumerate(presenter.orders):
            if client.gone:
                return  # what is not bought yet is not bought for none
            if job is not None:
                answering.keep(presenter.so_far())  # what is made is not lost with those that follow
            if number < min(MOST_PICTURES, answering.most_calls):
                told = await self._one(series, place, arguments)
            else:
                told = presenter.picture(place, "failed", {"error": _TOO_MANY})
            if series.cut:
                await client.fail(server_shutting_down())
                return
            if told and answering.streamed:
                await client.emit(told, True)
        cost = series.total.with_chat(presenter.cost)
        last = await off_loop(presenter.complete, cost, series.total.more)
        if answering.streamed:
            await client.emit(last, True)
            await client.complete(None)
            return
        headers = [pair for pair in chat.headers if pair[0] != _COST]
        if cost is not None and cost.usd is not None:
            headers.append((_COST, cost.usd.encode()))
        await client.complete(last, headers)

    async def _one(self, series: _Series, place: int, arguments: str) -> bytes:
        """Make one picture. Returns the events that tell how it ended."""
        answering, presenter, tool = series.answering, series.presenter, series.tool
        order = order_of(arguments, tool)
        fields = images_fields(order, tool, self._model(tool), answering.pictures)
        streamed = bool(tool.partial_images) and answering.streamed
        if streamed:
            fields |= {"stream": True, "partial_images": tool.partial_images}
        action = "edit" if "image" in fields else "generate"
        reading = _Reading(presenter, place)
        leg = Leg(series.client, stream=answering.streamed, on_emit=reading.take, keeps_errors=True)
        try:
            goes_on = await self._bring(series, place, fields, leg)
        except GatewayError as refused:
            goes_on = False
            await leg.error(refused)
        ending = leg.ending or Ending(STATUS_CLIENT_GONE)
        if goes_on and ending.error is not None and ending.error.code == "server_shutting_down":
            series.cut = True
            return b""
        document = reading.completed or {}
        if ending.body:
            document = await off_loop(orjson.loads, ending.body)
        made = made_item(document)
        if ending.error is not None or made is None:
            error = ending.error or internal_error()
            return presenter.picture(place, "failed", {"action": action, "error": error_object(error)})
        series.total.add(_told_cost(ending.headers), document.get("usage"))
        return await off_loop(presenter.picture, place, "completed", {**made, "action": action})

    async def _bring(self, series: _Series, place: int, fields: dict[str, Any], leg: Leg) -> bool:
        """Buy one picture. Returns whether it can be followed after a restart, if it is cut off."""
        kind: ImageKind = "edit" if "image" in fields else "generation"
        endpoint = self._change if kind == "edit" else self._make
        order = parse_images_request(kind, fields)
        operation, route, order = await endpoint.operation(order, series.key)
        job, held, action = series.job, None, "edit" if kind == "edit" else "generate"

        async def note(exchange: str) -> None:
            assert job is not None
            memory = remembered(operation, leg.host)
            presenter = series.presenter
            job.order = with_picture(job.order, presenter.so_far(), presenter.cost, place, exchange, action, memory)
            job.pieces[exchange] = None
            await self._write(job)

        if job is not None:
            held = _JobOfPicture(job, note)
        exchange = Exchange(
            self._services, operation, route, series.key, leg, sdk_retry=False, asked=fields["model"], job=held
        )
        await exchange.run()
        return job is not None and any(attempt.task_id for attempt in exchange.account.record.attempts)


class _Reading:
    """The events of one picture's stream as they are read. ``completed``: the last of them; None until it has come."""

    def __init__(self, presenter: ResponsePresenter, place: int) -> None:
        self._presenter = presenter
        self._place = place
        self._parser = SSEParser(_LARGEST_EVENT)
        self.completed: dict[str, Any] | None = None

    def take(self, data: bytes) -> bytes:
        """The events of the response that come of it."""
        due = []
        for event in self._parser.feed(data):
            if type(event) is not Event:
                continue
            told = orjson.loads(event.data)
            if str(told.get("type")).endswith(".completed"):
                self.completed = told
            elif str(told.get("type")).endswith(".partial_image"):
                fields = {name: told[name] for name in _OF_PARTIALS if name in told}
                fields |= {
                    "partial_image_b64": told.get("b64_json"),
                    "partial_image_index": told.get("partial_image_index", 0),
                }
                due.append(self._presenter.partial_picture(self._place, fields))
        return b"".join(due)


def _orders(answering: Answering) -> list[tuple[int, str]]:
    return [] if answering.newest is None else answering.newest.orders


def _told_cost(headers: Headers) -> str | None:
    return next((value.decode() for name, value in headers if name == _COST), None)
