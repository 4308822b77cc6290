"""What a gateway shares with the others of its fleet beside the store: opened, followed, told of."""

from __future__ import annotations

from gateway.app.shared_keys import SharedKeys
from gateway.app.shared_routing import SharedRouting
from gateway.config import Config
from gateway.core.routing.route_table import UpstreamStates
from gateway.exchange.services import Services
from gateway.keys.keyring import Keyring
from gateway.shared_state.alone import Alone
from gateway.shared_state.engines import open_shared_state
from gateway.stores.base import Store
from gateway.telemetry.log import Log


async def open_sharing(config: Config, services: Services) -> None:
    """Open the configuration's shared state, and let the limits of keys be counted there. Raises OperatorError."""

    def tell(up: bool, problem: str) -> None:
        tell_of_shared_state(services.log, up=up, problem=problem)

    services.shared = await open_shared_state(config.shared_state, services.gateway_id, services.tasks, tell)
    services.limits = services.shared.limits


def tell_of_shared_state(log: Log, *, up: bool, problem: str) -> None:
    """The line of the log that says that it came or went; once each time."""
    if up:
        log.info("shared_state_up")
        return
    log.warning(
        "shared_state_down",
        problem=problem,
        message=(
            "each gateway keeps to its share of the limits by itself until it is back; money is not touched. Check "
            "that the server of 'shared_state' runs, its address, database, user and password"
        ),
    )


class Sharing:
    """What is told and heard while the gateway runs."""

    def __init__(self, config: Config, services: Services, store: Store, keyring: Keyring) -> None:
        self._routing = None if isinstance(services.shared, Alone) else SharedRouting(services)
        self._keys = None if config.sqlite_path is not None else SharedKeys(services, store.keys, keyring)
        self.follow(services.snapshot.states)

    def start(self) -> None:
        """Follow what others change in the store."""
        if self._keys is not None:
            self._keys.start()

    def follow(self, states: UpstreamStates) -> None:
        """Tell of these keys and endpoints of upstreams from now on."""
        if self._routing is not None:
            self._routing.follow(states)
