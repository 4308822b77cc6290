"""The jobs of a running gateway: built from its parts, taken up at the start, ended with it."""

from __future__ import annotations

from gateway.config import Config
from gateway.exchange.services import Services
from gateway.jobs.answers import AnswerFiles
from gateway.jobs.jobs import Jobs
from gateway.jobs.waiting import Waiting
from gateway.stores.base import Store

FOLDER = "jobs"
"""Within ``images.dir``."""


def build_waiting(config: Config, services: Services, store: Store) -> Waiting:
    """The jobs, and what lets connections wait for them."""
    files = AnswerFiles(config.images.dir / FOLDER, config.images.keep_max)
    return Waiting(services, Jobs(services, store.jobs, files))
