"""Where a request meets its scenario: records it, plays it, bills it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from gateway.sandbox.faults.playback import Choice, Order, play_honestly, reply_head
from gateway.sandbox.faults.scenarios import SCENARIOS, ScenarioError
from gateway.sandbox.faults.selection import OK, Choosing
from gateway.sandbox.server.connection import Connection
from gateway.sandbox.server.history import Ending, Journal, RecordedRequest
from gateway.sandbox.server.routes import Routes
from gateway.sandbox.wire.answers import Answer, EventStream, Reply, Role, Sale, Step
from gateway.sandbox.wire.errors import cloudflare_page, refusal
from gateway.sandbox.wire.http import BadRequest, Request, head
from gateway.sandbox.wire.options import Options

_ROLE_PREFIX: dict[str, Role] = {"/role/api/": "api", "/role/proxy/": "proxy", "/role/backup/": "backup"}


class Performance:
    """One answer on its way out (``connection.Performance``)."""

    def __init__(self, order: Order, recorded: RecordedRequest, journal: Journal, changed: Callable[[], None]) -> None:
        self._order = order
        self._recorded = recorded
        self._journal = journal
        self._changed = changed
        self.steps: Iterator[Step] = _steps(order)

    def wall(self) -> tuple[float | None, bytes]:
        """Cloudflare's patience and its page, before the ``api`` role only."""
        if self._order.role != "api":
            return None, b""
        page = cloudflare_page(524, self._order.request_id)
        return self._order.wall, reply_head(self._order, page) + page.body

    def ended(self, ending: Ending, tokens: int, images: int, sent: int) -> None:
        self._recorded.ending = ending
        self._recorded.bytes_sent = sent
        self._journal.running -= 1
        self._bill(ending, tokens, images)
        self._changed()

    def _bill(self, ending: Ending, tokens: int, images: int) -> None:
        """By the rule at the head of bill.py. An answer nobody made cannot have been sold, unless it was bought."""
        bought = bool(self._order.count("bought"))
        if not bought and "answer" not in self._order.__dict__:
            return
        sale = self._order.answer.sale
        if sale is None:
            return
        if bought:
            tokens, images = sale.output_tokens, sale.images
        whole = ending == "complete"
        delivered = images > 0 or (whole if sale.flat else tokens > 0)
        if delivered or bought:
            self._journal.charge(self._recorded, sale, tokens, images, whole=whole)


def _steps(order: Order) -> Iterator[Step]:
    scenario = SCENARIOS[order.choice.name]
    if scenario.stream_only and not isinstance(order.answer, EventStream):
        return play_honestly(order)
    return scenario.play(order)


class Stage:
    """What connections ask (``connection.Host``). ``site``: the base URL of a role; ``changed``: told of any change."""

    def __init__(
        self,
        choosing: Choosing,
        journal: Journal,
        wall: float,
        site: Callable[[Role], str],
        changed: Callable[[], None],
    ) -> None:
        self.connections: set[Connection] = set()
        self.protocol_errors: list[str] = []
        self.failure: BaseException | None = None
        self._choosing = choosing
        self._journal = journal
        self._wall = wall
        self._site = site
        self._changed = changed
        self.routes = Routes(self._sell, changed, journal.drawn)

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._changed()

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._changed()

    def failed(self, error: BaseException) -> None:
        self.failure = self.failure or error

    def bad_request(self, problem: BadRequest) -> bytes:
        self.protocol_errors.append(str(problem))
        reply = refusal(400, message=f"Sandbox: bad HTTP: {problem}")
        fields = (
            (b"x-sandbox", b"1"),
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"connection", b"close"),
        )
        return head(reply.status, fields) + reply.body

    def early(self, request: Request, connection: Connection) -> Performance | None:
        """The answer of a scenario that does not wait for the body, or None."""
        request, role = _role(request, connection.role)
        at = asyncio.get_running_loop().time()
        try:
            choice = self._choosing.early(RecordedRequest(-1, "", role, 0, 0, at, request, request.path))
        except ScenarioError:
            return None  # perform says it, once the body is there
        return self._perform(request, role, connection, choice) if choice else None

    def perform(self, request: Request, connection: Connection) -> Performance:
        request, role = _role(request, connection.role)
        return self._perform(request, role, connection, None)

    def _perform(self, request: Request, role: Role, connection: Connection, choice: Choice | None) -> Performance:
        """``choice`` None: find one. A scenario that is wrong is answered 400 with what is wrong about it."""
        at = asyncio.get_running_loop().time()
        recorded = self._journal.record(request, role, connection.serial, connection.served, at)
        problem: Reply | None = None
        try:
            choice = choice or self._choosing.choose(recorded)
        except ScenarioError as error:
            choice, problem = OK, refusal(400, code="unknown_scenario", message=f"Sandbox: {error}")
        recorded.scenario = choice.name
        options, site = Options.chosen(choice.values), self._site(connection.role)
        bought = bool(choice.values["bought"])

        def make() -> Answer:
            return problem or self.routes.answer(recorded, options, site, bought=bought)

        order = Order(choice, request, recorded.id, role, connection.served, self._wall, make)
        self._changed()
        return Performance(order, recorded, self._journal, self._changed)

    def _sell(self, recorded: RecordedRequest, sale: Sale) -> None:
        """Bill what was done beside any answer: a task."""
        self._journal.charge(recorded, sale, 0, sale.images, whole=True)


def _role(request: Request, role: Role) -> tuple[Request, Role]:
    """``/role/NAME/…`` → ``/…`` as that role, so that one port can play every host."""
    for prefix, named in _ROLE_PREFIX.items():
        if request.target.startswith(prefix):
            return replace(request, target=request.target[len(prefix) - 1 :]), named
    return request, role
