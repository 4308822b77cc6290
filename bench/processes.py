"""The processes of the bench: pinned, stopped while another is measured, read through /proc, ended with the bench."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.clients import BenchError

START_SECONDS = 30.0
"""How long a server may take to start."""

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
"""What a server gets of the bench's environment."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def server_core() -> int:
    """The core of the measured server."""
    return min(_cores)


def load_core() -> int:
    """The core of the load and of the mock."""
    return max(_cores)


def allow_descriptors() -> int:
    """Raise the limit of open files as far as it goes, for this process and those it starts. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Server:
    """A running process that serves ``port`` on loopback, with the processes it started itself.

    ``headers``: what its clients must send besides. ``slow``: whether it is spared the heavy loads.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        port: int,
        *,
        admin_port: int = 0,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> None:
        self._process = process
        self.port = port
        self.admin_port = admin_port
        self.headers = headers or {}
        self.slow = slow

    def cpu_ns(self) -> int:
        """Nanoseconds of CPU that its threads have used, those that have ended among them."""
        return sum(time.clock_gettime_ns(_cpu_clock(pid)) for pid in _family(self._process.pid))

    def memory(self) -> int:
        """Bytes of memory, what is shared with other processes counted in parts (PSS)."""
        return sum(_pss(pid) for pid in _family(self._process.pid))

    def stop(self) -> None:
        """Let it end in good order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError("the server did not stop when told to") from None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @contextmanager
    def awake(self) -> Iterator[Server]:
        """Let it run; afterwards let it tidy up for a moment and stop it."""
        self.resume()
        try:
            yield self
            time.sleep(0.05)
        finally:
            self.pause()

    def _signal(self, number: int) -> None:
        for pid in _family(self._process.pid):
            os.kill(pid, number)


@contextmanager
def process(
    command: list[str], folder: Path, name: str, core: int, *, quiet: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core. It is killed at the end, and by the kernel should the bench itself be killed.

    Its errors go to ``NAME.log`` of ``folder``; what it prints can be read, or goes there too if ``quiet``.
    """
    # An interruption between the start and the ``try`` would leave the process behind: it has to wait.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        started = _start(command, folder / f"{name}.log", core, quiet, mask)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            yield started
        finally:
            for pid in reversed(_family(started.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            started.communicate()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(
    command: list[str], log_path: Path, core: int, quiet: bool, mask: set[int | signal.Signals]
) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # a child inherits it, with every thread it will have
    try:
        with log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log if quiet else subprocess.PIPE,
                stderr=log,
                env={key: os.environ[key] for key in _KEPT if key in os.environ},
                cwd=Path(__file__).parent.parent,
                preexec_fn=prepare,
            )
    finally:
        os.sched_setaffinity(0, before)


def first_line(process: subprocess.Popen[bytes], log: Path, seconds: float = START_SECONDS) -> str:
    """What a server prints when it is ready."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    said = bytearray()

    def line_is_there() -> bool:
        assert process.stdout is not None
        said.extend(process.stdout.read() or b"")
        return b"\n" in said

    wait_until(line_is_there, process, log, seconds)
    return said.decode().partition("\n")[0]


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = START_SECONDS
) -> None:
    """Wait for a server. Raises BenchError with the end of its log if it ends before, or takes too long."""
    until = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            raise BenchError(f"{log.stem} did not start: {log.read_text(errors='replace')[-2000:].strip()}")
        time.sleep(0.02)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a server takes connections at ``port``."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _family(pid: int) -> list[int]:
    """A process and all that it started and those started, parents first."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):  # a thread that has just ended
                found += map(int, children.read_text().split())
    return found


def _cpu_clock(pid: int) -> int:
    """The clock of a process's CPU time, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError("the kernel does not say how much memory a process has")
