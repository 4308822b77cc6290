"""The supervisor: starts the workers, restarts the dead and says why, and passes signals on.

It serves no client: the workers share the main listener's port, and the system deals connections out among them
(SO_REUSEPORT). What it serves itself is the one admin listener (admin.py).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

from gateway.app.listening import admin_limits
from gateway.config import Config
from gateway.core.errors import OperatorError
from gateway.runtime.signals import STOPPING, on_signal
from gateway.runtime.tasks import TrackedTasks
from gateway.server.listener import RunningServer, reserve, start_server, url_of
from gateway.telemetry.log import Log
from gateway.workers.admin import AdminFront
from gateway.workers.channel import ChannelError
from gateway.workers.process import Spawning, Worker, why_ended
from gateway.workers.scrape import Scrape

STEADY = 60.0
"""Seconds: a worker that lived for so long had no trouble of its own; the next one is started at once."""

FIRST_WAIT = 0.1
LONGEST_WAIT = 30.0
"""Seconds between a death and the next start: doubled for each that does not become steady."""

LOOK_EVERY = 1.0
"""Seconds between two looks at what workers keep for themselves and would be lost with them."""

NOT_STARTED = 1
"""The exit code of the whole where the first worker cannot be started at all."""

LONGEST_FOLDER = 84
"""Bytes of the name of a folder for sockets: with a socket's own name it must stay below the 104 that macOS allows."""

STRAGGLING = 20.0
"""Seconds beyond its drain time after which a worker that still runs is killed."""


def wait_before(quick_deaths: int) -> float:
    """Seconds before the next start. ``quick_deaths``: in a row, this one included; 0 for a steady worker's."""
    return 0.0 if not quick_deaths else min(LONGEST_WAIT, FIRST_WAIT * 2 ** (min(quick_deaths, 20) - 1))


class Supervisor:
    """The workers of ``config``, and their admin listener.

    ``arguments``: of ``serve``, for each worker. ``given``: the settings that its options gave. ``foreground``: whether
    a terminal that is closed ends it.
    """

    def __init__(
        self, config: Config, log: Log, arguments: Sequence[str], given: Mapping[str, str], *, foreground: bool
    ) -> None:
        self._config = config
        self._log = log
        self._arguments = arguments
        self._given = dict(given)
        self._foreground = foreground
        self._tasks = TrackedTasks(self._failed)
        self._living: dict[int, Worker] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._scrape = Scrape(self._serving)
        self._stop = asyncio.Event()
        self._again = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._patience = config.drain_delay + config.drain
        self.main_url = self.admin_url = ""

    async def run(self, announce: Callable[[], None]) -> int:
        """Start everything, serve until SIGTERM or SIGINT, drain and end. Returns the exit code.

        ``announce``: is called once all workers serve. Raises ListenError, OperatorError.
        """
        self._take_signals()
        held = await reserve(self._config.listen.host, self._config.listen.port)
        folder = _private_folder()
        admin: RunningServer | None = None
        try:
            host, port = held[0].getsockname()[:2]
            self.main_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            if self._config.listen.port == 0:
                self._given["--listen"] = self.main_url.removeprefix("http://")
            admin = await self._open_admin()
            self.admin_url = url_of(admin)
            spawning = Spawning(self._arguments, self._given, folder, admin.host, admin.port)
            code = await self._start_all(spawning, announce)
            await self._all_ended()
            return code
        finally:
            await self._tasks.cancel_all()
            for worker in self._living.values():
                worker.send(signal.SIGKILL)
            if admin is not None:
                await admin.close(1.0)
            for one in held:
                one.close()
            shutil.rmtree(folder, ignore_errors=True)

    async def _start_all(self, spawning: Spawning, announce: Callable[[], None]) -> int:
        """Start the first worker, then the others, and serve until told to stop. One that cannot start at all ends
        everything, with its exit code: it has said why.
        """
        began: list[asyncio.Future[int | None]] = []
        loop = asyncio.get_running_loop()
        for number in range(1, self._config.workers + 1):
            first: asyncio.Future[int | None] = loop.create_future()
            self._keeping.append(self._tasks.spawn(self._keep(number, spawning, first), f"worker-{number}"))
            began.append(first)
            if number == 1 and (code := await self._unless_stopped(first)) is not None:
                self._stop.set()
                return code
        for one in began:
            await self._unless_stopped(one)
        if not self._stop.is_set():
            self._tasks.spawn(self._look(), "look")
            announce()
            self._log.info("workers_ready", workers=self._config.workers)
        await self._stop.wait()
        return 0

    async def _unless_stopped(self, first: asyncio.Future[int | None]) -> int | None:
        """How a worker's first start ended; None once it serves, and if the supervisor is told to stop before."""
        stopped = self._tasks.spawn(self._stop.wait(), "stop")
        await asyncio.wait({first, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return first.result() if first.done() else None

    async def _keep(self, number: int, spawning: Spawning, first: asyncio.Future[int | None]) -> None:
        """Have one worker run, again and again, until all are to stop. ``first``: gets how the first start ended."""
        loop = asyncio.get_running_loop()
        quick, count = 0, 0
        while not self._stop.is_set():
            began = loop.time()
            worker, trouble = None, ""
            try:
                worker = await Worker.start(number, count, spawning, self._tasks)
            except OSError as error:  # too many processes or open files, or too little memory: that may pass
                code, trouble = NOT_STARTED, str(error)
            else:
                code = await self._until_ended(worker, first)
            count += 1
            if not first.done():
                first.set_result(code)
                if number == 1:
                    if trouble:
                        self._log.error("worker_not_started", worker=number, reason=trouble)
                    return
            if self._stop.is_set():
                return
            quick = 0 if loop.time() - began >= STEADY else quick + 1
            wait = wait_before(quick)
            if worker is None:
                self._log.error("worker_not_started", worker=number, reason=trouble, restart_in=round(wait, 1))
            else:
                self._tell_of_death(worker, code, wait)
            await self._wait(wait)

    async def _until_ended(self, worker: Worker, first: asyncio.Future[int | None]) -> int:
        """Return once a worker has ended, with its exit code."""
        self._living[worker.number] = worker
        if self._stop.is_set():  # while it was started
            worker.send(signal.SIGTERM)
        readiness = self._tasks.spawn(self._tell_when_ready(worker, first), "ready")
        code = await worker.ended()
        readiness.cancel()
        del self._living[worker.number]
        self._scrape.keep(worker)
        worker.close()
        return code

    async def _tell_when_ready(self, worker: Worker, first: asyncio.Future[int | None]) -> None:
        await worker.ready.wait()
        self._log.info("worker_ready", worker=worker.number, pid=worker.pid, gateway=worker.gateway)
        self._patience = max(self._patience, worker.patience or 0.0)
        if not first.done():
            first.set_result(None)

    def _tell_of_death(self, worker: Worker, code: int, wait: float) -> None:
        say = self._log.info if code == 0 else self._log.error
        say(
            "worker_ended",
            worker=worker.number,
            pid=worker.pid,
            gateway=worker.gateway or None,
            exit_code=code,
            reason=why_ended(code),
            restart_in=round(wait, 1),
            living=len(self._serving()),
        )

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until a reload may have mended what kept workers from starting, or until all are to stop."""
        self._again.clear()
        waiting = {self._tasks.spawn(event.wait(), "wait") for event in (self._stop, self._again)}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()

    def _serving(self) -> list[Worker]:
        return [worker for _, worker in sorted(self._living.items()) if worker.ready.is_set()]

    # Signals

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in STOPPING:
            on_signal(loop, name, self._told_to_stop)
        on_signal(loop, "SIGHUP", self._told_to_stop if self._foreground else self._told_to_reload)
        on_signal(loop, "SIGUSR1", self._open_log_again)

    def _told_to_stop(self) -> None:
        """The first time workers drain; each further time they are told to hurry."""
        if not self._stop.is_set():
            self._log.info("draining", workers=len(self._living))
        self._stop.set()
        for worker in self._living.values():
            worker.send(signal.SIGTERM)

    def _told_to_reload(self) -> None:
        self._tasks.spawn(self.reload(), "reload")

    def _open_log_again(self) -> None:
        self._log.open_again()
        for worker in self._serving():
            worker.send(signal.SIGUSR1)

    async def reload(self, but: Worker | None = None) -> list[str]:
        """Have one worker after the other read its configuration again. One that finds it wrong ends the round: the
        first one does, unless the file changes meanwhile, and then nothing has changed.

        ``but``: has done so already. Returns what is wrong.
        """
        async with self._reloading:
            self._again.set()
            done = [] if but is None else [but.number]
            for worker in self._serving():
                if worker is but:
                    continue
                try:
                    problems = await worker.reload()
                except ChannelError as error:  # it is gone, and its successor reads the file
                    self._log.warning("reload_unanswered", worker=worker.number, message=str(error))
                    continue
                self._patience = worker.patience or self._patience
                if problems:
                    if done:
                        self._log.error("reload_stopped", worker=worker.number, reloaded=done, problems=problems)
                    return problems
                done.append(worker.number)
            return []

    # The rest

    async def _open_admin(self) -> RunningServer:
        place, config = self._config.admin.listen, self._config
        front = AdminFront(self._serving, self._scrape, self.reload, self._tasks)
        return await start_server(
            front, place.host, place.port, limits=admin_limits(config), trusted=lambda: config.trusted_proxies
        )

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._scrape.look()

    async def _all_ended(self) -> None:
        """Wait for the workers to drain; what hangs is killed."""
        seconds = self._patience + STRAGGLING
        while self._keeping:
            _, still = await asyncio.wait(self._keeping, timeout=seconds)
            self._keeping = list(still)
            for worker in self._living.values():
                self._log.error("worker_killed", worker=worker.number, pid=worker.pid, gateway=worker.gateway)
                worker.send(signal.SIGKILL)
        self._log.info("stopped")

    def _failed(self, name: str, error: BaseException) -> None:
        self._log.error("task_failed", task=name, error=repr(error))


def _private_folder() -> Path:
    """A folder that this user alone may enter, with a name short enough for sockets in it. Raises OperatorError."""
    try:
        folder = Path(mkdtemp(prefix="piapi-gateway-"))
        if len(os.fsencode(folder)) > LONGEST_FOLDER:  # as a temporary folder of each user's own may be
            folder.rmdir()  # the other one's name cannot be guessed, either
            folder = Path(
                mkdtemp(prefix="piapi-gateway-", dir="/tmp")
            )  # made for this user alone, under a name that none can guess
    except OSError as error:
        raise OperatorError(
            f"workers need a folder for their sockets, and none can be made: {error.strerror}; set TMPDIR to one that "
            f"can be written, of at most {LONGEST_FOLDER - 24} bytes"
        ) from None
    return folder
