"""Receiving an answer that is not a stream: one body, bounded."""

from __future__ import annotations

from collections.abc import Generator

from gateway.translate.commands import RECEIVE, Awaiting, Command, Result


def receive_body(limit: int) -> Generator[Command, Result, bytes]:
    """The body, to its end or cut off a little beyond ``limit`` bytes; a result longer than ``limit`` was too long."""
    body = bytearray()
    while len(body) <= limit:
        piece = yield RECEIVE[Awaiting.CONTENT]
        assert isinstance(piece, bytes)
        if not piece:
            break
        body += piece
    return bytes(body)
