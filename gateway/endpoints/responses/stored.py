"""``/v1/responses/{id}``: responses that were made before, for the key that they were made for.

``GET`` (as events again, of one that was made in the background), ``DELETE``, ``…/input_items``, ``…/cancel``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.core.errors import ClientError, invalid_request
from gateway.endpoints.responses.background import Background
from gateway.endpoints.responses.desk import ResponsesDesk, items_of
from gateway.wire.field_checks import wrong_value
from gateway.wire.responses.answer import ENDED, as_stored
from gateway.wire.responses.request import RESPONSES_PATH

RESPONSE_PATH = RESPONSES_PATH + "/{response_id}"
INPUT_ITEMS_PATH = RESPONSE_PATH + "/input_items"
CANCEL_PATH = RESPONSE_PATH + "/cancel"

_PAGE, _MOST_OF_A_PAGE = 20, 100
_ORDERS = ("asc", "desc")
_HEADERS = {"x-gateway-attempts": "0"}
_STREAM_HEADERS = {**_HEADERS, "cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}


class StoredResponses:
    """The handlers of these routes."""

    def __init__(self, desk: ResponsesDesk, background: Background) -> None:
        self._desk = desk
        self._background = background

    @property
    def routes(self) -> list[Route]:
        return [
            Route(INPUT_ITEMS_PATH, self.input_items, methods=["GET"]),
            Route(CANCEL_PATH, self.cancel, methods=["POST"]),
            Route(RESPONSE_PATH, self.one, methods=["GET", "DELETE"]),
        ]

    async def one(self, request: Request) -> Response:
        """What is done with one response, by its method."""
        return await (self.delete(request) if request.method == "DELETE" else self.retrieve(request))

    async def retrieve(self, request: Request) -> Response:
        """The response; with ``stream=true`` its events, those after ``starting_after``."""
        key, id = self._asked(request)
        run = self._background.find(key, id)
        if request.method == "HEAD" or request.query_params.get("stream", "").lower() not in ("true", "1"):
            return _json(run.now() if run is not None else await self._stored(key, id))
        first = _whole_number(request, "starting_after", -1, -1) + 1
        if run is not None:
            return _events(run.events.after(first))
        record = await self._desk.kept.find(key, id)
        events = [event + b"\n\n" for event in record.events.split(b"\n\n") if event]
        if not events:
            raise invalid_request(
                f"The response '{id}' was not made in the background, so its events are not kept.",
                param="stream",
                code="invalid_value",
            )
        return _events(_these(events[first:]))

    async def delete(self, request: Request) -> Response:
        """Forget the response; one that is being made is cancelled."""
        key, id = self._asked(request)
        if (run := self._background.find(key, id)) is not None:
            run.cancel()
        await self._desk.kept.forget(key, id)
        return _json({"id": id, "object": "response", "deleted": True})

    async def cancel(self, request: Request) -> Response:
        """Cancel a response that is made in the background; one that has ended stays as it is."""
        key, id = self._asked(request)
        if (run := self._background.find(key, id)) is not None:
            return _json(run.cancel())
        response = await self._stored(key, id)
        if not response.get("background"):
            raise invalid_request(
                "Only a response that is made in the background can be cancelled.",
                param="response_id",
                code="invalid_value",
            )
        return _json(response)

    async def input_items(self, request: Request) -> Response:
        """A page of all items that the response was made from, the newest first."""
        key, id = self._asked(request)
        record = await self._desk.kept.find(key, id)
        items: list[Any] = []
        if record.previous is not None:
            try:
                items = items_of(await self._desk.kept.before(key, record.previous))
            except ClientError:
                items = []  # what it went on from is gone
        items += orjson.loads(record.input)
        return _json(_page(request, items))

    def _asked(self, request: Request) -> tuple[str, str]:
        """The name of the virtual key, and the id that it asks for."""
        return self._desk.admission.authenticate(request.scope).name, request.path_params["response_id"]

    async def _stored(self, key: str, id: str) -> dict[str, Any]:
        record = await self._desk.kept.find(key, id)
        response: dict[str, Any] = orjson.loads(record.answer)
        if response["status"] not in ENDED:  # and it is not being made: the gateway was stopped
            message = "The gateway was stopped while this response was made."
            response |= {"status": "failed", "error": {"code": "server_error", "message": message}}
        return response


def _page(request: Request, items: list[Any]) -> dict[str, Any]:
    limit = _whole_number(request, "limit", _PAGE, 1, _MOST_OF_A_PAGE)
    order = request.query_params.get("order", "desc")
    if order not in _ORDERS:
        raise wrong_value("order", f"it must be one of {', '.join(_ORDERS)}")
    if order == "desc":
        items = items[::-1]
    if (after := request.query_params.get("after")) is not None:
        places = [place for place, item in enumerate(items) if item.get("id") == after]
        if not places:
            raise _no_item()
        items = items[places[-1] + 1 :]
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }


def _no_item() -> ClientError:
    return ClientError(404, "invalid_request_error", "item_not_found", "There is no such item in it.", param="after")


def _whole_number(request: Request, name: str, default: int, low: int, high: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else low - 1
    if number < low or (high is not None and number > high):
        raise wrong_value(name, f"it must be at least {low}" + ("" if high is None else f" and at most {high}"))
    return number


async def _these(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def _events(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, headers=_STREAM_HEADERS, media_type="text/event-stream")


def _json(value: dict[str, Any]) -> Response:
    return Response(as_stored(value), headers=_HEADERS, media_type="application/json")
