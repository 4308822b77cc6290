"""An upstream's answer for its reader; it keeps one exchange apart from the next on the same connection."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from gateway.upstream.connection import UpstreamConnection
from gateway.wire.answer_head import Head


class Response:
    """An answer whose head has come. ``close`` it in a ``finally``: until then it holds its connection.

    ``head``: of a status of 200 or above; no encoding is undone.
    ``reused``: whether the connection had served before.
    """

    __slots__ = ("_connection", "_received", "head", "reused")

    def __init__(self, connection: UpstreamConnection, head: Head) -> None:
        self._connection: UpstreamConnection | None = connection
        self._received = 0
        self.head = head
        self.reused = connection.reused

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names in lower case, in the order they came."""
        return self.head.headers

    @property
    def bytes_received(self) -> int:
        """Bytes that came over the wire for this answer so far, head and framing included."""
        return self._received if self._connection is None else self._connection.received

    def receive(self) -> Coroutine[Any, Any, bytes]:
        """The body that has arrived, joined; waits for at least one byte. ``b""`` at its end.

        Raises TransportError (``connection_reset``, ``bad_http``; phase ANSWERED) where the body breaks off, after
        returning the part before. One receive at a time. A cancelled receive closes the connection.
        Raises RuntimeError after ``close``.
        """
        if self._connection is None:
            raise RuntimeError("the response is closed")
        return self._connection.receive()

    def hand_over(self, taker: Callable[[bytes], bool]) -> Coroutine[Any, Any, None]:
        """Call ``taker`` with each piece of the body, at once as it arrives, until it returns False or was told of the
        end by ``b""``. It is called by the transport: it must not wait, nor use this response.

        Raises as ``receive`` does, and what ``taker`` raises.
        """
        if self._connection is None:
            raise RuntimeError("the response is closed")
        return self._connection.hand_over(taker)

    def take(self) -> bytes | None:
        """``receive`` without waiting: None if nothing new has arrived."""
        if self._connection is None:
            raise RuntimeError("the response is closed")
        return self._connection.take()

    def close(self, linger: float = 0.0) -> None:
        """Give the connection back if the answer was complete and it may be kept, else close it. May be called
        repeatedly.

        ``linger``: seconds that an incomplete answer has to end by itself, so that its connection can be kept.
        """
        connection = self._connection
        if connection is not None:
            self._connection = None
            self._received = connection.received
            if linger:
                connection.release_at_end(linger)
            else:
                connection.release()
