"""The webhooks of a running gateway that are told how jobs end."""

from __future__ import annotations

from gateway.config import Config
from gateway.exchange.services import Services
from gateway.jobs.deliveries import Deliveries
from gateway.stores.base import Store


def build_deliveries(services: Services, store: Store, config: Config) -> Deliveries:
    """The messages to them. Not started yet."""
    made = Deliveries(
        store.deliveries, services.pool, services.clock, services.randomness, services.log, services.tasks
    )
    configure_deliveries(made, config)
    return made


def configure_deliveries(deliveries: Deliveries, config: Config) -> None:
    """From now on the webhooks of this configuration receive."""
    webhooks = {name: (webhook.url, webhook.secret) for name, webhook in config.webhooks.items()}
    deliveries.configure(webhooks, config.outward)
