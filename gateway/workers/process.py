"""One worker as its supervisor sees it: a process, its channel, and what it counts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.runtime.children import send_signal
from gateway.runtime.tasks import TrackedTasks
from gateway.telemetry.exposition import Exposed
from gateway.telemetry.merging import from_data
from gateway.telemetry.series_memory import SeriesReader, new_memory
from gateway.workers.channel import Channel, ChannelError
from gateway.workers.spawning import Assignment, worker_command
from gateway.workers.worker import FIGURES, READY, RELOAD, STATE

FIGURES_WITHIN = 3.0
RELOAD_WITHIN = 60.0
"""Seconds: a file that is being written is waited for."""


@dataclass(frozen=True, slots=True)
class Spawning:
    """What all workers are started with. ``arguments``: of ``serve``; ``given``: see Assignment; ``folder``: of their
    sockets, of this user alone.
    """

    arguments: Sequence[str]
    given: Mapping[str, str]
    folder: Path
    admin_host: str
    admin_port: int


class Worker:
    """A running worker. ``ready``: set once it serves. ``gateway``: its id, empty before that. ``patience``: seconds
    that it may take to end, None before that.
    """

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, assignment: Assignment, descriptor: int, ours: Channel
    ) -> None:
        self.number = number
        self.admin_socket = Path(assignment.admin_socket)
        self.ready = asyncio.Event()
        self.gateway = ""
        self.patience: float | None = None
        self._process = process
        self._channel = ours
        self._descriptor = descriptor
        self._reader = SeriesReader(descriptor)
        self._figures: list[Exposed] = []

    @classmethod
    async def start(cls, number: int, count: int, spawning: Spawning, tasks: TrackedTasks) -> Worker:
        """Start one. ``count``: how many were started before, which names its socket. Raises OSError."""
        ours, theirs = socket.socketpair()
        memory = new_memory()
        assignment = Assignment(
            number=number,
            channel=theirs.fileno(),
            memory=memory,
            admin_socket=str(spawning.folder / f"{number}-{count}.sock"),
            admin_host=spawning.admin_host,
            admin_port=spawning.admin_port,
            given=spawning.given,
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *worker_command(spawning.arguments),
                env=assignment.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                start_new_session=True,  # what a terminal sends goes to the supervisor alone, which passes it on
            )
        except BaseException:
            ours.close()
            os.close(memory)
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        channel = Channel(reader, writer, _nothing_is_asked, lambda what, value: worker._told(what, value))
        worker = cls(number, process, assignment, memory, channel)
        tasks.spawn(channel.serve(), "channel")
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> int:
        """Its exit code; a negative one is the signal that killed it."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        send_signal(self._process, number)

    async def reload(self) -> list[str]:
        """Have it read its configuration again; returns what is wrong with it. Raises ChannelError."""
        told = await self._channel.ask(RELOAD, timeout=RELOAD_WITHIN)
        self.patience = told["patience"]
        problems: list[str] = told["problems"]
        return problems

    async def in_hand(self) -> dict[str, Any] | None:
        """What it has in hand (``app.status.in_hand``); None if it does not answer."""
        try:
            told: dict[str, Any] = await self._channel.ask(STATE, timeout=FIGURES_WITHIN)
        except ChannelError:
            return None
        return told

    async def look(self) -> None:
        """Learn the figures that it keeps for itself; what was learned before stays if it does not answer."""
        with suppress(ChannelError):
            self._figures = from_data(await self._channel.ask(FIGURES, timeout=FIGURES_WITHIN))

    def counted(self) -> list[Exposed]:
        """Its counters and histograms, exactly, also when it is dead."""
        return list(self._reader.exposed())

    @property
    def figures(self) -> Sequence[Exposed]:
        """What ``look`` learned last."""
        return self._figures

    def left(self) -> Iterable[Iterable[Exposed]]:
        """What is kept of a dead one: what it had counted. What it merely was at a moment is over."""
        return (self.counted(), [one for one in self._figures if one.type == "counter"])

    def close(self) -> None:
        """Let go of what belongs to one that is dead."""
        self._reader.close()
        os.close(self._descriptor)
        self.admin_socket.unlink(missing_ok=True)

    def _told(self, what: str, value: Any) -> None:
        if what == READY:
            self.gateway, self.patience = value["gateway"], value["patience"]
            self.ready.set()


async def _nothing_is_asked(what: str, value: Any) -> Any:
    raise ChannelError("a worker asks nothing")


def why_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"it ended with exit code {code}" if code else "it was told to end"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"
