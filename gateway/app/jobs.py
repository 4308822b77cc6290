"""The jobs of a running gateway: built from its parts, taken up at the start, ended with it."""

from __future__ import annotations

from gateway.config import Config
from gateway.exchange.reconciler import Reconciler
from gateway.exchange.services import Services
from gateway.jobs.answers import AnswerFiles
from gateway.jobs.deliveries import Deliveries
from gateway.jobs.jobs import Jobs
from gateway.jobs.resuming import Resuming
from gateway.jobs.telling import JobTelling
from gateway.jobs.waiting import Waiting
from gateway.stores.base import Store

FOLDER = "jobs"
"""Within ``images.dir``."""


def build_waiting(config: Config, services: Services, store: Store) -> Waiting:
    """The jobs, what lets connections wait for them, and what tells of their end."""
    files = AnswerFiles(config.images.dir / FOLDER, config.images.keep_max)
    jobs = Jobs(services, store.jobs, files)
    deliveries = Deliveries(
        store.deliveries, services.pool, services.clock, services.randomness, services.log, services.tasks
    )
    configure_webhooks(deliveries, config)
    return Waiting(services, jobs, JobTelling(jobs, deliveries, services.clock))


def configure_webhooks(deliveries: Deliveries, config: Config) -> None:
    """From now on the webhooks of this configuration are told."""
    webhooks = {name: (webhook.url, webhook.secret) for name, webhook in config.webhooks.items()}
    deliveries.configure(webhooks, config.outward)


async def start_jobs(waiting: Waiting, services: Services, reconciler: Reconciler) -> None:
    """Take up the jobs that an earlier process left, tell webhooks what is still to be told, and age out what is over.

    Raises StoreError.
    """
    await Resuming(services, waiting.jobs, reconciler).begin()
    await waiting.telling.restore()
    waiting.telling.deliveries.start()
    services.tasks.spawn(waiting.jobs.watch(), "jobs-age-out")
