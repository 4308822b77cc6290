"""The log's file: lines are added to its end; it is opened again when it was moved away, or if asked (logrotate)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.core.errors import OperatorError
from gateway.runtime.ownership import give_to_owner_of

# O_NONBLOCK: a pipe without a reader must not keep the start waiting; it is refused instead.
_UNIX = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class LogFile:
    """``path`` is made with mode 0600 if it is not there. Raises OperatorError if it cannot be written.

    Used by one thread at a time, but for ``open_again``.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self._asked = False
        self._complained = False
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise OperatorError(
                f"the log cannot be written to {path}: {error.strerror}; change log.file or make the place writable"
            ) from None

    def open_again(self) -> None:
        """Open what has the name now, before the next line is written. May be called from anywhere."""
        self._asked = True

    def descriptor(self) -> int:
        """Where lines are to be written now. If the file was moved away or removed, a new one is made; while that
        fails, lines go on to the old one.
        """
        if self._asked or not self._in_place():
            self._asked = False
            try:
                opened = self._open()
            except OSError as error:
                self._complain(error)
            else:
                os.close(self._descriptor)
                self._descriptor, self._complained = opened, False
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        made = not self.path.exists()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _UNIX
        opened = os.open(self.path, flags, 0o600)
        if made:
            give_to_owner_of(self.path.parent, self.path)
        return opened

    def _in_place(self) -> bool:
        """Whether the name still stands for the file that is open."""
        try:
            named = os.stat(self.path)
        except OSError:
            return False
        own = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            sys.stderr.write(f"piapi-gateway: the log {self.path} cannot be opened again: {error.strerror}\n")
