"""The processes of the bench: pinned, stopped while another is measured, read through /proc, ended with the bench."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import wire
from bench.clients import BenchError

START_SECONDS = 30.0
"""How long a server may take to start."""

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
    """A running process that serves ``port`` on loopback."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    def cpu_ns(self) -> int:
        """Nanoseconds of CPU that all its threads have used."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())

    def memory(self) -> int:
        """Bytes of memory, what is shared with other processes counted in parts (PSS)."""
        for line in Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise BenchError("the kernel does not say how much memory a process has")

    def stop(self) -> None:
        """Let it end in good order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError("the server did not stop when told to") from None

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    @contextmanager
    def awake(self) -> Iterator[Server]:
        """Let it run; afterwards let it tidy up for a moment and stop it."""
        self._process.send_signal(signal.SIGCONT)
        try:
            yield self
            time.sleep(0.05)
        finally:
            self.pause()


@contextmanager
def mock_server(folder: Path) -> Iterator[Server]:
    """The upstream, on the core of the load."""
    with _process([sys.executable, "-m", "bench.mock"], folder, "mock", load_core()) as process:
        yield Server(process, int(_first_line(process, folder / "mock.log")))


@contextmanager
def gateway_server(folder: Path, upstream_port: int, *, profile: Path | None = None) -> Iterator[Server]:
    """The gateway as one would run it: keys, limits, a ledger on disk, metrics, a line in the log for each request.

    ``profile``: where cProfile writes what it saw, when the server is told to stop.
    """
    config = folder / "config.yaml"
    config.write_text(json.dumps(_gateway_config(folder, upstream_port)))
    python = [sys.executable, *(("-m", "cProfile", "-o", str(profile)) if profile else ())]
    command = [*python, "-m", "gateway", "serve", "--config", str(config)]
    with _process(command, folder, "gateway", server_core()) as process:
        line = _first_line(process, folder / "gateway.log")
        url = next((word for word in line.split() if word.startswith("http://")), "")
        if not url.rpartition(":")[2].isdigit():
            raise BenchError(f"the gateway said no address: {line}")
        yield Server(process, int(url.rpartition(":")[2]))


@contextmanager
def nginx_server(folder: Path, upstream_port: int) -> Iterator[Server]:
    """nginx as a plain reverse proxy, one process: what forwarding costs without doing anything else."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream_port))
    command = [str(nginx()), "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(config)]
    with _process(command, folder, "nginx", server_core()) as process:
        _wait_until(lambda: _listens(port), process, folder / "nginx.log")
        yield Server(process, port)


def nginx() -> str | None:
    """Where nginx is, if it is installed."""
    return shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")


def _gateway_config(folder: Path, upstream_port: int) -> dict[str, object]:
    plenty = 1_000_000_000  # a limit that is counted but never reached
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "auth": "required",
        "store": f"sqlite:///{folder / 'gateway.db'}",
        "upstreams": {
            "piapi": {
                "endpoints": [{"url": f"http://127.0.0.1:{upstream_port}"}],
                "keys": [{"name": "first", "value": "sk-upstream-bench", "max_parallel": plenty}],
            },
        },
        "models": {"bench-*": {"targets": [{"upstream": "piapi", "price": {"input": 1.875, "output": 7.5}}]}},
        "keys": [
            {
                "name": "bench", "key": wire.KEY, "models": ["bench-*"],
                "rpm": plenty, "tpm": plenty * 1000, "parallel": plenty,
            },
        ],
        "log": {"format": "json", "level": "info"},
    }  # fmt: skip


_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@contextmanager
def _process(command: list[str], folder: Path, name: str, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core. It is killed at the end, and by the kernel should the bench itself be killed."""
    # An interruption between the start and the ``try`` would leave the process behind: it has to wait.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        process = _start(command, folder, name, core, mask)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            yield process
        finally:
            process.kill()
            process.communicate()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(
    command: list[str], folder: Path, name: str, core: int, mask: set[int | signal.Signals]
) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # a child inherits it, with every thread it will have
    try:
        with (folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ},
                cwd=Path(__file__).parent.parent,
                preexec_fn=prepare,
            )
    finally:
        os.sched_setaffinity(0, before)


def _first_line(process: subprocess.Popen[bytes], log: Path) -> str:
    """What a server prints when it is ready."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    said = bytearray()

    def line_is_there() -> bool:
        assert process.stdout is not None
        said.extend(process.stdout.read() or b"")
        return b"\n" in said

    _wait_until(line_is_there, process, log)
    return said.decode().partition("\n")[0]


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            raise BenchError(f"{log.stem} did not start: {log.read_text(errors='replace')[-2000:].strip()}")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
