"""The parts of a gateway, opened: its store, its keys, and what requests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.app.assembly import build_services, new_gateway_id
from gateway.app.image_results import build_image_results
from gateway.app.opening import Opened, open_meanwhile
from gateway.app.sharing import open_sharing
from gateway.app.snapshots import Snapshots
from gateway.app.store_care import SPILL, tell_of_opening
from gateway.app.worker_place import WorkerPlace
from gateway.config import Config
from gateway.core.chance import Randomness
from gateway.exchange.services import Services
from gateway.images.results import ImageResults
from gateway.keys.keyring import Keyring
from gateway.runtime.ports import Clock
from gateway.server.listener import RunningServer
from gateway.stores.base import Store
from gateway.stores.engines import open_store
from gateway.telemetry.log import Log
from gateway.upstream.dialer import Dialer


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway is made of. ``server``: what listens already; None for none."""

    services: Services
    snapshots: Snapshots
    store: Store
    images: ImageResults
    keyring: Keyring
    server: RunningServer | None


async def open_parts(
    config: Config,
    log: Log,
    dialer: Dialer,
    clock: Clock,
    randomness: Randomness,
    on_crash: Callable[[str, Exception], None],
    worker: WorkerPlace | None = None,
) -> Parts:
    """Open the store, then make what stands on it. ``on_crash``: is told of a mistake of ours meanwhile. ``worker``:
    None for a gateway that is the only process of its own.

    Raises StoreError, ListenError, OperatorError; what was begun is undone then.
    """
    gateway_id = new_gateway_id()
    if worker is not None or config.is_shared:
        log.name_gateway(gateway_id)
    opening = open_store(config.store, clock, gateway_id, config.images.dir / SPILL)
    shared = worker is not None
    opened = await open_meanwhile(opening, config.listen.host, config.listen.port, on_crash, shared=shared)
    try:
        parts = await _on_store(opened, gateway_id, config, log, dialer, clock, randomness)
    except BaseException:
        await opened.undo()
        raise
    if worker is not None:
        parts.services.metrics.keep_in(worker.memory)
    return parts


async def _on_store(
    opened: Opened, gateway_id: str, config: Config, log: Log, dialer: Dialer, clock: Clock, randomness: Randomness
) -> Parts:
    store = opened.store
    tell_of_opening(store, log)
    images = build_image_results(config, clock)
    keyring = await Keyring.open(store.keys, config.pepper_file(store.pepper_file), config.key_pepper, clock)
    keyring.configure(config.keys)
    services, snapshots = build_services(config, log, store.ledger, images, keyring, dialer, clock, randomness)
    services.gateway_id = gateway_id
    await open_sharing(config, services)
    return Parts(services, snapshots, store, images, keyring, opened.server)
