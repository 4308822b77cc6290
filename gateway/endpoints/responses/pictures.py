"""Pictures in a response: what the model orders by ``image_generation`` is made by this gateway's own picture routes.

The chat that orders is one exchange, each picture another: with the limits, the budget, the bill and the failing over
of its route. The client is answered once, after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from gateway.core.errors import GatewayError, internal_error
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
from gateway.runtime.off_loop import off_loop
from gateway.server.request import STATUS_CLIENT_GONE
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.images_request import parse_images_request
from gateway.wire.responses.answer import error_object
from gateway.wire.responses.pictures import DEFAULT_MODEL, PictureTool, images_fields, order_of
from gateway.wire.responses.presenter import ResponsePresenter
from gateway.wire.sse import Event, SSEParser

MOST_PICTURES = 10
"""Pictures that one response may order: a model that lost its way must not empty a budget."""

_TOO_MANY = {"code": "too_many_tool_calls", "message": "The response ordered more pictures than it may."}
_COST = b"x-gateway-cost-usd"
_OF_ITEMS = ("size", "quality", "background", "output_format", "revised_prompt")
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
        super().__init__(client.request_id, client.loop, host=client.host, most=0)
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
class _Made:
    """What the pictures of one response came to."""

    cost: Decimal | None = Decimal(0)
    usage: dict[str, int] = field(default_factory=dict)


class Pictures:
    """``make``, ``change``: the handlers of the picture routes."""

    def __init__(self, admission: Admission, make: ImagesEndpoint, change: ImagesEndpoint) -> None:
        self._admission = admission
        self._make = make
        self._change = change

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

    async def follow(self, leg: Leg, client: Client, answering: Answering, tool: PictureTool, key: VirtualKey) -> None:
        """Make what the chat has ordered, and end the answer."""
        presenter, chat = answering.newest, leg.kept
        if chat is None or presenter is None:
            return
        made = _Made()
        for number, (place, arguments) in enumerate(presenter.orders):
            if client.gone:
                return  # what is not bought yet is not bought for none
            if number < min(MOST_PICTURES, answering.most_calls):
                told = await self._one(client, answering, presenter, tool, key, place, arguments, made)
            else:
                told = presenter.picture(place, "failed", {"error": _TOO_MANY})
            if told and answering.streamed:
                await client.emit(told, True)
        cost = _sum(presenter.cost, made.cost)
        more = {"tool_usage": _tool_usage(made.usage)} if made.usage else {}
        last = await off_loop(presenter.complete, cost, more)
        if answering.streamed:
            await client.emit(last, True)
            await client.complete(None)
            return
        headers = [pair for pair in chat.headers if pair[0] != _COST]
        if cost is not None and cost.usd is not None:
            headers.append((_COST, cost.usd.encode()))
        await client.complete(last, headers)

    async def _one(
        self,
        client: Client,
        answering: Answering,
        presenter: ResponsePresenter,
        tool: PictureTool,
        key: VirtualKey,
        place: int,
        arguments: str,
        made: _Made,
    ) -> bytes:
        """Make one picture. Returns the events that tell how it ended."""
        order = order_of(arguments, tool)
        fields = images_fields(order, tool, self._model(tool), answering.pictures)
        streamed = bool(tool.partial_images) and answering.streamed
        if streamed:
            fields |= {"stream": True, "partial_images": tool.partial_images}
        action = "edit" if "image" in fields else "generate"
        reading = _Reading(presenter, place)
        leg = Leg(client, stream=answering.streamed, on_emit=reading.take, keeps_errors=True)
        try:
            await self._bring(fields, key, leg)
        except GatewayError as refused:
            await leg.error(refused)
        ending = leg.ending or Ending(STATUS_CLIENT_GONE)
        document = reading.completed or {}
        if ending.body:
            document = await off_loop(orjson.loads, ending.body)
        picture = _first(document)
        if ending.error is not None or picture is None:
            error = ending.error or internal_error()
            return presenter.picture(place, "failed", {"action": action, "error": error_object(error)})
        made.cost = _added(made.cost, ending.headers)
        _add_usage(made.usage, document.get("usage"))
        beside = {**document, **picture}
        known = {name: beside[name] for name in _OF_ITEMS if beside.get(name) is not None}
        result = picture.get("b64_json") or picture.get("url")
        return await off_loop(presenter.picture, place, "completed", {**known, "action": action, "result": result})

    async def _bring(self, fields: dict[str, Any], key: VirtualKey, leg: Leg) -> None:
        kind: ImageKind = "edit" if "image" in fields else "generation"
        endpoint = self._change if kind == "edit" else self._make
        order = parse_images_request(kind, fields)
        operation, route, order = await endpoint.operation(order, key)
        exchange = Exchange(self._services, operation, route, key, leg, sdk_retry=False, asked=fields["model"])
        await exchange.run()


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


def _first(document: dict[str, Any]) -> dict[str, Any] | None:
    """The picture of a whole answer, or of the last event of a stream."""
    data = document.get("data", [document])
    return data[0] if data and (data[0].get("b64_json") or data[0].get("url")) else None


def _added(cost: Decimal | None, headers: Headers) -> Decimal | None:
    told = next((value for name, value in headers if name == _COST), None)
    return None if cost is None or told is None else cost + Decimal(told.decode())


def _sum(chat: AnswerCost | None, pictures: Decimal | None) -> AnswerCost | None:
    if chat is None:
        return None
    if chat.usd is None or pictures is None:
        return AnswerCost(None)
    return AnswerCost(f"{(Decimal(chat.usd) + pictures).normalize():f}")


def _add_usage(usage: dict[str, int], told: Any) -> None:
    if isinstance(told, Mapping):
        details = told.get("input_tokens_details")
        for name in ("input_tokens", "output_tokens", "total_tokens"):
            usage[name] = usage.get(name, 0) + _number(told.get(name))
        for name in ("text_tokens", "image_tokens"):
            usage[name] = usage.get(name, 0) + _number(details.get(name) if isinstance(details, Mapping) else 0)


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def _tool_usage(usage: Mapping[str, int]) -> dict[str, Any]:
    tokens = {name: usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")}
    details = {name: usage[name] for name in ("text_tokens", "image_tokens")}
    return {"image_gen": {**tokens, "input_tokens_details": details}, "web_search": {"num_requests": 0}}
