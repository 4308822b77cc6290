"""What the routes of the Responses API share: a body becomes a chat, with what it goes on from."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.errors import GatewayError, not_made_here
from gateway.core.json_weight import LONG, is_slow
from gateway.core.routing.route_operations import CHATS, serving
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.admission import Admission
from gateway.endpoints.chat import ChatOrders
from gateway.endpoints.json_body import read_long
from gateway.responses.kept import KeptResponses
from gateway.runtime.off_loop import off_loop
from gateway.server.body import read_body
from gateway.server.headers import request_too_large
from gateway.server.request import Request
from gateway.stores.response_records import HistoryTooLong, StoredResponse
from gateway.wire.chat_request import ChatRequest, parse_chat_request
from gateway.wire.client_json import loads_object, nested_too_deeply
from gateway.wire.default_model import with_default_model
from gateway.wire.field_checks import wrong_value
from gateway.wire.named_ids import NamedId, ids_in_fields
from gateway.wire.responses.answer import (
    TOOL_OF_PICTURES,
    UNDER_WAY,
    ResponseFacts,
    ResponseState,
    as_stored,
    response_object,
)
from gateway.wire.responses.items import is_reference, kept_items
from gateway.wire.responses.pictures import pictures_in
from gateway.wire.responses.presenter import ResponsePresenter
from gateway.wire.responses.request import ResponsesRequest, chat_document, fields_that_count, read_request
from gateway.wire.responses.tools import ChatTools

MOST_REFERENCES = 1_000
"""Items that one request may refer to, and items of one input that can be referred to: each is looked up by itself."""

_LOOKED_UP = re.compile(r"previous_response_id|input\[\d+\]\.id")
"""The places of ids of what is kept here."""


@dataclass(slots=True)
class Document:
    """The body of a request. ``size``: bytes of it. ``slow``: as a chat's."""

    fields: dict[str, Any]
    size: int
    slow: bool

    def named(self) -> list[NamedId]:
        """What it names by an id."""
        return [*ids_in_fields(fields_that_count(self.fields))]


@dataclass(slots=True)
class Asked:
    """A request that has been read.

    ``size``: bytes of it. ``ids``: what it names by an id, apart from ``references``: the places of its items that only
    name another one, and the names. ``slow``: as a chat's.
    """

    request: ResponsesRequest
    size: int
    ids: list[NamedId]
    references: dict[int, str]
    slow: bool


@dataclass(slots=True)
class AskedChat:
    """A request as a chat.

    ``id``: of its response. ``before``: the items of what came before it. ``items``: those of its own input, as they
    are kept. ``input``: the same as JSON; empty if nothing is to be kept.
    """

    id: str
    chat: ChatRequest
    before: list[Any]
    items: list[dict[str, Any]]
    input: bytes
    tools: ChatTools
    ignored: list[str]
    compacts: bool


class ResponsesDesk:
    """``orders``: makes operations of chats. ``kept``: the answers that are kept."""

    def __init__(self, admission: Admission, orders: ChatOrders, kept: KeptResponses) -> None:
        self.admission = admission
        self.orders = orders
        self.kept = kept

    async def document(
        self, request: Request, alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
    ) -> tuple[Document, VirtualKey]:
        """The body of a request, and the key that asks. ``alter``: is given it before it is checked."""
        admission = self.admission
        services = admission.services
        key = admission.authenticate(request)
        body = await read_body(request, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
        slow = is_slow(body)

        def read(body: bytes) -> Document:
            fields = with_default_model(alter(loads_object(body)), services.snapshot.default_models, "chat")
            return Document(fields, len(body), slow)

        document = await read_long(services, key.name, body, read, slow=slow)
        return document, admission.recheck(request, key)

    async def asked(self, request: Request, document: Document) -> Asked:
        """What a document asks for."""

        def read() -> Asked:
            asked = read_request(document.fields, keeps=self.admission.services.snapshot.keeps_responses)
            references = {place: str(item["id"]) for place, item in enumerate(asked.items) if is_reference(item)}
            if len(references) > MOST_REFERENCES:
                raise wrong_value("input", f"it must not refer to more than {MOST_REFERENCES} items")
            ids = [one for one in document.named() if _LOOKED_UP.fullmatch(one.param) is None]
            return Asked(asked, document.size, ids, references, document.slow)

        asked = await off_loop(read) if document.slow else read()
        request.model = asked.request.model
        return asked

    async def read(
        self, request: Request, alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
    ) -> tuple[Asked, VirtualKey]:
        """What is asked, and the key that asks. ``alter``: is given the body before it is checked."""
        document, key = await self.document(request, alter)
        return await self.asked(request, document), key

    async def as_chat(self, asked: Asked, key: VirtualKey) -> AskedChat:
        """The request as a chat, with all that it goes on from and refers to.

        Raises ClientError 404 for what is not this key's, 400 for what a chat cannot have.
        """
        self._check(asked.ids, key)
        request, size = asked.request, asked.size
        chain: Sequence[StoredResponse] = ()
        if request.previous is not None:
            most = self.admission.services.snapshot.body_limit
            try:
                chain = await self.kept.before(key.name, request.previous, most - size)
            except HistoryTooLong:
                raise request_too_large(most) from None
            size += sum(len(record.answer) + len(record.input) for record in chain)
        items = await self._resolved(request.items, asked.references, key) if asked.references else request.items
        id, slow = self._new_id(), asked.slow or size > LONG

        def make() -> AskedChat:
            if chain and orjson.loads(chain[-1].answer)["status"] in UNDER_WAY:
                raise wrong_value("previous_response_id", "that response is not completed")
            before = items_of(chain)
            document = chat_document(request, before, items)
            chat = parse_chat_request(document.body, size, slow=slow, long_texts=slow)
            try:
                chat.written()
            except orjson.JSONEncodeError:
                raise nested_too_deeply() from None
            own = kept_items(items, id.removeprefix("resp_"))
            kept = as_stored(own) if request.store else b""
            return AskedChat(id, chat, before, own, kept, document.tools, document.ignored, document.compacts)

        return await off_loop(make) if slow else make()

    def route(self, model: str, key: VirtualKey, path: str) -> Route:
        """Where a response is asked as a chat. ``path``: what the client asked, for the 404 of a model without."""
        return serving(self.admission.route(model, key, unlisted="chat"), CHATS, "chat", path)

    def _check(self, ids: Sequence[NamedId], key: VirtualKey) -> None:
        """Raise ClientError 404 for what the request names and is not this key's."""
        services = self.admission.services
        now = services.clock.wall_ns() / 1_000_000_000
        for named in ids:
            if named.kind != "audio" or not services.made_ids.knows(key.name, named.id, now):
                raise not_made_here(named.kind, named.id, named.param)

    async def _resolved(self, items: Sequence[Any], references: Mapping[int, str], key: VirtualKey) -> list[Any]:
        found = await self.kept.items(key.name, references.values())
        resolved = [*items]
        for place, id in references.items():
            if id not in found:
                raise not_made_here("item", id, f"input[{place}].id")
            resolved[place] = found[id]
        return resolved

    def _new_id(self) -> str:
        return f"resp_{self.admission.services.new_id()}{secrets.token_hex(8)}"


class Answering:
    """The answer of one request on its way: who writes it, what is to be noted of it, where it is kept.

    ``loop``: the one that the request is served in. ``streamed``: whether events are written.
    ``newest``: the writer of the newest attempt; None before the first. ``pictures``: the links of those in the
    conversation, for the tool that changes one.
    ``opening``: the first events, and the number of the first of them; None for those of every response.
    ``on_begin``: called before each attempt. ``on_told``: called with its first events, in any thread.
    ``ended``: it is complete, or has failed. ``forgotten``: nothing of it is to be kept any more.
    """

    def __init__(
        self,
        desk: ResponsesDesk,
        asked: Asked,
        chat: AskedChat,
        key: VirtualKey,
        loop: asyncio.AbstractEventLoop,
        *,
        streamed: bool,
    ) -> None:
        services = desk.admission.services
        request = asked.request
        self._desk = desk
        self._chat = chat
        self._key = key.name
        self._request = request
        self.streamed = streamed
        self.newest: ResponsePresenter | None = None
        self.pictures = [] if chat.tools.pictures is None else pictures_in(chat.chat.body["messages"])
        self.opening: tuple[tuple[str, ...], int] | None = None
        self.on_begin: Callable[[], None] = _nothing
        self.on_told: Callable[[], None] | None = None
        self.forgotten = self.ended = False
        self.events: Callable[[], bytes] = bytes
        self._at_ns = services.clock.wall_ns()
        self._loop = loop
        self._kept_early = False
        self.facts = ResponseFacts(
            id=chat.id,
            created_at=self._at_ns // 1_000_000_000,
            model=request.model,
            asked=request.asked,
            now=lambda: services.clock.wall_ns() / 1_000_000_000,
            offered=frozenset(chat.tools.names),
            spaced=chat.tools.spaced,
            searches=chat.tools.searches,
            own=frozenset({TOOL_OF_PICTURES} if chat.tools.pictures is not None else ()),
            compacts=chat.compacts,
            summarized=request.summarized,
        )

    def presenter(self) -> ResponsePresenter:
        """A writer for the next attempt."""
        if self.opening is None:
            presenter = ResponsePresenter(self.facts, self._end, streamed=self.streamed)
        else:
            opening, number = self.opening
            presenter = ResponsePresenter(self.facts, self._end, streamed=self.streamed, opening=opening, number=number)
        presenter.on_told, self.newest = self.on_told, presenter
        self.on_begin()
        return presenter

    @property
    def most_calls(self) -> int:
        """Calls of the gateway's own tools that the request allows (``max_tool_calls``)."""
        most = self._request.body.get("max_tool_calls")
        return most if type(most) is int else MOST_REFERENCES

    @property
    def listened_to(self) -> bool:
        """Whether its client wants its events."""
        return self._request.stream

    def keep_from_the_beginning(self) -> None:
        """Keep it as soon as an upstream is asked: after a restart the store is to know what it was the answer to."""

        def begun() -> None:
            if not self._kept_early:
                self._kept_early = True
                self.keep(response_object(self.facts, ResponseState()))

        self._kept_early, self.on_begin = False, begun

    async def nothing_came(self) -> None:
        """It ended without an answer: what was kept from the beginning goes again."""
        if self._kept_early and not self.ended:
            with suppress(GatewayError):
                await self._desk.kept.forget(self._key, self.facts.id)

    def so_far(self) -> dict[str, Any] | None:
        """The response as it stands; None before the first attempt."""
        return None if self.newest is None else self.newest.so_far()

    def remarks(self) -> list[str]:
        """What the client is to be told of fields without effect."""
        ignored = [*self._chat.ignored]
        if self._request.summarized and (self.newest is None or not self.newest.thought):
            ignored.append("reasoning.summary")
        return [f"ignored: {', '.join(ignored)}"] if ignored else []

    @property
    def stores(self) -> bool:
        """Whether it is kept."""
        return self._request.store and not self.forgotten

    def keep_so_far(self, most: int) -> None:
        """Keep the response as far as it has come, unless it has ended, or makes pictures, which are large, or has an
        input of more than ``most`` bytes, which would be written again.
        """
        newest = self.newest
        if newest is not None and not self.ended and not newest.orders and len(self._chat.input) <= most:
            self.keep(newest.so_far())

    def _end(self, response: Mapping[str, Any]) -> None:
        self.ended = True
        self.keep(response)

    def keep(self, response: Mapping[str, Any]) -> None:
        """Keep the response as it is now, unless nothing is to be kept. May be called in any thread."""
        if not self.stores:
            return
        record = StoredResponse(
            id=self.facts.id,
            key=self._key,
            at_ns=self._at_ns,
            previous=self._request.previous,
            answer=as_stored(response),
            input=self._chat.input,
            events=self.events(),
            items=tuple(item["id"] for item in (*self._chat.items[-MOST_REFERENCES:], *response["output"])),
        )
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a big answer is written in a thread
            self._loop.call_soon_threadsafe(self._desk.kept.keep, record)
        else:
            self._desk.kept.keep(record)


def items_of(chain: Sequence[StoredResponse]) -> list[Any]:
    """The items of responses, each one's input before its output."""
    return [item for record in chain for item in (*orjson.loads(record.input), *orjson.loads(record.answer)["output"])]


def _nothing() -> None:
    """Nothing waits for the first attempt."""
