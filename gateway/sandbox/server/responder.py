"""The responder: it records a request, finds its scenario, has its answer played, and bills what was delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from gateway.sandbox.faults.parsing import ScenarioError
from gateway.sandbox.faults.playback import ChosenScenario, ScenarioContext, play_honestly, reply_head
from gateway.sandbox.faults.scenarios import SCENARIOS
from gateway.sandbox.faults.selection import HONEST, ScenarioSelector
from gateway.sandbox.server.connection import ClientConnection
from gateway.sandbox.server.history import History
from gateway.sandbox.server.routes import Routes
from gateway.sandbox.wire.answers import Answer, EventStream, Reply, Role, Sale
from gateway.sandbox.wire.errors import cloudflare_page, error_reply
from gateway.sandbox.wire.http import BadRequest, Request, response_head
from gateway.sandbox.wire.options import Options
from gateway.sandbox.wire.requests import AnswerEnding, RecordedRequest
from gateway.sandbox.wire.steps import Step

_ROLE_PREFIX: dict[str, Role] = {"/role/api/": "api", "/role/proxy/": "proxy", "/role/backup/": "backup"}


_ANY_HOST = ("0.0.0.0:", "[::]:")


class BilledPlayback:
    """One answer on its way out (``connection.Playback``), billed when it has ended."""

    def __init__(
        self, context: ScenarioContext, recorded: RecordedRequest, history: History, changed: Callable[[], None]
    ) -> None:
        self._context = context
        self._recorded = recorded
        self._history = history
        self._changed = changed
        self.steps: Iterator[Step] = _steps(context)

    def wall(self) -> tuple[float | None, bytes]:
        """The seconds of silence Cloudflare waits and its page, in front of the ``api`` role only."""
        if self._context.role != "api":
            return None, b""
        page = cloudflare_page(524, self._context.request_id)
        return self._context.wall, reply_head(self._context, page) + page.body

    def ended(self, ending: AnswerEnding, tokens: int, images: int, sent: int) -> None:
        self._recorded.ending = ending
        self._recorded.bytes_sent = sent
        self._history.running -= 1
        self._bill(ending, tokens, images)
        self._changed()

    def _bill(self, ending: AnswerEnding, tokens: int, images: int) -> None:
        """Bill by the rule at the head of billing.py. An answer that was never made is only billed if it was bought."""
        bought = bool(self._context.count("bought"))
        if not bought and "answer" not in self._context.__dict__:
            return
        sale = self._context.answer.sale
        if sale is None:
            return
        if bought:
            tokens, images = sale.output_tokens, sale.images
        whole = ending == "complete"
        delivered = images > 0 or (whole if sale.flat else tokens > 0)
        if delivered or bought:
            self._history.charge(self._recorded, sale, tokens, images, whole=whole)


def _steps(context: ScenarioContext) -> Iterator[Step]:
    scenario = SCENARIOS[context.scenario.name]
    if scenario.stream_only and not isinstance(context.answer, EventStream):
        return play_honestly(context)
    return scenario.play(context)


class Responder:
    """The owner of all connections (``connection.ConnectionOwner``), which answers their requests.

    ``site``: the base URL of a role. ``changed``: called when a request or connection has begun or ended.
    """

    def __init__(
        self,
        selector: ScenarioSelector,
        history: History,
        wall: float,
        site: Callable[[Role], str],
        changed: Callable[[], None],
    ) -> None:
        self.connections: set[ClientConnection] = set()
        self.protocol_errors: list[str] = []
        self.failure: BaseException | None = None
        self._selector = selector
        self._history = history
        self._wall = wall
        self._site = site
        self._changed = changed
        self.routes = Routes(self._sell, changed, history.drawn)

    def opened(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        self._changed()

    def closed(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self._changed()

    def failed(self, error: BaseException) -> None:
        self.failure = self.failure or error

    def bad_request(self, problem: BadRequest) -> bytes:
        self.protocol_errors.append(str(problem))
        reply = error_reply(400, message=f"Sandbox: bad HTTP: {problem}")
        fields = (
            (b"x-sandbox", b"1"),
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"connection", b"close"),
        )
        return response_head(reply.status, fields) + reply.body

    def answer_early(self, request: Request, connection: ClientConnection) -> BilledPlayback | None:
        """The answer of a scenario that does not wait for the body, or None. ``request`` has no body yet."""
        request, role = _role(request, connection.role)
        at = asyncio.get_running_loop().time()
        try:
            scenario = self._selector.early(RecordedRequest(-1, "", role, 0, 0, at, request, request.path))
        except ScenarioError:
            return None  # ``answer`` says it, once the body is there
        return self._answer(request, role, connection, scenario) if scenario else None

    def answer(self, request: Request, connection: ClientConnection) -> BilledPlayback:
        request, role = _role(request, connection.role)
        return self._answer(request, role, connection, None)

    def _answer(
        self, request: Request, role: Role, connection: ClientConnection, scenario: ChosenScenario | None
    ) -> BilledPlayback:
        """Record a request and answer it by ``scenario``, or by the one selected for it.

        A scenario that cannot be read is answered 400, with what is wrong about it.
        """
        at = asyncio.get_running_loop().time()
        recorded = self._history.record(request, role, connection.serial, connection.served, at)
        problem: Reply | None = None
        try:
            scenario = scenario or self._selector.choose(recorded)
        except ScenarioError as error:
            scenario, problem = HONEST, error_reply(400, code="unknown_scenario", message=f"Sandbox: {error}")
        recorded.scenario = scenario.name
        options, site = Options.chosen(scenario.values), _as_asked(self._site(connection.role), request)
        bought = bool(scenario.values["bought"])

        def make() -> Answer:
            return problem or self.routes.answer(recorded, options, site, bought=bought)

        context = ScenarioContext(scenario, request, recorded.id, role, connection.served, self._wall, make)
        self._changed()
        return BilledPlayback(context, recorded, self._history, self._changed)

    def _sell(self, recorded: RecordedRequest, sale: Sale) -> None:
        """Bill a task that is done, beside any answer."""
        self._history.charge(recorded, sale, sale.output_tokens, sale.images, whole=True)


def _as_asked(site: str, request: Request) -> str:
    """The sandbox's base URL; where it listens on every address, by the one that its client used."""
    scheme, _, place = site.partition("://")
    host = request.get(b"host")
    return f"{scheme}://{host.decode('latin-1')}" if host and place.startswith(_ANY_HOST) else site


def _role(request: Request, role: Role) -> tuple[Request, Role]:
    """``/role/NAME/…`` → ``/…`` as that role, so that one port can play every host."""
    for prefix, named in _ROLE_PREFIX.items():
        if request.target.startswith(prefix):
            return replace(request, target=request.target[len(prefix) - 1 :]), named
    return request, role
