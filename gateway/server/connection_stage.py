"""What a connection waits for."""

from __future__ import annotations

from enum import Enum


class ConnectionStage(Enum):
    """See the picture in protocol.py."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    CLOSING = "closing"
