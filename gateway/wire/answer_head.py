"""The head of an upstream's answer, kept as it came and looked up by need."""

from __future__ import annotations

from collections.abc import Sequence


class Head:
    """An answer's status and its headers, by names in lower case.

    ``lines``: a head as it came: its status line and its headers, each ended by CRLF; an HTTP parser accepted it.
    ``headers``: those of an answer that did not come over a connection, in place of ``lines``.
    """

    __slots__ = ("_lines", "_names", "status")

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]] = (), *, lines: bytes = b"") -> None:
        if not lines:
            lines = b"".join([b"\r\n%b: %b" % header for header in headers]) + b"\r\n"
        self.status = status
        self._lines = lines
        self._names = lines.lower()

    def __repr__(self) -> str:
        return f"Head({self.status})"

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header, or None.

        ``name``: in lower case.
        """
        at = self._names.find(b"\r\n%b:" % name)
        if at < 0:
            return None
        start = at + len(name) + 3
        return self._lines[start : self._lines.index(b"\r\n", start)].strip(b" \t")

    def count(self, name: bytes) -> int:
        """How often a header came.

        ``name``: in lower case.
        """
        return self._names.count(b"\r\n%b:" % name)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """All of them, in the order in which they came."""
        pairs = [line.partition(b":") for line in self._lines.split(b"\r\n")[1:-1]]
        return tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)
