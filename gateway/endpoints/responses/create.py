"""``POST /v1/responses``: asked as a chat and answered as a response, or relayed to targets that have the route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from gateway.core.errors import ClientError
from gateway.core.jobs.fingerprint import fingerprint
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.admission import is_sdk_retry, marks_of
from gateway.endpoints.job_wishes import wishes_of
from gateway.endpoints.paid_chats import NO_ORDER, is_paid
from gateway.endpoints.preference import preferred
from gateway.endpoints.responses.background import Asking, Background, Following
from gateway.endpoints.responses.desk import Answering, Document, ResponsesDesk
from gateway.endpoints.responses.failover import beside, last_events, together
from gateway.endpoints.responses.pictures import Leg, Pictures
from gateway.endpoints.responses.relay import Relayed, ResponsesRelay
from gateway.endpoints.responses.running import Foreground, Running
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.client import Client as ExchangeClient
from gateway.exchange.exchange import Exchange
from gateway.exchange.stand_in import StandInClient
from gateway.images.resumed import remembered
from gateway.images.resumed_apis import of_response
from gateway.jobs.job import Asked as JobAsked
from gateway.jobs.job import Job
from gateway.jobs.waiting import Waiting
from gateway.runtime.off_loop import off_loop
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.pictures import PictureTool
from gateway.wire.responses.request import RESPONSES_PATH


@dataclass(slots=True)
class _AsChat:
    """A request as a chat. ``tool``: the one that makes pictures, if it is offered."""

    answering: Answering
    operation: TranslatedOperation
    route: Route
    tool: PictureTool | None
    background: bool


@dataclass(slots=True)
class _Making:
    """What makes the answer for one ``client``. ``follow``: makes the pictures that its chat orders.

    ``kept``: keeps it as it goes. ``note``: takes note of what an upstream kept of it.
    """

    client: ExchangeClient
    exchange: Exchange
    follow: Callable[[], Awaitable[None]] | None
    kept: Foreground | None
    note: Callable[[], None] | None

    def goes_on(self) -> bool:
        """Whether it was cut off, and is brought to its end after the next start."""
        ending = self.client.ending if isinstance(self.client, StandInClient) else None
        if ending is None or ending.error is None or ending.error.code != "server_shutting_down":
            return False
        return any(attempt.task_id for attempt in self.exchange.account.record.attempts)

    async def run(self) -> None:
        try:
            await self.exchange.run()
            if self.follow is not None:
                await self.follow()
        finally:
            if self.kept is not None:
                self.kept.end(gone=self.client.gone)
                if not self.goes_on():
                    await self.kept.answering.nothing_came()
            if self.note is not None:
                self.note()


class CreateResponse:
    """The handler of the route. ``background``: runs what is not waited for. ``pictures``: makes those ordered.
    ``relay``: reads what an upstream's own route is for. ``running``: what is being made. ``waiting``: for jobs.
    """

    def __init__(
        self,
        desk: ResponsesDesk,
        background: Background,
        pictures: Pictures,
        relay: ResponsesRelay,
        running: Running,
        waiting: Waiting,
    ) -> None:
        self._desk = desk
        self._waiting = waiting
        self._running = running
        self._relay = relay
        self._background = background
        self._pictures = pictures

    async def __call__(self, request: Request, client: Client) -> None:
        form = client.error_form = ResponsesErrors()
        document, key = await self._desk.document(request)
        try:
            relayed, chat = await self._read(request, client, form, document, key)
        except ClientError as error:
            if error.status != 404 or self._desk.kept.fleet is None:
                raise
            # another gateway may have answered with what it names just now
            relayed, chat = await self._read(request, client, form, document, key)
        if _may_buy_pictures(document) or (chat is not None and is_paid(chat.route)):
            await self._answer_in_a_job(request, client, document, key, relayed, chat)
        else:
            await self._answer(request, client, form, key, relayed, chat)

    async def _read(
        self, request: Request, client: Client, form: ResponsesErrors, document: Document, key: VirtualKey
    ) -> tuple[Relayed | None, _AsChat | None]:
        """The request as one that is relayed, as a chat, or as both."""
        relayed = await self._relay.read(request, document, key)
        as_chat = partial(self._as_chat, request, client, document, key)
        waited_for = not document.fields.get("background")
        return relayed, await beside(relayed, form, as_chat, waited_for=waited_for)

    async def _as_chat(self, request: Request, client: Client, document: Document, key: VirtualKey) -> _AsChat:
        """The request as a chat. Raises ClientError for what no chat can have."""
        desk = self._desk
        asked = await desk.asked(request, document)
        chat = await desk.as_chat(asked, key)
        if (tool := chat.tools.pictures) is not None:
            self._pictures.check(tool, key)
        route = desk.route(chat.chat.model, key, RESPONSES_PATH)
        chat_operation, route = await desk.orders.operation(chat.chat, (), key, tells_cost=False, route=route)
        answering = Answering(desk, asked, chat, key, client.loop, streamed=chat.chat.stream)
        operation = TranslatedOperation(
            chat_operation,
            answering.presenter,
            route=RESPONSES_PATH,
            tells_cost=desk.admission.services.snapshot.cost_in_answers,
            remarks=answering.remarks,
            remembered=of_response(answering.facts, tells_cost=desk.admission.services.snapshot.cost_in_answers),
        )
        return _AsChat(answering, operation, route, tool, asked.request.background)

    async def _answer(
        self,
        request: Request,
        client: Client,
        form: ResponsesErrors,
        key: VirtualKey,
        relayed: Relayed | None,
        chat: _AsChat | None,
    ) -> None:
        """Run the exchange. One of ``relayed`` and ``chat`` is given, or both."""
        request.counted = True
        if chat is not None and chat.background:
            await self._background.answer(request, client, self._asking(request, chat, key))
            return
        making = self._making(client, request, form, key, relayed, chat)
        await making.run()
        request.error = making.exchange.refusal

    async def _answer_in_a_job(
        self,
        request: Request,
        client: Client,
        document: Document,
        key: VirtualKey,
        relayed: Relayed | None,
        chat: _AsChat | None,
    ) -> None:
        """The same, apart from the connection: pictures may be bought."""
        form, jobs, marks = ResponsesErrors(), self._waiting.jobs, marks_of(request)
        client.error_form = form
        wishes = wishes_of(request, self._waiting.telling.deliveries)
        print_ = await off_loop(fingerprint, RESPONSES_PATH, document.fields)
        asked = JobAsked(key.name, key.team, RESPONSES_PATH, request.model or "", print_, marks)
        _, route = together(relayed, None if chat is None else (chat.operation, chat.route))
        preferred(request, route)  # what it refuses is no job
        stream, order = bool(document.fields.get("stream")), _order(chat, request.host)
        job, joined = await jobs.begin(asked, request.id, request.host, stream=stream, order=order)
        if not joined:
            assert job.client is not None
            job.webhooks |= wishes.webhooks
            job.client.trace = request.trace
            if chat is not None and chat.background:
                exchange, work = self._background.in_a_job(job, self._asking(request, chat, key))
            else:
                making = self._making(job.client, request, form, key, relayed, chat, job)
                exchange, work = making.exchange, making.run()
            jobs.run(job, exchange, nullcontext(), work)
        await self._waiting.answer(request, client, job, key, joined=joined, wishes=wishes)

    def _making(
        self,
        client: ExchangeClient,
        request: Request,
        form: ResponsesErrors,
        key: VirtualKey,
        relayed: Relayed | None,
        chat: _AsChat | None,
        job: Job | None = None,
    ) -> _Making:
        """What makes the answer for this client."""
        leg: Leg | None = None
        operation, route = together(relayed, None if chat is None else (chat.operation, chat.route))
        route = preferred(request, route)
        form.failed = last_events(operation)
        if chat is not None and chat.tool is not None:
            leg = self._pictures.leg(client, chat.answering)
        exchange = Exchange(
            self._desk.admission.services,
            operation,
            route,
            key,
            leg or client,
            sdk_retry=is_sdk_retry(request),
            asked=request.model or "",
            job=job,
        )
        follow = None
        if chat is not None and chat.tool is not None and leg is not None:
            follow = partial(self._pictures.follow, leg, client, chat.answering, chat.tool, key, job)
        kept = None if chat is None else Foreground(key.name, chat.answering, self._running, client.loop)
        if chat is not None and chat.operation.images is not None and job is not None:
            chat.answering.keep_from_the_beginning()
        note = None if relayed is None else partial(self._relay.note, relayed, key)
        return _Making(client, exchange, follow, kept, note)

    def _asking(self, request: Request, chat: _AsChat, key: VirtualKey) -> Asking:
        """A response in the background."""
        follow = None if chat.tool is None else self._following(chat.answering, chat.tool, key)
        return Asking(chat.answering, chat.operation, preferred(request, chat.route), key, follow)

    def _following(self, answering: Answering, tool: PictureTool, key: VirtualKey) -> Following:
        """What makes the pictures that a response in the background orders."""

        def leg(client: ExchangeClient) -> Leg:
            return self._pictures.leg(client, answering)

        async def follow(leg: Leg, client: ExchangeClient, job: Job | None) -> None:
            await self._pictures.follow(leg, client, answering, tool, key, job)

        return Following(leg, follow)


def _order(chat: _AsChat | None, host: str | None) -> bytes:
    """What is remembered of a response that is one order for pictures. ``host``: that its client asked by."""
    if chat is None or chat.tool is not None or chat.operation.images is None:
        return NO_ORDER
    return remembered(chat.operation.images, host, chat.operation.remembered)


def _may_buy_pictures(document: Document) -> bool:
    """Whether the tool is offered by which a model orders pictures."""
    tools = document.fields.get("tools")
    return isinstance(tools, list) and any(
        isinstance(tool, dict) and tool.get("type") == "image_generation" for tool in tools
    )
