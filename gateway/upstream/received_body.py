"""What has come of an answer's body and was not taken yet, handed out in parts that one turn of the loop can bear."""

from __future__ import annotations

from gateway.wire.turns import end_of_turn


class ReceivedBody:
    """The bytes of a body between the parser and its reader.

    ``size``: how many wait. ``pieces``: in how many the parser gave them and those before.
    """

    __slots__ = ("_given", "_joined", "_pieces", "pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._joined = b""  # pieces of which a part has been taken, and how much of them
        self._given = 0
        self.size = 0
        self.pieces = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.pieces += 1
        self.size += len(piece)

    def take(self) -> bytes:
        """The next part, as much as may be worked on at once; ``b""`` if nothing is here."""
        pieces = self._pieces
        if not self._joined:
            if not pieces:
                return b""
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            start = 0
        else:
            data, start = self._joined, self._given
        end = end_of_turn(data, start)
        if end == len(data):
            self._joined, self._given = b"", 0
        else:
            self._joined, self._given = data, end
        part = data if end - start == len(data) else data[start:end]
        self.size -= len(part)
        return part

    def clear(self) -> None:
        self._pieces.clear()
        self._joined, self._given, self.size = b"", 0, 0
