"""How much of a request's body is framing: chunks' sizes, extensions and trailers, which cost work and say nothing."""

from __future__ import annotations

from gateway.core.errors import GatewayError
from gateway.server.headers import malformed_request

_LEAST_OF_A_CHUNK = 5
"""Bytes around a chunk's content: a digit and two line ends."""


class BodyFraming:
    """Counts the bytes of one body in chunks.

    ``allowance``: bytes of framing that a body may have beyond its content. What a chunk must have counts as soon as
    the parser has met it, so that a segment of a hundred thousand chunks is not read to its end. ``content``: bytes of
    content so far; its owner counts them.
    """

    __slots__ = ("_allowance", "_chunks", "_trailers", "_without_content", "content")

    def __init__(self, allowance: int) -> None:
        self._allowance = allowance
        self.content = self._chunks = self._trailers = 0
        self._without_content = 0  # bytes that came since the last byte of content, by segments

    def chunk_came(self) -> None:
        """Raise GatewayError 400 if the chunks so far are mostly framing."""
        self._chunks += 1
        if _LEAST_OF_A_CHUNK * self._chunks > self._allowance + self.content:
            raise too_much_framing()

    def trailer_came(self, most: int) -> None:
        """Raise GatewayError 400 for more than ``most`` of them."""
        self._trailers += 1
        if self._trailers > most:
            raise malformed_request(f"it has more than {most} trailers")

    def too_much_after(self, size: int, content_before: int) -> bool:
        """Whether too much came without a byte of content, now that a segment has been parsed.

        ``content_before``: bytes of content before this segment, of ``size`` bytes.
        """
        self._without_content = self._without_content + size if self.content == content_before else 0
        return self._without_content > self._allowance


def too_much_framing() -> GatewayError:
    """400: what is sent costs work and says nothing."""
    return malformed_request("its chunks have more framing than content")
