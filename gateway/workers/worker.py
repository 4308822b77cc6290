"""A worker's side: it says that it is ready, answers its supervisor, and ends when that one does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from gateway.app.gateway import Gateway
from gateway.app.worker_place import WorkerPlace
from gateway.core.errors import OperatorError
from gateway.telemetry.merging import as_data
from gateway.telemetry.series_memory import SeriesMemory
from gateway.workers.channel import Channel
from gateway.workers.spawning import Assignment

FIGURES, RELOAD, READY, STATE = "figures", "reload", "ready", "state"
"""What is asked of a worker (the metrics that stand in no memory; that it reads its configuration again; what it has in
hand), and told.
"""

ORPHAN_SECONDS = 15.0
"""How long one whose supervisor is gone may take to end in good order."""

LOOK_EVERY = 1.0
"""Seconds between two looks at who the parent is."""


class WorkerSide:
    """This worker. ``place``: what its gateway is to be started with."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._gateway: Gateway | None = None
        self.place = WorkerPlace(
            Path(assignment.admin_socket),
            assignment.admin_host,
            assignment.admin_port,
            SeriesMemory(assignment.memory),
        )
        os.set_inheritable(assignment.channel, False)
        os.set_inheritable(assignment.memory, False)
        threading.Thread(target=_end_as_orphan, args=(os.getppid(),), name="orphan-watch", daemon=True).start()

    async def connect(self) -> Channel:
        """Take up the channel. When it ends, this process is to end, with what runs cut off."""
        pair = socket.socket(fileno=self._assignment.channel)
        reader, writer = await asyncio.open_connection(sock=pair)
        return Channel(reader, writer, self._answer)

    async def serve(self, channel: Channel) -> None:
        """Answer the supervisor until it is gone; then end."""
        await channel.serve()
        await asyncio.to_thread(shutil.rmtree, self.place.admin_socket.parent, ignore_errors=True)  # none else will
        # The first signal drains, the second one cuts off what runs: another may start on our port at any moment.
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    def ready(self, gateway: Gateway, channel: Channel) -> None:
        """Say that it serves."""
        self._gateway = gateway
        channel.tell(READY, {"gateway": gateway.services.gateway_id, "patience": _patience(gateway)})

    async def _answer(self, what: str, value: Any) -> Any:
        if self._gateway is None:
            raise OperatorError("it is starting")
        if what == RELOAD:
            problems = await self._gateway.reload()
            return {"problems": problems, "patience": _patience(self._gateway)}
        if what == FIGURES:
            return await _figures(self._gateway)
        if what == STATE:
            return self._gateway.in_hand()
        raise OperatorError(f"it knows no '{what}'")


async def _figures(gateway: Gateway) -> list[dict[str, Any]]:
    told = []
    for family in gateway.services.metrics.looked_at():
        told += as_data([family])
        await asyncio.sleep(0)  # thousands of keys have many series: others have their turn between two families
    return told


def _patience(gateway: Gateway) -> float:
    """Seconds that it may take to end, by its configuration."""
    return gateway.config.drain_delay + gateway.config.drain


def _end_as_orphan(parent: int) -> None:
    """In a thread, since it is for a worker whose loop does not go on: end once the supervisor is gone."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)
