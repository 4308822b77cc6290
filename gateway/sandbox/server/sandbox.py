"""The simulated PiAPI and backup provider, over real loopback sockets.

    async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
        sandbox.script("status;code=503", role="api")
        … send requests to sandbox.urls["api"] …
        assert [request.key for request in sandbox.requests] == ["sk-one"]
        assert sandbox.bill[0].amount == 101_250

It is loudly a simulation: every answer carries ``x-sandbox: 1``, every text says so, every image has it drawn on.
One listener a role: ``api`` stands behind a simulated Cloudflare which gives up after ``wall`` seconds of silence,
``proxy`` is the same without it, ``backup`` bills at OpenAI's prices. The prefix ``/role/NAME`` of a path overrides
the listener's role, so that one port can play all three. Which scenario a request meets: see faults/selection.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType

from gateway.sandbox.faults.parsing import parse_scenario
from gateway.sandbox.faults.selection import ScenarioSelector, ScriptedScenario
from gateway.sandbox.server.billing import BillLine
from gateway.sandbox.server.connection import ClientConnection
from gateway.sandbox.server.history import History
from gateway.sandbox.server.responder import Responder
from gateway.sandbox.tasks.service import TaskService
from gateway.sandbox.tasks.webhooks import WebhookDelivery
from gateway.sandbox.wire.answers import Role
from gateway.sandbox.wire.requests import RecordedRequest

_BACKLOG = 4096


class Sandbox:
    """One running sandbox.

    ``port``: of the first role, the others follow it; 0 takes any. ``scenario``: what requests meet by default.

    ``seed``: of random faults (0: the scenario's own). ``wall``: seconds. ``history``: how many requests and bill
    lines are remembered. ``tls``: serve https. Raises ScenarioError for a scenario it does not know.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        roles: Sequence[Role] = ("api",),
        scenario: str | None = None,
        seed: int = 0,
        wall: float = 120.0,
        history: int = 20_000,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.urls: dict[Role, str] = {}
        self._host = host
        self._ports = {role: port + place if port else 0 for place, role in enumerate(roles)}
        self._tls = tls
        self._selector = ScenarioSelector(parse_scenario(scenario or "ok"), seed)
        self._history = History(history)
        self._responder = Responder(self._selector, self._history, wall, lambda role: self.urls[role], self._notify)
        self._servers: dict[Role, asyncio.Server] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._serial = 0

    # Life

    async def start(self) -> None:
        for role in self._ports:
            await self.listen(role)

    async def listen(self, role: Role) -> None:
        """Open a role's port, or open it again after ``refuse``."""
        server = await asyncio.get_running_loop().create_server(
            lambda: self._connection(role), self._host, self._ports[role], backlog=_BACKLOG, ssl=self._tls
        )
        self._servers[role] = server
        self._ports[role] = server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.urls[role] = f"{'https' if self._tls else 'http'}://{host}:{self._ports[role]}"

    async def refuse(self, role: Role) -> None:
        """Close a role's port and its connections: from now on connecting is refused (row 1 of the catalogue)."""
        self._servers.pop(role).close()
        await _drop([connection for connection in self._responder.connections if connection.role == role])

    async def close(self) -> None:
        """Close everything. Raises what went wrong inside the sandbox itself, if anything did."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        await _drop(list(self._responder.connections))
        await self._responder.routes.close()
        if self._responder.failure is not None:
            raise self._responder.failure

    async def serve_forever(self, started: Callable[[Sandbox], None] = lambda _: None) -> None:
        """Serve until cancelled, and close then. ``started`` is told once the ports are open."""
        async with self:
            started(self)
            await asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _connection(self, role: Role) -> ClientConnection:
        self._serial += 1
        return ClientConnection(self._responder, self._serial, role)

    # What tests say

    def script(
        self,
        scenario: str,
        *,
        role: Role | None = None,
        path: str | None = None,
        model: str | None = None,
        key: str | None = None,
        times: int | None = 1,
    ) -> ScriptedScenario:
        """Queue a scenario for the next ``times`` requests that match (None: for all). Raises ScenarioError.

        ``key`` matches a part of the API key, the others match whole. The scenario's own ``role``, ``method``, ``path``
        (a prefix) and ``times`` hold as well; its ``times`` wins.
        """
        chosen = parse_scenario(scenario)
        script = ScriptedScenario(chosen, role, path, model, key, int(chosen.values["times"]) or times)
        self._selector.add(script)
        return script

    def clear_scripts(self) -> None:
        self._selector.clear()

    def set_default(self, scenario: str) -> None:
        """Set the scenario that requests meet when no other is chosen. Raises ScenarioError."""
        self._selector.default = parse_scenario(scenario)

    def reseed(self, seed: int) -> None:
        """Begin the sequence of random faults anew, from ``seed``."""
        self._selector.reseed(seed)

    # What tests ask

    @property
    def url(self) -> str:
        """The first role's address, without a slash at its end."""
        return next(iter(self.urls.values()))

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far but ``listings`` and ``key_checks``, in the order of arrival."""
        return self._history.requests

    @property
    def key_checks(self) -> list[RecordedRequest]:
        """The questions by which a gateway looks at its keys, at its start and when one was refused."""
        return self._history.key_checks

    @property
    def listings(self) -> list[RecordedRequest]:
        """Every ``GET /v1/models``, which a gateway sends of its own accord, in the order of arrival."""
        return self._history.listings

    @property
    def bill(self) -> list[BillLine]:
        return self._history.bill

    @property
    def billed(self) -> int:
        """The bill's sum in nano-dollars."""
        return self._history.billed

    @property
    def tasks(self) -> TaskService:
        """The tasks, for instance ``tasks.most_at_once(key)``."""
        return self._responder.routes.tasks

    @property
    def webhooks(self) -> list[WebhookDelivery]:
        """The deliveries of webhooks that have ended, in their order."""
        return list(self._responder.routes.webhooks.deliveries)

    @property
    def protocol_errors(self) -> list[str]:
        """Breaches of HTTP by clients; a good client leaves this empty."""
        return self._responder.protocol_errors

    @property
    def open_connections(self) -> int:
        return len(self._responder.connections)

    @property
    def in_flight(self) -> int:
        """How many answers are being played at this moment."""
        return self._history.running

    async def until(self, condition: Callable[[], bool], within: float = 10.0) -> None:
        """Wait until ``condition`` holds; it is looked at whenever a request or connection begins or ends.

        Raises TimeoutError after ``within`` seconds.
        """
        async with asyncio.timeout(within):
            while not condition():
                waiting = asyncio.get_running_loop().create_future()
                self._waiting.append(waiting)
                await waiting

    async def until_idle(self, within: float = 10.0) -> None:
        """Wait until every answer has ended, in one way or another."""
        await self.until(lambda: self.in_flight == 0, within)

    def _notify(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()


async def _drop(connections: list[ClientConnection]) -> None:
    for connection in connections:
        connection.abort()
    for connection in connections:
        await connection.wait_closed()


async def run_sandbox(
    listen: str, scenario: str | None, started: Callable[[Sandbox], None], *, roles: Sequence[Role] = ("api",)
) -> None:
    """The ``sandbox`` command: serve on ``HOST:PORT`` until cancelled (``Sandbox.serve_forever``).

    Further roles listen on the ports after it. Raises ScenarioError, or OSError if a port is taken.
    """
    host, _, port = listen.rpartition(":")
    sandbox = Sandbox(host=host.strip("[]"), port=int(port), roles=roles, scenario=scenario, history=1000)
    await sandbox.serve_forever(started)
