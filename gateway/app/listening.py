"""The two listeners: opened together, the main one perhaps taken over from what answered while the store was opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gateway.app.worker_place import WorkerPlace
from gateway.config import Config
from gateway.core.client_address import Network
from gateway.endpoints.health import PATHS as HEALTH
from gateway.endpoints.request_journal import RequestJournal
from gateway.exchange.services import Services
from gateway.runtime.descriptors import RESERVED, descriptor_limit
from gateway.server.cors import CrossOrigin
from gateway.server.dispatch import Dispatch
from gateway.server.limits import ServerLimits, admin_strangers, client_connections
from gateway.server.listener import RunningServer, listen, start_passed_on, start_server
from gateway.server.state import ListenerState

ADMIN_CONNECTIONS = 16
"""Kept free on the admin listener for who has shown the admin key: a scraper or two, a command line or two."""

ADMIN_HEAD = 5.0
"""Seconds for the head of a request there. Operators' programs send theirs at once."""


def admin_limits(config: Config) -> ServerLimits:
    """What the admin listener puts up with."""
    strangers = admin_strangers(descriptor_limit())
    return ServerLimits(
        headers=config.limits.headers,
        connections=strangers + ADMIN_CONNECTIONS,
        refusals=4,
        strangers=strangers,
        head_timeout=ADMIN_HEAD,
    )


class Doors:
    """What answers at each listener, and who is told of what was refused before.

    ``cors``: of the main one.
    """

    def __init__(
        self,
        main: Dispatch,
        admin: Dispatch,
        cors: CrossOrigin,
        journal: RequestJournal,
        services: Services,
    ) -> None:
        self._main, self._admin, self._cors, self._services = main, admin, cors, services
        self._journal, self._unseen = journal, journal.refused_unseen
        self._listeners: Mapping[str, RunningServer] = {}
        journal.uncounted = admin.paths.union(HEALTH)

    async def open(self, config: Config, servers: list[RunningServer], worker: WorkerPlace | None = None) -> None:
        """Open both; ``servers`` gets them, main and admin, one by one. One that is in it already is taken over.

        ``worker``: None for a gateway that is the only process of its own. Raises ListenError.
        """
        main, admin = self._main, self._admin
        strangers = admin_strangers(descriptor_limit())
        connections = client_connections(descriptor_limit(), RESERVED + strangers)
        many = ServerLimits(headers=config.limits.headers, connections=connections, strangers=connections)
        few = admin_limits(config)
        options: dict[str, Any] = {
            "limits": many,
            "on_refused": partial(self._unseen, main.route_of),
            "cors": self._cors.answer_headers,
            "hostless": self._may_lack_its_host,
            "trusted": self._trusted,
        }
        if servers:  # it said that the store was being opened
            servers[0].hand_over(main, **options)
        else:
            state, shared = ListenerState(main, **options), worker is not None
            servers.append(await listen(state, config.listen.host, config.listen.port, shared=shared))
        refused, place = partial(self._unseen, admin.route_of), config.admin.listen
        if worker is None:
            servers.append(
                await start_server(admin, place.host, place.port, limits=few, on_refused=refused, trusted=self._trusted)
            )
        else:
            known = (worker.admin_host, worker.admin_port)
            servers.append(await start_passed_on(admin, worker.admin_socket, known, limits=few, on_refused=refused))
        self._listeners = dict(zip(("main", "admin"), servers, strict=True))
        self._journal.evicted = self._evicted

    def _may_lack_its_host(self, path: bytes) -> bool:
        return self._main.route_of(path) in HEALTH

    def _trusted(self) -> Sequence[Network]:
        """The networks of proxies that are believed about the client."""
        return self._services.snapshot.trusted_proxies

    def _evicted(self) -> Mapping[str, int]:
        return {name: server.evicted for name, server in self._listeners.items()}
