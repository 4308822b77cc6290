"""What has come of an answer's body and was not taken yet, handed out in parts that one turn of the loop can bear."""

from __future__ import annotations

from gateway.wire.turns import FEW_BYTES, end_of_turn


class ReceivedBody:
    """The bytes of a body between the parser and its reader.

    ``add``: called by the parser for each piece: a list's own method, since pieces may be a few bytes each.
    ``size``: how many bytes have been gathered and wait.
    """

    __slots__ = ("_fresh", "_given", "_joined", "_parts", "add", "size")

    def __init__(self) -> None:
        self._fresh: list[bytes] = []
        self.add = self._fresh.append
        self._parts: list[bytes] = []
        self._joined = b""  # parts of which a part has been taken, and how much of them
        self._given = 0
        self.size = 0

    def gather(self) -> int:
        """Let what was added be taken. Returns in how many pieces it came."""
        fresh = self._fresh
        if not fresh:
            return 0
        pieces = len(fresh)
        part = b"".join(fresh)
        fresh.clear()
        if self.size:
            self._parts.append(part)
        else:
            self._joined = part
        self.size += len(part)
        return pieces

    def take(self) -> bytes:
        """The next part, as much as may be worked on at once; ``b""`` if nothing is here."""
        data, start = self._joined, self._given
        if self.size <= FEW_BYTES and not start and not self._parts:
            self._joined, self.size = b"", 0
            return data
        if self._parts and not data:
            data = b"".join(self._parts)
            self._parts.clear()
        end = end_of_turn(data, start)
        if end == len(data):
            self._joined, self._given = b"", 0
        else:
            self._joined, self._given = data, end
        part = data if end - start == len(data) else data[start:end]
        self.size -= len(part)
        return part

    def clear(self) -> None:
        """Forget what was not taken."""
        self._parts.clear()
        self._joined, self._given, self.size = b"", 0, 0
