"""``/v1/responses/{id}``: responses that were made before, for the key that they were made for.

``GET`` (as events again, of one that was made in the background), ``DELETE``, ``…/input_items``, ``…/cancel``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.errors import ClientError, GatewayError, invalid_request
from gateway.endpoints.responses.background import events_in, tell
from gateway.endpoints.responses.desk import ResponsesDesk, items_of
from gateway.endpoints.responses.relay import ResponsesRelay
from gateway.endpoints.responses.running import Running
from gateway.exchange.stand_in import Pieces
from gateway.responses.shared import LOOK_EVERY
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.query import query_of
from gateway.server.request import Request
from gateway.stores.response_records import HistoryTooLong, StoredResponse
from gateway.wire.field_checks import wrong_value
from gateway.wire.responses.answer import ENDED, as_stored, broken_off
from gateway.wire.responses.presenter import last_event_of
from gateway.wire.responses.request import RESPONSES_PATH

RESPONSE_PATH = RESPONSES_PATH + "/{response_id}"
INPUT_ITEMS_PATH = RESPONSE_PATH + "/input_items"
CANCEL_PATH = RESPONSE_PATH + "/cancel"

CANCEL_WITHIN, LOOK_AGAIN = 4.0, 0.1
"""Seconds that another gateway has to cancel a response, and between two looks whether it has."""

_PAGE, _MOST_OF_A_PAGE = 20, 100
_ORDERS = ("asc", "desc")
_NO_ATTEMPT = ((b"x-gateway-attempts", b"0"),)


class StoredResponses:
    """The handlers of these routes."""

    def __init__(self, desk: ResponsesDesk, running: Running, relay: ResponsesRelay) -> None:
        self._desk = desk
        self._relay = relay
        self._running = running

    @property
    def routes(self) -> OwnRoutes:
        first = self._relay.first
        return {
            RESPONSE_PATH: {"GET": first(self.retrieve), "DELETE": first(self.delete)},
            INPUT_ITEMS_PATH: {"GET": first(self.input_items, "/input_items")},
            CANCEL_PATH: {"POST": first(self.cancel, "/cancel")},
        }

    async def retrieve(self, request: Request, client: Client) -> None:
        """The response; with ``stream=true`` its events, those after ``starting_after``."""
        key, id = self._asked(request)
        asked = query_of(request)
        being = self._running.find(key, id)
        if request.method == "HEAD" or asked.get("stream", "").lower() not in ("true", "1"):
            await _answer(client, being.now() if being is not None else await self._stored(key, id))
            return
        first = _whole_number(asked, "starting_after", -1, -1) + 1
        if being is not None:
            events, following = being.events, None
        else:
            events, following = await self._events(key, id)
        try:
            if events is None or not events.next:
                raise _no_events(id)
            await tell(client, events, first, _NO_ATTEMPT)
        finally:
            if following is not None:
                following.cancel()

    async def delete(self, request: Request, client: Client) -> None:
        """Forget the response; one that is being made is cancelled."""
        key, id = self._asked(request)
        kept = self._desk.kept
        if (being := self._running.find(key, id)) is not None:
            being.forget()
        elif kept.fleet is not None and await self._is_made_elsewhere(await kept.find(key, id)):
            await kept.fleet.ask(key, id, "forget")
        await kept.forget(key, id)
        await _answer(client, {"id": id, "object": "response", "deleted": True})

    async def cancel(self, request: Request, client: Client) -> None:
        """Cancel a response that is made in the background; one that has ended stays as it is."""
        key, id = self._asked(request)
        being = self._running.find(key, id)
        response = None if being is None else being.cancel()
        response = response or await self._cancelled_elsewhere(key, id) or await self._stored(key, id)
        if not response.get("background"):
            message = "Only a response that is made in the background can be cancelled."
            raise invalid_request(message, param="response_id", code="invalid_value")
        await _answer(client, response)

    async def input_items(self, request: Request, client: Client) -> None:
        """A page of all items that the response was made from, the newest first."""
        key, id = self._asked(request)
        record = await self._desk.kept.find(key, id)
        items: list[Any] = []
        if record.previous is not None:
            try:
                most = self._desk.admission.services.snapshot.body_limit
                items = items_of(await self._desk.kept.before(key, record.previous, most))
            except (ClientError, HistoryTooLong):
                items = []  # what it went on from is gone, or more than may be read at once
        items += orjson.loads(record.input)
        await _answer(client, _page(query_of(request), items))

    async def _events(self, key: str, id: str) -> tuple[Pieces, asyncio.Task[None] | None]:
        """The events of a response that has been made in the background, or is so at another gateway; and what brings
        those that are still to come.
        """
        record = await self._latest(key, id)
        events = Pieces()
        for event in events_in(record.events):
            events.add(event)
        if events.next and await self._is_made_elsewhere(record):
            tasks = self._desk.admission.services.tasks
            return events, tasks.spawn(self._follow(key, id, events), "response-followed")
        if events.next and (response := await self._as_it_ended(record)) is not None:
            events.add(last_event_of(response, events.next))
        events.end()
        return events, None

    async def _follow(self, key: str, id: str, events: Pieces) -> None:
        """Bring the events that another gateway keeps, until its response has ended."""
        under_way = True
        while under_way:
            await asyncio.sleep(LOOK_EVERY)
            try:
                record = await self._latest(key, id)
            except GatewayError:
                break
            for event in events_in(record.events)[events.next :]:
                events.add(event)
            under_way = await self._is_made_elsewhere(record)
            if not under_way and (response := await self._as_it_ended(record)) is not None:
                events.add(last_event_of(response, events.next))
        events.end()

    async def _is_made_elsewhere(self, record: StoredResponse) -> bool:
        """Whether another gateway makes it now."""
        fleet = self._desk.kept.fleet
        under_way = fleet is not None and orjson.loads(record.answer)["status"] not in ENDED
        return under_way and fleet is not None and await fleet.is_made_elsewhere(record)

    async def _cancelled_elsewhere(self, key: str, id: str) -> dict[str, Any] | None:
        """Have another gateway cancel a response that it makes in the background. Returns the response as it is then;
        None for one that none makes, or is waited for.
        """
        kept = self._desk.kept
        if kept.fleet is None:
            return None
        record = await kept.find(key, id)
        if not orjson.loads(record.answer).get("background") or not await self._is_made_elsewhere(record):
            return None
        await kept.fleet.ask(key, id, "cancel")
        for _ in range(int(CANCEL_WITHIN / LOOK_AGAIN)):
            await asyncio.sleep(LOOK_AGAIN)
            record = await kept.find(key, id)
            if orjson.loads(record.answer)["status"] in ENDED:
                break
        response: dict[str, Any] = orjson.loads(record.answer)
        return response

    def _asked(self, request: Request) -> tuple[str, str]:
        """The name of the virtual key, and the id that it asks for."""
        return self._desk.admission.authenticate(request).name, request.params["response_id"]

    async def _stored(self, key: str, id: str) -> dict[str, Any]:
        record = await self._latest(key, id)
        response: dict[str, Any] = await self._as_it_ended(record) or orjson.loads(record.answer)
        return response

    async def _latest(self, key: str, id: str) -> StoredResponse:
        """What the store has of a response, its end included if it has ended by the time that it is judged.

        Its end is in the store before it counts as made no more: so one that is made no more, and had not ended when it
        was read, is read once more.
        """
        record = await self._desk.kept.find(key, id)
        if orjson.loads(record.answer)["status"] in ENDED or await self._is_made(record):
            return record
        return await self._desk.kept.find(key, id)

    async def _is_made(self, record: StoredResponse) -> bool:
        """Whether it is being made, here by a job that was taken up or elsewhere."""
        return record.id in self._desk.kept.under_way or await self._is_made_elsewhere(record)

    async def _as_it_ended(self, record: StoredResponse) -> dict[str, Any] | None:
        """A response that had not ended when its gateway was stopped, as it is now; None for every other.

        ``record``: of one that is not being made here.
        """
        response: dict[str, Any] = orjson.loads(record.answer)
        return None if response["status"] in ENDED or await self._is_made(record) else broken_off(response)


def _no_events(id: str) -> ClientError:
    return invalid_request(
        f"The response '{id}' was not made in the background, so its events are not kept.",
        param="stream",
        code="invalid_value",
    )


def _page(asked: Mapping[str, str], items: list[Any]) -> dict[str, Any]:
    limit = _whole_number(asked, "limit", _PAGE, 1, _MOST_OF_A_PAGE)
    order = asked.get("order", "desc")
    if order not in _ORDERS:
        raise wrong_value("order", f"it must be one of {', '.join(_ORDERS)}")
    if order == "desc":
        items = items[::-1]
    if (after := asked.get("after")) is not None:
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


def _whole_number(asked: Mapping[str, str], name: str, default: int, low: int, high: int | None = None) -> int:
    text = asked.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else low - 1
    if number < low or (high is not None and number > high):
        raise wrong_value(name, f"it must be at least {low}" + ("" if high is None else f" and at most {high}"))
    return number


async def _answer(client: Client, value: dict[str, Any]) -> None:
    await client.respond(200, _NO_ATTEMPT, as_stored(value))
